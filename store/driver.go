package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
)

// Driver is what New needs to make a Store. Keys, values and sizes that reach it are within the limits. It need not guard
// against calls after Close, except in Changes.
type Driver interface {
	// View runs fn on one instant.
	View(ctx context.Context, fn func(Snapshot) error) error
	// Update runs fn once and commits, or returns ErrConflict if a key that fn read has changed since. It returns ErrUnknown
	// if it cannot tell whether the commit happened.
	Update(ctx context.Context, fn func(Tx) error) error
	// List returns all records under prefix in the order of keys, and the revision that holds exactly the commits seen.
	List(ctx context.Context, prefix string) ([]Record, uint64, error)
	// Changes yields whole transactions after revision rev in the order of commits until ctx ends. It ends with ErrBehind
	// when it cannot give all of them, and with ErrClosed after Close.
	Changes(ctx context.Context, prefix string, rev uint64) iter.Seq2[[]Change, error]
	// Close frees everything. No View, Update or List is running.
	Close() error
}

// ErrBehind ends a driver's Changes when its reader has to List again. Callers of Store never see it.
var ErrBehind = errors.New("changes are no longer kept")

// Outcome tells how one try to write ended.
type Outcome string

// The outcomes: a try that conflicted is run again; refused is ErrTooLarge, ErrKey or ErrFull; all else failed.
const (
	Committed  Outcome = "committed"
	Conflicted Outcome = "conflicted"
	Refused    Outcome = "refused"
	Failed     Outcome = "failed"
)

const (
	freeTries = 4  // beside other writers
	maxTries  = 16 // all in all; those after freeTries run while no other writer of this process does
)

// New makes a Store of a driver. observe, which may be nil, is told how each try to write ended; it must not block.
func New(d Driver, observe func(Outcome)) Store {
	if observe == nil {
		observe = func(Outcome) {}
	}
	return &front{driver: d, observe: observe}
}

type front struct {
	driver  Driver
	observe func(Outcome)

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // Add only under mu while not closed

	// turn is held shared by hopeful writers and alone by one that lost freeTries times, so that nobody starves.
	turn sync.RWMutex
}

func (f *front) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return ErrClosed
	}
	f.running.Add(1)
	return nil
}

func (f *front) View(ctx context.Context, fn func(Snapshot) error) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	defer f.running.Done()
	return f.driver.View(ctx, func(s Snapshot) error { return fn(limitedSnapshot{ctx, s}) })
}

func (f *front) Update(ctx context.Context, fn func(Tx) error) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	defer f.running.Done()
	for try := 1; ; try++ {
		err, final := f.try(ctx, fn, try > freeTries)
		if final || !errors.Is(err, ErrConflict) {
			return err
		}
		if try == maxTries {
			return fmt.Errorf("update: %d tries: %w", try, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// try runs fn once. final says that the error is fn's own and must not lead to another run.
func (f *front) try(ctx context.Context, fn func(Tx) error, alone bool) (err error, final bool) {
	if alone {
		f.turn.Lock()
		defer f.turn.Unlock()
	} else {
		f.turn.RLock()
		defer f.turn.RUnlock()
	}
	err = f.driver.Update(ctx, func(d Tx) error {
		tx := &limitedTx{tx: d, sizes: map[string]int{}}
		err := fn(tx)
		if tx.err != nil { // also when fn overlooked it
			return tx.err
		}
		final = err != nil
		return err
	})
	switch {
	case err == nil:
		f.observe(Committed)
	case final:
	case errors.Is(err, ErrConflict):
		f.observe(Conflicted)
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrKey), errors.Is(err, ErrFull):
		f.observe(Refused)
	default:
		f.observe(Failed)
	}
	return err, final
}

func (f *front) Watch(ctx context.Context, prefix string) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for {
			records, rev, err := f.list(ctx, prefix)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Batch{}, err)
				return
			}
			all := Batch{Reset: true, Changes: make([]Change, len(records))}
			for i, r := range records {
				all.Changes[i] = Change{Key: r.Key, Value: r.Value}
			}
			if !yield(all, nil) {
				return
			}
			behind := false
			for changes, err := range f.driver.Changes(ctx, prefix, rev) {
				if behind = errors.Is(err, ErrBehind); behind {
					break
				}
				if err != nil && ctx.Err() != nil {
					return
				}
				if !yield(Batch{Changes: changes}, err) || err != nil {
					return
				}
			}
			if !behind {
				return
			}
		}
	}
}

func (f *front) list(ctx context.Context, prefix string) ([]Record, uint64, error) {
	if err := f.enter(ctx); err != nil {
		return nil, 0, err
	}
	defer f.running.Done()
	return f.driver.List(ctx, prefix)
}

func (f *front) Close() error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return ErrClosed
	}
	f.closed = true
	f.mu.Unlock()
	f.running.Wait()
	return f.driver.Close()
}
