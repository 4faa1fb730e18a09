package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/storetest"
)

func TestResultIsStoredWithTheRemoval(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		h := newSite(t, s)
		h.Handle("mail", func(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
			return func(tx store.Tx) error { return tx.Set("sent/"+in.ID, in.Payload) }, nil
		})
		h.run()
		h.update(func(tx store.Tx) error {
			return errors.Join(tx.Set("fact", nil), h.Intend(tx, journal.Intent{ID: "m1", Kind: "mail", Payload: json.RawMessage(`{"a" : "<"}`)}))
		})
		h.await(journal.Done, 1)
		if got := h.read("sent/m1"); got != `{"a":"\u003c"}` {
			t.Errorf("result is %q", got)
		}
		if left := h.list(); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func TestOrder(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		h, got := newSite(t, s, func(o *journal.Options) { o.Parallel = 1 }), &calls{}
		failed := false
		h.Handle("step", func(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
			got.add(in.ID)
			if in.ID == "a1" && !failed {
				failed = true
				return nil, journal.RetryAfter(errors.New("busy"), 10*time.Second)
			}
			return nil, nil
		})
		at := func(id, object string, before time.Duration) journal.Intent {
			return journal.Intent{ID: id, Kind: "step", Object: object, NotBefore: start.Add(before)}
		}
		h.intend(at("a2", "a", -time.Minute), at("a1", "a", -time.Hour), at("b1", "b", -time.Second),
			at("c", "", -2*time.Hour), at("later", "a", time.Hour), journal.Intent{ID: "b2", Kind: "step", Object: "b"})
		h.run()
		h.await(journal.Done, 3)
		h.await(journal.Retried, 1)
		h.clock.AwaitTimers(1)
		if diff := cmp.Diff([]string{"c", "a1", "b1", "b2"}, got.all()); diff != "" {
			t.Errorf("before the second try (-want +got):\n%s", diff)
		}
		h.clock.Advance(10 * time.Second)
		h.await(journal.Done, 5)
		if diff := cmp.Diff([]string{"c", "a1", "b1", "b2", "a1", "a2"}, got.all()); diff != "" {
			t.Errorf("after it (-want +got):\n%s", diff)
		}
	})
}

func TestOneAtATimePerObjectAndBoundedInAll(t *testing.T) {
	h := newSite(t, memory.New(), func(o *journal.Options) { o.Parallel = 3 })
	var mu sync.Mutex
	inside, most := map[string]int{}, 0
	entered, leave := make(chan struct{}, 12), make(chan struct{})
	h.Handle("step", func(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
		mu.Lock()
		inside[in.Object]++
		if n := inside[in.Object]; n > 1 {
			t.Errorf("%s runs %d times at once", in.Object, n)
		}
		all := 0
		for _, n := range inside {
			all += n
		}
		most = max(most, all)
		mu.Unlock()
		entered <- struct{}{}
		<-leave
		mu.Lock()
		inside[in.Object]--
		mu.Unlock()
		return nil, nil
	})
	for i := range 12 {
		h.intend(journal.Intent{ID: fmt.Sprint("i", i), Kind: "step", Object: fmt.Sprint("o", i%4)})
	}
	h.run()
	for range 3 {
		<-entered
	}
	close(leave)
	h.await(journal.Done, 12)
	if most != 3 {
		t.Errorf("%d ran at once, want 3", most)
	}
}

func TestIntendAgain(t *testing.T) {
	h := newSite(t, memory.New())
	base := journal.Intent{ID: "x", Kind: "k", Object: "o", Payload: json.RawMessage(`{"n":1}`), NotBefore: start.Add(time.Hour)}
	h.intend(base)
	for _, tc := range []struct {
		rule   string
		change func(*journal.Intent)
		want   error
		due    time.Duration
	}{
		{"the same is nothing new", func(*journal.Intent) {}, nil, time.Hour},
		{"white space is no difference", func(in *journal.Intent) { in.Payload = json.RawMessage("{ \"n\": 1 }") }, nil, time.Hour},
		{"no time leaves the timer", func(in *journal.Intent) { in.NotBefore = time.Time{} }, nil, time.Hour},
		{"another time moves the timer", func(in *journal.Intent) { in.NotBefore = start.Add(2 * time.Hour) }, nil, 2 * time.Hour},
		{"another payload is refused", func(in *journal.Intent) { in.Payload = json.RawMessage(`{"n":2}`) }, journal.ErrDiffers, 2 * time.Hour},
		{"another kind is refused", func(in *journal.Intent) { in.Kind = "l" }, journal.ErrDiffers, 2 * time.Hour},
		{"another object is refused", func(in *journal.Intent) { in.Object = "p" }, journal.ErrDiffers, 2 * time.Hour},
		{"no id", func(in *journal.Intent) { in.ID = "" }, journal.ErrInvalid, 2 * time.Hour},
		{"a long id", func(in *journal.Intent) { in.ID = strings.Repeat("i", journal.MaxID+1) }, journal.ErrInvalid, 2 * time.Hour},
		{"an id that is no text", func(in *journal.Intent) { in.ID = "\xff" }, journal.ErrInvalid, 2 * time.Hour},
		{"no kind", func(in *journal.Intent) { in.Kind = "" }, journal.ErrInvalid, 2 * time.Hour},
		{"a payload that is no JSON", func(in *journal.Intent) { in.Payload = json.RawMessage(`{`) }, journal.ErrInvalid, 2 * time.Hour},
		{"a large payload", func(in *journal.Intent) {
			in.Payload = json.RawMessage(`"` + strings.Repeat("x", journal.MaxPayload) + `"`)
		}, store.ErrTooLarge, 2 * time.Hour},
	} {
		in := base
		tc.change(&in)
		err := h.store.Update(t.Context(), func(tx store.Tx) error { return h.Intend(tx, in) })
		if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", tc.rule, err, tc.want)
		}
		if list := h.list(); len(list) != 1 || !list[0].Due.Equal(start.Add(tc.due)) {
			t.Errorf("%s: there is %+v, want it due after %v", tc.rule, list, tc.due)
		}
	}
	big := base
	big.ID, big.Payload = strings.Repeat("i", journal.MaxID), json.RawMessage(`"`+strings.Repeat("x", journal.MaxPayload-2)+`"`)
	big.Object, big.Kind = strings.Repeat("\x01", journal.MaxObject), strings.Repeat("\x02", journal.MaxKind)
	h.intend(big)
}

func TestFailuresBackOffAndEnd(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		h := newSite(t, s)
		var fate error
		h.Handle("call", func(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
			return func(tx store.Tx) error { return tx.Set("tried", []byte(fmt.Sprint(in.Attempts+1))) }, fate
		})
		fate = errors.New("away")
		h.intend(journal.Intent{ID: "i", Kind: "call"})
		stop := h.run()
		for n, bounds := range [][2]time.Duration{{500, 1000}, {1000, 2000}, {2000, 4000}, {4000, 8000}} {
			e := h.await(journal.Retried, n+1)
			wait := e.Next.Sub(h.clock.Now())
			if wait < bounds[0]*time.Millisecond || wait > bounds[1]*time.Millisecond {
				t.Errorf("after failure %d it waits %v, want %v to %v ms", n+1, wait, bounds[0], bounds[1])
			}
			in := h.list()[0]
			if in.Attempts != n+1 || in.LastErr != "away" || !in.Due.Equal(e.Next) || in.Dead || h.read("tried") != fmt.Sprint(n+1) {
				t.Errorf("stored: %+v", in)
			}
			if n == 3 {
				break
			}
			stop() // the attempts and the next time survive
			h.clock.Advance(wait)
			stop = h.run()
		}
		fate = journal.Permanent(errors.New("refused for ever"))
		h.clock.Advance(8 * time.Second)
		h.await(journal.Died, 1)
		if in := h.list()[0]; !in.Dead || in.Attempts != 5 || in.LastErr != "refused for ever" {
			t.Errorf("dead row: %+v", in)
		}
		h.clock.Advance(time.Hour)
		fate = nil
		h.update(func(tx store.Tx) error { return h.Reopen(tx, "i") })
		h.await(journal.Done, 1)
		if err := s.Update(t.Context(), func(tx store.Tx) error { return h.Reopen(tx, "i") }); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("reopen what is gone: %v", err)
		}
	})
}

func TestPanicIsTheLastError(t *testing.T) {
	h := newSite(t, memory.New())
	h.Handle("bug", func(context.Context, journal.Intent) (func(store.Tx) error, error) { panic("nil map") })
	h.intend(journal.Intent{ID: "i", Kind: "bug"})
	h.run()
	if e := h.await(journal.Died, 1); !strings.Contains(e.Err.Error(), "nil map") {
		t.Errorf("reason: %v", e.Err)
	}
}

func TestErrorOfSettleIsAFailure(t *testing.T) {
	h := newSite(t, memory.New())
	h.Handle("call", func(context.Context, journal.Intent) (func(store.Tx) error, error) {
		return func(tx store.Tx) error { return errors.Join(tx.Set("half", nil), errors.New("fact is gone")) }, nil
	})
	h.intend(journal.Intent{ID: "i", Kind: "call"})
	h.run()
	h.await(journal.Retried, 1)
	if in := h.list()[0]; in.Attempts != 1 || in.LastErr != "settle: fact is gone" {
		t.Errorf("row: %+v", in)
	}
	must(t, h.store.View(t.Context(), func(at store.Snapshot) error {
		if _, err := at.Get("half"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("half of the result was stored: %v", err)
		}
		return nil
	}))
}

func TestUnknownOutcomeIsFoundOut(t *testing.T) {
	for _, tc := range []struct {
		rule  string
		fates []storetest.Fate
		calls int
	}{
		{"committed", []storetest.Fate{storetest.CommittedUnseen}, 1},
		{"lost", []storetest.Fate{storetest.LostUnseen}, 1},
		{"lost, then committed", []storetest.Fate{storetest.LostUnseen, storetest.LostUnseen, storetest.CommittedUnseen}, 1},
		{"unknown for long: the call is made again", []storetest.Fate{false, false, false, false, false}, 2},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			unsure := &storetest.Unsure{Store: memory.New()}
			h, got := newSite(t, unsure), &calls{}
			h.Handle("count", func(context.Context, journal.Intent) (func(store.Tx) error, error) {
				got.add("call")
				return func(tx store.Tx) error {
					v, _ := tx.Get("count")
					return tx.Set("count", append(v, 'x'))
				}, nil
			})
			h.intend(journal.Intent{ID: "i", Kind: "count"})
			unsure.Next(tc.fates...)
			h.run()
			if tc.calls > 1 {
				h.await(journal.Unstored, 1)
				h.clock.AwaitTimers(1)
				h.clock.Advance(time.Minute)
			}
			h.await(journal.Done, 1)
			if got := h.read("count"); got != "x" {
				t.Errorf("settled %d times", len(got))
			}
			if len(got.all()) != tc.calls || len(h.list()) != 0 {
				t.Errorf("calls %v, left %v", got.all(), h.list())
			}
		})
	}
}

func TestTimerThatSetsItselfAgain(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		unsure := &storetest.Unsure{Store: s}
		h := newSite(t, unsure)
		rounds := 0
		h.Handle("poll", func(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
			rounds++
			unsure.Next(storetest.CommittedUnseen)
			return func(tx store.Tx) error {
				in.NotBefore = h.clock.Now().Add(time.Hour)
				return h.Intend(tx, in)
			}, nil
		})
		h.intend(journal.Intent{ID: "poll", Kind: "poll"})
		stop := h.run()
		h.await(journal.Done, 1)
		h.clock.AwaitTimers(1)
		h.clock.Advance(time.Hour)
		h.await(journal.Done, 2)
		stop()
		h.clock.Advance(100 * time.Hour) // missed a hundred times, called once
		h.run()
		h.await(journal.Done, 3)
		if list := h.list(); rounds != 3 || len(list) != 1 || !list[0].Due.Equal(start.Add(102*time.Hour)) {
			t.Errorf("%d rounds; %+v", rounds, list)
		}
	})
}

func TestCancelEndsTheCall(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		h := newSite(t, s)
		entered := make(chan struct{})
		h.Handle("slow", func(ctx context.Context, _ journal.Intent) (func(store.Tx) error, error) {
			close(entered)
			<-ctx.Done()
			return func(tx store.Tx) error { return tx.Set("settled", []byte("yes")) }, nil
		})
		h.intend(journal.Intent{ID: "i", Kind: "slow"})
		h.run()
		<-entered
		for _, want := range []bool{true, false} {
			h.update(func(tx store.Tx) error {
				was, err := h.Cancel(tx, "i")
				if was != want {
					t.Errorf("Cancel says %v, want %v", was, want)
				}
				return err
			})
		}
		h.await(journal.Superseded, 1)
		if h.read("settled") != "" {
			t.Error("the result of a cancelled intent was stored")
		}
	})
}

func TestStoppingIsNoAttempt(t *testing.T) {
	h := newSite(t, memory.New())
	entered := make(chan string, 2)
	h.Handle("slow", func(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
		entered <- in.ID
		<-ctx.Done()
		if in.ID == "done" { // it succeeded in the last moment
			return func(tx store.Tx) error { return tx.Set("settled", []byte("yes")) }, nil
		}
		return nil, ctx.Err()
	})
	h.intend(journal.Intent{ID: "done", Kind: "slow"}, journal.Intent{ID: "stopped", Kind: "slow"})
	stop := h.run()
	<-entered
	<-entered
	stop()
	if h.read("settled") != "yes" {
		t.Error("the result of the last moment is lost")
	}
	if list := h.list(); len(list) != 1 || list[0].ID != "stopped" || list[0].Attempts != 0 {
		t.Errorf("left: %+v", list)
	}
}

func TestWallClockMayBeSet(t *testing.T) {
	h := newSite(t, memory.New())
	fail := true
	h.Handle("call", func(context.Context, journal.Intent) (func(store.Tx) error, error) {
		if fail {
			return nil, journal.RetryAfter(errors.New("later"), time.Minute)
		}
		return nil, nil
	})
	h.intend(journal.Intent{ID: "retry", Kind: "call"}, journal.Intent{ID: "plan", Kind: "call", NotBefore: start.Add(24 * time.Hour)})
	h.run()
	h.await(journal.Retried, 1)
	fail = false
	h.clock.AwaitTimers(1)
	h.clock.Advance(-365 * 24 * time.Hour) // the year was wrong
	h.intend(journal.Intent{ID: "wake", Kind: "call"})
	h.await(journal.Done, 2) // wake, which stands for the 30 seconds of a sleep; and the retry, which does not wait for a year
	h.clock.AwaitTimers(1)
	h.clock.Advance(366 * 24 * time.Hour)
	h.await(journal.Done, 3)
	if list := h.list(); len(list) != 0 {
		t.Errorf("left: %+v", list)
	}
}

func TestUnhandledAndUnreadableWait(t *testing.T) {
	h := newSite(t, memory.New())
	h.Handle("known", func(context.Context, journal.Intent) (func(store.Tx) error, error) { return nil, nil })
	h.intend(journal.Intent{ID: "u", Kind: "unknown", Object: "o"})
	h.update(func(tx store.Tx) error {
		return errors.Join(tx.Set("journal/intent/bad", []byte("{")), tx.Set("journal/intent/new", []byte(`{"schema":2}`)))
	})
	h.run()
	h.await(journal.Unhandled, 1)
	h.await(journal.Unreadable, 2)
	h.intend(journal.Intent{ID: "k", Kind: "known", Object: "o"})
	h.await(journal.Done, 1)
	var left []string
	for _, in := range h.list() {
		left = append(left, in.ID)
	}
	if diff := cmp.Diff([]string{"bad", "new", "u"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if err := h.Run(t.Context()); !errors.Is(err, journal.ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
}

func TestClosedStoreEndsRun(t *testing.T) {
	s := memory.New()
	h := newSite(t, s)
	must(t, s.Close())
	if err := h.Run(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}
