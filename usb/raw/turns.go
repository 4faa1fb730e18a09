package raw

import (
	"context"
	"slices"
	"sync"
)

// turns gives the stream to one at a time, in the order in which they came. The zero value is free.
type turns struct {
	mu      sync.Mutex
	taken   bool
	closed  bool
	waiting []chan struct{}
	idle    chan struct{} // made by close: closed when nobody has the turn any more
}

// take returns when it is the caller's turn. If that is not at once, waits is called first. The errors are ErrClosed and ctx's.
func (t *turns) take(ctx context.Context, waits func()) error {
	t.mu.Lock()
	switch {
	case t.closed:
		t.mu.Unlock()
		return ErrClosed
	case ctx.Err() != nil:
		t.mu.Unlock()
		return context.Cause(ctx)
	case !t.taken:
		t.taken = true
		t.mu.Unlock()
		return nil
	}
	mine := make(chan struct{}, 1)
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	waits()
	select {
	case _, given := <-mine:
		if !given {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, mine)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // the turn came at the same moment
		if _, given := <-mine; given {
			t.free()
		}
	}
	return context.Cause(ctx)
}

// try takes the turn if nobody has it, or waits for it.
func (t *turns) try() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.taken {
		return false
	}
	t.taken = true
	return true
}

// free gives the turn to the one who has waited longest.
func (t *turns) free() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 {
		t.waiting[0] <- struct{}{}
		t.waiting = t.waiting[1:]
		return
	}
	t.taken = false
	if t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// close sends those who wait away and returns when nobody has the turn any more, or with ctx's error.
func (t *turns) close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	for _, waiting := range t.waiting {
		close(waiting)
	}
	t.waiting = nil
	if !t.taken {
		t.mu.Unlock()
		return nil
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
