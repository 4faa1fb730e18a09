package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Bounds of a server.
const (
	maxHead  = 32 << 10 // bytes of a request's head
	headTime = 10 * time.Second
	idleTime = time.Minute
)

// Endpoint is one printer's server.
type Endpoint struct {
	all     *Endpoints
	key     string
	port    uint16
	about   About
	server  *http.Server
	door    *door
	serving sync.WaitGroup
	base    context.Context // without an end; for what is stored later

	mu        sync.Mutex
	share     Share
	listeners []net.Listener
	withdraw  func() // of what is published; nil: nothing is
	name      string // it was published under last
	wanted    string // that name was got for
	closed    bool
}

func newEndpoint(ctx context.Context, e *Endpoints, key string, a assignment, rt http.RoundTripper, about About) *Endpoint {
	p := &Endpoint{all: e, key: key, port: a.Port, about: about, name: a.Name, wanted: a.Wanted, base: context.WithoutCancel(ctx)}
	p.door = &door{clients: e.o.Clients, hosts: map[string]int{}}
	noise := log.New(remarks{e.o.Log}, "", 0)
	p.server = &http.Server{
		Handler:           p.handler(rt, noise),
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          noise,
		ConnContext:       withPeer,
	}
	return p
}

// Address is where the gateway itself reaches the printer, whatever is shared.
func (p *Endpoint) Address() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.port)
}

// Describe changes what is published of the printer.
func (p *Endpoint) Describe(about About) {
	p.mu.Lock()
	p.about = about
	withdraw := p.withdraw
	p.withdraw = nil
	p.mu.Unlock()
	if withdraw != nil {
		withdraw()
	}
	p.publish()
}

// listen makes the listeners what share wants. The error is ErrTaken, and then the endpoint is on this machine alone, or nowhere if it
// was nowhere before.
func (p *Endpoint) listen(share Share) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.share == share && len(p.listeners) > 0 { // with none it is where it could not be the last time
		return nil
	}
	// A listener at the wildcard and one at an address of it exclude one another, so the old ones go first. Connections stay.
	before := p.share
	p.closeListeners()
	err := p.bind(share)
	if err != nil && before != "" && share == LAN {
		share = Local
		err = errors.Join(fmt.Errorf("share on the network: %w", err), p.bind(share))
	}
	p.share = share
	p.door.share.Store(&share)
	if err == nil {
		p.all.o.Log.Debug().Str(field.Key, p.key).Str(field.Listen, strconv.Itoa(int(p.port))).Str(field.State, string(share)).Msg(event.EndpointOpened)
	}
	return err
}

func (p *Endpoint) bind(share Share) error {
	port := ":" + strconv.Itoa(int(p.port))
	addresses := map[Share][2]string{Off: {"127.0.0.1", ""}, Local: {"127.0.0.1", "[::1]"}, LAN: {"0.0.0.0", "[::]"}}[share]
	for i, network := range []string{"tcp4", "tcp6"} {
		if addresses[i] == "" {
			continue
		}
		l, err := net.Listen(network, addresses[i]+port)
		switch {
		case errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES):
			p.closeListeners()
			return fmt.Errorf("%w: %w", ErrTaken, err)
		case err != nil && network == "tcp6": // a machine without IPv6
			continue
		case err != nil:
			p.closeListeners()
			return fmt.Errorf("listen: %w", err)
		}
		in := newLimited(l, p.door)
		p.listeners = append(p.listeners, in)
		p.serving.Go(func() { _ = p.server.Serve(in) }) // Close waits for it
	}
	return nil
}

func (p *Endpoint) closeListeners() {
	for _, l := range p.listeners {
		_ = l.Close()
	}
	p.listeners = nil
}

// publish makes what is published what share wants.
func (p *Endpoint) publish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := p.share == LAN && !p.closed; want == (p.withdraw != nil) {
		return
	}
	if p.withdraw != nil {
		p.withdraw()
		p.withdraw = nil
		return
	}
	wanted := p.about.name()
	name := wanted
	if p.name != "" && p.wanted == wanted {
		name = p.name
	}
	withdraw, err := p.all.publisher.Publish(p.about.publication(p.key, name, p.port, func(name string) { p.named(wanted, name) }))
	if err != nil {
		p.all.o.Log.Warn().Str(field.Key, p.key).Str(field.Error, err.Error()).Msg(event.EndpointUnpublished)
		return
	}
	p.withdraw = withdraw
}

// storeTime bounds how long the responder waits for the store.
const storeTime = 10 * time.Second

// named keeps the name that was got.
func (p *Endpoint) named(wanted, name string) {
	p.mu.Lock()
	p.wanted, p.name = wanted, name
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(p.base)
	defer cancel()
	defer p.all.o.Clock.AfterFunc(storeTime, cancel)()
	err := p.all.rename(ctx, p.key, wanted, name)
	e := p.all.o.Log.Info()
	if err != nil {
		e = p.all.o.Log.Warn().Str(field.Error, err.Error())
	}
	e.Str(field.Key, p.key).Str(field.DeviceName, name).Str(field.Listen, strconv.Itoa(int(p.port))).Msg(event.EndpointPublished)
}

// Close takes back what is published, accepts nothing more, and returns when all requests have ended, or after those that ctx did not let
// end were told to break off: then with ctx's error. The port stays the device's.
func (p *Endpoint) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.closeListeners()
	p.mu.Unlock()
	p.publish()
	err := p.server.Shutdown(ctx)
	if err != nil {
		_ = p.server.Close()
	}
	p.serving.Wait()
	p.all.forget(p)
	return err
}
