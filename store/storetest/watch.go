package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
)

// reader is the state that a watch has led to.
type reader struct {
	t      *testing.T
	next   func() (store.Batch, error, bool)
	facts  map[string]string
	resets int
}

func watch(ctx context.Context, t *testing.T, s store.Store, prefix string) *reader {
	next, stop := iter.Pull2(s.Watch(ctx, prefix))
	t.Cleanup(stop)
	return &reader{t: t, next: next}
}

// read takes one batch and returns its changes as text.
func (r *reader) read() []string {
	r.t.Helper()
	b, err, ok := r.next()
	if !ok || err != nil {
		r.t.Fatalf("watch ended: %v", err)
	}
	var text []string
	if b.Reset {
		r.resets++
		r.facts = map[string]string{}
		text = append(text, "reset")
	}
	for _, c := range b.Changes {
		if c.Deleted {
			delete(r.facts, c.Key)
			text = append(text, c.Key+" deleted")
		} else {
			r.facts[c.Key] = string(c.Value)
			text = append(text, c.Key+"="+string(c.Value))
		}
	}
	return text
}

func (r *reader) expect(want ...string) {
	r.t.Helper()
	var got []string
	for len(got) < len(want) {
		got = append(got, r.read()...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("watch (-want +got):\n%s", diff)
	}
}

func testWatch(t *testing.T, s store.Store) {
	set(t, s, "w/b", "1", "x", "1")
	set(t, s, "w/a", "1")
	r := watch(bounded(t), t, s, "w/")
	r.expect("reset", "w/a=1", "w/b=1")
	set(t, s, "w/a", "2")
	r.expect("w/a=2")
	set(t, s, "x", "2")
	set(t, s, "w/c", "3")
	remove(t, s, "w/b")
	set(t, s, "w/b", "4")
	r.expect("w/c=3", "w/b deleted", "w/b=4")

	set(t, s, "w/d", "5", "x", "5", "w/e", "5")
	got := r.read() // one transaction is in one batch
	slices.Sort(got)
	if diff := cmp.Diff([]string{"w/d=5", "w/e=5"}, got); diff != "" {
		t.Errorf("a transaction with two keys (-want +got):\n%s", diff)
	}
	watch(bounded(t), t, s, "nothing/").expect("reset")
}

func testWatchContext(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(bounded(t))
	r := watch(ctx, t, s, "")
	r.read()
	cancel()
	if b, err, ok := r.next(); ok {
		t.Errorf("after the end of its context: %v, %v", b, err)
	}
	ended := make(chan struct{})
	ctx, cancel = context.WithCancel(bounded(t))
	go func() { // the watch ends with its context, awaited below
		defer close(ended)
		for _, err := range s.Watch(ctx, "") {
			if err != nil {
				t.Error(err)
			}
			cancel()
		}
	}()
	select {
	case <-ended:
	case <-bounded(t).Done():
		t.Error("a watch outlives its context")
	}
}

func testWatchSlow(t *testing.T, s store.Store) {
	r := watch(bounded(t), t, s, "")
	r.read()
	value := bytes.Repeat([]byte("v"), store.MaxValue-10)
	for i := range 24 { // more than any driver should keep for a reader that does not come
		must(t, s.Update(bounded(t), func(tx store.Tx) error {
			for k := range 7 {
				if err := tx.Set(fmt.Sprintf("k%d", k), append(value, strconv.Itoa(i)...)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	remove(t, s, "k6")
	set(t, s, "end", "")
	for _, ended := r.facts["end"]; !ended; _, ended = r.facts["end"] {
		r.read()
	}
	if r.resets != 2 {
		t.Errorf("%d resets, want 2: at the start, and for having been slow", r.resets)
	}
	if got := slices.Sorted(maps.Keys(r.facts)); !slices.Equal(got, []string{"end", "k0", "k1", "k2", "k3", "k4", "k5"}) {
		t.Errorf("after the reset: %v", got)
	}
	set(t, s, "end", "again")
	r.expect("end=again")
}

// testWatchConcurrent reads while writers count up: no value may come twice or go down, and the end is the store's.
func testWatchConcurrent(t *testing.T, s store.Store) {
	const writers, each = 4, 40
	ctx := bounded(t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				err := s.Update(ctx, func(tx store.Tx) error {
					return errors.Join(increment(tx, "n"), increment(tx, fmt.Sprintf("w%d", w)))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		wg.Go(func() {
			last := map[string]int{}
			for b, err := range s.Watch(ctx, "") {
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range b.Changes {
					n, err := strconv.Atoi(string(c.Value))
					if err != nil || n < last[c.Key] || n == last[c.Key] && !b.Reset || n > last[c.Key]+1 && !b.Reset {
						t.Errorf("%s=%q after %d (reset: %v)", c.Key, c.Value, last[c.Key], b.Reset)
					}
					last[c.Key] = n
				}
				sum := 0
				for w := range writers {
					sum += last[fmt.Sprintf("w%d", w)]
				}
				if sum != last["n"] {
					t.Errorf("a transaction was split: %v", last)
				}
				if last["n"] == writers*each {
					return
				}
			}
			t.Error("the watch ended early")
		})
	}
	wg.Wait()
}

func testClosed(t *testing.T, s store.Store) {
	ctx := bounded(t)
	set(t, s, "a", "1")
	watching, ended := make(chan struct{}), make(chan error, 1)
	go func() { // ends with the store, awaited below
		var last error
		for b, err := range s.Watch(ctx, "") {
			if b.Reset {
				close(watching)
			}
			last = err
		}
		ended <- last
	}()
	<-watching
	must(t, s.Close())
	select {
	case err := <-ended:
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("a running watch ended with %v, want ErrClosed", err)
		}
	case <-ctx.Done():
		t.Error("a watch outlives its store")
	}
	if err := s.View(ctx, func(store.Snapshot) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("view: %v, want ErrClosed", err)
	}
	if err := s.Update(ctx, func(tx store.Tx) error { return tx.Set("a", nil) }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("update: %v, want ErrClosed", err)
	}
	for _, err := range s.Watch(ctx, "") {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("watch: %v, want ErrClosed", err)
		}
	}
	if err := s.Close(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("close: %v, want ErrClosed", err)
	}
}

func testBackup(t *testing.T, from, to store.Store) {
	ctx := bounded(t)
	for i := range 3 {
		var pairs []string
		for k := range store.MaxUpdateKeys {
			pairs = append(pairs, fmt.Sprintf("k/%d/%d", i, k), string(bytes.Repeat([]byte{byte(k)}, k*k)))
		}
		set(t, from, pairs...)
	}
	var file bytes.Buffer
	must(t, store.Backup(ctx, from, &file, testTime))
	set(t, from, "later", "not in it")
	h, err := store.Restore(ctx, to, bytes.NewReader(file.Bytes()))
	must(t, err)
	if !h.Created.Equal(testTime) {
		t.Errorf("created %v, want %v", h.Created, testTime)
	}
	remove(t, from, "later")
	want(t, to, content(t, from)...)
}
