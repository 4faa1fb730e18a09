package region_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
)

// contended is a store in which every first try of a transaction meets another one: all of it is run again.
type contended struct{ store.Store }

var errMet = errors.New("met another transaction")

func (s contended) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errMet
	})
	if !errors.Is(err, errMet) {
		return err
	}
	return s.Store.Update(ctx, fn)
}

// TestATransactionThatIsRunAgainLeavesNothingOfItsFirstTry holds what was written against what can have been seen by then: a number
// of an entry that was never written would be the first try's.
func TestATransactionThatIsRunAgainLeavesNothingOfItsFirstTry(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.enter("dev_2", 2)
		w.begin(contended{w.store})
		done, undone := w.moves("dev_1"), w.moves("dev_2")
		if _, err := w.Abort(t.Context(), gw, undone.ID, admin); err != nil {
			t.Fatal(err)
		}
		w.gateway(done.ID)
		w.want(undone.ID, mfpgate.MoveRolledBack, mfpgate.StepRelink, region.Aborted)
		w.want(done.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		w.gateway(done.ID)
		w.want(done.ID, mfpgate.MoveCommitted, mfpgate.StepRedirect, region.AwaitsDevice)
		w.audits() // which verifies the chain
		list, err := w.Journal().ListAudit(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			var trace mfpgate.MoveTrace
			if err := json.Unmarshal(e.After, &trace); err != nil {
				t.Fatal(err)
			}
			if n := trace.Seen["jp/management"]; n >= e.Seq {
				t.Errorf("entry %d, %s, has seen entry %d of its own chain", e.Seq, e.Action, n)
			}
		}
	})
}
