// Package memory is the smallest store: facts in a sorted slice, gone with the process. It is what tests of other folders use,
// and the reference that the conformance suite is checked against. It promises what package store does, but for durability,
// and copies the slice at each commit: it is for thousands of facts, not for many.
package memory

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate/store"
)

// New returns an empty store.
func New() store.Store {
	return store.New(&driver{Feed: store.NewFeed()}, nil)
}

type fact struct {
	key   string
	value []byte
	rev   uint64 // of the commit that wrote it
}

type driver struct {
	*store.Feed

	mu    sync.Mutex
	facts snapshot // never changed, only replaced
	rev   uint64
}

func (d *driver) now() (snapshot, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.facts, d.rev
}

func (d *driver) View(_ context.Context, fn func(store.Snapshot) error) error {
	facts, _ := d.now()
	return fn(facts)
}

func (d *driver) Update(ctx context.Context, fn func(store.Tx) error) error {
	facts, _ := d.now()
	tx := &tx{facts: facts, reads: map[string]uint64{}, writes: map[string]store.Change{}}
	if err := fn(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(tx.changes) == 0 {
		return nil // it has seen one instant
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, rev := range tx.reads {
		if d.facts.rev(key) != rev {
			return store.ErrConflict
		}
	}
	d.rev++
	next := slices.Grow(slices.Clone(d.facts), len(tx.changes))
	for _, c := range tx.changes {
		at, there := next.find(c.Key)
		switch {
		case !c.Deleted && there:
			next[at] = fact{c.Key, c.Value, d.rev}
		case !c.Deleted:
			next = slices.Insert(next, at, fact{c.Key, c.Value, d.rev})
		case there:
			next = slices.Delete(next, at, at+1)
		}
	}
	d.facts = next
	d.Publish(d.rev, tx.changes)
	return nil
}

func (d *driver) List(_ context.Context, prefix string) ([]store.Record, uint64, error) {
	facts, rev := d.now()
	return facts.scan(prefix, "", len(facts)), rev, nil
}

func (d *driver) Changes(ctx context.Context, prefix string, rev uint64) iter.Seq2[[]store.Change, error] {
	return d.Feed.Changes(ctx, prefix, rev)
}

func (d *driver) Close() error {
	d.Feed.Close()
	return nil
}

// snapshot is the facts of one moment, by key.
type snapshot []fact

func (s snapshot) find(key string) (at int, there bool) {
	return slices.BinarySearchFunc(s, key, func(f fact, key string) int { return cmp.Compare(f.key, key) })
}

// rev is the commit that wrote a key; 0 if it is not there.
func (s snapshot) rev(key string) uint64 {
	at, there := s.find(key)
	if !there {
		return 0
	}
	return s[at].rev
}

func (s snapshot) Get(key string) ([]byte, error) {
	at, there := s.find(key)
	if !there {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, s[at].value...), nil
}

func (s snapshot) Scan(prefix, after string, limit int) ([]store.Record, error) {
	return s.scan(prefix, after, limit), nil
}

func (s snapshot) scan(prefix, after string, limit int) []store.Record {
	var records []store.Record
	begin, _ := s.find(max(prefix, after))
	for _, f := range s[begin:] {
		if len(records) == limit || !strings.HasPrefix(f.key, prefix) {
			break // what has a prefix stands together
		}
		if f.key > after {
			records = append(records, store.Record{Key: f.key, Value: append([]byte{}, f.value...)})
		}
	}
	return records
}

type tx struct {
	facts   snapshot
	reads   map[string]uint64
	writes  map[string]store.Change // the last of each key
	changes []store.Change
}

func (t *tx) Get(key string) ([]byte, error) {
	if c, ok := t.writes[key]; ok {
		if c.Deleted {
			return nil, store.ErrNotFound
		}
		return append([]byte{}, c.Value...), nil
	}
	t.reads[key] = t.facts.rev(key)
	return t.facts.Get(key)
}

func (t *tx) Set(key string, value []byte) error {
	return t.note(store.Change{Key: key, Value: value})
}

func (t *tx) Delete(key string) error {
	return t.note(store.Change{Key: key, Deleted: true})
}

func (t *tx) note(c store.Change) error {
	t.writes[c.Key] = c
	t.changes = append(t.changes, c)
	return nil
}
