package journal_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
)

// TestAgain has a handler that is called once more and once more, of which nothing is stored.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		facts, began := memory.New(), time.Now()
		var mu sync.Mutex
		var at, due []time.Duration // of each call, since the beginning
		busy := time.Duration(0)    // that a call takes
		with := func(fn func()) {
			mu.Lock()
			defer mu.Unlock()
			fn()
		}
		ready := func() *site {
			h := newSite(t, facts, func(o *journal.Options) { o.Clock = mfpgate.SystemClock{} })
			h.Handle("poll", func(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
				var long time.Duration
				with(func() { at, due, long = append(at, time.Since(began)), append(due, in.Due.Sub(began)), busy })
				_ = mfpgate.Wait(ctx, mfpgate.SystemClock{}, long)
				return nil, journal.Again(time.Minute)
			})
			return h
		}
		pass := func(d time.Duration) {
			_ = mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, d)
			synctest.Wait()
		}
		want := func(rule string, calls ...time.Duration) {
			t.Helper()
			same := len(at) == len(calls)
			for i := 0; same && i < len(calls); i++ {
				same = at[i] == calls[i] && due[i] == calls[i]
			}
			if !same {
				t.Errorf("%s: called at %v, due at %v; want %v", rule, at, due, calls)
			}
			with(func() { at, due = nil, nil })
		}
		h := ready()
		h.intend(journal.Intent{ID: "p", Kind: "poll", Delay: time.Second})
		before := h.read("journal/intent/p")
		stop := h.run()
		pass(time.Second + 2*time.Minute)
		want("each minute", time.Second, time.Second+time.Minute, time.Second+2*time.Minute)
		pass(time.Second)
		h.Hasten("p")
		pass(59 * time.Second)
		want("hastened", 2*time.Minute+2*time.Second)
		with(func() { busy = 10 * time.Second })
		pass(5 * time.Second) // of the next call
		h.Hasten("p")
		with(func() { busy = 0 })
		pass(6 * time.Second)
		if len(at) != 2 || at[0] != 3*time.Minute+2*time.Second || at[1] != at[0]+10*time.Second {
			t.Errorf("hastened while it is called: called at %v", at)
		}
		if e := h.await(journal.Postponed, 6); e.Attempts != 0 || e.Next.Sub(began) != at[len(at)-1]+time.Minute {
			t.Errorf("told of %+v", e)
		}
		if after := h.read("journal/intent/p"); after != before {
			t.Errorf("stored %s, was %s", after, before)
		}
		stop()
		pass(time.Hour)
		with(func() { at, due = nil, nil })
		h = ready()
		stop = h.run()
		synctest.Wait()
		if len(at) != 1 || due[0] != time.Second {
			t.Errorf("after a restart: called at %v, due at %v; want at once, as the record says", at, due)
		}
		h.update(func(tx store.Tx) error {
			_, err := h.Cancel(tx, "p")
			return err
		})
		pass(time.Hour)
		if len(at) != 1 {
			t.Errorf("cancelled, and called at %v", at)
		}
		stop()
	})
}
