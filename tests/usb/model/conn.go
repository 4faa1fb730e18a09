package model

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// conn is the device's end of a pair of endpoints as a net.Conn, so that a device's HTTP server is a plain http.Server. Close does
// nothing that the host could see, as there is no such thing on USB: it ends the device's own reads.
type conn struct {
	ctx  context.Context // ends with the interface's setting, or Close
	done context.CancelFunc
	out  *Out
	in   *In
	// closed is called by Close.
	closed func()

	mu     sync.Mutex
	due    time.Time
	cancel context.CancelFunc // of the read under way
}

func newConn(ctx context.Context, out *Out, in *In) *conn {
	c := &conn{out: out, in: in}
	c.ctx, c.done = context.WithCancel(ctx)
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	ctx, cancel := c.reading()
	defer cancel()
	n, err := c.out.Read(ctx, p)
	if err != nil && c.ctx.Err() == nil {
		return n, os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *conn) reading() (context.Context, context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithCancel(c.ctx)
	if !c.due.IsZero() {
		ctx, cancel = context.WithDeadline(c.ctx, c.due)
	}
	c.cancel = cancel
	return ctx, cancel
}

// SetReadDeadline ends a read that waits only where the time is over already, which is how net/http ends its own.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = t
	if c.cancel != nil && !t.IsZero() && !t.After(time.Now()) {
		c.cancel()
	}
	return nil
}

func (c *conn) Write(p []byte) (int, error)      { return c.in.Write(c.ctx, p) }
func (c *conn) Close() error                     { c.done(); c.closed(); return nil }
func (c *conn) LocalAddr() net.Addr              { return address{} }
func (c *conn) RemoteAddr() net.Addr             { return address{} }
func (c *conn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

type address struct{}

func (address) Network() string { return "usb" }
func (address) String() string  { return "usb" }
