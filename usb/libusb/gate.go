//go:build cgo && !nousb

package libusb

import (
	"context"
	"sync"
)

// gate counts who is inside. Once it is shut nobody gets in, and those inside are told by their contexts' ends.
type gate struct {
	ctx  context.Context // ends when the gate is shut, or with its parent; its cause says why
	stop context.CancelCauseFunc

	mu     sync.Mutex
	inside sync.WaitGroup // added to only under mu, and before the gate is shut
}

func newGate(parent context.Context) *gate {
	g := &gate{}
	g.ctx, g.stop = context.WithCancelCause(parent)
	return g
}

// enter returns a context that ends with ctx and with the gate's, and leave, to be called once. The error is why there is no way in.
func (g *gate) enter(ctx context.Context) (inside context.Context, leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if g.ctx.Err() != nil {
		return nil, nil, context.Cause(g.ctx)
	}
	g.inside.Add(1)
	inside, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(g.ctx, func() { cancel(context.Cause(g.ctx)) })
	return inside, func() {
		forget()
		cancel(nil)
		g.inside.Done()
	}, nil
}

// shut lets nobody in any more, with that error, and waits until the last has left.
func (g *gate) shut(err error) {
	g.mu.Lock()
	g.stop(err)
	g.mu.Unlock()
	g.inside.Wait()
}

// take takes a turn that one at a time has, and returns what gives it back.
func take(ctx context.Context, turn chan struct{}) (giveBack func(), err error) {
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// attempt does what cannot be cancelled and ends by itself, inside the gate. When ctx ends before, the caller gets that error, and late
// gets what becomes of it; who shuts the gate waits for both.
func attempt[T any](ctx context.Context, g *gate, do func(context.Context) (T, error), late func(T)) (T, error) {
	var none T
	inside, leave, err := g.enter(ctx)
	if err != nil {
		return none, err
	}
	type outcome struct {
		value T
		err   error
	}
	done, left := make(chan outcome), make(chan struct{})
	go func() { // the gate waits for it
		defer leave()
		value, err := do(inside)
		select {
		case done <- outcome{value, err}:
		case <-left:
			if err == nil && late != nil {
				late(value)
			}
		}
	}()
	select {
	case o := <-done:
		return o.value, o.err
	case <-inside.Done():
		close(left)
		return none, context.Cause(inside)
	}
}
