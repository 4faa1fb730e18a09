package model

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// Queue is one bulk endpoint's buffer. What the host sends to an OUT queue, the
// device reads; what the device writes to an IN queue, the host reads.
type Queue struct {
	mu     sync.Mutex
	buf    []byte
	limit  int
	paused bool
	err    error // one-shot fault for the next transfer
	wake   chan struct{}
	closed bool
}

func NewQueue(limit int) *Queue { return &Queue{limit: limit, wake: make(chan struct{})} }

func (q *Queue) kick() { close(q.wake); q.wake = make(chan struct{}) }

// Pause makes the endpoint NAK until Resume: an offline or busy printer.
func (q *Queue) Pause()           { q.mu.Lock(); q.paused = true; q.kick(); q.mu.Unlock() }
func (q *Queue) Resume()          { q.mu.Lock(); q.paused = false; q.kick(); q.mu.Unlock() }
func (q *Queue) FailNext(e error) { q.mu.Lock(); q.err = e; q.kick(); q.mu.Unlock() }
func (q *Queue) Close()           { q.mu.Lock(); q.closed = true; q.kick(); q.mu.Unlock() }
func (q *Queue) Reset()           { q.mu.Lock(); q.buf = nil; q.kick(); q.mu.Unlock() }

// put adds as much of p as there is room for, blocking until all is in.
func (q *Queue) put(ctx context.Context, p []byte) (int, error) {
	n := 0
	for {
		q.mu.Lock()
		if !q.paused && q.limit > len(q.buf) || len(p) == 0 {
			k := q.limit - len(q.buf)
			if k > len(p) {
				k = len(p)
			}
			q.buf = append(q.buf, p[:k]...)
			p, n = p[k:], n+k
			q.kick()
			if len(p) == 0 {
				q.mu.Unlock()
				return n, nil
			}
		}
		w, c := q.wake, q.closed
		q.mu.Unlock()
		if c {
			return n, io.ErrClosedPipe
		}
		select {
		case <-w:
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

func (q *Queue) get(ctx context.Context, p []byte) (int, error) {
	for {
		q.mu.Lock()
		if !q.paused && len(q.buf) > 0 {
			n := copy(p, q.buf)
			q.buf = q.buf[n:]
			q.kick()
			q.mu.Unlock()
			return n, nil
		}
		w, c := q.wake, q.closed
		q.mu.Unlock()
		if c {
			return 0, io.EOF
		}
		select {
		case <-w:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// HostOut and HostIn are the queue as the host's transfers see it.
func (q *Queue) HostOut() Endpoint { return q.host(q.put) }
func (q *Queue) HostIn() Endpoint  { return q.host(q.get) }

func (q *Queue) host(f EndpointFunc) Endpoint {
	return EndpointFunc(func(ctx context.Context, p []byte) (int, error) {
		q.mu.Lock()
		e := q.err
		q.err = nil
		q.mu.Unlock()
		if e != nil {
			return 0, e
		}
		return f(ctx, p)
	})
}

// Conn is the device's end of an OUT/IN pair, as a net.Conn, so that a device's
// HTTP server is a plain http.Server.
type Conn struct {
	FromHost, ToHost *Queue
	mu               sync.Mutex
	rd               time.Time
	cancel           context.CancelFunc
}

func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	ctx, cancel := context.WithCancel(context.Background())
	if !c.rd.IsZero() {
		ctx, cancel = context.WithDeadline(context.Background(), c.rd)
	}
	c.cancel = cancel
	c.mu.Unlock()
	defer cancel()
	n, err := c.FromHost.get(ctx, p)
	if ctx.Err() != nil && err == ctx.Err() {
		err = timeout{}
	}
	return n, err
}
func (c *Conn) Write(p []byte) (int, error) { return c.ToHost.put(context.Background(), p) }
func (c *Conn) Close() error                { return nil }
func (c *Conn) LocalAddr() net.Addr         { return addr{} }
func (c *Conn) RemoteAddr() net.Addr        { return addr{} }
func (c *Conn) SetDeadline(t time.Time) error {
	return c.SetReadDeadline(t)
}
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.rd = t
	if c.cancel != nil && !t.IsZero() && !t.After(time.Now()) {
		c.cancel()
	}
	c.mu.Unlock()
	return nil
}
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

type timeout struct{}

func (timeout) Error() string   { return "usb: i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

type addr struct{}

func (addr) Network() string { return "usb" }
func (addr) String() string  { return "usb" }
