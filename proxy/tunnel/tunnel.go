package tunnel

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Tunnel is one open tunnel.
type Tunnel struct {
	Spec

	registry *Registry
	up, down flow
	opened   int64
	moved    atomic.Int64 // when a byte last moved
	running  atomic.Int32 // directions that have not ended

	once sync.Once
	why  mfpgate.Reason // written once, before done is closed
	done chan struct{}
}

func (t *Tunnel) start() {
	t.up.init(t, t.Client, t.Origin)
	t.down.init(t, t.Origin, t.Client)
	t.down.heard = t.Answered
	// Both goroutines end when the tunnel is cut or both streams have; the registry counts them through running.
	go t.run(&t.up, t.FromClient, t.Inspect)
	go t.run(&t.down, t.FromOrigin, nil)
	t.FromClient, t.FromOrigin, t.Inspect, t.Opened, t.Answered = nil, nil, nil, nil, nil // an idle tunnel holds none of them
}

func (t *Tunnel) run(f *flow, first []byte, inspect Inspect) {
	if err := f.pump(first, inspect); err != nil {
		t.Cut(f.reason(err))
	}
	if t.running.Add(-1) > 0 {
		return
	}
	t.Cut(Closed)
	t.registry.remove(t)
	if t.Done != nil {
		t.Done(t)
	}
}

// Cut ends the tunnel now. The first reason stays.
func (t *Tunnel) Cut(why mfpgate.Reason) {
	t.once.Do(func() {
		t.why = why
		close(t.done)
		if why == ClientReset || why == OriginReset {
			// A reset travels on as one: the other side must not take what it has for the whole.
			_ = t.Client.SetLinger(0)
			_ = t.Origin.SetLinger(0)
		}
		_ = t.Client.Close()
		_ = t.Origin.Close()
	})
}

// Reason says why the tunnel ended; empty while it is open.
func (t *Tunnel) Reason() mfpgate.Reason {
	select {
	case <-t.done:
		return t.why
	default:
		return ""
	}
}

// Bytes returns what has moved so far: up from the client, down to it, and of both what stayed in the kernel.
func (t *Tunnel) Bytes() (up, down, spliced int64) {
	us, ds := t.up.spliced.Load(), t.down.spliced.Load()
	return us + t.up.copied.Load(), ds + t.down.copied.Load(), us + ds
}

// ByPath returns the bytes of one direction by path.
func (t *Tunnel) ByPath(up bool) (spliced, copied int64) {
	f := &t.down
	if up {
		f = &t.up
	}
	return f.spliced.Load(), f.copied.Load()
}

// Age returns how long the tunnel has been open, Quiet how long since a byte moved.
func (t *Tunnel) Age() time.Duration   { return time.Duration(t.registry.now() - t.opened) }
func (t *Tunnel) Quiet() time.Duration { return time.Duration(t.registry.now() - t.moved.Load()) }

// life is the tunnel as the context of its own waits: it ends when the tunnel is cut, and costs no allocation.
type life struct{ *Tunnel }

func (l life) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l life) Done() <-chan struct{}       { return l.done }
func (l life) Value(any) any               { return nil }
func (l life) Err() error {
	select {
	case <-l.done:
		return context.Canceled
	default:
		return nil
	}
}

// reason finds the reason for the error of one direction.
func (f *flow) reason(err error) mfpgate.Reason {
	if refused, ok := errors.AsType[mfpgate.Refused](err); ok {
		return refused.Why()
	}
	if (f == &f.t.up) != errors.Is(err, errDestination) {
		return ClientReset
	}
	return OriginReset
}
