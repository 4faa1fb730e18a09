package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/proxy/slots"
	"github.com/mfpgate/mfpgate/proxy/tunnel"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Options are what the relay is built from, beside its Policy.
type Options struct {
	Name        string // of this relay in Proxy-Status and Via: a token (RFC 9110 §5.6.2)
	Clock       mfpgate.Clock
	Log         telemetry.Logger
	Metrics     *telemetry.Metrics
	Devices     Devices
	Resolver    *net.Resolver  // nil: /etc/resolv.conf's servers
	Descriptors int            // RLIMIT_NOFILE
	Transferred func(Transfer) // nil: nobody wants to know; called as each tunnel or request ends, and must not wait
	Routes      Routes         // nil: every device may go wherever a rule lets it
	// Reached is told of each tunnel once, when the first bytes have come from where it goes, and of each plain request that
	// is answered: the device as Routes knows it, the host that it asked for, and how many bytes had come; at least 1 of a
	// request, however its answer looks. What the routes lead elsewhere is left out: the device does not know of that host.
	// It must not wait. Nil: nobody.
	Reached func(device mfpgate.DeviceID, host mfpgate.Host, port uint16, down int64)
	// Blocked is told of each exchange, or name in a ClientHello, that the routes refuse: the host that was asked for or
	// named, the region that it belongs to ("" is none that is known), and why. It must not wait. Nil: nobody.
	Blocked func(device mfpgate.DeviceID, host mfpgate.Host, region string, reason mfpgate.Reason)
	// OffLimits are addresses of this machine that nobody reaches through the relay, whatever a rule says, as its own; a wildcard stands
	// for every address at that port. It is asked for each dial, so it must be quick. Nil: none.
	OffLimits  func() []netip.AddrPort
	FirstBytes time.Duration // for a TLS client's whole hello; 0: 10 s, which tests shorten
}

// The bounds that no configuration changes.
const (
	halfClosedLimit  = 2 * time.Minute
	stalledLimit     = 2 * time.Minute
	firstBytesLimit  = 10 * time.Second
	keepAliveLimit   = 2 * time.Minute // of a client's connection between two plain requests
	spareDescriptors = 128             // for the store, the pages, the logs and the resolver
)

// Relay serves the site's devices. See New.
type Relay struct {
	Options
	clock     mfpgate.Clock
	devices   Devices
	policy    atomic.Pointer[Policy]
	slots     *slots.Admission
	tunnels   *tunnel.Registry
	dialer    atomic.Pointer[destination.Dialer]
	box       *destination.Box
	throttle  *account.Limiter
	plain     *plain
	record    *record
	crossings *crossings
	limit     int // client connections at once
	// pseudonym names this process in Via (RFC 9110 §7.6.3): it must differ between relays that share a configuration.
	pseudonym string

	listeners atomic.Pointer[[]netip.AddrPort]
	open      atomic.Int64   // client connections
	conns     sync.WaitGroup // their goroutines, and tunnels

	stopping context.Context // ends when the relay takes nothing new
	stop     context.CancelCauseFunc
	waiting  waiting
	sources  sources
	serving  sync.Mutex
	served   bool // Serve has begun, or will not any more
}

// New builds a relay. Run must run while it serves.
func New(o Options, p *Policy) (*Relay, error) {
	// An idle tunnel holds two descriptors; what moves borrows pipes.
	limit := (o.Descriptors - spareDescriptors - tunnel.PipeDescriptors) / 2
	if limit < 1 {
		return nil, fmt.Errorf("descriptor limit %d leaves no room for connections; raise LimitNOFILE to at least 1024", o.Descriptors)
	}
	if o.FirstBytes == 0 {
		o.FirstBytes = firstBytesLimit
	}
	r := &Relay{Options: o, clock: o.Clock, devices: o.Devices, limit: limit,
		tunnels: tunnel.NewRegistry(o.Clock, tunnel.Limits{HalfClosed: halfClosedLimit, Stalled: stalledLimit, FirstBytes: o.FirstBytes})}
	r.pseudonym = o.Name + "-" + strings.ToLower(rand.Text()[:8])
	r.listeners.Store(&[]netip.AddrPort{})
	r.box = &destination.Box{Clock: o.Clock, Listeners: r.offLimits}
	if r.Resolver == nil {
		r.Resolver = destination.NewResolver()
	}
	r.throttle = account.NewLimiter(o.Clock)
	r.conns.Add(1) // until nothing is accepted any more, so that Drain does not find none while one is being accepted
	r.stopping, r.stop = context.WithCancelCause(context.Background())
	r.record = newRecord(r)
	r.crossings = newCrossings(r)
	r.slots = slots.New(r.slotOptions(p))
	r.plain = newPlain(r, p.HeadTimeout)
	r.Apply(p)
	o.Metrics.RelayTunnelLimit.Set(float64(limit))
	return r, nil
}

// Own reports whether an address is this machine's, as destination.Box has it.
func (r *Relay) Own(a netip.Addr) bool { return r.box.Own(a) }

// offLimits are where nobody is led to: the relay's own addresses, and Options.OffLimits.
func (r *Relay) offLimits() []netip.AddrPort {
	own := *r.listeners.Load()
	if r.OffLimits == nil {
		return own
	}
	return slices.Concat(own, r.OffLimits())
}

func (r *Relay) slotOptions(p *Policy) slots.Options {
	return slots.Options{Clock: r.clock, Capacity: p.Capacity, Planned: p.planned(), Linger: p.Linger, QueueTimeout: p.QueueTimeout,
		QueueLimit: r.limit, Connections: p.Connections, Rate: p.Rate, Metrics: r.Metrics}
}

// Apply puts a policy in force for every request that comes from now on. Open tunnels stay.
func (r *Relay) Apply(p *Policy) {
	p.rules = destination.NewPolicy(p.Allow)
	r.dialer.Store(&destination.Dialer{Resolver: cmp.Or(p.Resolver, r.Resolver), Clock: r.clock, Box: r.box, Timeout: p.DialTimeout})
	p.out = r.plain.transports(p)
	if old := r.policy.Swap(p); old != nil {
		r.slots.Reconfigure(r.slotOptions(p))
		old.out.retire()
	}
}

// Refresh asks the policy's Capacity and Planned again, after something that they depend on has changed.
func (r *Relay) Refresh() { r.slots.Reconfigure(r.slotOptions(r.policy.Load())) }

// Run expires slots and tunnels, and ends what Reroute found, until ctx ends. It outlives Serve, so that a drain is bounded too.
func (r *Relay) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.slots.Run(ctx) })
	g.Go(func() error { return r.tunnels.Run(ctx) })
	g.Go(func() error { return r.crossings.run(ctx) })
	return g.Wait()
}

// Serve accepts connections from the listeners until Drain is called, and returns then with nil.
func (r *Relay) Serve(listeners []*net.TCPListener) error {
	var addrs []netip.AddrPort
	for _, l := range listeners {
		addrs = append(addrs, l.Addr().(*net.TCPAddr).AddrPort())
	}
	r.listeners.Store(&addrs)
	unhook := context.AfterFunc(r.stopping, func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	})
	defer unhook()
	var g errgroup.Group
	if !r.begin() {
		return nil // stopped before it began; the hook closes the listeners
	}
	var accepting sync.WaitGroup
	for _, l := range listeners {
		accepting.Add(1)
		g.Go(func() error {
			defer accepting.Done()
			return r.accept(l)
		})
	}
	g.Go(r.plain.serve)
	accepting.Wait()
	r.conns.Done() // New's
	return g.Wait()
}

// begin reports whether Serve may serve: Drain has not been called, which would wait for connections in vain.
func (r *Relay) begin() bool {
	r.serving.Lock()
	defer r.serving.Unlock()
	if r.served {
		return false
	}
	r.served = true
	return true
}

// Drain takes nothing new, waits for what is under way until ctx ends, and cuts the rest. It returns how many it cut.
func (r *Relay) Drain(ctx context.Context) (cut int) {
	r.stop(&refusal{reason: Stopping, retryAfter: time.Second})
	if r.begin() {
		r.conns.Done() // nobody serves: New's own count is all there is
	}
	r.waiting.wake()
	requests := make(chan int, 1)
	go func() { requests <- r.plain.drain(ctx) }() // awaited below
	done := make(chan struct{})
	go func() { // ends when every connection has: all are cut below at the latest
		r.conns.Wait()
		close(done)
	}()
	for {
		cut += r.tunnels.Drain(ctx, r.policy.Load().Linger)
		// A set-up that was under way has ended by now, or becomes one more tunnel.
		again := r.clock.NewTimer(10 * time.Millisecond)
		select {
		case <-done:
			again.Stop()
			return cut + <-requests
		case <-again.C():
		}
	}
}

// Tunnels returns the open tunnels.
func (r *Relay) Tunnels() []*tunnel.Tunnel { return r.tunnels.List() }

// Slots returns who is served and who waits.
func (r *Relay) Slots() slots.Snapshot { return r.slots.Snapshot() }

// Limit returns how many client connections the descriptor limit allows, and how many are open.
func (r *Relay) Limit() (limit, open int) { return r.limit, int(r.open.Load()) }

// Refusals returns the latest refusals, the newest first.
func (r *Relay) Refusals() []Refusal { return r.record.latest() }

// Collect brings the metrics that are kept elsewhere up to date; call it before they are read.
func (r *Relay) Collect() {
	r.slots.Count()
	r.record.collect(r.tunnels.List())
	r.Metrics.RelayTunnels.Set(float64(r.tunnels.Len()))
}

// sources counts the connections of each client address, before anybody knows which device it is.
type sources struct {
	mu   sync.Mutex
	open map[netip.Addr]int
}

// minPerSource is what every address may hold, however few descriptors there are.
const minPerSource = 64

func (s *sources) enter(from netip.Addr, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[netip.Addr]int{}
	}
	if s.open[from] >= limit {
		return false
	}
	s.open[from]++
	return true
}

func (s *sources) leave(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[from]--; s.open[from] <= 0 {
		delete(s.open, from)
	}
}

// waiting holds the connections on which a head may come, so that a drain does not wait for one.
type waiting struct {
	mu    sync.Mutex
	conns map[*net.TCPConn]struct{}
	woken bool
}

// add gives c until deadline for its head. It reports false if the relay is stopping.
func (w *waiting) add(c *net.TCPConn, deadline time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.woken {
		return false
	}
	if w.conns == nil {
		w.conns = map[*net.TCPConn]struct{}{}
	}
	w.conns[c] = struct{}{}
	return c.SetReadDeadline(deadline) == nil
}

func (w *waiting) remove(c *net.TCPConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

func (w *waiting) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.woken = true
	for c := range w.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}
