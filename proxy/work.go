package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// Work is what the gateway itself does for a device that cannot come to the relay, as if it had: it takes the device's slot and counts
// against its limits, goes where the rules, the guard and the routes let the device go, by the relay's name servers and upstream, and is
// told as a transfer of the device. Its methods may be called by several goroutines.
//
// The slot is held from SetUp until the first Move or the end of a Dial, and then while something moves: who says nothing for Linger, as
// while paper is out, holds nobody up, and waits for a turn with the next Move.
type Work struct {
	relay  *Relay
	device device
	slot   *slots.Conn
	ctx    context.Context // of the whole
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	queued   time.Duration
	settled  bool      // the set-up is over
	last     time.Time // when something moved
	active   time.Duration
	up, down int64
	closed   bool
}

// self is whom the events of a Work name as the client.
var self = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)

// Work begins work for a device, until ctx ends or Close is called, which the caller must. It takes no slot and does not wait. The error is
// a mfpgate.Refused if the device has as many connections as it may, or the relay stops.
func (r *Relay) Work(ctx context.Context, id mfpgate.DeviceID, name string) (*Work, error) {
	if r.stopping.Err() != nil {
		return nil, refuse(Stopping)
	}
	slot, err := r.slots.Connect(slots.Key(id))
	if err != nil {
		return nil, asRefusal(ctx, err)
	}
	w := &Work{relay: r, device: device{id: id, name: name, key: slots.Key(id)}, slot: slot}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w, nil
}

// SetUp waits until the device has its slot. The error is a mfpgate.Refused, with a method `Delay() time.Duration` that says when to come
// back, or ctx's.
func (w *Work) SetUp(ctx context.Context) error {
	began := w.relay.clock.Now()
	err := w.slot.SetUp(ctx)
	now := w.relay.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued += now.Sub(began)
	w.settled, w.last = err != nil, now
	return w.refused(err)
}

// Move says that bytes are about to move. It returns at once while the device has its slot, and else waits for its turn, with the errors
// of SetUp.
func (w *Work) Move(ctx context.Context) error {
	w.mu.Lock()
	settle := !w.settled
	w.settled = true
	w.mu.Unlock()
	if settle {
		w.slot.Established()
	}
	if err := w.slot.Move(ctx); err != nil {
		return w.refused(err)
	}
	now := w.relay.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if gap := now.Sub(w.last); !w.last.IsZero() && gap > 0 {
		w.active += min(gap, w.relay.policy.Load().Linger)
	}
	w.last = now
	return nil
}

// refused makes the parts' decisions the relay's.
func (w *Work) refused(err error) error {
	if _, busy := errors.AsType[*slots.Refused](err); busy {
		return asRefusal(w.ctx, err)
	}
	return err
}

// Delay is when to try again; 0 is not said.
func (r *refusal) Delay() time.Duration { return r.retryAfter }

// Close ends the work and its connections, frees the slot, and tells of the transfer if bytes came from outside. It is idempotent.
func (w *Work) Close() {
	w.mu.Lock()
	was := w.closed
	w.closed = true
	active, up, down := w.active, w.up, w.down
	w.mu.Unlock()
	if was {
		return
	}
	w.cancel(net.ErrClosed)
	w.slot.Close()
	if tell := w.relay.Transferred; tell != nil && down > 0 {
		now := w.relay.clock.Now()
		tell(Transfer{Device: scheduled(w.device.key), Began: now.Add(-active), Ended: now, Up: up, Down: down})
	}
}

// Dial connects to a host and a port on behalf of the device, which should hold its slot (SetUp). network is not looked at: it is TCP. What
// is not allowed, or not reached, is a mfpgate.Refused, and told as every refusal. What moves on the connection takes the device's turn and
// rate.
func (w *Work) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	x := w.relay.record.start(self, http.MethodConnect)
	x.device, x.slot = w.device, w.slot
	w.mu.Lock()
	x.queued, w.queued, w.settled = w.queued, 0, true
	w.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ctx, func() { cancel(context.Cause(w.ctx)) })()
	defer context.AfterFunc(w.relay.stopping, func() { cancel(context.Cause(w.relay.stopping)) })()
	conn, err := w.open(ctx, x, address)
	w.slot.Established()
	if err != nil {
		no := asRefusal(ctx, first(ctx, err))
		x.refused(no)
		return nil, no
	}
	return conn, nil
}

// open passes the gates of CONNECT, but for those that are about a client.
func (w *Work) open(ctx context.Context, x *exchange, address string) (*workConn, error) {
	r, p := w.relay, w.relay.policy.Load()
	var err error
	if x.host, x.port, err = splitTarget(address); err != nil {
		return nil, err
	}
	rule, ok := p.rules.Allow(x.host, x.port)
	if !ok {
		return nil, refuse(NotAllowed)
	}
	x.rule = rule.String()
	if err := x.lead(); err != nil {
		return nil, err
	}
	began := r.clock.Now()
	origin, said, err := r.dial(ctx, p, x, rule)
	x.dialled = r.clock.Now().Sub(began)
	if err != nil {
		r.record.dialFailed(asRefusal(ctx, err))
		return nil, err
	}
	if err := r.crossings.enter(x); err != nil {
		_ = origin.Close()
		return nil, err
	}
	c := &workConn{Conn: origin, work: w, x: x, said: said, idle: rule.Idle, turn: p.maxTurn()}
	if c.idle == 0 {
		c.idle = p.Idle
	}
	if x.crossing != nil {
		r.crossings.opened(x.crossing, func(route mfpgate.Route) { c.end(route.Reason) })
	}
	unhook := context.AfterFunc(w.ctx, func() { _ = c.Close() })
	c.mu.Lock()
	c.unhook = unhook
	c.mu.Unlock()
	return c, nil
}

// workConn is a connection of a Work.
type workConn struct {
	net.Conn // and none of the ways of a *net.TCPConn past Read and Write
	work     *Work
	x        *exchange
	said     []byte // that the origin sent with the upstream's answer
	idle     time.Duration
	turn     int // bytes that are read at a time under a rate; 0: any

	mu       sync.Mutex
	unhook   func() bool
	outcome  mfpgate.Reason
	up, down int64
	closed   bool
}

// Read takes the device's turn for what came before it is passed on.
func (c *workConn) Read(p []byte) (n int, err error) {
	if len(p) > slots.MaxTake {
		p = p[:slots.MaxTake]
	}
	if c.turn > 0 && len(p) > c.turn {
		p = p[:c.turn]
	}
	if len(c.said) > 0 {
		n = copy(p, c.said)
		c.said = c.said[n:]
	} else {
		_ = c.SetReadDeadline(c.work.relay.clock.Now().Add(c.idle))
		n, err = c.Conn.Read(p)
	}
	if c.moved(0, n); n > 0 {
		if no := c.take(n); no != nil {
			return 0, no
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		c.ending("served")
	case err != nil:
		c.ending(OriginBroken)
	}
	return n, err
}

// Write takes the device's turn for what is about to go.
func (c *workConn) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		piece := p[:min(len(p), slots.MaxTake)]
		if err = c.take(len(piece)); err != nil {
			return n, err
		}
		_ = c.SetWriteDeadline(c.work.relay.clock.Now().Add(stalledLimit))
		var sent int
		sent, err = c.Conn.Write(piece)
		c.moved(sent, 0)
		n, p = n+sent, p[sent:]
	}
	return n, err
}

func (c *workConn) take(n int) error {
	if err := c.work.slot.Take(c.work.ctx, n); err != nil {
		return err
	}
	return c.work.Move(c.work.ctx)
}

// moved counts.
func (c *workConn) moved(up, down int) {
	c.mu.Lock()
	first := c.down == 0 && down > 0
	c.up, c.down = c.up+int64(up), c.down+int64(down)
	c.mu.Unlock()
	c.work.mu.Lock()
	c.work.up, c.work.down = c.work.up+int64(up), c.work.down+int64(down)
	c.work.mu.Unlock()
	c.x.record.moved[upCopied].Add(float64(up))
	c.x.record.moved[downCopied].Add(float64(down))
	if first {
		c.x.reached(int64(down))
	}
}

// ending is why the connection ends; the first counts.
func (c *workConn) ending(why mfpgate.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outcome == "" {
		c.outcome = why
	}
}

// end cuts the connection.
func (c *workConn) end(why mfpgate.Reason) {
	c.ending(why)
	_ = c.Close()
}

// Close tells of the connection, once.
func (c *workConn) Close() error {
	c.ending("served")
	c.mu.Lock()
	was, outcome, up, down, unhook := c.closed, c.outcome, c.up, c.down, c.unhook
	c.closed = true
	c.mu.Unlock()
	if unhook != nil {
		unhook()
	}
	if was {
		return nil
	}
	err := c.Conn.Close()
	c.work.relay.crossings.leave(c.x)
	c.x.answered(string(outcome), http.StatusOK, up, down)
	return err
}
