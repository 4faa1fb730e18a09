package region_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
)

func TestAMoveIsCarriedOut(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.limits.Keep = 5 * 24 * time.Hour
		adopted := ""
		w.adopt = func(tx store.Tx, m mfpgate.Move, data json.RawMessage) error {
			adopted = m.MFP + string(data)
			return tx.Set("adopted/"+m.MFP, data)
		}
		w.start()
		m := w.moves("dev_1")
		w.want(m.ID, mfpgate.MoveOpen, mfpgate.StepVerify, "")
		if err := w.Probed(t.Context(), gw, m.ID, []mfpgate.NameProbe{{Name: "us.example", Host: "jp.example:443"}}, nil); err != nil {
			t.Fatal(err)
		}
		m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		if want := mfpOf(1) + `{"at":"delta","of":"mfp-1"}`; adopted != want {
			t.Errorf("adopted %s, want %s", adopted, want)
		}
		w.sleep(25 * time.Hour)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		for range 2 { // it is told twice
			if err := w.Switched(t.Context(), gw, m.ID, m.Epoch, mfpgate.Seen{gw + "/route": 7}); err != nil {
				t.Fatal(err)
			}
		}
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepRedirect, region.AwaitsDevice)
		w.change(func() { w.clouds["us"].acked = now().Add(time.Hour) }) // its clock is ahead
		w.sleep(20 * time.Second)
		if m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepConfirm, region.AwaitsDevice); m.AckedAt.After(now()) {
			t.Errorf("acknowledged in an hour, at %s", m.AckedAt)
		}
		w.comes(mfpOf(1))
		if err := w.CheckedIn(t.Context(), gw, m.ID, m.Epoch, time.Time{}, nil); err != nil {
			t.Fatal(err)
		}
		m = w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
		if m.ConfirmedAt.IsZero() || m.AckedAt.IsZero() || m.Receipt == nil || m.EndedAt.IsZero() || !m.Deadline.IsZero() || m.Seen[gw+"/route"] != 7 {
			t.Errorf("%+v", m)
		}
		want := []string{
			"us services unlink", "us management copy", "us services copy", "jp services verify", "us services drain", "us management delta",
			"us services delta", "jp services activate", "us management notify", "us services retire", "us management redirect",
			"us services delete", "us management delete",
		}
		if diff := cmp.Diff(want, slices.Compact(w.heard())); diff != "" { // how often the directive is asked for is not the point
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{
			"move.planned", "move.started", "move.stepped", "move.stepped", "move.stepped", "move.stepped", "move.stepped", "move.stepped", "move.stepped",
			"move.committed", "move.switched", "move.stepped", "move.stepped", "move.stepped", "move.confirmed", "move.done",
		}, w.audits()); diff != "" {
			t.Error(diff)
		}
		if h := w.clouds["jp"].held[mfpOf(1)]; h.State != mfpgate.HoldingActive || h.Epoch != 2 || h.Registration != m.NewRegistration {
			t.Errorf("jp holds %+v", h)
		}
		var steps []mfpgate.MoveStep
		for _, s := range m.Steps {
			steps = append(steps, s.Step)
		}
		if diff := cmp.Diff(w.Steps(), steps); diff != "" {
			t.Error(diff)
		}
		w.leftovers("after the end", "journal/intent/"+string(m.ID)+"/timer-keep")

		// The device may be moved again, and the old move is forgotten in time, but for its id.
		if p, err := w.Plan(t.Context(), gw, w.wants("dev_1")); err != nil || len(p.Blockers) != 1 || p.Blockers[0].Reason != region.AlreadyHome {
			t.Errorf("plan %+v, %v", p, err)
		}
		w.sleep(6 * 24 * time.Hour)
		if _, err := w.Get(t.Context(), gw, m.ID); reason(err) != region.NoSuchMove {
			t.Errorf("swept: %v", err)
		}
		if list, next, err := w.Changes(t.Context(), gw, "", 0); err != nil || len(list) != 0 || next == "" || next == "0" {
			t.Errorf("changes %v, %q, %v", list, next, err)
		}
		w.leftovers("after the sweep")
	})
}

// reason is why something was refused; "" if it was not.
func reason(err error) mfpgate.Reason {
	if r, ok := errors.AsType[mfpgate.Refused](err); ok {
		return r.Why()
	}
	return ""
}

// leftovers wants nothing in the store that nobody needs, but for what is named.
func (w *world) leftovers(at string, but ...string) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(s store.Snapshot) error {
		for _, prefix := range []string{"journal/intent/", "open/", "staged/"} {
			for r, err := range store.All(s, prefix) {
				if err != nil {
					return err
				}
				if !slices.Contains(but, r.Key) {
					w.t.Errorf("%s: %s is left: %s", at, r.Key, r.Value)
				}
			}
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
}

// TestRetireWaitsForTheSwitch: until the gateway says so the relay still leads the device to the source.
func TestRetireWaitsForTheSwitch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		if err := w.Switched(t.Context(), gw, m.ID, m.Epoch, nil); reason(err) != region.BeforeCommit {
			t.Errorf("before the commit: %v", err)
		}
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		if err := w.Switched(t.Context(), gw, m.ID, m.Epoch+1, nil); reason(err) != region.WrongEpoch {
			t.Errorf("another epoch: %v", err)
		}
		if err := w.Switched(t.Context(), "tokyo-1", m.ID, m.Epoch, nil); reason(err) != region.NoSuchMove {
			t.Errorf("another gateway: %v", err)
		}
		w.sleep(5 * 24 * time.Hour)
		if slices.Contains(w.heard(), "us services retire") || slices.Contains(w.heard(), "us management notify") {
			t.Errorf("before the switch: %q", w.heard())
		}
		w.gateway(m.ID)
		synctest.Wait()
		if !slices.Contains(w.heard(), "us services retire") {
			t.Errorf("after the switch: %q", w.heard())
		}
	})
}

// TestALateProbeIsNotWaitedFor: a gateway that does not answer costs a move a minute.
func TestALateProbeIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		w.sleep(59 * time.Second)
		w.want(m.ID, mfpgate.MoveOpen, mfpgate.StepVerify, "")
		if _, err := w.Retry(t.Context(), gw, m.ID, admin); err != nil { // there is nothing to try again
			t.Error(err)
		}
		w.sleep(2 * time.Second)
		m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		if err := w.Probed(t.Context(), gw, m.ID, []mfpgate.NameProbe{{Name: "us.example"}}, nil); err != nil {
			t.Errorf("a late probe: %v", err)
		}
		if m = w.get(m.ID); len(m.Probes) != 0 {
			t.Errorf("a late probe counts: %+v", m.Probes)
		}
	})
}

// TestAnEarlyProbeIsKept: the gateway may be quicker than the copy.
func TestAnEarlyProbeIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.before = func(c call) error {
			if c.step == mfpgate.StepVerify {
				return errAway
			}
			return nil
		}
		w.start()
		m := w.moves("dev_1")
		w.gateway(m.ID)
		w.change(func() { w.before = nil })
		w.sleep(5 * time.Second)
		m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		if len(m.Probes) != 1 || m.Steps[3].Attempts == 0 {
			t.Errorf("probes %+v, steps %+v", m.Probes, m.Steps)
		}
	})
}

// TestWhatOthersHaveSeenIsBounded: a region that invents writers does not make the record grow, and cannot speak for this one.
func TestWhatOthersHaveSeenIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.after = func(c call) error {
			if c.answer != nil {
				c.answer.Seen = mfpgate.Seen{"jp/management": 1 << 40, "us/services": 5}
				for i := range 100 {
					c.answer.Seen[string(rune('a'+i))] = 1
				}
			}
			return nil
		}
		w.start()
		m := w.moves("dev_1")
		w.gateway(m.ID)
		m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		if len(m.Seen) > 16 || m.Seen["jp/management"] > 100 || m.Seen["jp/management"] == 0 {
			t.Errorf("seen %v", m.Seen)
		}
	})
}
