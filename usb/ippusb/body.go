package ippusb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// body is an answer's, as its client reads it. When the client leaves, the rest is read in its place.
type body struct {
	x      *exchange
	ctx    context.Context // of the client's reads
	cancel context.CancelCauseFunc
	stop   [2]func() bool
	left   atomic.Bool

	mu      sync.Mutex // who reads: the client, or drain
	content *content
	ended   bool  // the exchange's part is
	err     error // what further reads return
}

func newBody(x *exchange, c *content) *body {
	b := &body{x: x, content: c}
	b.ctx, b.cancel = context.WithCancelCause(x.t.base)
	b.mu.Lock() // either of these may call at once
	defer b.mu.Unlock()
	client := x.req.Context()
	b.stop[0] = context.AfterFunc(client, func() { b.leave(context.Cause(client)) })
	b.stop[1] = context.AfterFunc(x.t.base, func() { b.leave(context.Cause(x.t.base)) }) // also of a client that reads no more
	return b
}

// Read implements io.Reader. It fails with the request's context's error when that ends, with ErrBroken, and with
// http.ErrBodyReadAfterClose.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.left.Load() {
		return 0, context.Cause(b.ctx)
	}
	n, more, err := b.content.read(b.ctx, p)
	switch {
	case err != nil && b.x.t.base.Err() == nil && b.ctx.Err() != nil:
		return n, context.Cause(b.ctx) // drain waits for us, and goes on
	case errors.Is(err, errShort):
		b.end(io.ErrUnexpectedEOF)
	case err != nil:
		b.end(b.x.fail(err))
	case !more || b.content.left == 0 && !b.content.chunked:
		b.end(io.EOF)
		if n > 0 {
			return n, nil
		}
	}
	return n, b.err
}

// Close implements io.Closer. It does not wait: what the client did not read is read in the background.
func (b *body) Close() error {
	b.leave(http.ErrBodyReadAfterClose)
	return nil
}

// leave says that the client reads no more, and why.
func (b *body) leave(why error) {
	if b.left.Swap(true) {
		return
	}
	b.cancel(why)
	go b.drain() // it ends with the exchange, for which Close waits
}

// end ends the exchange's part; mu is held, and it has not ended.
func (b *body) end(err error) {
	b.err, b.ended = err, true
	b.left.Store(true)
	b.cancel(err)
	b.stop[0]()
	b.stop[1]()
	b.x.done()
}

// drain reads the answer's rest, within the limits of that: a printer that goes on without end is out of step.
func (b *body) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	t := b.x.t
	ctx, cancel := context.WithCancelCause(t.base)
	defer cancel(nil)
	stop := t.clock.AfterFunc(t.o.DrainTimeout, func() {
		cancel(fmt.Errorf("%w: the rest of an answer took more than %v", ErrTimeout, t.o.DrainTimeout))
	})
	defer stop()
	why := context.Cause(b.ctx)
	for total := int64(0); ; {
		n, more, err := b.content.skip(ctx)
		total += int64(n)
		switch {
		case errors.Is(err, errShort):
			b.end(why)
			return
		case err != nil:
			b.end(b.x.fail(err))
			return
		case !more:
			b.end(why)
			return
		case total > t.o.DrainBytes:
			b.end(b.x.fail(fmt.Errorf("%w: the rest of an answer is longer than %d bytes", ErrProtocol, t.o.DrainBytes)))
			return
		}
	}
}
