package ippusb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// Transport brings HTTP requests to one printer. It is an http.RoundTripper, for many goroutines.
type Transport struct {
	o     Options
	clock mfpgate.Clock
	pairs []*pair
	began time.Time

	// base ends all transfers: by Close, and when the printer must be reset.
	base    context.Context
	end     context.CancelCauseFunc
	busy    sync.WaitGroup // interfaces that are
	closing sync.Once

	mu       sync.Mutex
	idle     []*pair // the longest idle first
	waiting  []*waiter
	refused  error     // why no request begins any more
	broken   error     // why none ends any more
	finder   *exchange // that found it
	closed   bool
	closeErr error

	atRest   chan struct{} // closed when no interface is busy, nor will be
	restOnce sync.Once
	pieces   sync.Pool // of []byte, pieceSize long: as many as large bodies are being sent at once, twice
}

// New claims a printer's interfaces: all of them, or none if one cannot be. The errors are those of bus.Handle's Claim. The handle
// stays the caller's, and must stay open until Close has returned.
func New(o Options) (*Transport, error) {
	if o.Quirks.MaxInterfaces > 0 && o.Quirks.MaxInterfaces < len(o.Interfaces) {
		o.Interfaces = o.Interfaces[:o.Quirks.MaxInterfaces]
	}
	if len(o.Interfaces) == 0 {
		return nil, errors.New("claim IPP-over-USB interfaces: the printer has none")
	}
	o.SendTimeout = duration(o.SendTimeout, 72*time.Hour)
	o.AnswerTimeout = duration(o.AnswerTimeout, 5*time.Minute)
	o.DrainTimeout = duration(o.DrainTimeout, 5*time.Minute)
	o.Quirks.InitTimeout = duration(o.Quirks.InitTimeout, 20*time.Second)
	if o.DrainBytes == 0 {
		o.DrainBytes = 256 << 20
	}
	t := &Transport{o: o, clock: o.Clock, began: o.Clock.Now(), atRest: make(chan struct{})}
	t.pieces.New = func() any { b := make([]byte, pieceSize); return &b }
	t.base, t.end = context.WithCancelCause(context.Background()) // ended by Close, which every owner calls
	for _, i := range o.Interfaces {
		p, err := t.claim(i)
		if err != nil {
			for _, had := range t.pairs {
				err = errors.Join(err, had.claim.Close())
			}
			t.end(ErrClosed)
			return nil, err
		}
		t.pairs = append(t.pairs, p)
	}
	t.idle = append(t.idle, t.pairs...)
	return t, nil
}

func (t *Transport) claim(i bus.Interface) (*pair, error) {
	for _, e := range []bus.Endpoint{i.In, i.Out} {
		if e.Number == 0 || e.MaxPacket <= 0 || e.MaxPacket > readSize {
			return nil, fmt.Errorf("claim IPP-over-USB interface %d: endpoint %d of %d bytes is none to send HTTP by", i.Number, e.Number, e.MaxPacket)
		}
	}
	claim, err := t.o.Handle.Claim(t.base, i)
	if err != nil {
		return nil, fmt.Errorf("claim IPP-over-USB interface %d: %w", i.Number, err)
	}
	whole := readSize / i.In.MaxPacket * i.In.MaxPacket
	return &pair{t: t, iface: i, claim: claim, in: make([]byte, whole), used: t.clock.Now(), most: bus.MaxTransfer}, nil
}

// RoundTrip sends a request and returns the answer's head, with a body that reads the rest from the printer. The errors are ErrRefused,
// ErrBroken, ErrClosed, the context's, and those of reading the request's body; the doc comment of the package says what the printer
// has then seen. The request's body is closed, perhaps after RoundTrip has returned.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	f := newFeed(t, req)
	head, err := t.head(req)
	if err != nil {
		f.leave()
		return nil, err
	}
	if err := t.refusal(); err != nil { // before a body is read for nothing
		f.leave()
		return nil, err
	}
	out, more, err := f.begin(head)
	if err != nil {
		f.leave()
		return nil, err
	}
	ctx := req.Context()
	p, err := t.acquire(ctx)
	if err != nil {
		f.leave()
		return nil, err
	}
	x := &exchange{t: t, pair: p, req: req, feed: f, limits: &t.o, answer: make(chan answer, 1)}
	x.parts.Store(2)
	go x.run(out, more) // it ends with the exchange, for which Close waits
	select {
	case a := <-x.answer:
		return a.resp, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx) // and the exchange goes on to its end
	}
}

// fail ends all transfers because err, which x found, left printer and gateway out of step, and says so once. It returns what the client
// of x is to be told. x is nil where no client asked.
func (t *Transport) fail(x *exchange, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.broken != nil && x == t.finder:
		return t.broken
	case t.broken != nil:
		return t.refused
	case t.closed:
		return ErrClosed
	}
	t.broken, t.finder = fmt.Errorf("%w: %w", ErrBroken, err), x
	others := t.broken
	if !errors.Is(err, bus.ErrGone) { // which is so for all
		others = fmt.Errorf("%w: another request found: %v", ErrBroken, err)
	}
	t.refuse(others)
	t.end(others)
	if t.o.Broken != nil {
		go t.o.Broken(t.broken) // it may call Close, which so cannot wait for it: who gave it does
	}
	return t.broken
}

// quiet says that no interface is busy, nor will be.
func (t *Transport) quiet() { t.restOnce.Do(func() { close(t.atRest) }) }

// Shutdown refuses new requests and those that still wait for an interface, lets those that have one end until ctx does, and closes.
// It returns ctx's error if it had to end some, which leaves the printer in the midst of a message: it must be reset before its next use.
// A ctx that ends because of bus.ErrGone says that the printer was unplugged, and so does what is ended then.
func (t *Transport) Shutdown(ctx context.Context) error {
	unplugged := func() { // who shuts it down may know it before any transfer does
		if why := context.Cause(ctx); errors.Is(why, bus.ErrGone) {
			_ = t.fail(nil, why)
		}
	}
	unplugged()
	t.mu.Lock()
	if t.refused == nil {
		t.refuse(ErrClosed)
	}
	t.mu.Unlock()
	var cut error
	select {
	case <-t.atRest:
	case <-ctx.Done():
		select {
		case <-t.atRest:
		default:
			cut = fmt.Errorf("shut the USB transport down: %w", context.Cause(ctx))
			unplugged()
		}
	}
	return errors.Join(cut, t.Close())
}

// Close ends all requests at once and gives the interfaces back. No goroutine of the transport is left when it returns, but of such
// requests whose Body does not return from Read or Close. What was under way is cut in its midst: the printer must be reset before its next use.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	if t.broken == nil {
		t.refuse(ErrClosed)
	}
	t.mu.Unlock()
	t.end(ErrClosed)
	t.busy.Wait()
	t.closing.Do(func() {
		for _, p := range t.pairs {
			t.closeErr = errors.Join(t.closeErr, p.claim.Close())
		}
	})
	return t.closeErr
}
