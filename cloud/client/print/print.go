package print

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
	"github.com/mfpgate/mfpgate/cloud/client/print/ippsystem"
)

// The kinds of print services, as the configuration names them.
const (
	KindReference      = "reference"
	KindUniversalPrint = "universal-print"
	KindIPPSystem      = "ipp-system"
)

// Options say which service, and how to reach it. Kind and URL are required, ClientID too for universal-print.
type Options struct {
	Kind     string
	URL      string // of the service, https or http to a loopback address; ipps or ipp too for ipp-system; for universal-print that of the register service
	ClientID string // of OAuth; "": mfpgate
	Scope    string // "": that of the kind
	// Authority is the authorization server where it is not the service itself: for reference its issuer; for universal-print its
	// URL with the tenant, "" being https://login.microsoftonline.com/organizations for Microsoft's own register service; for
	// ipp-system the issuer that the system must name, "" being any.
	Authority string
	RootCAs   *x509.CertPool                        // nil: the system's
	Proxy     func(*http.Request) (*url.URL, error) // nil: none
	Clock     mfpgate.Clock                         // nil: the machine's
	Timeout   time.Duration                         // of one exchange; 0: 30 s
	Source    netip.Addr                            // address that connections come from; the zero Addr: the system's choice
}

// Service is a print service as broker/approval wants it, which says what each method does.
type Service interface {
	Traits() mfpgate.PrintServiceTraits
	RequestCode(ctx context.Context, r mfpgate.CodeRequest) (mfpgate.Code, error)
	Redeem(ctx context.Context, c mfpgate.Code, verifier mfpgate.Secret) (mfpgate.Grant, error)
	AwaitEvent(ctx context.Context, c mfpgate.Code) error
	Enter(ctx context.Context, g mfpgate.Grant, r mfpgate.PrinterRequest) (mfpgate.Entering, error)
	Entered(ctx context.Context, g mfpgate.Grant, operation string) (mfpgate.Entering, error)
	AllowUser(ctx context.Context, g mfpgate.Grant, printer, user string) (mfpgate.PrintUser, error)
}

// Open checks the options. It makes no connection. The service holds nothing that must be closed: idle connections end by
// themselves.
func Open(o Options) (Service, error) {
	if o.Clock == nil {
		o.Clock = mfpgate.SystemClock{}
	}
	if o.Kind == KindIPPSystem {
		s, err := ippsystem.Open(ippsystem.Options{
			URL: o.URL, ClientID: o.ClientID, Scope: o.Scope, Authority: o.Authority, RootCAs: o.RootCAs, Proxy: o.Proxy, Clock: o.Clock, Timeout: o.Timeout, Source: o.Source,
		})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	o.URL = strings.TrimSuffix(o.URL, "/")
	base, err := exchange.Secure(o.URL)
	if err != nil {
		return nil, fmt.Errorf("print service: %w", err)
	}
	if base.RawQuery != "" || base.ForceQuery {
		return nil, fmt.Errorf("print service: url %q must have no query", o.URL)
	}
	h := exchange.NewHTTP(exchange.Options{RootCAs: o.RootCAs, Proxy: o.Proxy, Timeout: o.Timeout, Source: o.Source})
	switch o.Kind {
	case KindReference:
		return openReference(o, base, h)
	case KindUniversalPrint:
		return openUniversal(o, base, h)
	}
	return nil, fmt.Errorf("print service: kind %q is not known; use %s, %s or %s", o.Kind, KindReference, KindUniversalPrint, KindIPPSystem)
}

// rest is a service that takes JSON.
type rest struct {
	base  *url.URL
	http  *http.Client
	clock mfpgate.Clock
}

// call makes one exchange with a token. key is for Idempotency-Key and may be "". An error of a status wraps
// mfpgate.ErrInvalidGrant if the token is not good.
func (r rest) call(ctx context.Context, method string, at *url.URL, g mfpgate.Grant, key string, body []byte) (exchange.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(string(body)))
	if err != nil {
		return exchange.Answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+g.Token.Reveal())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	a, err := exchange.Do(r.http, r.clock, req)
	switch {
	case err != nil:
		return a, err
	case a.Status == http.StatusUnauthorized && (a.Body != nil || strings.HasPrefix(strings.ToLower(a.Header.Get("WWW-Authenticate")), "bearer")):
		return a, fmt.Errorf("%w: %w", mfpgate.ErrInvalidGrant, a.Problem(g.Token))
	case a.Status >= 400:
		return a, a.Problem(g.Token)
	}
	return a, nil
}

// gone has an error say, where a service no longer has what a call was about, that it does not. A page of something on the way says
// nothing.
func gone(a exchange.Answer, err error) error {
	if err != nil && a.Body != nil && (a.Status == http.StatusNotFound || a.Status == http.StatusGone) {
		return fmt.Errorf("%w: %w", mfpgate.ErrNoPrinter, err)
	}
	return err
}

// sameOrigin resolves what a service names as its own, to which a token will be sent.
func (r rest) sameOrigin(text string) (*url.URL, error) {
	u, err := r.base.Parse(text)
	if err != nil {
		return nil, errors.New("an address that cannot be read")
	}
	if u.Scheme != r.base.Scheme || u.Host != r.base.Host || u.User != nil {
		return nil, fmt.Errorf("%q is not on %s, where the token may go", u.Redacted(), r.base.Host)
	}
	u.Fragment = ""
	return u, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func oauth(o Options, h *http.Client) deviceauth.Client {
	return deviceauth.Client{HTTP: h, ClientID: orDefault(o.ClientID, "mfpgate"), Clock: o.Clock}
}
