package region_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

var errAgain = errors.New("run again")

// twice runs every transaction twice, as if the first had met another writer: it leaves nothing in the store.
type twice struct{ store.Store }

func (s twice) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return err
	}
	return s.Store.Update(ctx, fn)
}

// TestAConflictLeavesNoTrace wants nothing of a transaction that did not come about in what the next one writes.
func TestAConflictLeavesNoTrace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin(twice{w.store})
		m := w.moves("dev_1")
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepRedirect, region.AwaitsDevice)
		w.change(func() { w.clouds["us"].acked = now() })
		// The gateway's word has the question asked at once.
		if err := w.CheckedIn(t.Context(), gw, m.ID, m.Epoch, time.Time{}, nil); err != nil {
			t.Fatal(err)
		}
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepConfirm, region.AwaitsDevice)
		w.comes(mfpOf(1))
		if err := w.CheckedIn(t.Context(), gw, m.ID, m.Epoch, time.Time{}, nil); err != nil {
			t.Fatal(err)
		}
		w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
		if err := w.store.View(t.Context(), func(s store.Snapshot) error {
			for r, err := range store.All(s, "audit/jp/management/0") {
				if err != nil {
					return err
				}
				var e journal.Entry
				var trace mfpgate.MoveTrace
				if err := errors.Join(json.Unmarshal(r.Value, &e), json.Unmarshal(e.After, &trace)); err != nil {
					return err
				}
				if trace.Seen["jp/management"] >= e.Seq {
					t.Errorf("entry %d, %s, has seen %v", e.Seq, e.Action, trace.Seen)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}
