package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/client"
)

// Options say which region, and as whom. Region, ManagementURL and Clock are required; a role whose token is missing refuses that
// role's calls.
type Options struct {
	Region          string              // its name: what answers must say
	ManagementURL   string              // https://host[:port], without a path
	ServicesURL     string              // "": the first of the region's service hosts, as its signed document says; needs Keys
	ManagementToken mfpgate.Secret      // of the calling management server, for orders and questions to both roles
	ServicesToken   mfpgate.Secret      // of the calling services, for Send
	Keys            []ed25519.PublicKey // under which the region signs
	RootCAs         *x509.CertPool      // nil: the system's
	Clock           mfpgate.Clock
	Timeout         time.Duration // of one call with its answer; 0: 30 s
	UserAgent       string        // "": mfpgate
}

// ErrCredential is returned when the region does not take the credential that came with a call. The same call may go well once an
// operator has mended it.
var ErrCredential = errors.New("the credential is not taken; have the region invite this one again (mfpcloud peer invite, then accept)")

const (
	maxHolding  = 256 << 10 // bytes; a holding, and a registrant, with every class and service
	maxAnswer   = 320 << 10 // bytes; a move's answer with a management server's own data
	maxDocument = 128 << 10 // bytes; signed regions, and a roll-out
	maxRegions  = 256
	maxHosts    = 64 // of one role
	maxDetail   = 500
	// foundFor is how long a services URL that was read from the signed document is used before it is read again.
	foundFor = time.Hour
)

// Peer is a region. It is safe for concurrent use.
type Peer struct {
	o          Options
	management *client.Endpoint // with the management server's credential
	open       *client.Endpoint // of the management server, without a credential

	mu     sync.Mutex
	found  string // the services URL in use
	at     time.Time
	orders *client.Endpoint // of the services, with the management server's credential
	sends  *client.Endpoint // of the services, with the services' credential
}

// Open checks the options. It makes no connection.
func Open(o Options) (*Peer, error) {
	p := &Peer{o: o}
	var err error
	if o.Region == "" {
		return nil, errors.New("peer: its region is required")
	}
	if p.management, err = p.dial(o.ManagementURL, o.ManagementToken); err != nil {
		return nil, fmt.Errorf("peer %s: management %w", o.Region, err)
	}
	if p.open, err = p.dial(o.ManagementURL, ""); err != nil {
		return nil, fmt.Errorf("peer %s: management %w", o.Region, err)
	}
	if o.ServicesURL == "" {
		if len(o.Keys) == 0 {
			return nil, fmt.Errorf("peer %s: give its services url, or its public key, under which it signs where its services are", o.Region)
		}
		return p, nil
	}
	if err := p.use(o.ServicesURL); err != nil {
		return nil, fmt.Errorf("peer %s: services %w", o.Region, err)
	}
	return p, nil
}

// Region is its name.
func (p *Peer) Region() string { return p.o.Region }

// Close frees idle connections.
func (p *Peer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range []*client.Endpoint{p.management, p.open, p.orders, p.sends} {
		if e != nil {
			e.Close()
		}
	}
}

func (p *Peer) dial(address string, token mfpgate.Secret) (*client.Endpoint, error) {
	return client.Dial(client.EndpointOptions{URL: address, Token: token, Clock: p.o.Clock, RootCAs: p.o.RootCAs, Timeout: p.o.Timeout, UserAgent: p.o.UserAgent})
}

// Hosts are the hosts of every region that this one knows, as it has signed them under one of Keys.
func (p *Peer) Hosts(ctx context.Context) ([]mfpgate.RegionHosts, error) {
	var signed api.SignedRegions
	_, err := p.open.Call(ctx, client.Call{Method: http.MethodGet, URL: p.open.Path(api.RegionsPath), Bound: maxDocument, Out: &signed})
	if err != nil {
		return nil, p.failed("hosts", err)
	}
	var hosts []mfpgate.RegionHosts
	if err := jws.Open(p.o.Keys, api.PurposeRegions, signed.Signed, &hosts); err != nil {
		return nil, p.failed("hosts", answer("%v; is the key still the one of mfpcloud key there?", err))
	}
	if len(hosts) > maxRegions {
		return nil, p.failed("hosts", answer("more than %d regions", maxRegions))
	}
	for _, h := range hosts {
		if h.Region == "" || len(h.Management) > maxHosts || len(h.Services) > maxHosts {
			return nil, p.failed("hosts", answer("region %q without a name, or with more than %d hosts", clip(h.Region), maxHosts))
		}
	}
	return hosts, nil
}

// use makes address the services'. The caller holds the lock, or has the only reference.
func (p *Peer) use(address string) error {
	orders, err := p.dial(address, p.o.ManagementToken)
	if err != nil {
		return err
	}
	sends, err := p.dial(address, p.o.ServicesToken)
	if err != nil {
		return err
	}
	if p.orders != nil {
		p.orders.Close()
		p.sends.Close()
	}
	p.orders, p.sends, p.found, p.at = orders, sends, address, p.o.Clock.Now()
	return nil
}

// services returns the endpoints of the services, which it looks up if need be.
func (p *Peer) services(ctx context.Context) (orders, sends *client.Endpoint, err error) {
	p.mu.Lock()
	known := p.orders != nil && (p.o.ServicesURL != "" || p.o.Clock.Now().Sub(p.at) < foundFor)
	orders, sends = p.orders, p.sends
	p.mu.Unlock()
	if known {
		return orders, sends, nil
	}
	hosts, err := p.Hosts(ctx)
	if err != nil {
		return nil, nil, err
	}
	base, _ := url.Parse(p.o.ManagementURL) // Open has read it
	for _, h := range hosts {
		if h.Region != p.o.Region || len(h.Services) == 0 {
			continue
		}
		address := base.Scheme + "://" + h.Services[0]
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.orders != nil && p.found == address {
			p.at = p.o.Clock.Now()
		} else if err := p.use(address); err != nil {
			return nil, nil, p.failed("hosts", answer("services %v", err))
		}
		return p.orders, p.sends, nil
	}
	return nil, nil, p.failed("hosts", answer("it names no host of its own services"))
}

// forget has the services looked up again after a call that did not reach them.
func (p *Peer) forget(err error) {
	var refusal *client.Error
	if p.o.ServicesURL != "" || err == nil || errors.As(err, &refusal) || errors.Is(err, client.ErrAnswer) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = time.Time{}
}

// failed says of an error what was asked of whom; nil stays nil.
func (p *Peer) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	var refusal *client.Error
	if errors.As(err, &refusal) {
		refusal.Problem.Title, refusal.Problem.Detail = clip(refusal.Problem.Title), clip(refusal.Problem.Detail)
		if status := refusal.Problem.Status; status == http.StatusUnauthorized || status == http.StatusForbidden {
			err = &denied{refusal}
		}
	}
	return fmt.Errorf("%s at region %s: %w", what, p.o.Region, err)
}

// denied is a refusal of the credential. It is a *client.Error for errors.As, and not mfpgate.ErrRefused.
type denied struct{ refusal *client.Error }

func (d *denied) Error() string          { return d.refusal.Error() + ": " + ErrCredential.Error() }
func (d *denied) Is(target error) bool   { return target == ErrCredential }
func (d *denied) Reason() mfpgate.Reason { return d.refusal.Reason() }
func (d *denied) Delay() time.Duration   { return d.refusal.RetryAfter }
func (d *denied) As(target any) bool {
	to, ok := target.(**client.Error)
	if ok {
		*to = d.refusal
	}
	return ok
}

// Confused is the reason of an answer that is not of the question.
const Confused mfpgate.Reason = "region-confused"

// confused is such an answer. Asking again is of no use: it is client.ErrAnswer and mfpgate.ErrRefused, and a mfpgate.Refused.
type confused struct{ text string }

func answer(format string, of ...any) error { return &confused{fmt.Sprintf(format, of...)} }

func (c *confused) Error() string { return client.ErrAnswer.Error() + ": " + c.text }
func (c *confused) Is(target error) bool {
	return target == client.ErrAnswer || target == mfpgate.ErrRefused
}
func (c *confused) Why() mfpgate.Reason { return Confused }

func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxDetail {
		return s
	}
	return strings.ToValidUTF8(s[:maxDetail], "") + "…"
}
