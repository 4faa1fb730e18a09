package printer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
)

// ErrTaken is returned where another printer of the site has the address, or, among those announced, the name.
var ErrTaken = errors.New("another printer has it")

// SiteOptions are what the printers of a site share. Clock is required.
type SiteOptions struct {
	Clock mfpgate.Clock
	Rand  *rand.Rand // of activity and of DNS-SD's delays; nil: seeded by the runtime

	IPPPort   uint16 // 0: a free one, see Printer.IPP
	SNMPPort  uint16 // 0: a free one, see Printer.SNMP
	TLS       *tls.Config
	IPPSPort  uint16 // with TLS only; 0: a free one
	Community string // "": public

	// OwnSockets gives each printer sockets of its own, so that one that is switched off refuses connections, and so that
	// nothing listens on other addresses. Otherwise one socket for each protocol serves all; a printer that is off then
	// resets a connection after accepting it.
	OwnSockets bool
	IPv6       bool   // shared sockets on [::] too; own sockets need no word
	Interface  string // narrows the shared sockets to one interface, such as lo; "": all

	DNSSD DNSSD

	// JobsPerHour is how many jobs each printer prints on average, with the toner and the troubles that come of them; 0: none.
	JobsPerHour float64
}

// Stats count what was received.
type Stats struct {
	IPP        int64 // requests
	SNMP       int64 // requests
	DNSSD      int64 // questions about it; of a Site: packets with questions
	Unanswered int64 // of any protocol, that got no answer because it was off
}

type stats struct{ ipp, snmp, dnssd, unanswered atomic.Int64 }

func (s *stats) read() Stats {
	return Stats{IPP: s.ipp.Load(), SNMP: s.snmp.Load(), DNSSD: s.dnssd.Load(), Unanswered: s.unanswered.Load()}
}

// Site is safe for concurrent use. Nothing is answered before Run.
type Site struct {
	o      SiteOptions
	shared *sockets // nil with OwnSockets
	mdns   *responder
	agenda *agenda

	mu        sync.RWMutex
	printers  []*Printer
	byAddress map[netip.Addr]*Printer
	serve     func(func(context.Context)) // nil before Run and after it
	waiting   []func(context.Context)     // to serve once Run runs
	ended     bool

	mibs  mibs
	stats stats
	dice  dice
}

// dice are the site's random numbers, for any goroutine.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (d *dice) float() float64 { d.mu.Lock(); defer d.mu.Unlock(); return d.r.Float64() }
func (d *dice) exp() float64   { d.mu.Lock(); defer d.mu.Unlock(); return d.r.ExpFloat64() }
func (d *dice) intN(n int) int { d.mu.Lock(); defer d.mu.Unlock(); return d.r.IntN(n) }

// New opens the shared sockets.
func New(o SiteOptions) (*Site, error) {
	o.Community = cmp.Or(o.Community, "public")
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	s := &Site{o: o, byAddress: map[netip.Addr]*Printer{}, agenda: newAgenda(o.Clock), mibs: mibs{all: map[shape]mib{}}}
	s.dice.r = o.Rand
	if !o.OwnSockets {
		wildcards := []netip.Addr{netip.IPv4Unspecified()}
		if o.IPv6 {
			wildcards = append(wildcards, netip.IPv6Unspecified())
		}
		var err error
		if s.shared, err = s.open(wildcards, ports{o.IPPPort, o.IPPSPort, o.SNMPPort}); err != nil {
			return nil, err
		}
		s.shared.run()
	}
	if len(o.DNSSD.Interfaces) > 0 {
		var err error
		if s.mdns, err = newResponder(s); err != nil {
			if s.shared != nil {
				s.shared.close()
			}
			return nil, err
		}
	}
	return s, nil
}

// Run answers until ctx ends; then it says goodbye, closes all and returns nil.
func (s *Site) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.agenda.run(ctx); return nil })
	s.mu.Lock()
	s.serve = func(f func(context.Context)) { g.Go(func() error { f(ctx); return nil }) }
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, f := range waiting {
		s.serve(f)
	}
	<-ctx.Done()
	s.mu.Lock()
	s.ended, s.serve = true, nil
	printers := slices.Clone(s.printers)
	s.mu.Unlock()
	if s.mdns != nil {
		s.mdns.close(printers)
	}
	if s.shared != nil {
		s.shared.close()
	}
	for _, p := range printers {
		p.closeOwn()
	}
	return g.Wait()
}

// start serves f from now on, or from the begin of Run.
func (s *Site) start(f func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended: // its sockets close, or have
	case s.serve != nil:
		s.serve(f)
	default:
		s.waiting = append(s.waiting, f)
	}
}

// Add puts one more printer on the network, switched on.
func (s *Site) Add(o Options) (*Printer, error) {
	p, err := newPrinter(s, o)
	if err != nil {
		return nil, err
	}
	if err := s.claim(p, nil, p.o.Addresses); err != nil {
		return nil, err
	}
	if s.mdns != nil && o.DNSSD {
		if err := s.mdns.add(p); err != nil {
			s.release(p.o.Addresses)
			return nil, err
		}
	}
	if s.o.OwnSockets {
		if err := p.openOwn(); err != nil {
			s.release(p.o.Addresses)
			if s.mdns != nil {
				s.mdns.remove(p)
			}
			return nil, err
		}
	}
	s.mu.Lock()
	s.printers = append(s.printers, p)
	s.mu.Unlock()
	p.announce()
	if s.o.JobsPerHour > 0 {
		p.idleUntilJob()
	}
	return p, nil
}

// claim moves a printer from its old addresses to new ones.
func (s *Site) claim(p *Printer, old, addresses []netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addresses {
		if other := s.byAddress[a]; other != nil && other != p {
			return fmt.Errorf("address %s: %w", a, ErrTaken)
		}
	}
	for _, a := range old {
		delete(s.byAddress, a)
	}
	for _, a := range addresses {
		s.byAddress[a] = p
	}
	return nil
}

func (s *Site) release(addresses []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addresses {
		delete(s.byAddress, a)
	}
}

// at is the printer at an address, or nil.
func (s *Site) at(a netip.Addr) *Printer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byAddress[a.Unmap().WithZone("")]
}

// Printers are all, in the order of Add.
func (s *Site) Printers() []*Printer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.printers)
}

// Stats count what all printers received.
func (s *Site) Stats() Stats { return s.stats.read() }

func (s *Site) now() time.Time { return s.o.Clock.Now() }
