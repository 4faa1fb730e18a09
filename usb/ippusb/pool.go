package ippusb

import (
	"context"
	"slices"
)

// waiter is a request that waits for an interface.
type waiter struct {
	got chan *pair // room for one; closed if there will be none
}

// acquire gives an idle interface, in the order of asking. It fails when ctx ends before, or the transport does.
func (t *Transport) acquire(ctx context.Context) (*pair, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	if t.refused != nil {
		defer t.mu.Unlock()
		return nil, t.refused
	}
	if len(t.idle) > 0 {
		defer t.mu.Unlock()
		return t.take(), nil
	}
	w := &waiter{got: make(chan *pair, 1)}
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()

	select {
	case p, ok := <-w.got:
		if !ok {
			return nil, t.refusal()
		}
		return p, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, w)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // it was served at the same moment
		if p, ok := <-w.got; ok {
			t.release(p)
		}
	}
	return nil, context.Cause(ctx)
}

// take makes the interface that has been idle longest busy; t.mu is held. All interfaces take turns, so that a defect of one shows.
func (t *Transport) take() *pair {
	p := t.idle[0]
	t.idle = slices.Delete(t.idle, 0, 1)
	t.busy.Add(1)
	return p
}

// release gives an interface back: to who waits longest, else to the idle ones.
func (t *Transport) release(p *pair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 { // none wait once requests are refused
		w := t.waiting[0]
		t.waiting = slices.Delete(t.waiting, 0, 1)
		w.got <- p // it stays busy
		return
	}
	t.idle = append(t.idle, p)
	t.busy.Done()
	if t.refused != nil && len(t.idle) == len(t.pairs) {
		t.quiet()
	}
}

// refuse lets no request begin any more, also none that waits; t.mu is held. The first reason stays until Close gives a better one.
func (t *Transport) refuse(why error) {
	t.refused = why
	for _, w := range t.waiting {
		close(w.got)
	}
	t.waiting = nil
	if len(t.idle) == len(t.pairs) {
		t.quiet()
	}
}

func (t *Transport) refusal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}
