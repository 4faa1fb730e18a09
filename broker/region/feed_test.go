package region_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
)

// TestChangesAreReadInPages: one entry for each move, at the place of its last change.
func TestChangesAreReadInPages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n = 25
		w.start()
		var ids []mfpgate.MoveID
		for i := range n {
			device := mfpgate.DeviceID(fmt.Sprint("dev_", i+1))
			w.enter(device, i+1)
			ids = append(ids, w.moves(device).ID)
		}
		slices.Sort(ids)
		read := func(cursor string, limit int) (got []mfpgate.MoveID, last string) {
			for pages := 0; ; pages++ {
				moves, next, err := w.Changes(t.Context(), gw, cursor, limit)
				if err != nil || len(moves) > limit || pages > n {
					t.Fatal(len(moves), pages, err)
				}
				if len(moves) == 0 {
					return got, cursor
				}
				for _, m := range moves {
					got = append(got, m.ID)
				}
				cursor = next
			}
		}
		all, cursor := read("", 7)
		if slices.Sort(all); !slices.Equal(all, ids) {
			t.Errorf("%d of %d: %q", len(all), n, all)
		}
		if got, _ := read(cursor, 7); len(got) != 0 {
			t.Errorf("nothing has changed: %q", got)
		}
		w.gateway(ids[3])
		synctest.Wait()
		if got, _ := read(cursor, 7); !slices.Equal(got, ids[3:4]) {
			t.Errorf("one has changed: %q", got)
		}
		if again, _ := read("99999999", 100); len(again) != n || again[n-1] != ids[3] {
			t.Errorf("a cursor of another store: %q", again)
		}
		if moves, next, err := w.Changes(t.Context(), "tokyo-1", "", 0); err != nil || len(moves) != 0 || next != "0" {
			t.Errorf("another gateway: %v, %q, %v", moves, next, err)
		}
	})
}

func TestAwaitEndsWithTheNextChange(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		cursor := w.cursor()
		if err := w.Await(t.Context(), gw, ""); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Await(ctx, gw, cursor); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a change: %v", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- w.Await(t.Context(), gw, cursor) }() // it is waited for below
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("too early: %v", err)
		default:
		}
		if _, err := w.Abort(t.Context(), gw, m.ID, admin); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestPositionsGrow: nobody who reads a page misses what changed while it was read.
func TestPositionsGrow(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		last := 0
		for range 20 {
			w.gateway(m.ID)
			w.comes(m.MFP)
			w.sleep(10 * time.Second)
			moves, next, err := w.Changes(t.Context(), gw, strconv.Itoa(last), 0)
			at, bad := strconv.Atoi(next)
			if err := errors.Join(err, bad); err != nil || at < last || len(moves) > 1 || len(moves) == 1 && at == last {
				t.Fatal(last, next, len(moves), err)
			}
			last = at
		}
		if m = w.get(m.ID); m.State != mfpgate.MoveDone || last < 15 {
			t.Errorf("%s, position %d", m.State, last)
		}
	})
}
