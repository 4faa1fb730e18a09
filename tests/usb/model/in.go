package model

import (
	"context"
	"io"
	"slices"
)

// In is a bulk IN endpoint: the device writes, the host asks.
type In struct {
	line
	queue  []burst
	held   int // bytes in queue
	sizes  []int
	next   int
	open   bool
	silent bool
}

// burst is bytes that go in packets of MaxPacket; where end is set, a short packet ends them, which is one without bytes if need be.
type burst struct {
	bytes []byte
	end   bool
}

// NewIn returns an endpoint that buffers 64 KiB.
func NewIn() *In {
	q := &In{}
	q.init()
	return q
}

// Split makes the device send packets of these sizes, over and over, in place of full ones; none: full ones. A packet of less than
// MaxPacket ends the host's transfer.
func (q *In) Split(sizes ...int) { q.set(func() { q.sizes, q.next = slices.Clone(sizes), 0 }) }

// Unended makes the device leave out the zero-length packet behind a write of whole packets: a host that asked for more waits on.
func (q *In) Unended(unended bool) { q.set(func() { q.open = unended }) }

// Silence makes the device's words vanish, until it is ended.
func (q *In) Silence(silent bool) { q.set(func() { q.silent = silent }) }

// Transfer is one transfer of the host's: it ends when p is full, with a short packet, with ctx, or by a fault.
func (q *In) Transfer(ctx context.Context, p []byte) (n int, err error) {
	if err := q.take(ctx); err != nil {
		return 0, err
	}
	defer q.give()
	for {
		q.mu.Lock()
		if ended, err := q.due(); ended {
			q.mu.Unlock()
			return n, err
		}
		if !q.waits() && len(q.queue) > 0 {
			k, done, err := q.packets(p[n:])
			n += k
			q.carried(k)
			q.changed()
			q.mu.Unlock()
			if err != nil || done || n == len(p) {
				return n, err
			}
			continue
		}
		wake := q.wake
		q.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

// packets moves packets of the first burst to p; done says that a short one was the last. mu is held.
func (q *In) packets(p []byte) (n int, done bool, err error) {
	first := &q.queue[0]
	room := q.most(len(p))
	if room < len(p) { // a fault stands in the way: whole packets up to it, or the bytes of the packet before it
		if whole := room - room%MaxPacket; whole > 0 {
			room = whole
		}
	} else if rest := len(first.bytes); rest > room {
		room -= room % MaxPacket // the packet behind it does not fit
		if room == 0 {
			lost := min(rest, MaxPacket)
			first.bytes = first.bytes[lost:]
			q.held -= lost
			if !first.end || lost%MaxPacket != 0 {
				q.drop()
			}
			return 0, true, ErrBabble
		}
	}
	n = copy(p[:room], first.bytes)
	first.bytes = first.bytes[n:]
	q.held -= n
	if len(first.bytes) > 0 {
		return n, false, nil
	}
	if !first.end {
		q.drop()
		return n, false, nil
	}
	if n > 0 && n == len(p) && n%MaxPacket == 0 {
		return n, true, nil // the packet without bytes is the next transfer's
	}
	q.drop()
	return n, true, nil
}

// drop takes the first burst off the queue if nothing is left of it. mu is held.
func (q *In) drop() {
	if len(q.queue[0].bytes) == 0 {
		q.queue = slices.Delete(q.queue, 0, 1)
	}
}

// Write is the device's: it waits for room. It ends with io.ErrClosedPipe when ctx does.
func (q *In) Write(ctx context.Context, p []byte) (n int, err error) {
	for n < len(p) {
		q.mu.Lock()
		k := len(p) - n
		if room := buffered - q.held; k > room {
			k = room - room%MaxPacket // what goes on behind it must not follow a short packet
		}
		if k > 0 {
			if !q.silent {
				q.put(slices.Clone(p[n:n+k]), n+k == len(p))
			}
			n += k
			q.changed()
			q.mu.Unlock()
			continue
		}
		wake := q.wake
		q.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return n, io.ErrClosedPipe
		}
	}
	return n, nil
}

// put queues bytes, in packets as Split has it. mu is held.
func (q *In) put(p []byte, last bool) {
	q.held += len(p)
	if len(q.sizes) == 0 {
		q.queue = append(q.queue, burst{p, len(p)%MaxPacket != 0 || last && !q.open})
		return
	}
	for len(p) > 0 {
		k := min(max(q.sizes[q.next%len(q.sizes)], 1), len(p), MaxPacket)
		q.next++
		q.queue = append(q.queue, burst{p[:k], k < MaxPacket || k == len(p) && last && !q.open})
		p = p[k:]
	}
}

// reset is the endpoint after the bus was reset or the setting was changed: empty, and not halted. Faults to come stay.
func (q *In) reset() {
	q.set(func() { q.queue, q.held = nil, 0; q.renew() })
}
