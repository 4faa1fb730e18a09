package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/store"
)

// Handler makes the call of an intent. It must be idempotent by the intent's id, and end when ctx does. settle, which may be
// nil, is run in the Update that stores the result, whatever the result is: with a nil error the intent is gone before it, so
// that settle may Intend the same id again (a recurring timer, the next poll); with an error the attempt is counted in it; with
// Permanent the intent is dead. An error of settle itself counts as the call's.
type Handler func(ctx context.Context, in Intent) (settle func(store.Tx) error, err error)

// Handle says who handles a kind. All of them are to be named before Run; a kind that nobody handles waits for a program that
// does. A kind that is named twice is a mistake in the program, and panics.
func (j *Journal) Handle(kind string, h Handler) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, twice := j.handlers[kind]; twice || h == nil || name("intent kind", kind, MaxKind) != nil {
		panic("journal: handler of " + kind + " is nil, named twice or has no name")
	}
	j.handlers[kind] = h
}

func (j *Journal) handler(kind string) Handler {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.handlers[kind]
}

// Run calls the handlers of due intents, those due for longest first, until ctx ends; then it waits for the calls that run,
// stores their results, and returns nil. It returns an error if the store cannot be followed, store.ErrClosed among them.
func (j *Journal) Run(ctx context.Context) error {
	if !j.running.CompareAndSwap(false, true) {
		return fmt.Errorf("run journal: %w", ErrRunning)
	}
	defer j.running.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()

	x := newIndex()
	j.present.Store(x)
	defer j.present.Store(nil)
	followed := make(chan error, 1)
	tasks.Go(func() { followed <- j.follow(ctx, x) })
	slots := make(chan struct{}, j.Parallel)
	timer := j.Clock.NewTimer(maxSleep)
	defer timer.Stop()
	for before := j.Clock.Now().Round(0); ; {
		now := j.Clock.Now().Round(0)
		if now.Before(before) {
			x.rewind(now)
		}
		before = now
		wait := maxSleep
		for len(slots) < cap(slots) { // who frees a slot wakes the index, too
			e, next := x.take(now)
			if e == nil {
				wait = next
				break
			}
			slots <- struct{}{}
			tasks.Go(func() {
				j.execute(ctx, x, e)
				<-slots
				x.release(e)
			})
		}
		if timer.Reset(wait); j.Clock.Now().Sub(now) >= wait {
			continue // the time went by meanwhile
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-followed:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("follow intents: %w", err)
		case <-x.wake:
		case <-timer.C():
		}
	}
}

// follow keeps the index as the store is.
func (j *Journal) follow(ctx context.Context, x *index) error {
	told := map[string]bool{} // what is unreadable or unhandled is told once
	for batch, err := range j.store.Watch(ctx, intentPrefix) {
		if err != nil {
			return err
		}
		for _, e := range j.index(x, batch) {
			if !told[e.ID] {
				told[e.ID] = true
				j.Observe(e)
			}
		}
	}
	return store.ErrClosed // unless ctx ended, which Run looks at first
}

// index takes a batch over at once, so that what is due first of it is called first, and returns what cannot be called.
func (j *Journal) index(x *index, batch store.Batch) (cannot []Event) {
	now := j.Clock.Now().Round(0)
	there := map[string]bool{}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range batch.Changes {
		id := strings.TrimPrefix(c.Key, intentPrefix)
		if c.Deleted {
			x.drop(id)
			continue
		}
		r, err := decodeRow(c.Key, c.Value)
		switch {
		case err != nil:
			cannot = append(cannot, Event{What: Unreadable, ID: id, Err: err})
		case r.Dead:
		case j.handler(r.Kind) == nil:
			cannot = append(cannot, Event{What: Unhandled, ID: id, Kind: r.Kind, Object: r.Object})
		default:
			there[id] = true
			j.stampAfter(r.Gen)
			x.put(r, now)
			continue
		}
		x.drop(id)
	}
	if batch.Reset {
		for id := range x.entries {
			if !there[id] {
				x.drop(id)
			}
		}
	}
	return cannot
}

// execute makes one call and stores what came of it.
func (j *Journal) execute(ctx context.Context, x *index, e *entry) {
	var r *row
	err := j.store.View(ctx, func(at store.Snapshot) (err error) {
		r, err = getRow(at, e.id)
		return err
	})
	now := j.Clock.Now().Round(0)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		x.hold(e, e.taken, now.Add(j.delay(1, nil)))
		return
	}
	var handle Handler
	if r != nil && !r.Dead {
		handle = j.handler(r.Kind)
	}
	if handle == nil {
		x.advance(e, e.taken, nil, now)
		return
	}
	if x.advance(e, e.taken, r, now); r.due(now).After(now) && !e.early {
		return
	}
	call, cancel := context.WithTimeout(ctx, j.Timeout)
	defer cancel()
	x.cancelWith(e, cancel)
	began := j.Clock.Now()
	in := r.Intent
	if e.was.After(in.Due) {
		in.Due = e.was
	}
	settle, err := guarded(call, handle, in)
	took := j.Clock.Now().Sub(began)
	if err != nil && ctx.Err() != nil {
		return // it was stopped; that is no attempt
	}
	if a, ok := errors.AsType[again](err); ok && settle == nil {
		next := j.Clock.Now().Round(0).Add(a.delay)
		x.postpone(e, r.version(), next)
		j.Observe(Event{What: Postponed, ID: r.ID, Kind: r.Kind, Object: r.Object, Attempts: r.Attempts, Next: next, Took: took})
		return
	}
	j.settle(ctx, x, e, r, settle, Event{ID: r.ID, Kind: r.Kind, Object: r.Object, Took: took, Err: err})
}

// guarded makes a handler's panic its last error: it would come again at each start.
func guarded(ctx context.Context, h Handler, in Intent) (settle func(store.Tx) error, err error) {
	defer func() {
		if p := recover(); p != nil {
			settle, err = nil, Permanent(fmt.Errorf("handler of %s panicked: %v", in.Kind, p))
		}
	}()
	return h(ctx, in)
}

// settle stores the result of a call, and tells of it.
func (j *Journal) settle(ctx context.Context, x *index, e *entry, r *row, settle func(store.Tx) error, ev Event) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settling)
	defer cancel()
	after, stored, err := j.conclude(ctx, r, j.result(r, &ev), settle)
	if err != nil && settle != nil && !errors.Is(err, store.ErrUnknown) { // as a rule its own error
		ev.Err = errors.Join(ev.Err, fmt.Errorf("settle: %w", err))
		after, stored, err = j.conclude(ctx, r, j.result(r, &ev), nil)
	}
	now := j.Clock.Now().Round(0)
	switch {
	case err != nil:
		ev.What, ev.Err, ev.Next = Unstored, errors.Join(ev.Err, err), now.Add(j.delay(r.Attempts+1, nil))
		x.hold(e, r.version(), ev.Next)
	case after == nil || after.Dead:
		x.advance(e, r.version(), nil, now)
	default:
		x.advance(e, r.version(), after, now)
	}
	if err == nil && !stored {
		ev.What, ev.Next = Superseded, time.Time{}
	}
	j.Observe(ev)
}

// result is the row after a call that ended with ev.Err: nil if that is nil.
func (j *Journal) result(r *row, ev *Event) *row {
	if ev.Err == nil {
		ev.What = Done
		return nil
	}
	next := *r
	next.Attempts++
	next.LastErr = strings.ToValidUTF8(ev.Err.Error()[:min(maxReason, len(ev.Err.Error()))], "")
	ev.Attempts = next.Attempts
	if errors.As(ev.Err, new(permanent)) {
		next.Dead, next.Wait = true, 0
		ev.What, ev.Next = Died, time.Time{}
		return &next
	}
	next.Wait = j.delay(next.Attempts, ev.Err)
	next.Due = j.Clock.Now().Round(0).UTC().Add(next.Wait)
	ev.What, ev.Next = Retried, next.Due
	return &next
}

// conclude puts next (nil: nothing) in the place of r, if that is as it was, and runs settle with it. It returns the row that
// is there then, and whether it was this call that led to it.
func (j *Journal) conclude(ctx context.Context, r, next *row, settle func(store.Tx) error) (after *row, stored bool, err error) {
	unknown, err := j.update(ctx, func(tx store.Tx) error {
		after, stored = nil, false
		there, err := getRow(tx, r.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if there.version() != r.version() || there.Dead {
			after = there
			return nil
		}
		stored = true
		if next == nil {
			err = tx.Delete(intentPrefix + r.ID)
		} else {
			err = setRow(tx, next)
		}
		if err == nil && settle != nil {
			err = settle(tx)
		}
		if err != nil {
			return err
		}
		after, err = getRow(tx, r.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return after, stored || unknown, err
}
