package ippsystem

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

// Options say which system, and how to reach it. URL is required.
type Options struct {
	// URL is the system's URI: ipps://print.example/ipp/system, or https, ipp or http. The port of ipps and ipp is 631.
	URL          string
	Plain        bool     // let ipp and http go to other machines than this
	PrinterHosts []string // hosts where printers may be besides that of URL
	ClientID     string   // of OAuth; "": mfpgate
	Scope        string   // "": that which the system names
	Authority    string   // the issuer that the system must name; "": any that is https
	RootCAs      *x509.CertPool
	Proxy        func(*http.Request) (*url.URL, error) // nil: none
	Clock        mfpgate.Clock                         // nil: the machine's
	Timeout      time.Duration                         // of one exchange; 0: 30 s
	Source       netip.Addr                            // address that connections come from; the zero Addr: the system's choice
}

// Service is a system as broker/approval wants it. It is safe for concurrent use.
type Service struct {
	o     Options
	uri   string   // system-uri
	http  *url.URL // where it is posted to
	doer  *http.Client
	oauth deviceauth.Client
	ids   atomic.Uint32 // of requests

	mu     sync.Mutex
	system system
	until  time.Time          // system serves without asking
	issuer *deviceauth.Issuer // of the last system that named one
	named  string             // the issuer's name
}

// fresh is for how long what a system said of itself is not asked for again.
const fresh = 10 * time.Minute

// Open checks the options. It makes no connection.
func Open(o Options) (*Service, error) {
	if o.Clock == nil {
		o.Clock = mfpgate.SystemClock{}
	}
	if o.ClientID == "" {
		o.ClientID = "mfpgate"
	}
	at, uri, err := target(o.URL, o.Plain)
	if err != nil {
		return nil, fmt.Errorf("print service: %w", err)
	}
	if o.Authority != "" {
		if _, err := exchange.Secure(o.Authority); err != nil {
			return nil, fmt.Errorf("print service: authority: %w", err)
		}
	}
	h := exchange.NewHTTP(exchange.Options{RootCAs: o.RootCAs, Proxy: o.Proxy, Timeout: o.Timeout, Source: o.Source})
	return &Service{o: o, uri: uri, http: at, doer: h, oauth: deviceauth.Client{HTTP: h, ClientID: o.ClientID, Clock: o.Clock}}, nil
}

// target is where a system URI is posted to (RFC 8010 §4, RFC 3510 §5, RFC 7472 §4), and the URI that names it there.
func target(text string, plain bool) (at *url.URL, uri string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("url %.128q cannot be read", text)
	case u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.ForceQuery:
		return nil, "", fmt.Errorf("url %q must have a host, and no user, query and fragment", u.Redacted())
	}
	over, port := map[string]string{"ipps": "https", "https": "https", "ipp": "http", "http": "http"}[u.Scheme], u.Port()
	if over == "" {
		return nil, "", fmt.Errorf("url %q must start with ipps:// or https://", u.Redacted())
	}
	if over == "http" && !plain && !mfpgate.Loopback(u.Hostname()) {
		return nil, "", fmt.Errorf("url %q must start with ipps:// or https://; without TLS is for loopback addresses only", u.Redacted())
	}
	if u.Path == "" {
		u.Path = "/ipp/system"
	}
	posted := *u
	posted.Scheme = over
	if port == "" && (u.Scheme == "ipps" || u.Scheme == "ipp") {
		posted.Host = net.JoinHostPort(u.Hostname(), "631")
	}
	named := *u
	named.Scheme = map[string]string{"https": "ipps", "http": "ipp"}[over]
	if port == "" && u.Scheme != named.Scheme { // the schemes' own ports differ
		named.Host = net.JoinHostPort(u.Hostname(), map[string]string{"https": "443", "http": "80"}[over])
	}
	return &posted, named.String(), nil
}

// secret reports whether a token may go to the system.
func (s *Service) secret() bool {
	return s.http.Scheme == "https" || mfpgate.Loopback(s.http.Hostname())
}

// Traits are none: a system certifies no key and has no users.
func (*Service) Traits() mfpgate.PrintServiceTraits { return mfpgate.PrintServiceTraits{} }

// RequestCode asks the system who decides, and that authorization server for a code. mfpgate.ErrNobodyAsked if there is none.
func (s *Service) RequestCode(ctx context.Context, r mfpgate.CodeRequest) (mfpgate.Code, error) {
	if r.Purpose == mfpgate.PurposeAllowUser {
		return mfpgate.Code{}, noUsers()
	}
	system, err := s.ask(ctx)
	if err == nil {
		err = system.check(r.Device)
	}
	if err != nil {
		return mfpgate.Code{}, err
	}
	if system.issuer == "" {
		return mfpgate.Code{}, fmt.Errorf("request code: %w", mfpgate.ErrNobodyAsked)
	}
	m, err := s.metadata(ctx)
	if err != nil {
		return mfpgate.Code{}, err
	}
	scope := s.o.Scope
	if scope == "" {
		scope = system.scope
	}
	return s.oauth.RequestCode(ctx, m, scope, deviceauth.Shown(r), r.Verifier)
}

// Redeem asks once whether a code was approved.
func (s *Service) Redeem(ctx context.Context, c mfpgate.Code, verifier mfpgate.Secret) (mfpgate.Grant, error) {
	m, err := s.metadata(ctx)
	if err != nil {
		return mfpgate.Grant{}, err
	}
	return s.oauth.Redeem(ctx, m, c, verifier)
}

// AwaitEvent waits for the authorization server's word that something has changed.
func (s *Service) AwaitEvent(ctx context.Context, c mfpgate.Code) error {
	return s.oauth.AwaitEvent(ctx, c)
}

// Enter registers the device; with a grant without a token, as anybody. mfpgate.ErrInvalidGrant if that is not enough (any more).
func (s *Service) Enter(ctx context.Context, g mfpgate.Grant, r mfpgate.PrinterRequest) (mfpgate.Entering, error) {
	system, err := s.known(ctx, g.Token != "")
	if err == nil {
		err = system.check(r.Device)
	}
	switch {
	case err != nil:
	case g.Token == "" && system.issuer != "":
		err = fmt.Errorf("%w: the system has an authorization server now", mfpgate.ErrInvalidGrant)
	case g.Token != "" && !s.secret():
		err = fmt.Errorf("%w: a token does not go to %s without TLS; configure ipps://", mfpgate.ErrRefused, s.http.Host)
	}
	var p mfpgate.Printer
	if err == nil {
		p, err = s.register(ctx, g.Token, system, r.Device)
	}
	if err != nil {
		return mfpgate.Entering{}, fmt.Errorf("register output device: %w", err)
	}
	return mfpgate.Entering{Done: true, Printer: p}, nil
}

// Entered has nothing to ask: a registration is done when it is answered.
func (*Service) Entered(context.Context, mfpgate.Grant, string) (mfpgate.Entering, error) {
	return mfpgate.Entering{}, fmt.Errorf("%w: an IPP system has no operations that take time", mfpgate.ErrRefused)
}

// AllowUser is refused: a system decides itself who prints.
func (*Service) AllowUser(context.Context, mfpgate.Grant, string, string) (mfpgate.PrintUser, error) {
	return mfpgate.PrintUserUnknown, noUsers()
}

func noUsers() error {
	return fmt.Errorf("%w: an IPP system has no list of users; its administrator decides who prints", mfpgate.ErrRefused)
}

// metadata are those of the authorization server that the system has named last: a code is asked for where it was given.
func (s *Service) metadata(ctx context.Context) (deviceauth.Metadata, error) {
	s.mu.Lock()
	issuer := s.issuer
	s.mu.Unlock()
	if issuer == nil { // since the restart
		system, err := s.ask(ctx)
		if err != nil {
			return deviceauth.Metadata{}, err
		}
		if system.issuer == "" {
			return deviceauth.Metadata{}, fmt.Errorf("%w: the system names no authorization server any more", mfpgate.ErrInvalidGrant)
		}
		s.mu.Lock()
		issuer = s.issuer
		s.mu.Unlock()
	}
	return issuer.Metadata(ctx)
}

// known is what the system has said lately, if that will do, or says now.
func (s *Service) known(ctx context.Context, lately bool) (system, error) {
	s.mu.Lock()
	known, good := s.system, lately && s.o.Clock.Now().Before(s.until)
	s.mu.Unlock()
	if good {
		return known, nil
	}
	return s.ask(ctx)
}

// ask asks the system what it is, and remembers it.
func (s *Service) ask(ctx context.Context) (system, error) {
	found, err := s.describe(ctx)
	if err == nil {
		err = s.pin(found.issuer)
	}
	if err != nil {
		return system{}, fmt.Errorf("ask %s what it is: %w", s.uri, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.system, s.until = found, s.o.Clock.Now().Add(fresh)
	if found.issuer != "" && found.issuer != s.named {
		s.issuer, s.named = deviceauth.NewIssuer(s.oauth, found.issuer), found.issuer
	}
	return found, nil
}

// pin says whether an authorization server may be asked.
func (s *Service) pin(issuer string) error {
	if s.o.Authority != "" && issuer != s.o.Authority {
		return fmt.Errorf("%w: its authorization server is %q, not %q as configured", mfpgate.ErrRefused, issuer, s.o.Authority)
	}
	if issuer == "" {
		return nil
	}
	u, err := exchange.Secure(issuer)
	if err != nil {
		return fmt.Errorf("%w: authorization server: %w", mfpgate.ErrRefused, err)
	}
	if s.o.Authority == "" && mfpgate.Loopback(u.Hostname()) && !mfpgate.Loopback(s.http.Hostname()) {
		return fmt.Errorf("%w: its authorization server is %q, which is this machine; configure that as the authority if it is meant", mfpgate.ErrRefused, issuer)
	}
	if !s.secret() {
		return fmt.Errorf("%w: it has an authorization server, and a token does not go to %s without TLS; configure ipps://", mfpgate.ErrRefused, s.http.Host)
	}
	return nil
}

var errAnswer = errors.New("not an answer of an IPP system")
