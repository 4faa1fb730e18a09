package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
)

// disk is a driver whose commits wait to be let through, each with what becomes of it.
type disk struct {
	store.Driver
	commits chan error

	mu    sync.Mutex
	facts map[string]string
	sizes []int // of the commits that happened, in keys written
}

func (d *disk) Update(_ context.Context, fn func(store.Tx) error) error {
	d.mu.Lock()
	tx := diskTx{maps.Clone(d.facts), new(int)}
	d.mu.Unlock()
	if err := fn(tx); err != nil {
		return err
	}
	if err := <-d.commits; err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.facts, d.sizes = tx.facts, append(d.sizes, *tx.written)
	return nil
}

func (d *disk) Close() error { return nil }

type diskTx struct {
	facts   map[string]string
	written *int
}

func (t diskTx) Get(key string) ([]byte, error) {
	if v, ok := t.facts[key]; ok {
		return []byte(v), nil
	}
	return nil, store.ErrNotFound
}

func (t diskTx) Set(key string, value []byte) error {
	t.facts[key] = string(value)
	*t.written++
	return nil
}

func (t diskTx) Delete(key string) error {
	delete(t.facts, key)
	*t.written++
	return nil
}

// crowd is a store with one writer that is being synced, and others that came meanwhile.
type crowd struct {
	t    *testing.T
	disk *disk
	s    store.Store

	mu       sync.Mutex
	ended    map[string]error
	observed map[store.Outcome]int
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{t: t, disk: &disk{commits: make(chan error), facts: map[string]string{}}, ended: map[string]error{}, observed: map[store.Outcome]int{}}
	c.s = store.New(c.disk, func(o store.Outcome) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.observed[o]++
	})
	c.update(t.Context(), "first", func(tx store.Tx) error { return tx.Set("first", nil) })
	return c
}

var errPanicked = errors.New("it panicked")

// update runs until it waits for the disk or for others.
func (c *crowd) update(ctx context.Context, name string, fn func(store.Tx) error) {
	go func() {
		err := errPanicked
		defer func() {
			_ = recover()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ended[name] = err
		}()
		err = c.s.Update(ctx, fn)
	}()
	synctest.Wait()
}

func (c *crowd) commit(err error) {
	c.disk.commits <- err
	synctest.Wait()
}

// appends adds a letter to a list that all share.
func appends(letter string) func(store.Tx) error {
	return func(tx store.Tx) error {
		v, err := tx.Get("list")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.Set("list", append(v, letter...))
	}
}

func (c *crowd) expect(list string, commits []int, ended map[string]error) {
	c.t.Helper()
	if got := c.disk.facts["list"]; got != list {
		c.t.Errorf("the list is %q, want %q", got, list)
	}
	if diff := cmp.Diff(commits, c.disk.sizes); diff != "" {
		c.t.Errorf("keys in the commits (-want +got):\n%s", diff)
	}
	for name, want := range ended {
		if got, has := c.ended[name]; !has || !errors.Is(got, want) {
			c.t.Errorf("%s ended with %v (%v), want %v", name, got, has, want)
		}
	}
	if len(c.ended) != len(ended) {
		c.t.Errorf("%d have ended, want %d: %v", len(c.ended), len(ended), c.ended)
	}
	must(c.t, c.s.Close())
}

func TestWritersThatCameMeanwhileAreSyncedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		mine := errors.New("mine")
		for _, letter := range []string{"a", "b", "c"} {
			c.update(t.Context(), letter, appends(letter))
		}
		c.update(t.Context(), "its own error", func(tx store.Tx) error { _ = appends("x")(tx); return mine })
		c.update(t.Context(), "too large", func(tx store.Tx) error { return tx.Set("list", make([]byte, store.MaxValue+1)) })
		c.update(t.Context(), "panics", func(tx store.Tx) error { _ = appends("y")(tx); panic("as a test wants") })
		c.update(t.Context(), "d", appends("d"))
		c.commit(nil) // of the first
		c.commit(nil)
		if diff := cmp.Diff(map[store.Outcome]int{store.Committed: 5, store.Refused: 1}, c.observed); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		c.update(t.Context(), "e", appends("e"))
		c.commit(nil)
		c.expect("abcde", []int{1, 4, 1}, map[string]error{"first": nil, "a": nil, "b": nil, "c": nil, "d": nil, "e": nil, "its own error": mine,
			"too large": store.ErrTooLarge, "panics": errPanicked})
	})
}

func TestAGroupsCommitIsItsMembersOutcome(t *testing.T) {
	mine := errors.New("mine")
	for _, tc := range []struct {
		what         string
		commits      []error
		list         string
		sizes        []int
		writer, said error // of who wrote, and of who then made what it saw an error
	}{
		{"it conflicts, and is made again", []error{nil, store.ErrConflict, store.ErrConflict, nil}, "a", []int{1, 1}, nil, mine},
		{"nobody knows", []error{nil, store.ErrUnknown}, "", []int{1}, store.ErrUnknown, store.ErrUnknown},
		{"the disk is full", []error{nil, store.ErrFull}, "", []int{1}, store.ErrFull, store.ErrFull},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(t)
				c.update(t.Context(), "before", func(store.Tx) error { return mine })
				c.update(t.Context(), "writer", appends("a"))
				c.update(t.Context(), "after", func(tx store.Tx) error {
					v, err := tx.Get("list")
					return errors.Join(mine, err, fmt.Errorf("saw %s", v))
				})
				for _, err := range tc.commits {
					c.commit(err)
				}
				c.expect(tc.list, tc.sizes, map[string]error{"first": nil, "before": mine, "writer": tc.writer, "after": tc.said})
			})
		})
	}
}

func TestAContextEndsAMembersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		waiting, stop := context.WithCancel(t.Context())
		within, end := context.WithCancel(t.Context())
		committing, leave := context.WithCancel(t.Context())
		c.update(waiting, "waiting", appends("a"))
		c.update(within, "within", func(tx store.Tx) error { end(); return appends("b")(tx) })
		c.update(committing, "committing", appends("c"))
		c.update(t.Context(), "last", appends("d"))
		stop()
		c.commit(nil)
		leave()
		synctest.Wait()
		if err := c.ended["committing"]; !errors.Is(err, store.ErrUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("who left in the midst of the commit is told %v", err)
		}
		if err := c.ended["waiting"]; errors.Is(err, store.ErrUnknown) {
			t.Errorf("who left before is told %v", err)
		}
		c.commit(nil)
		c.expect("cd", []int{1, 2}, map[string]error{"first": nil, "waiting": context.Canceled, "within": context.Canceled, "committing": store.ErrUnknown, "last": nil})
	})
}

func TestAGroupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		ended := map[string]error{"first": nil}
		large := strings.Repeat("x", store.MaxValue-100)
		for n := range 10 {
			name := fmt.Sprint("large ", n)
			ended[name] = nil
			c.update(t.Context(), name, func(tx store.Tx) error { return tx.Set(name, []byte(large)) })
		}
		for n := range 100 {
			name := fmt.Sprint("small ", n)
			ended[name] = nil
			c.update(t.Context(), name, appends("s"))
		}
		for range 5 {
			c.commit(nil)
		}
		c.expect(strings.Repeat("s", 100), []int{1, 5, 5, 64, 36}, ended)
	})
}
