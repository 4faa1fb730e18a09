package slots

import (
	"context"
	"slices"
	"time"
)

// Conn is one connection of a device, as admission sees it. Its methods may be called at once from both directions of a
// tunnel.
type Conn struct {
	admission *Admission
	device    *device

	// Guarded by Admission.mu.
	settingUp bool
	closed    bool
}

// Connect counts a connection of device; the caller must Close it. It never waits and takes no slot. The error is a
// *Refused with ReasonDeviceConnections if the device has as many open as it may.
func (a *Admission) Connect(device Key) (*Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.devices[device]
	if limit := a.set.Load().Connections; limit > 0 && d != nil && d.conns >= limit {
		return nil, &Refused{Reason: ReasonDeviceConnections}
	}
	if d == nil {
		d = newDevice(device)
		a.devices[device] = d
	}
	d.conns++
	return &Conn{admission: a, device: d}, nil
}

// SetUp waits until the device holds a slot, and keeps the slot while the connection is being set up (destination
// resolved and dialled): until Established or Close. It returns nil with the slot held, or *Refused with ReasonQueueFull
// (at once) or ReasonQueueTimeout, ErrClosed, or ctx's error.
func (c *Conn) SetUp(ctx context.Context) error { return c.enter(ctx, true) }

// Established says that set-up is over. It counts as movement, for an answer is sent now, also where a dial failed and
// the client's connection stays: the device keeps its slot for Linger from now, and then for as long as its connections
// move bytes. SetUp may follow again, as for the next request of a plain HTTP connection. Without a SetUp before it,
// Established does nothing.
func (c *Conn) Established() {
	a := c.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.settingUp {
		return
	}
	now := a.look()
	a.touch(c.device, now)
	a.unpin(c)
	a.settle(now)
}

// Move says that the connection is about to move bytes. If the device holds a slot it returns at once, without a lock;
// else it takes a free slot, or waits for the device's turn. It returns nil with the slot held for Linger from now, or
// *Refused with ReasonQueueTimeout when the tunnel is to be cut, ErrClosed, or ctx's error. An established tunnel is not
// turned away by QueueLimit.
func (c *Conn) Move(ctx context.Context) error {
	a := c.admission
	now := a.now()
	if c.device.hold(now, int64(a.set.Load().Linger)) {
		return nil
	}
	return c.enter(ctx, false)
}

// Close ends the connection; what waits in it returns ErrClosed. When the last connection of a device closes, its slot is
// free at once instead of after Linger: nothing of the device can move any more. When the last caller that waited leaves,
// so is its place in the queue, unless it is kept for a caller that was told to come back. Close is idempotent.
func (c *Conn) Close() {
	a, d := c.admission, c.device
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	now := a.look()
	if t := d.ticket; t != nil && t.present {
		for _, w := range slices.Clone(t.waiters) {
			if w.conn == c {
				a.leave(w, now, ErrClosed)
			}
		}
	}
	if c.settingUp {
		a.unpin(c)
	}
	d.conns--
	if d.conns == 0 {
		if d.word.Swap(0) != 0 {
			a.released(d)
		}
		if d.ticket == nil {
			delete(a.devices, d.key)
		}
	}
	a.settle(now)
}

// enter gets the device a slot, or its place in the queue and waits there.
func (c *Conn) enter(ctx context.Context, setUp bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := c.join(setUp)
	if w == nil {
		return err
	}
	return c.await(ctx, w)
}

// join returns a nil waiter where there is nothing to wait for: err says whether the slot is held.
func (c *Conn) join(setUp bool) (*waiter, error) {
	a, d := c.admission, c.device
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.look()
	a.settle(now)
	switch set := a.set.Load(); {
	case c.closed:
		return nil, ErrClosed
	case c.settingUp:
		return nil, nil
	case d.word.Load() != 0:
		a.admit(c, setUp, now)
		return nil, nil
	case a.held < a.capacity: // so nobody waits; see settle
		a.drop(d) // a place that was kept has served its purpose
		a.take(d, now)
		a.admit(c, setUp, now)
		a.publish()
		return nil, nil
	case d.ticket != nil:
		a.queue.setKind(d.ticket, a.kindOf(d))
		a.queue.setPresent(d.ticket, true)
		a.kept.remove(&d.ticket.kept)
	case setUp && a.queue.present >= set.QueueLimit:
		return nil, &Refused{ReasonQueueFull, a.turns.retryAfter(a.queue.present+1, set.QueueTimeout)}
	default:
		d.ticket = newTicket(d, now)
		d.ticket.kind = a.kindOf(d)
		a.queue.join(d.ticket)
	}
	w := &waiter{conn: c, setUp: setUp, over: make(chan struct{})}
	d.ticket.waiters = append(d.ticket.waiters, w)
	d.ticket.promise = 0 // who was told to come back has come
	a.settle(now)        // plans the wake-up
	return w, nil
}

// await blocks until w has its turn, its time is over or ctx ends.
func (c *Conn) await(ctx context.Context, w *waiter) error {
	a := c.admission
	start := a.now()
	set := a.set.Load()
	timer := a.clock.NewTimer(set.QueueTimeout)
	defer timer.Stop()
	for {
		select {
		case <-w.over:
			return w.err
		case <-ctx.Done():
			return a.giveUp(w, ctx.Err())
		case <-timer.C():
			return a.giveUp(w, nil)
		case <-set.changed:
			set = a.set.Load()
			timer.Reset(max(0, set.QueueTimeout-time.Duration(a.now()-start)))
		}
	}
}

// giveUp ends w's wait from the caller's side, with err or, where that is nil, because its time is over. If the turn came
// at the same moment, the turn wins.
func (a *Admission) giveUp(w *waiter, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.look()
	a.settle(now)
	if w.done {
		return w.err
	}
	if err == nil {
		t := w.conn.device.ticket
		after := a.turns.retryAfter(a.position(t), a.set.Load().QueueTimeout)
		t.promise = max(t.promise, now+2*int64(after))
		err = &Refused{ReasonQueueTimeout, after}
	}
	a.leave(w, now, err)
	a.settle(now)
	return err
}

// leave takes w out of its device's ticket. The place of a device for which nobody waits any more is kept if a caller was
// told to come back, else it is free at once.
func (a *Admission) leave(w *waiter, now int64, err error) {
	t := w.conn.device.ticket
	t.waiters = slices.DeleteFunc(t.waiters, func(other *waiter) bool { return other == w })
	w.end(err)
	switch {
	case len(t.waiters) > 0:
	case t.promise > now:
		a.keep(t)
	default:
		a.drop(t.device)
	}
}

func newDevice(key Key) *device {
	d := &device{key: key}
	d.lapse = alarm{index: -1, device: d}
	return d
}

func newTicket(d *device, now int64) *ticket {
	return &ticket{device: d, since: now, kept: alarm{index: -1, device: d}}
}
