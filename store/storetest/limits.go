package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/store"
)

func testLimits(t *testing.T, s store.Store) {
	ctx := bounded(t)
	keys := func(n int, do func(tx store.Tx, key string) error) func(store.Tx) error {
		return func(tx store.Tx) error {
			for i := range n {
				if err := do(tx, fmt.Sprintf("k%02d", i)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	read := func(tx store.Tx, key string) error {
		_, err := tx.Get(key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	value := func(n int) func(tx store.Tx, key string) error {
		return func(tx store.Tx, key string) error { return tx.Set(key, make([]byte, n)) }
	}
	for _, tc := range []struct {
		rule string
		fn   func(store.Tx) error
		want error
	}{
		{"the longest key", func(tx store.Tx) error { return tx.Set(strings.Repeat("k", store.MaxKey), nil) }, nil},
		{"a longer key", func(tx store.Tx) error { return tx.Set(strings.Repeat("k", store.MaxKey+1), nil) }, store.ErrTooLarge},
		{"an empty key", func(tx store.Tx) error { return tx.Set("", nil) }, store.ErrKey},
		{"a driver's key", func(tx store.Tx) error { return tx.Delete("!badger!x") }, store.ErrKey},
		{"the largest value", keys(1, value(store.MaxValue)), nil},
		{"a larger value", keys(1, value(store.MaxValue+1)), store.ErrTooLarge},
		{"the most keys", keys(store.MaxUpdateKeys, value(1)), nil},
		{"one key more", keys(store.MaxUpdateKeys+1, value(1)), store.ErrTooLarge},
		{"the most keys read", keys(store.MaxUpdateKeys, read), nil},
		{"one key read more", keys(store.MaxUpdateKeys+1, read), store.ErrTooLarge},
		{"a key counts once", func(tx store.Tx) error {
			return errors.Join(keys(store.MaxUpdateKeys, read)(tx), keys(store.MaxUpdateKeys, value(2))(tx), keys(store.MaxUpdateKeys, value(1))(tx))
		}, nil},
		{"the largest update", keys(8, value(store.MaxValue-3)), nil},
		{"a larger update", func(tx store.Tx) error {
			return errors.Join(keys(8, value(store.MaxValue-3))(tx), read(tx, "x"))
		}, store.ErrTooLarge},
		{"a value set again counts once", func(tx store.Tx) error {
			return errors.Join(keys(8, value(store.MaxValue-3))(tx), keys(8, value(store.MaxValue-3))(tx))
		}, nil},
		{"a breach that the function overlooks", func(tx store.Tx) error {
			_ = tx.Set("k", make([]byte, store.MaxValue+1))
			return tx.Set("ok", nil)
		}, store.ErrTooLarge},
	} {
		if err := s.Update(ctx, tc.fn); !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tc.rule, err, tc.want)
		}
	}
	must(t, s.View(ctx, func(snap store.Snapshot) error {
		if _, err := snap.Get("ok"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a refused update left something behind: %v", err)
		}
		if _, err := snap.Get(""); !errors.Is(err, store.ErrKey) {
			t.Errorf("an empty key is read: %v, want ErrKey", err)
		}
		return nil
	}))
}

func testPrefix(t *testing.T, s store.Store) {
	ctx := bounded(t)
	shared, local := store.Prefix(s, "shared/"), store.Prefix(s, "local/")
	set(t, shared, "a", "1", "b", "2")
	set(t, local, "a", "3")
	set(t, s, "shared", "outside")
	remove(t, shared, "b")
	want(t, shared, "a=1")
	want(t, local, "a=3")
	want(t, store.Prefix(store.Prefix(s, "sha"), "red/"), "a=1")
	want(t, s, "local/a=3", "shared=outside", "shared/a=1")
	must(t, shared.View(ctx, func(snap store.Snapshot) error {
		if page, err := snap.Scan("", "a", 10); len(page) != 0 || err != nil {
			t.Errorf("after the last key: %v, %v", page, err)
		}
		return nil
	}))
	for b, err := range shared.Watch(ctx, "a") {
		if must(t, err); len(b.Changes) != 1 || b.Changes[0].Key != "a" || string(b.Changes[0].Value) != "1" {
			t.Errorf("watch: %v", b)
		}
		break
	}
	if err := shared.Update(ctx, func(tx store.Tx) error { return tx.Set("", nil) }); !errors.Is(err, store.ErrKey) {
		t.Errorf("an empty key: %v, want ErrKey", err)
	}
	if err := shared.Update(ctx, func(tx store.Tx) error {
		return tx.Set(strings.Repeat("k", store.MaxKey-len("shared/")+1), nil)
	}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a key too long with its prefix: %v, want ErrTooLarge", err)
	}
	must(t, shared.Close())
	want(t, local, "a=3")
}

func testContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	if err := s.Update(ctx, func(store.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("update: %v, ran %v", err, ran)
	}
	if err := s.View(ctx, func(store.Snapshot) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("view: %v, ran %v", err, ran)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx store.Tx) error { cancel(); return tx.Set("a", nil) })
	if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("ended before the commit: %v, want the context's error", err)
	}
	want(t, s)
}
