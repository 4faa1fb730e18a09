package dnssd

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/multicast"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Conn is the way to the links. Its methods are called by Run's goroutine.
type Conn interface {
	// Join makes the conn hear and speak a family on an interface; the error says that it cannot, for now.
	Join(ifi net.Interface, f multicast.Family) error
	// Leave undoes Join. The interface may be gone already.
	Leave(ifi net.Interface, f multicast.Family)
	// Send sends to the family's group by an interface.
	Send(ifi net.Interface, f multicast.Family, packet []byte) error
	// SendTo sends to one host.
	SendTo(ifi net.Interface, to netip.AddrPort, packet []byte) error
	// Packets is what comes in; it is the same channel at each call.
	Packets() <-chan multicast.Packet
	// Close ends all that the Conn started, and waits for it.
	Close() error
}

// Options are what a Responder is built from.
type Options struct {
	Clock mfpgate.Clock
	Log   telemetry.Logger
	// Rand spreads what all on a link would do at once. nil: seeded by chance.
	Rand *rand.Rand
	// Host is the name that services are at, of any text: what is no letter or digit becomes a hyphen.
	Host string
	// Admit says which of the machine's addresses are published; a link without one is left alone. nil: all.
	Admit func(netip.Addr) bool
	// Interfaces lists the links, with their addresses. nil: Links.
	Interfaces func() ([]Interface, error)
	// Open makes the way to the links. nil: the system's sockets.
	Open func() (Conn, error)
}

// Interface is a link.
type Interface struct {
	net.Interface
	Prefixes []netip.Prefix // of its addresses
}

// Responder publishes. It is built by New and works while Run does.
type Responder struct {
	o    Options
	wake chan struct{}
	seed maphash.Seed

	mu     sync.Mutex
	host   *claim
	claims []*claim // of publications, in the order in which they came
	named  []func() // to be called without mu

	// The rest is Run's.
	conn     Conn
	now      time.Time
	polled   time.Time
	links    map[int]*link
	hindered map[string]bool
	own      ring
}

// claim is a name, and what is published under it: a publication's, or the host's.
type claim struct {
	base      string
	number    int
	label     string
	p         Publication
	isHost    bool
	units     []unit // of a publication
	ended     bool
	told      string
	conflicts []time.Time // of the last 10 s
	slow      time.Time   // until then every conflict has its wait
}

// New checks the options.
func New(o Options) (*Responder, error) {
	o.Host = hostLabel(o.Host)
	if o.Clock == nil || o.Host == "" {
		return nil, errors.New("dnssd: Options need a Clock and a Host")
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // jitter
	}
	if o.Admit == nil {
		o.Admit = func(netip.Addr) bool { return true }
	}
	if o.Interfaces == nil {
		o.Interfaces = Links
	}
	if o.Open == nil {
		o.Open = func() (Conn, error) { return multicast.Open(false), nil }
	}
	r := &Responder{o: o, wake: make(chan struct{}, 1), seed: maphash.MakeSeed(), links: map[int]*link{}, hindered: map[string]bool{}}
	r.host = &claim{base: o.Host, number: 1, label: o.Host, isHost: true}
	return r, nil
}

// Host is the name that services are at now: printers.local. It is another one after a conflict.
func (r *Responder) Host() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.TrimSuffix(r.hostName(), ".")
}

func (r *Responder) hostName() string { return r.host.label + ".local." }

// Publish begins to publish p, as soon as Run runs and there is a link; withdraw ends it with a goodbye, and may be called more than
// once. The error is ErrInvalid.
func (r *Responder) Publish(p Publication) (withdraw func(), err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &claim{p: p}
	c.base, c.number = parseNumber(mfpgate.CleanText(p.Name, MaxName))
	r.name(c)
	r.claims = append(r.claims, c)
	r.poke()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		c.ended = true
		r.poke()
	}, nil
}

// name gives a claim the label of its number, or of the next that none of our own has.
func (r *Responder) name(c *claim) {
	if c.isHost {
		c.label = numberedHost(c.base, c.number)
		for _, other := range r.claims {
			other.build(r.hostName())
		}
		return
	}
	for {
		c.label = numbered(c.base, c.number)
		if !slices.ContainsFunc(r.claims, func(o *claim) bool { return o != c && !o.ended && lower(o.label) == lower(c.label) }) {
			break
		}
		c.number++
	}
	c.build(r.hostName())
}

func (c *claim) build(host string) {
	c.units = nil
	for _, s := range c.p.Services {
		c.units = append(c.units, serviceUnit(c.label, s, host))
	}
}

func (r *Responder) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

const pollInterval = 15 * time.Second

// Run publishes until ctx ends, says goodbye for all, and returns nil. It is called once.
func (r *Responder) Run(ctx context.Context) error {
	conn, err := r.o.Open()
	if err != nil {
		return fmt.Errorf("open the way to the links: %w", err)
	}
	r.conn = conn
	timer := r.o.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.end()
			return conn.Close()
		case p := <-conn.Packets():
			r.locked(func() { r.receive(p) })
		case <-r.wake:
		case <-timer.C():
		}
		r.locked(r.work)
		timer.Reset(max(0, r.next().Sub(r.o.Clock.Now())))
	}
}

// locked runs fn at the clock's time, and what it wants told without the lock.
func (r *Responder) locked(fn func()) {
	r.mu.Lock()
	r.now = r.o.Clock.Now()
	fn()
	named := r.named
	r.named = nil
	r.mu.Unlock()
	for _, tell := range named {
		tell()
	}
}

// work does what is due.
func (r *Responder) work() {
	for _, c := range r.claims {
		if c.ended {
			r.goodbye(c)
		}
	}
	r.claims = slices.DeleteFunc(r.claims, func(c *claim) bool { return c.ended })
	r.poll()
	for _, l := range r.links {
		l.work()
	}
}

func (r *Responder) next() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.polled.Add(pollInterval)
	for _, l := range r.links {
		next = l.next(next)
	}
	return next
}

// goodbye withdraws what of a claim was announced, and forgets it on all links.
func (r *Responder) goodbye(c *claim) {
	for _, l := range r.links {
		if at := l.standings[c]; at != nil && at.phase != probing {
			l.farewell(c)
		}
		delete(l.standings, c)
	}
}

func (r *Responder) end() {
	r.locked(func() {
		for _, c := range append(slices.Clone(r.claims), r.host) {
			r.goodbye(c)
		}
		for _, l := range r.links {
			l.leave()
		}
		clear(r.links)
	})
}

// lost gives a name up to whoever has it, and tries the next.
func (r *Responder) lost(c *claim) {
	wait := r.conflict(c)
	for _, l := range r.links {
		if at := l.standings[c]; at != nil && at.phase != probing {
			l.farewell(c)
		}
	}
	c.number++
	r.name(c)
	for _, l := range r.links {
		l.claim(c, wait)
	}
	if !c.isHost {
		return
	}
	for _, l := range r.links { // their SRV records lead to another host now
		for other, at := range l.standings {
			if other != c && at.phase != probing {
				*at = standing{phase: announcing, due: r.now.Add(wait + time.Second)}
			}
		}
	}
}

// conflict counts one, and says how long to wait before the next probe: after 15 in 10 s it is 5 s (RFC 6762 §8.1), until there was none
// for a minute.
func (r *Responder) conflict(c *claim) time.Duration {
	c.conflicts = append(slices.DeleteFunc(c.conflicts, func(t time.Time) bool { return r.now.Sub(t) > 10*time.Second }), r.now)
	if len(c.conflicts) < 15 && r.now.After(c.slow) {
		return 0
	}
	c.conflicts = nil
	c.slow = r.now.Add(time.Minute)
	return 5 * time.Second
}

// won tells whoever published it what it is called.
func (r *Responder) won(c *claim) {
	if c.told == c.label {
		return
	}
	c.told = c.label
	if told, name := c.p.Named, c.label; told != nil {
		r.named = append(r.named, func() { told(name) })
	}
}

// ring remembers the packets that were sent in the last seconds: each comes back, on every interface of the same link.
type ring struct {
	sums [128]uint64
	at   [128]time.Time
	next int
}

func (g *ring) add(sum uint64, now time.Time) {
	g.sums[g.next], g.at[g.next] = sum, now
	g.next = (g.next + 1) % len(g.sums)
}

func (g *ring) has(sum uint64, now time.Time) bool {
	for i := range g.sums {
		if g.sums[i] == sum && now.Sub(g.at[i]) < 3*time.Second {
			return true
		}
	}
	return false
}
