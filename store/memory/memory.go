// Package memory is the smallest store: facts in a map, gone with the process. It is what tests of other folders use, and the
// reference that the conformance suite is checked against. It promises what package store does, but for durability, and
// copies the map at each commit: it is for hundreds of facts, not for many.
package memory

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate/store"
)

// New returns an empty store.
func New() store.Store {
	return store.New(&driver{facts: map[string]fact{}, Feed: store.NewFeed()}, nil)
}

type fact struct {
	value []byte
	rev   uint64 // of the commit that wrote it
}

type driver struct {
	*store.Feed

	mu    sync.Mutex
	facts map[string]fact // never changed, only replaced
	rev   uint64
}

func (d *driver) now() (map[string]fact, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.facts, d.rev
}

func (d *driver) View(_ context.Context, fn func(store.Snapshot) error) error {
	facts, _ := d.now()
	return fn(snapshot(facts))
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
	if len(tx.writes) == 0 {
		return nil // it has seen one instant
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, rev := range tx.reads {
		if d.facts[key].rev != rev {
			return store.ErrConflict
		}
	}
	d.rev++
	next := maps.Clone(d.facts)
	var changes []store.Change
	for _, key := range slices.Sorted(maps.Keys(tx.writes)) {
		c := tx.writes[key]
		if changes = append(changes, c); c.Deleted {
			delete(next, key)
		} else {
			next[key] = fact{c.Value, d.rev}
		}
	}
	d.facts = next
	d.Publish(d.rev, changes)
	return nil
}

func (d *driver) List(_ context.Context, prefix string) ([]store.Record, uint64, error) {
	facts, rev := d.now()
	return snapshot(facts).scan(prefix, "", len(facts)), rev, nil
}

func (d *driver) Changes(ctx context.Context, prefix string, rev uint64) iter.Seq2[[]store.Change, error] {
	return d.Feed.Changes(ctx, prefix, rev)
}

func (d *driver) Close() error {
	d.Feed.Close()
	return nil
}

type snapshot map[string]fact

func (s snapshot) Get(key string) ([]byte, error) {
	f, ok := s[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, f.value...), nil
}

func (s snapshot) Scan(prefix, after string, limit int) ([]store.Record, error) {
	return s.scan(prefix, after, limit), nil
}

func (s snapshot) scan(prefix, after string, limit int) []store.Record {
	var records []store.Record
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if len(records) == limit {
			break
		}
		if key > after && strings.HasPrefix(key, prefix) {
			records = append(records, store.Record{Key: key, Value: append([]byte{}, s[key].value...)})
		}
	}
	return records
}

type tx struct {
	facts  snapshot
	reads  map[string]uint64
	writes map[string]store.Change
}

func (t *tx) Get(key string) ([]byte, error) {
	if c, ok := t.writes[key]; ok {
		if c.Deleted {
			return nil, store.ErrNotFound
		}
		return append([]byte{}, c.Value...), nil
	}
	t.reads[key] = t.facts[key].rev
	return t.facts.Get(key)
}

func (t *tx) Set(key string, value []byte) error {
	t.writes[key] = store.Change{Key: key, Value: value}
	return nil
}

func (t *tx) Delete(key string) error {
	t.writes[key] = store.Change{Key: key, Deleted: true}
	return nil
}
