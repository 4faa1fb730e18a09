package model

import (
	"context"
	"io"
)

// buffered is how many bytes a printer takes ahead of what it works on.
const buffered = 64 << 10

// Out is a bulk OUT endpoint: the host sends, the device reads.
type Out struct {
	line
	queue []byte
	ready int // bytes of queue that the device may see
	late  bool
	empty int // zero-length packets that came
}

// NewOut returns an endpoint that buffers 64 KiB.
func NewOut() *Out {
	q := &Out{}
	q.init()
	return q
}

// NeedShort makes the device see what was sent only once a short packet has ended it, or its buffer is full: firmware that wants a
// zero-length packet behind a transfer of whole packets.
func (q *Out) NeedShort(need bool) { q.set(func() { q.late = need }) }

// ZeroPackets is how many zero-length packets the host has sent.
func (q *Out) ZeroPackets() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.empty
}

// Transfer is one transfer of the host's: it waits until the device has taken all of p, ctx ends, or a fault ends it. n is what the
// device took. An empty p is a zero-length packet.
func (q *Out) Transfer(ctx context.Context, p []byte) (n int, err error) {
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
		if !q.waits() {
			if len(p) == 0 {
				q.empty++
			}
			k := q.most(min(len(p)-n, buffered-len(q.queue)))
			q.queue = append(q.queue, p[n:n+k]...)
			n += k
			q.carried(k)
			short := n == len(p) && (n == 0 || n%MaxPacket != 0)
			if short || !q.late || len(q.queue) == buffered {
				q.ready = len(q.queue)
			}
			if k > 0 || len(p) == 0 {
				q.changed()
			}
			if n == len(p) {
				q.mu.Unlock()
				return n, nil
			}
			if k > 0 { // perhaps a fault is due
				q.mu.Unlock()
				continue
			}
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

// Read is the device's: it waits for bytes, and gives those that there are. It ends with io.EOF when ctx does.
func (q *Out) Read(ctx context.Context, p []byte) (int, error) {
	for {
		q.mu.Lock()
		if n := copy(p, q.queue[:q.ready]); n > 0 {
			q.queue = q.queue[:copy(q.queue, q.queue[n:])]
			q.ready -= n
			q.changed()
			q.mu.Unlock()
			return n, nil
		}
		wake := q.wake
		q.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, io.EOF
		}
	}
}

// reset is the endpoint after the bus was reset or the setting was changed: empty, and not halted. Faults to come stay.
func (q *Out) reset() {
	q.set(func() { q.queue, q.ready = q.queue[:0], 0; q.renew() })
}
