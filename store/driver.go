package store

import (
	"context"
	"errors"
	"iter"
	"sync"
)

// Driver is what New needs to make a Store. Keys, values and sizes that reach it are within the limits. It need not guard
// against calls after Close, except in Changes.
type Driver interface {
	// View runs fn on one instant.
	View(ctx context.Context, fn func(Snapshot) error) error
	// Update runs fn once and commits, or returns ErrConflict if a key that fn read has changed since. It returns ErrUnknown
	// if it cannot tell whether the commit happened. What fn writes is of one caller or of several, one after the other;
	// Changes tells of a key as often as it was written, in that order.
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

// maxTries bounds how often a function runs. The first try is beside other writers; one that lost it goes on in a group.
const maxTries = 16

// New makes a Store of a driver. observe, which may be nil, is told how each try to write ended; it must not block.
func New(d Driver, observe func(Outcome)) Store {
	if observe == nil {
		observe = func(Outcome) {}
	}
	f := &front{driver: d, observe: observe}
	f.alone = sync.NewCond(&f.mu)
	return f
}

type front struct {
	driver  Driver
	observe func(Outcome)

	mu         sync.Mutex // guards what follows
	closed     bool
	running    sync.WaitGroup // Add only under mu while not closed, or by one that runs
	beside     int            // writers that write beside others; none begins while leading
	committing int            // those of them whose functions have ended
	alone      *sync.Cond     // on mu: beside is 0
	queue      []*member      // who waits to be in a group
	leading    bool           // there is a goroutine that makes groups of them
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
	m := newMember(ctx, fn)
	if f.joined(m, false) {
		return f.inGroup(m)
	}
	if err, final := f.try(ctx, fn); final || !errors.Is(err, ErrConflict) {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.joined(m, true)
	return f.inGroup(m)
}

// try runs fn once, beside other writers. final says that the error is fn's own and must not lead to another run.
func (f *front) try(ctx context.Context, fn func(Tx) error) (err error, final bool) {
	ended := 0
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.committing -= ended
		if f.beside--; f.beside == 0 {
			f.alone.Signal()
		}
	}()
	err = f.driver.Update(ctx, func(d Tx) error {
		over, _, err, own := perform(d, fn)
		if final = own; err != nil {
			return err
		}
		ended = 1
		f.mu.Lock()
		f.committing++
		f.mu.Unlock()
		return over.apply(d)
	})
	if !final {
		f.observe(outcome(err))
	}
	return err, final
}

func outcome(err error) Outcome {
	switch {
	case err == nil:
		return Committed
	case errors.Is(err, ErrConflict):
		return Conflicted
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrKey), errors.Is(err, ErrFull):
		return Refused
	default:
		return Failed
	}
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
