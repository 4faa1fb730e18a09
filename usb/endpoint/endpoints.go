package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

// Share says who may use the endpoints.
type Share string

// The choices of usb.share; see the package's comment.
const (
	Off   Share = "off"
	Local Share = "local"
	LAN   Share = "lan"
)

var (
	// ErrServed is returned by Serve for a key that is being served.
	ErrServed = errors.New("the device has an endpoint already")
	// ErrNoPort is returned by Serve when other programs have all ports.
	ErrNoPort = errors.New("no TCP port is free")
	// ErrTaken is returned by Reconfigure when another program has an endpoint's port on the network. The endpoint stays on this machine.
	ErrTaken = errors.New("another program has the TCP port")
)

// Publisher publishes by DNS-SD: *dnssd.Responder, or what stands for it.
type Publisher interface {
	Publish(dnssd.Publication) (withdraw func(), err error)
	Host() string
	Run(ctx context.Context) error
}

// Options are what Endpoints are built from.
type Options struct {
	Clock mfpgate.Clock
	Log   telemetry.Logger
	Store store.Store // local; it remembers which device has which port and name
	Share Share
	// Clients says who of the network may use the endpoints: relay.clients. It is asked at each request. nil: nobody.
	Clients func(netip.Addr) bool
	// Host is this machine's name, for Host fields and to make the published host's of: "gate". "": the kernel's.
	Host string
	// Publisher, if it is there, stands for the package's own responder.
	Publisher Publisher
}

// Endpoints are the HTTP servers of the printers on this machine's USB.
type Endpoints struct {
	o         Options
	host      string
	publisher Publisher

	mu    sync.Mutex
	share Share
	live  map[string]*Endpoint // by key; nil while it is made
}

// New checks the options. Nothing listens before Serve.
func New(o Options) (*Endpoints, error) {
	if o.Clock == nil || o.Store == nil {
		return nil, errors.New("endpoint: Options need a Clock and a Store")
	}
	if err := o.Share.check(); err != nil {
		return nil, err
	}
	if o.Clients == nil {
		o.Clients = func(netip.Addr) bool { return false }
	}
	if o.Host == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("this machine's name: %w", err)
		}
		o.Host = name
	}
	e := &Endpoints{o: o, host: strings.ToLower(strings.TrimSuffix(o.Host, ".")), publisher: o.Publisher, share: o.Share, live: map[string]*Endpoint{}}
	if e.publisher == nil {
		first, _, _ := strings.Cut(e.host, ".")
		responder, err := dnssd.New(dnssd.Options{Clock: o.Clock, Log: o.Log, Host: "mfpgate-" + first, Admit: o.Clients})
		if err != nil {
			return nil, err
		}
		e.publisher = responder
	}
	return e, nil
}

func (s Share) check() error {
	if s != Off && s != Local && s != LAN {
		return fmt.Errorf("share %q: must be off, local or lan", s)
	}
	return nil
}

// Run publishes what is shared until ctx ends, takes it back, and returns nil. The servers do not depend on it.
func (e *Endpoints) Run(ctx context.Context) error { return e.publisher.Run(ctx) }

// Serve begins to serve a device at its port. The key is what it is known by, as vendor:product:serial; rt brings requests to it, which
// have the URL http://localhost/..., and may be used until Close returned. ctx bounds Serve alone.
func (e *Endpoints) Serve(ctx context.Context, key string, rt http.RoundTripper, about About) (*Endpoint, error) {
	key = bounded(key)
	e.mu.Lock()
	if _, there := e.live[key]; there {
		e.mu.Unlock()
		return nil, fmt.Errorf("serve %s: %w", key, ErrServed)
	}
	e.live[key] = nil
	e.mu.Unlock()
	p, err := e.open(ctx, key, rt, about)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		delete(e.live, key)
		return nil, fmt.Errorf("serve %s: %w", key, err)
	}
	e.live[key] = p
	if err := p.listen(e.share); err != nil { // it was changed in the meantime
		e.o.Log.Warn().Str(field.Key, key).Str(field.Error, err.Error()).Msg(event.EndpointUnpublished)
	}
	p.publish()
	return p, nil
}

// open finds the device's port and listens at it.
func (e *Endpoints) open(ctx context.Context, key string, rt http.RoundTripper, about About) (*Endpoint, error) {
	e.mu.Lock()
	share := e.share
	e.mu.Unlock()
	taken := map[uint16]bool{}
	for range maxTaken {
		a, err := e.assign(ctx, key, taken)
		if err != nil {
			return nil, err
		}
		p := newEndpoint(ctx, e, key, a, rt, about)
		err = p.listen(share)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, ErrTaken) {
			return nil, err
		}
		taken[a.Port] = true
	}
	return nil, ErrNoPort
}

// Reconfigure changes who may use the endpoints. Each keeps its port, and requests that are under way are finished. The error is ErrTaken
// for those that cannot be on the network; the others are changed.
func (e *Endpoints) Reconfigure(share Share) error {
	if err := share.check(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.share = share
	var errs []error
	for _, p := range e.live {
		if p != nil {
			errs = append(errs, p.listen(share))
			p.publish()
		}
	}
	return errors.Join(errs...)
}

func (e *Endpoints) forget(p *Endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[p.key] == p {
		delete(e.live, p.key)
	}
}
