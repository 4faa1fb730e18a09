package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
)

// recurring is a timer that is set again, a minute on, each time it is called.
func recurring(h *site) {
	h.Handle("poll", func(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
		return func(tx store.Tx) error {
			return h.Intend(tx, journal.Intent{ID: in.ID, Kind: "poll", Delay: time.Minute, Payload: json.RawMessage(`{"interval":60}`)})
		}, nil
	})
}

func TestDelay(t *testing.T) {
	h := newSite(t, memory.New())
	recurring(h)
	h.intend(journal.Intent{ID: "p", Kind: "poll", Delay: time.Minute})
	h.run()
	h.clock.AwaitTimers(1)
	h.clock.Advance(30 * time.Second)
	h.clock.AwaitTimers(1)
	if list := h.list(); len(list) != 1 || !list[0].Due.Equal(start.Add(time.Minute)) {
		t.Fatalf("before its time: %+v", list)
	}
	h.clock.Advance(30 * time.Second)
	h.await(journal.Done, 1)
	if list := h.list(); len(list) != 1 || !list[0].Due.Equal(start.Add(2*time.Minute)) {
		t.Fatalf("after its time: %+v", list)
	}
	h.clock.AwaitTimers(1)
	h.clock.Advance(-24 * time.Hour)
	h.update(func(tx store.Tx) error { // stands for the 30 seconds of a sleep
		return h.Intend(tx, journal.Intent{ID: "other", Kind: "poll", Delay: time.Hour})
	})
	h.await(journal.Done, 2) // it does not wait for a day
	h.update(func(tx store.Tx) error {
		_, err := h.Cancel(tx, "other")
		return err
	})
	if list := h.list(); len(list) != 1 || list[0].Due.Sub(h.clock.Now()) > time.Minute {
		t.Fatalf("after the clock was set back: %+v", list)
	}
}

func TestHasten(t *testing.T) {
	h := newSite(t, memory.New())
	entered, leave := make(chan struct{}), make(chan error)
	h.Handle("poll", func(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
		entered <- struct{}{}
		err := <-leave
		return func(tx store.Tx) error {
			if err != nil {
				return nil
			}
			return h.Intend(tx, journal.Intent{ID: in.ID, Kind: "poll", Delay: time.Hour})
		}, err
	})
	h.Hasten("p") // nobody runs: nothing
	h.intend(journal.Intent{ID: "p", Kind: "poll", Delay: time.Hour})
	h.run()
	h.clock.AwaitTimers(1)
	h.Hasten("nobody")
	for {
		h.Hasten("p")
		select {
		case <-entered:
		default: // the index had not heard of it yet
			runtime.Gosched()
			continue
		}
		break
	}
	leave <- nil
	h.await(journal.Done, 1)
	h.Hasten("p")
	<-entered
	h.Hasten("p") // while it is called: once more after that
	leave <- nil
	<-entered
	h.Hasten("p") // also when it fails
	leave <- errors.New("refused")
	<-entered
	leave <- nil
	h.await(journal.Done, 3)
	if list := h.list(); len(list) != 1 || !list[0].Due.Equal(start.Add(time.Hour)) {
		t.Errorf("left: %+v", list)
	}
}
