package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mfpgate/mfpgate/store"
)

// together runs n functions at once and waits for them.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func increment(tx store.Tx, key string) error {
	n, err := number(tx, key)
	if err != nil {
		return err
	}
	return tx.Set(key, []byte(strconv.Itoa(n+1)))
}

// number reads a counter; one that does not exist is 0.
func number(g store.Getter, key string) (int, error) {
	v, err := g.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(v))
}

func testCounter(t *testing.T, s store.Store) {
	ctx := bounded(t)
	const writers, each = 16, 12
	together(writers, func(int) {
		for range each {
			if err := s.Update(ctx, func(tx store.Tx) error { return increment(tx, "n") }); err != nil {
				t.Errorf("a writer starved: %v", err)
			}
		}
	})
	want(t, s, fmt.Sprintf("n=%d", writers*each))
}

func testUnique(t *testing.T, s store.Store) {
	ctx := bounded(t)
	taken := errors.New("taken")
	for round := range 10 {
		key := fmt.Sprintf("unique/%d", round)
		var won atomic.Int32
		var allRead sync.WaitGroup
		allRead.Add(8)
		together(8, func(i int) {
			first := true
			err := s.Update(ctx, func(tx store.Tx) error {
				_, err := tx.Get(key)
				if first { // nobody commits before all have read
					first = false
					allRead.Done()
					allRead.Wait()
				}
				switch {
				case err == nil:
					return taken
				case !errors.Is(err, store.ErrNotFound):
					return err
				}
				return tx.Set(key, []byte(strconv.Itoa(i)))
			})
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, taken) {
				t.Error(err)
			}
		})
		if won.Load() != 1 {
			t.Errorf("%d writers won the key", won.Load())
		}
	}
}

// testSkew has two writers each check that both of two are on duty, and then take a different one off.
func testSkew(t *testing.T, s store.Store) {
	ctx := bounded(t)
	for range 20 {
		set(t, s, "a", "on", "b", "on")
		var bothRead sync.WaitGroup
		bothRead.Add(2)
		together(2, func(i int) {
			first := true
			err := s.Update(ctx, func(tx store.Tx) error {
				on := 0
				for _, key := range []string{"a", "b"} {
					v, err := tx.Get(key)
					if err != nil {
						return err
					}
					if string(v) == "on" {
						on++
					}
				}
				if first { // neither commits before both have read
					first = false
					bothRead.Done()
					bothRead.Wait()
				}
				if on < 2 {
					return nil
				}
				return tx.Set([]string{"a", "b"}[i], []byte("off"))
			})
			if err != nil {
				t.Error(err)
			}
		})
		off := 0
		for _, r := range content(t, s) {
			if r[2:] == "off" {
				off++
			}
		}
		if off != 1 {
			t.Fatalf("%d of two are off duty, want 1", off)
		}
	}
}

func testRerun(t *testing.T, s store.Store) {
	ctx := bounded(t)
	read, written := make(chan struct{}), make(chan struct{})
	go func() { // ends with the write; the update below waits for it
		defer close(written)
		<-read
		if err := s.Update(ctx, func(tx store.Tx) error { return tx.Set("a", []byte("other")) }); err != nil {
			t.Error(err)
		}
	}()
	runs := 0
	must(t, s.Update(ctx, func(tx store.Tx) error {
		runs++
		v, err := tx.Get("a") // not there yet: the absence is what conflicts
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if runs == 1 {
			close(read)
			<-written
		}
		return tx.Set("b", append(v, '!'))
	}))
	if runs != 2 {
		t.Errorf("the function ran %d times, want 2", runs)
	}
	want(t, s, "a=other", "b=other!")
}

// testUnknown is what callers must do: the intent's id is written with its effect, and an unknown outcome is read back.
func testUnknown(t *testing.T, s store.Store) {
	ctx := bounded(t)
	u := &Unsure{Store: s}
	act := func(intent string) (attempts int) {
		for {
			attempts++
			err := u.Update(ctx, func(tx store.Tx) error {
				if err := tx.Set("intent/"+intent, nil); err != nil {
					return err
				}
				return increment(tx, "n")
			})
			if err == nil {
				return attempts
			}
			if !errors.Is(err, store.ErrUnknown) {
				t.Fatal(err)
			}
			err = u.View(ctx, func(snap store.Snapshot) error {
				_, err := snap.Get("intent/" + intent)
				return err
			})
			if err == nil {
				return attempts
			}
			if !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
		}
	}
	u.Next(CommittedUnseen)
	if got := act("1"); got != 1 {
		t.Errorf("a commit that happened unseen was repeated: %d attempts", got)
	}
	u.Next(LostUnseen, LostUnseen, CommittedUnseen)
	if got := act("2"); got != 3 {
		t.Errorf("commits that were lost unseen: %d attempts, want 3", got)
	}
	want(t, s, "intent/1=", "intent/2=", "n=2")
}
