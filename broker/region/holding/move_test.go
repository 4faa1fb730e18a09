package holding_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// chain is a region's audit, the oldest first.
func chain(t *testing.T, s store.Store, region string) (list []mfpgate.MoveTrace) {
	t.Helper()
	j, err := journal.New(s, journal.Options{Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 1)), Gateway: region, Room: holding.Room})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.ListAudit(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Backward(entries) {
		var trace mfpgate.MoveTrace
		if err := json.Unmarshal(e.After, &trace); err != nil {
			t.Fatal(err)
		}
		list = append(list, trace)
	}
	return list
}

var forward = []mfpgate.MoveStep{
	mfpgate.StepUnlink, mfpgate.StepCopy, mfpgate.StepVerify, mfpgate.StepDrain, mfpgate.StepDelta, mfpgate.StepActivate,
}

func TestAMoveTakesWhatIsHeldAlong(t *testing.T) {
	g := newRig(t)
	g.data = map[string]mfpgate.DataPolicy{"log": mfpgate.DataLeave, "settings": mfpgate.DataReset}
	g.register()
	g.take(mfpgate.StepUnlink)
	copied := g.take(mfpgate.StepCopy)
	if got := g.take(mfpgate.StepVerify); got.Digest != copied.Digest || got.State != mfpgate.HoldingPrepared {
		t.Fatalf("verify says %+v, copy said %+v", got, copied)
	}
	if _, err := g.books["jp"].Get(t.Context(), mfp, "address-book", "anna"); !errors.Is(err, region.ErrNoHolding) {
		t.Errorf("a prepared device is answered: %v", err)
	}
	g.put("us", "address-book", "carl", "3") // after the copy
	if err := g.books["us"].Delete(t.Context(), mfp, "address-book", "anna"); err != nil {
		t.Fatal(err)
	}
	g.take(mfpgate.StepDrain)
	if err := g.books["us"].Put(t.Context(), mfp, "address-book", "dora", nil); !errors.Is(err, holding.ErrDraining) {
		t.Errorf("put while draining: %v", err)
	}
	if v, err := g.books["us"].Get(t.Context(), mfp, "settings", "tray"); err != nil || string(v) != "A4" {
		t.Errorf("get while draining: %q, %v", v, err)
	}
	delta := g.take(mfpgate.StepDelta)
	if got := g.take(mfpgate.StepActivate); got.Digest != delta.Digest || delta.Digest == copied.Digest {
		t.Errorf("activated %.8s, delta %.8s, copy %.8s", got.Digest, delta.Digest, copied.Digest)
	}
	h := g.want("jp", mfpgate.HoldingActive)
	diff(t, "the target's services", h.Services, []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"whiteboard"}}, {ID: "scan", Children: []string{"translate"}}})
	diff(t, "the target's data", h.Data, []mfpgate.HeldData{{Class: "address-book", Items: 2, Bytes: 2}})
	if h.Epoch != 2 || h.Registration != "r1.jp.2.new" || h.Digest != delta.Digest {
		t.Errorf("the target holds %+v", h)
	}
	names, err := g.books["jp"].Items(t.Context(), mfp, "address-book")
	diff(t, "the target's items", names, []string{"bert", "carl"})
	if err != nil {
		t.Error(err)
	}

	receipt := g.take(mfpgate.StepRetire).Receipt
	want := mfpgate.DeletionReceipt{
		ID: receipt.ID, Region: "us", MFP: mfp, Move: move, Digest: receipt.Digest, PurgedAt: receipt.PurgedAt, Signed: "signed 1",
		Purged: []mfpgate.HeldData{{Class: "address-book", Items: 2, Bytes: 2}, {Class: "settings", Items: 1, Bytes: 2}},
		Left:   []mfpgate.HeldData{{Class: "log", Items: 1, Bytes: 4}},
	}
	diff(t, "the receipt", *receipt, want)
	diff(t, "the receipt once more", *g.take(mfpgate.StepRetire).Receipt, want)
	h = g.want("us", mfpgate.HoldingMoved)
	diff(t, "the source's receipt", h.Receipt, &want)
	diff(t, "what is left", h.Data, want.Left)
	if g.rows("us") != 1 || g.rows("jp") != 2 {
		t.Errorf("rows: us %d, jp %d", g.rows("us"), g.rows("jp"))
	}
	var moved *holding.Moved
	if _, err := g.books["us"].CheckIn(t.Context(), mfp, 1); !errors.As(err, &moved) || moved.To != "jp" {
		t.Errorf("check-in at the source: %v", err)
	}
	// An old epoch is answered, and is not the first check-in.
	if h, err := g.books["jp"].CheckIn(t.Context(), mfp, 1); err != nil || !h.CheckedIn.IsZero() {
		t.Errorf("check-in with the old epoch: %+v, %v", h, err)
	}
	if h, err := g.books["jp"].CheckIn(t.Context(), mfp, 2); err != nil || h.CheckedIn.IsZero() {
		t.Errorf("check-in: %+v, %v", h, err)
	}
	first := g.clock.Now()
	g.clock.Advance(holding.LookEvery)
	if h, err := g.books["jp"].CheckIn(t.Context(), mfp, 2); err != nil || !h.CheckedIn.Equal(first) || !h.LastCheckIn.Equal(g.clock.Now()) {
		t.Errorf("second check-in: %+v, %v", h, err)
	}
	g.take(mfpgate.StepDelete, mfpgate.StepDelete)
	if _, err := g.books["us"].Holding(t.Context(), mfp); !errors.Is(err, region.ErrNoHolding) {
		t.Errorf("after delete: %v", err)
	}
	if g.rows("us") != 1 {
		t.Error("what the law wants to stay went with the tombstone")
	}
	g.wantErr("us", mfpgate.StepCopy, region.ErrFenced)

	var states []string
	for _, trace := range g.audit("jp") {
		states = append(states, trace.State)
		if trace.Seen["us/services"] == 0 && trace.Seq < mfpgate.StepVerify.Seq() {
			t.Errorf("the target does not say what the source had done: %+v", trace)
		}
	}
	diff(t, "the target's audit", states, []string{"prepared", "prepared", "prepared", "active", "active"})
	states = nil
	for _, trace := range g.audit("us") {
		states = append(states, trace.State)
	}
	diff(t, "the source's audit", states, []string{"active", "active", "active", "draining", "draining", "moved", ""})
}

func TestAMoveThatIsTakenBackLeavesNothing(t *testing.T) {
	for n := range len(forward) + 1 {
		g := newRig(t)
		g.register()
		before := g.holding("us")
		g.take(forward[:n]...)
		g.take(mfpgate.StepAbort, mfpgate.StepUndrain, mfpgate.StepRelink)
		g.take(mfpgate.StepAbort, mfpgate.StepRelink)
		after := g.holding("us")
		after.Move, after.Seq, after.Since = before.Move, before.Seq, before.Since
		diff(t, "the source", after, before)
		if h := g.want("jp", mfpgate.HoldingAborted); g.rows("jp") != 0 || len(h.Services) != 0 {
			t.Errorf("after %d steps the target holds %+v and %d rows", n, h, g.rows("jp"))
		}
		for _, step := range forward {
			g.wantErr(where(step), step, region.ErrFenced)
		}
		for _, late := range g.sent {
			if _, err := g.books["jp"].Receive(t.Context(), late); !errors.Is(err, region.ErrFenced) {
				t.Errorf("a late copy: %v", err)
			}
		}
		// Another move finds both as if nothing had been.
		o := g.order(mfpgate.StepCopy)
		o.Move = "mov_2"
		if _, err := g.books["us"].Order(t.Context(), o); err != nil {
			t.Errorf("after %d steps, the next move: %v", n, err)
		}
	}
}

func TestAnAbortOfWhatNeverCameIsRemembered(t *testing.T) {
	g := newRig(t)
	g.register()
	g.take(mfpgate.StepUnlink, mfpgate.StepAbort)
	g.wantErr("us", mfpgate.StepCopy, region.ErrFenced)
	g.want("jp", mfpgate.HoldingAborted)
}
