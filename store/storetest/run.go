package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
)

// Run tests the stores that open returns, each empty. open registers its own cleanup, which must bear that the store is
// closed already.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		promise string
		run     func(t *testing.T, s store.Store)
		whole   bool // else it gets a room's part, beside which the store keeps records of its own
	}{
		{"an update is all or nothing", testUpdate, false},
		{"values are copies", testCopies, false},
		{"a scan pages through a prefix in order", testScan, false},
		{"a view is one instant", testView, false},
		{"limits", testLimits, true},
		{"a prefix is all that a view reaches", testPrefix, true},
		{"an ended context stops before it begins", testContext, false},
		{"no increment of a counter is lost", testCounter, false},
		{"a unique key has one winner", testUnique, false},
		{"no write skew", testSkew, false},
		{"a function runs again after a conflict", testRerun, false},
		{"a watch starts with all there is and tells changes in order", testWatch, false},
		{"a watch ends with its context", testWatchContext, false},
		{"a slow reader is reset and slows nobody", testWatchSlow, false},
		{"a watch never goes back", testWatchConcurrent, false},
		{"an unknown outcome is found out by intent id", testUnknown, false},
		{"a closed store says so", testClosed, true},
	} {
		t.Run(test.promise, func(t *testing.T) {
			s := open(t)
			if !test.whole {
				s = store.Prefix(s, "room/")
			}
			test.run(t, s)
		})
	}
	t.Run("a backup restores into another store", func(t *testing.T) { testBackup(t, open(t), open(t)) })
}

// deadline bounds every wait in a test; nothing here takes nearly as long.
const deadline = 30 * time.Second

var testTime = time.Date(2026, 7, 1, 2, 3, 4, 0, time.UTC)

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, s store.Store, pairs ...string) {
	t.Helper()
	must(t, s.Update(bounded(t), func(tx store.Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Set(pairs[i], []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	}))
}

func remove(t *testing.T, s store.Store, key string) {
	t.Helper()
	must(t, s.Update(bounded(t), func(tx store.Tx) error { return tx.Delete(key) }))
}

// content returns all records as "key=value".
func content(t *testing.T, s store.Store) []string {
	t.Helper()
	var got []string
	must(t, s.View(bounded(t), func(snap store.Snapshot) error {
		got = nil
		for r, err := range store.All(snap, "") {
			if err != nil {
				return err
			}
			if !strings.HasPrefix(r.Key, "meta/") {
				got = append(got, r.Key+"="+string(r.Value))
			}
		}
		return nil
	}))
	return got
}

func want(t *testing.T, s store.Store, records ...string) {
	t.Helper()
	if diff := cmp.Diff(records, content(t, s)); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

func testUpdate(t *testing.T, s store.Store) {
	ctx := bounded(t)
	set(t, s, "a", "1", "b", "2", "c", "")
	mine := errors.New("mine")
	err := s.Update(ctx, func(tx store.Tx) error {
		must(t, tx.Set("a", []byte("9")))
		must(t, tx.Delete("b"))
		return mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("got %v, want the function's own error", err)
	}
	want(t, s, "a=1", "b=2", "c=")
	must(t, s.Update(ctx, func(tx store.Tx) error {
		must(t, tx.Delete("a"))
		if _, err := tx.Get("a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a key deleted in this update: %v, want ErrNotFound", err)
		}
		must(t, tx.Set("b", []byte("3")))
		if v, err := tx.Get("b"); string(v) != "3" || err != nil {
			t.Errorf("a key set in this update: %q, %v", v, err)
		}
		return tx.Delete("never there")
	}))
	want(t, s, "b=3", "c=")
	must(t, s.View(ctx, func(snap store.Snapshot) error {
		if _, err := snap.Get("a"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a deleted key: %v, want ErrNotFound", err)
		}
		if v, err := snap.Get("c"); v == nil || len(v) != 0 || err != nil {
			t.Errorf("an empty value: %v, %v", v, err)
		}
		return nil
	}))
}

func testCopies(t *testing.T, s store.Store) {
	ctx := bounded(t)
	value := []byte("good")
	must(t, s.Update(ctx, func(tx store.Tx) error {
		must(t, tx.Set("a", value))
		copy(value, "evil")
		got, err := tx.Get("a")
		copy(got, "evil")
		return err
	}))
	must(t, s.View(ctx, func(snap store.Snapshot) error {
		got, err := snap.Get("a")
		copy(got, "evil")
		return err
	}))
	want(t, s, "a=good")
}

func testScan(t *testing.T, s store.Store) {
	var pairs, all []string
	for i := range 2*store.MaxUpdateKeys + 5 {
		pairs = append(pairs, fmt.Sprintf("p/%03d", i), "v")
		all = append(all, fmt.Sprintf("p/%03d", i))
	}
	for len(pairs) > 0 {
		n := min(len(pairs), 2*store.MaxUpdateKeys)
		set(t, s, pairs[:n]...)
		pairs = pairs[n:]
	}
	set(t, s, "o", "before", "p", "its own name", "p0", "behind", "p/\xff\xff", "last")
	all = append(all, "p/\xff\xff")
	must(t, s.View(bounded(t), func(snap store.Snapshot) error {
		var got []string
		for after := ""; ; {
			page, err := snap.Scan("p/", after, 10)
			must(t, err)
			for _, r := range page {
				got = append(got, r.Key)
				after = r.Key
			}
			if len(page) < 10 {
				break
			}
		}
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("pages of ten (-want +got):\n%s", diff)
		}
		for _, tc := range []struct {
			rule, prefix, after string
			limit               int
			want                []string
		}{
			{"after need not exist", "p/", "p/1319", 5, []string{"p/132", "p/\xff\xff"}},
			{"after need not have the prefix", "p/", "a", 1, []string{"p/000"}},
			{"after behind the prefix", "p/", "q", 5, nil},
			{"no such prefix", "x", "", 5, nil},
			{"no prefix", "", "", 2, []string{"o", "p"}},
		} {
			page, err := snap.Scan(tc.prefix, tc.after, tc.limit)
			must(t, err)
			var got []string
			for _, r := range page {
				got = append(got, r.Key)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.rule, diff)
			}
		}
		for _, limit := range []int{-1, 0, store.MaxScan + 1} {
			if _, err := snap.Scan("", "", limit); err == nil {
				t.Errorf("a limit of %d was taken", limit)
			}
		}
		return nil
	}))
}

func testView(t *testing.T, s store.Store) {
	set(t, s, "a", "1")
	must(t, s.View(bounded(t), func(snap store.Snapshot) error {
		set(t, s, "a", "2", "b", "2")
		v, err := snap.Get("a")
		if string(v) != "1" || err != nil {
			t.Errorf("Get sees a later commit: %q, %v", v, err)
		}
		page, err := snap.Scan("", "", 10)
		if len(page) != 1 || string(page[0].Value) != "1" || err != nil {
			t.Errorf("Scan sees a later commit: %v, %v", page, err)
		}
		return nil
	}))
	want(t, s, "a=2", "b=2")
}
