package store

import (
	"context"
	"iter"
)

// Prefix gives a room its part of a store: every key is taken as prefix and key, and no other key can be reached. The
// prefix counts in MaxKey. Close does nothing; the store is closed by who opened it.
func Prefix(s Store, prefix string) Store { return view{s, prefix} }

type view struct {
	s      Store
	prefix string
}

func (v view) View(ctx context.Context, fn func(Snapshot) error) error {
	return v.s.View(ctx, func(s Snapshot) error { return fn(viewSnapshot{s, v.prefix}) })
}

func (v view) Update(ctx context.Context, fn func(Tx) error) error {
	return v.s.Update(ctx, func(tx Tx) error { return fn(viewTx{tx, v.prefix}) })
}

func (v view) Watch(ctx context.Context, prefix string) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for b, err := range v.s.Watch(ctx, v.prefix+prefix) {
			cut := make([]Change, len(b.Changes)) // other readers share the batch
			for i, c := range b.Changes {
				c.Key = c.Key[len(v.prefix):]
				cut[i] = c
			}
			if !yield(Batch{Reset: b.Reset, Changes: cut}, err) {
				return
			}
		}
	}
}

func (view) Close() error { return nil }

type viewSnapshot struct {
	s      Snapshot
	prefix string
}

func (v viewSnapshot) Get(key string) ([]byte, error) { return viewGet(v.s, v.prefix, key) }

func (v viewSnapshot) Scan(prefix, after string, limit int) ([]Record, error) {
	records, err := v.s.Scan(v.prefix+prefix, v.prefix+after, limit)
	for i := range records {
		records[i].Key = records[i].Key[len(v.prefix):]
	}
	return records, err
}

type viewTx struct {
	tx     Tx
	prefix string
}

func (v viewTx) Get(key string) ([]byte, error) { return viewGet(v.tx, v.prefix, key) }

func (v viewTx) Set(key string, value []byte) error {
	if key == "" {
		return v.tx.Set("", nil) // refused there, so that the whole Update is
	}
	return v.tx.Set(v.prefix+key, value)
}

func (v viewTx) Delete(key string) error {
	if key == "" {
		return v.tx.Delete("")
	}
	return v.tx.Delete(v.prefix + key)
}

func viewGet(g Getter, prefix, key string) ([]byte, error) {
	if key == "" {
		return g.Get("")
	}
	return g.Get(prefix + key)
}
