package ippusb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// exchange is one HTTP transaction on a pair. It has two parts, the request and the answer, which run side by side: a printer may
// answer before it has read all, and take nothing more until its answer is read. When both have ended the pair is given back.
type exchange struct {
	t    *Transport
	pair *pair
	req  *http.Request
	feed *feed

	limits *Options     // the transport's, or those of a probe
	answer chan answer  // room for one: what RoundTrip returns
	parts  atomic.Int32 // that go on
	last   atomic.Int64 // when a byte last moved, in ns since the transport's beginning
	sent   atomic.Bool  // the request is, or will never be
	cut    atomic.Pointer[error]
	body   span // of the sending side: where the request's body is in what is being sent
	failed bool // the answer is one of status 500 and above, of which the head has been read; of the receiving side
}

type answer struct {
	resp *http.Response
	err  error
}

// Taker is what a request's Body may be that wants to know how much of it the printer has taken: what was read of it may be on its way
// for long. Taken is called with 0 before anything is sent, and then with the bytes that each transfer brought there; RoundTrip may have
// returned meanwhile.
type Taker interface{ Taken(n int) }

// span is a part of a buffer.
type span struct{ from, n int }

// took says that n bytes from a place on of what is being sent have gone.
func (x *exchange) took(from, n int) {
	if x.feed == nil || x.feed.taker == nil {
		return
	}
	if most := min(from+n, x.body.from+x.body.n) - max(from, x.body.from); most > 0 {
		x.feed.taker.Taken(most)
	}
}

// idleFor is after how long an idle interface is listened to, for quietFor, before it is used again.
const idleFor, quietFor = 5 * time.Second, 5 * time.Millisecond

// run carries the exchange out.
func (x *exchange) run(out []byte, more bool) {
	if err := x.ready(); err != nil {
		x.feed.leave()
		err = x.fail(err)
		x.answer <- answer{err: err}
		x.done()
		x.done()
		return
	}
	go x.receive() // it ends with the exchange, for which Close waits
	err := x.send(out, more)
	x.feed.leave()
	x.moved()
	x.sent.Store(true)
	if err != nil {
		_ = x.fail(err) // which ends the other part, and that tells the client
	}
	x.done()
}

// ready makes sure that the interface is silent.
func (x *exchange) ready() error {
	t := x.t
	x.moved()
	if t.clock.Now().Sub(x.pair.used) < idleFor {
		return nil
	}
	return x.pair.flush(t.base, quietFor)
}

// send sends the request whole. Where the client does not bring the rest of it, it is ended as if that were all.
func (x *exchange) send(out []byte, more bool) error {
	ctx := x.t.base
	x.body = x.feed.first
	if err := x.pair.send(ctx, out, x); err != nil || !more {
		return err
	}
	stop := context.AfterFunc(x.req.Context(), x.feed.leave)
	defer stop()
	for range cap(x.feed.want) {
		x.feed.want <- x.t.pieces.Get().(*[]byte)
	}
	for {
		select {
		case p := <-x.feed.got:
			if p.n > 0 {
				var out []byte
				out, x.body = p.framed()
				if err := x.pair.send(ctx, out, x); err != nil {
					return err
				}
			}
			switch {
			case errors.Is(p.err, io.EOF):
				x.t.pieces.Put(p.buf)
				if p.n > 0 {
					return nil
				}
				x.body = span{}
				return x.pair.send(ctx, []byte(lastChunk), x)
			case p.err != nil:
				x.t.pieces.Put(p.buf)
				return x.truncate(fmt.Errorf("read the request's body: %w", p.err))
			}
			x.feed.want <- p.buf
		case <-x.feed.left:
			return x.truncate(context.Cause(x.req.Context()))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// truncate ends a request whose client does not. The client is told why, unless it left, or has its answer.
func (x *exchange) truncate(why error) error {
	if why != nil {
		x.cut.Store(&why)
	}
	x.body = span{}
	return x.pair.send(x.t.base, []byte(lastChunk), x)
}

// receive reads the answer's head and leaves the rest to the answer's body.
func (x *exchange) receive() {
	resp, c, err := x.head(x.t.base)
	if err != nil {
		x.answer <- answer{err: x.fail(err)}
		x.done()
		return
	}
	cut := x.cut.Load()
	if resp.StatusCode >= 400 {
		// The printer wants no more of this request (RFC 9112 §9.5), and some would not take it. Anything else may be an answer to a
		// document that is still being sent, which must not be cut short.
		x.feed.leave()
	}
	resp.Request = x.req
	switch {
	case c == nil:
		resp.Body = http.NoBody
		x.done()
	case c.ahead():
		resp.Body = io.NopCloser(bytes.NewReader(c.take())) // a client that is slow to read it keeps no interface
		x.done()
	default:
		resp.Body = newBody(x, c)
	}
	if cut != nil {
		_ = resp.Body.Close()
		x.answer <- answer{err: *cut}
		return
	}
	x.answer <- answer{resp: resp}
}

// done ends one of the two parts. With the last the pair is given back, in step or not: the transport knows.
func (x *exchange) done() {
	if x.parts.Add(-1) > 0 {
		return
	}
	x.give()
}

func (x *exchange) give() {
	p := x.pair
	for p.r < p.w && (p.in[p.r] == '\r' || p.in[p.r] == '\n') { // some end an answer by a line too many
		p.r++
	}
	if p.r < p.w {
		_ = x.fail(fmt.Errorf("%w: %d bytes came after the end of an answer", ErrProtocol, p.w-p.r))
	}
	p.r, p.w, p.used = 0, 0, x.t.clock.Now()
	x.t.release(p)
}

// fail is the transport's, with what this exchange found.
func (x *exchange) fail(err error) error { return x.t.fail(x, err) }

// moved says that a byte did, now, either way.
func (x *exchange) moved() { x.last.Store(int64(x.t.clock.Now().Sub(x.t.began))) }

// patience is how long the printer may still send nothing to who waits since begun; <= 0: it was too long. While the request is being sent the printer owes nothing: sending has a time-out of its own.
func (x *exchange) patience(begun time.Time) time.Duration {
	if !x.sent.Load() {
		return x.limits.AnswerTimeout
	}
	if last := x.t.began.Add(time.Duration(x.last.Load())); last.After(begun) {
		begun = last
	}
	return x.limits.AnswerTimeout - x.t.clock.Now().Sub(begun)
}
