package store

import (
	"context"
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
)

// What a Feed keeps for readers that are not there yet.
const (
	feedCommits = 1024
	feedBytes   = 4 << 20
)

// Feed is Driver.Changes for drivers that learn of changes only from their own commits. It keeps the latest commits in
// memory, and a reader is no more than a place in them: readers cost a writer nothing, and one that falls behind the
// oldest commit kept is told ErrBehind.
type Feed struct {
	mu     sync.Mutex
	wake   chan struct{} // closed, and made anew, at each commit
	kept   []feedCommit  // in the order of revisions
	bytes  int
	newest uint64
	floor  uint64 // a reader at a revision below it has missed something
	closed bool
}

type feedCommit struct {
	rev     uint64
	changes []Change
	size    int
}

// NewFeed returns a feed at revision 0.
func NewFeed() *Feed { return &Feed{wake: make(chan struct{})} }

// Publish hands on a commit. Revisions must grow from call to call. The feed keeps changes; a commit without any only
// moves the revision.
func (f *Feed) Publish(rev uint64, changes []Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest = rev
	if len(changes) == 0 {
		return
	}
	size := 0
	for _, c := range changes {
		size += len(c.Key) + len(c.Value)
	}
	f.kept = append(f.kept, feedCommit{rev, changes, size})
	f.bytes += size
	drop := 0
	for len(f.kept)-drop > feedCommits || f.bytes > feedBytes {
		f.bytes -= f.kept[drop].size
		f.floor = f.kept[drop].rev
		drop++
	}
	f.kept = slices.Delete(f.kept, 0, drop)
	f.signal()
}

// Lose tells every reader before rev that it must list again: what the commit did is not known.
func (f *Feed) Lose(rev uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.newest, f.floor, f.kept, f.bytes = rev, rev, nil, 0
	f.signal()
}

// Close ends every reader with ErrClosed.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.signal()
}

func (f *Feed) signal() {
	close(f.wake)
	f.wake = make(chan struct{})
}

// Changes is Driver.Changes.
func (f *Feed) Changes(ctx context.Context, prefix string, rev uint64) iter.Seq2[[]Change, error] {
	return func(yield func([]Change, error) bool) {
		for ctx.Err() == nil {
			changes, now, wake, err := f.after(prefix, rev)
			if err != nil {
				yield(nil, err)
				return
			}
			rev = now
			if len(changes) > 0 {
				if !yield(changes, nil) {
					return
				}
				continue
			}
			select {
			case <-ctx.Done():
			case <-wake:
			}
		}
	}
}

func (f *Feed) after(prefix string, rev uint64) (changes []Change, now uint64, wake <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, 0, nil, ErrClosed
	}
	if rev < f.floor {
		return nil, 0, nil, ErrBehind
	}
	first := sort.Search(len(f.kept), func(i int) bool { return f.kept[i].rev > rev })
	for _, c := range f.kept[first:] {
		for _, change := range c.changes {
			if strings.HasPrefix(change.Key, prefix) {
				changes = append(changes, change)
			}
		}
	}
	// A List may be ahead of what is published: its reader stays where it is.
	return changes, max(rev, f.newest), f.wake, nil
}
