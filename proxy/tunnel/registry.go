package tunnel

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Why a tunnel ended.
const (
	Closed        mfpgate.Reason = "closed"         // both sides ended their stream
	Idle          mfpgate.Reason = "idle"           // neither direction moved for the idle time
	HalfClosed    mfpgate.Reason = "half-closed"    // one side ended, and then nothing came from the other
	Stalled       mfpgate.Reason = "stalled"        // bytes were there and their reader took none
	ClientReset   mfpgate.Reason = "client-reset"   // the device broke the connection
	OriginReset   mfpgate.Reason = "origin-reset"   // the other side did
	Drained       mfpgate.Reason = "drained"        // idle while the relay was stopping
	DrainDeadline mfpgate.Reason = "drain-deadline" // still moving when the relay had to stop
)

// Turn is the right of a tunnel's device to move bytes. Both calls may wait; a mfpgate.Refused cuts the tunnel.
type Turn interface {
	// Take is called before n bytes are read, for the device's rate.
	Take(ctx context.Context, n int) error
	// Move is called after it, because a turn may pass while the rate is waited for.
	Move(ctx context.Context) error
}

// Limits bound the states of a tunnel in which nothing moves.
type Limits struct {
	HalfClosed time.Duration // after one direction ended
	Stalled    time.Duration // of a reader that takes nothing
	FirstBytes time.Duration // between the first byte that Inspect sees and its verdict
}

// Spec describes a tunnel to open. It takes over both connections.
type Spec struct {
	Client, Origin         *net.TCPConn
	FromClient, FromOrigin []byte // what was read from each already
	Turn                   Turn
	MaxTurn                int           // bytes that move between two questions to Turn; 0 is the most, 1 MiB
	Idle                   time.Duration // cut after this long without a byte in either direction
	Inspect                Inspect       // of the client's first bytes; nil lets them pass
	Opened                 func(*Tunnel) // called before a byte moves, when the tunnel can be cut
	Answered               func(n int)   // called once, when the first bytes have come from the origin, with how many; must not wait
	Label                  Label
	Owner                  any           // whatever the opener finds again in List and Done
	Done                   func(*Tunnel) // called once, after both connections are closed
}

// Inspect sees the client's first bytes, more at each call, until it says that they may pass or returns an error that cuts
// the tunnel. At the final call no more will come: MaxFirst is reached, the client has ended its stream, or
// Limits.FirstBytes are over; it must then decide. The other direction flows meanwhile.
type Inspect func(first []byte, final bool) (pass bool, err error)

// MaxFirst is how many of the client's first bytes Inspect may ask for.
const MaxFirst = 16 << 10

// Label is what a list of tunnels shows of one.
type Label struct {
	Device      mfpgate.DeviceID `json:"deviceId"`
	DeviceName  string           `json:"deviceName"`
	Client      string           `json:"client"`
	Destination string           `json:"destination"`
	Forwarded   string           `json:"forwarded"` // where the tunnel goes in place of Destination; "" is there
	Rule        string           `json:"rule"`
}

// Registry holds every open tunnel.
type Registry struct {
	clock  mfpgate.Clock
	epoch  time.Time
	limits Limits
	pipes  *pipes

	quiet atomic.Int64 // while draining: cut what has not moved for so many nanoseconds

	mu    sync.Mutex
	open  map[*Tunnel]struct{}
	grown chan struct{} // capacity 1: wakes Run when the first tunnel opens
	empty chan struct{} // closed while no tunnel is open
}

// NewRegistry returns an empty registry. Run must run for limits to hold.
func NewRegistry(clock mfpgate.Clock, limits Limits) *Registry {
	r := &Registry{clock: clock, epoch: clock.Now(), limits: limits, pipes: newPipes(), open: map[*Tunnel]struct{}{},
		grown: make(chan struct{}, 1), empty: make(chan struct{})}
	close(r.empty)
	return r
}

// now is the time since the registry's start, in nanoseconds of the monotonic clock; never 0.
func (r *Registry) now() int64 { return int64(r.clock.Now().Sub(r.epoch)) + 1 }

// Open starts moving bytes and returns at once. Spec.Done tells the end.
func (r *Registry) Open(s Spec) *Tunnel {
	t := &Tunnel{Spec: s, registry: r, opened: r.now(), done: make(chan struct{})}
	t.moved.Store(t.opened)
	t.running.Store(2)
	r.mu.Lock()
	if len(r.open) == 0 {
		r.empty = make(chan struct{})
		select {
		case r.grown <- struct{}{}:
		default:
		}
	}
	r.open[t] = struct{}{}
	r.mu.Unlock()
	if t.Opened != nil {
		t.Opened(t)
	}
	t.start()
	return t
}

func (r *Registry) remove(t *Tunnel) {
	r.mu.Lock()
	delete(r.open, t)
	if len(r.open) == 0 {
		close(r.empty)
	}
	r.mu.Unlock()
}

// Len returns how many tunnels are open.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// List returns the open tunnels, in no order.
func (r *Registry) List() []*Tunnel {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Tunnel, 0, len(r.open))
	for t := range r.open {
		list = append(list, t)
	}
	return list
}

// Run cuts the tunnels that overstay a limit, until ctx ends. With no tunnel open it sleeps.
func (r *Registry) Run(ctx context.Context) error {
	timer := r.clock.NewTimer(time.Hour)
	defer timer.Stop()
	defer r.pipes.trim(0)
	for {
		r.mu.Lock()
		none := len(r.open) == 0
		r.mu.Unlock()
		if none {
			r.pipes.trim(0)
			select {
			case <-ctx.Done():
				return nil
			case <-r.grown:
			}
		}
		timer.Reset(r.sweep())
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C():
		}
	}
}

// The bounds of the time between two sweeps: a limit is overstayed by a quarter at most. While a tunnel waits for its turn
// its client is looked at more often.
const (
	minSweep  = 5 * time.Millisecond
	maxSweep  = time.Second
	waitSweep = 200 * time.Millisecond
)

func (r *Registry) sweep() (next time.Duration) {
	now, quiet := r.now(), r.quiet.Load()
	shortest := 4 * maxSweep
	for _, t := range r.List() {
		limit, why := t.Idle, Idle
		if t.running.Load() == 1 && r.limits.HalfClosed < limit {
			limit, why = r.limits.HalfClosed, HalfClosed
		}
		if quiet > 0 && time.Duration(quiet) < limit {
			limit, why = time.Duration(quiet), Drained
		}
		if time.Duration(now-t.moved.Load()) >= limit {
			t.Cut(why)
			continue
		}
		if t.up.waits.Load() { // nobody reads from the client meanwhile, and its place in the queue is another's
			if t.up.broken() {
				t.Cut(ClientReset)
				continue
			}
			shortest = min(shortest, 4*waitSweep)
		}
		for _, f := range []*flow{&t.up, &t.down} {
			if since := f.stalled.Load(); since != 0 && time.Duration(now-since) >= r.limits.Stalled {
				t.Cut(Stalled)
			}
		}
		shortest = min(shortest, limit)
	}
	r.pipes.trim(keptPipes)
	return max(minSweep, min(maxSweep, min(shortest, r.limits.Stalled)/4))
}

// Drain cuts each tunnel once it has not moved for quiet, and those that still move when ctx ends. It returns when no
// tunnel is open, with how many the deadline cut. Run must be running.
func (r *Registry) Drain(ctx context.Context, quiet time.Duration) (cut int) {
	r.quiet.Store(int64(max(quiet, 1)))
	r.sweep()
	r.mu.Lock()
	empty := r.empty
	r.mu.Unlock()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	for _, t := range r.List() {
		t.Cut(DrainDeadline)
		cut++
	}
	<-empty
	return cut
}
