package region_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
)

var back = []string{"jp services abort", "us services undrain", "us services relink"}

// backAsItWas wants a move taken back, by these calls and no others, and the source as it was before.
func (w *world) backAsItWas(m mfpgate.Move, why mfpgate.Reason) mfpgate.Move {
	w.t.Helper()
	m = w.want(m.ID, mfpgate.MoveRolledBack, mfpgate.StepRelink, why)
	calls := slices.Compact(w.heard())
	if n := len(calls) - len(back); n < 0 || !slices.Equal(calls[n:], back) {
		w.t.Errorf("the last calls are %q, want %q", calls, back)
	}
	if h := w.clouds["us"].held[mfpOf(1)]; h.State != mfpgate.HoldingActive || h.Epoch != 1 || !slices.Equal(h.Services[0].Children, []string{"translate", "whiteboard"}) &&
		!slices.Equal(h.Services[0].Children, []string{"whiteboard", "translate"}) {
		w.t.Errorf("us holds %+v", h)
	}
	if h := w.clouds["jp"].held[mfpOf(1)]; h == nil || h.State != mfpgate.HoldingAborted {
		w.t.Errorf("jp holds %+v", h)
	}
	if m.Detail == "" || m.EndedAt.IsZero() {
		w.t.Errorf("nothing is said: %+v", m)
	}
	w.audits()
	w.leftovers("after it was taken back", "journal/intent/"+string(m.ID)+"/timer-keep")
	return m
}

// TestARefusalTakesTheMoveBack: each exchange before the commit is refused in turn, in every way that another try would not better.
func TestARefusalTakesTheMoveBack(t *testing.T) {
	for _, at := range []string{"us services unlink", "us management copy", "us services copy", "jp services verify", "us services drain",
		"us management delta", "us services delta", "jp services activate"} {
		for _, refusal := range []error{region.ErrFenced, region.ErrOutOfTurn, mfpgate.ErrRefused} {
			t.Run(at+", "+refusal.Error(), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, w *world) {
					w.before = func(c call) error {
						if c.String() == at {
							return fmt.Errorf("answer: %w", refusal)
						}
						return nil
					}
					w.start()
					m := w.moves("dev_1")
					w.gateway(m.ID)
					m = w.backAsItWas(m, region.RegionRefused)
					step := mfpgate.MoveStep(at[strings.LastIndex(at, " ")+1:])
					calls := w.heard()
					if got := calls[len(calls)-len(back)-1]; got != at {
						t.Errorf("went on after the refusal: %q", calls)
					}
					if slices.ContainsFunc(m.Steps, func(s mfpgate.MoveStepTaken) bool { return s.Step == step }) {
						t.Errorf("the refused step was taken: %+v", m.Steps)
					}
					actions := w.audits()
					if n := len(actions); !slices.Equal(actions[n-4:], []string{"move.aborted", "move.stepped", "move.stepped", "move.rolled-back"}) {
						t.Errorf("audit %q", actions)
					}
					// The device may be moved again.
					w.change(func() { w.before = nil })
					again := w.moves("dev_1")
					w.gateway(again.ID)
					w.want(again.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
				})
			})
		}
	}
}

// TestALyingRegionTakesTheMoveBack: what answers cannot be true.
func TestALyingRegionTakesTheMoveBack(t *testing.T) {
	answer := func(at string, fn func(a *mfpgate.MoveAnswer)) func(call) {
		return func(c call) {
			if c.answer != nil && c.String() == at {
				fn(c.answer)
			}
		}
	}
	at := "" // the last order
	holding := func(after string, fn func(h *mfpgate.Holding)) func(call) {
		return func(c call) {
			if c.answer != nil {
				at = c.String()
			}
			if c.holding != nil && c.region == after[:2] && at == after {
				fn(c.holding)
			}
		}
	}
	for _, c := range []struct {
		rule string
		lie  func(call)
		why  mfpgate.Reason
		says string
	}{
		{"unlinked, but draining", answer("us services unlink", func(a *mfpgate.MoveAnswer) { a.State = mfpgate.HoldingDraining }), region.RegionLied, "draining"},
		{"copied without a digest", answer("us services copy", func(a *mfpgate.MoveAnswer) { a.Digest = "" }), region.RegionLied, "digest"},
		{"copied with what is no digest", answer("us services copy", func(a *mfpgate.MoveAnswer) { a.Digest = strings.Repeat("z", 64) }), region.RegionLied, "digest"},
		{"copied, but another digest", answer("us services copy", func(a *mfpgate.MoveAnswer) { a.Digest = strings.Repeat("0", 64) }), region.RegionLied, "not the same"},
		{"copied, but moved away", answer("us services copy", func(a *mfpgate.MoveAnswer) { a.State = mfpgate.HoldingMoved }), region.RegionLied, "moved"},
		{"management data that are no JSON", answer("us management copy", func(a *mfpgate.MoveAnswer) { a.Management = []byte("{") }), region.RegionLied, "no JSON"},
		{"management data without end", answer("us management delta", func(a *mfpgate.MoveAnswer) {
			a.Management = []byte(`"` + strings.Repeat("x", 50<<10) + `"`)
		}), region.RegionLied, "more than"},
		{"verified with another digest", answer("jp services verify", func(a *mfpgate.MoveAnswer) { a.Digest = strings.Repeat("0", 64) }), region.RegionLied, "not the same"},
		{"verified, but active", answer("jp services verify", func(a *mfpgate.MoveAnswer) { a.State = mfpgate.HoldingActive }), region.RegionLied, "active"},
		{"verified, but another epoch", holding("jp services verify", func(h *mfpgate.Holding) { h.Epoch = 7 }), region.RegionLied, "epoch 7"},
		{"verified, but another region", holding("jp services verify", func(h *mfpgate.Holding) { h.Region = "us" }), region.RegionLied, "region"},
		{"verified, but another device's registration", holding("jp services verify", func(h *mfpgate.Holding) { h.Registration = "r1.jp.2.other" }), region.RegionLied, "registration"},
		{"verified, but another device", holding("jp services verify", func(h *mfpgate.Holding) { h.MFP = "other" }), region.RegionLied, "other"},
		{"verified, but another move", holding("jp services verify", func(h *mfpgate.Holding) { h.Move = "mov_other" }), region.RegionLied, "mov_other"},
		{"drained, but active", answer("us services drain", func(a *mfpgate.MoveAnswer) { a.State = mfpgate.HoldingActive }), region.RegionLied, "active"},
		{"the rest sent, but nothing came", answer("us services delta", func(a *mfpgate.MoveAnswer) { a.Digest = strings.Repeat("1", 64) }), region.RegionLied, "not the same"},
		{"the rest sent, but nothing is there", func(c call) {
			if c.String() == "us services delta" {
				delete(c.world.clouds["jp"].held, mfpOf(1))
			}
		}, region.RegionLied, "hold nothing"},
		{"activated, but prepared", holding("jp services activate", func(h *mfpgate.Holding) { h.State = mfpgate.HoldingPrepared }), region.RegionLied, "prepared"},
		{"asked for one device, names another", func(c call) {
			if c.holding != nil && c.region == "us" {
				c.holding.MFP = "other"
			}
		}, region.RegionLied, "other"},
		{"asked for one registration, names another", func(c call) {
			if c.holding != nil && c.region == "us" {
				c.holding.Registration = "r1.us.1.other"
			}
		}, region.RegionLied, "r1.us.1.other"},
		{"the device has gone on", func(c call) {
			if c.holding != nil && c.region == "us" {
				c.holding.Epoch = 2
			}
		}, region.PlanChanged, "epoch 2"},
		{"the roll-out was taken back", func(c call) {
			if c.offers != nil && len(c.world.moving()) > 0 {
				*c.offers = nil
			}
		}, region.NotRolledOut, "document-cloud"},
		{"a child is not offered any more", func(c call) {
			if c.offers != nil && len(c.world.moving()) > 0 {
				*c.offers = []mfpgate.ServiceOffer{{ID: "document-cloud"}}
			}
		}, region.NotRolledOut, "translate"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				at = ""
				w.after = func(got call) error {
					got.world = w
					c.lie(got)
					return nil
				}
				w.start()
				m := w.moves("dev_1")
				w.gateway(m.ID)
				m = w.backAsItWas(m, c.why)
				if !strings.Contains(m.Detail, c.says) {
					t.Errorf("%q does not say %q", m.Detail, c.says)
				}
			})
		})
	}
}

// moving are the ids of the moves that are open.
func (w *world) moving() (ids []mfpgate.MoveID) {
	list, err := w.Page(w.t.Context(), "", region.MaxList)
	if err != nil {
		w.t.Error(err)
	}
	for _, m := range list {
		if !m.State.Ended() {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// TestAfterTheCommitALieIsShownAndAskedAgain: there is no way back, and nothing is purged or forgotten on an untrue word.
func TestAfterTheCommitALieIsShownAndAskedAgain(t *testing.T) {
	for _, c := range []struct {
		rule, at string
		lie      func(a *mfpgate.MoveAnswer)
	}{
		{"retired without a receipt", "us services retire", func(a *mfpgate.MoveAnswer) { a.Receipt = nil }},
		{"the receipt of another move", "us services retire", func(a *mfpgate.MoveAnswer) { a.Receipt.Move = "mov_other" }},
		{"the receipt of another device", "us services retire", func(a *mfpgate.MoveAnswer) { a.Receipt.MFP = "other" }},
		{"the receipt of another region", "us services retire", func(a *mfpgate.MoveAnswer) { a.Receipt.Region = "de" }},
		{"a receipt that is not signed", "us services retire", func(a *mfpgate.MoveAnswer) { a.Receipt.Signed = "forged" }},
		{"a receipt that leaves what was to be purged", "us services retire", func(a *mfpgate.MoveAnswer) { a.Receipt.Left = []mfpgate.HeldData{{Class: "jobs"}} }},
		{"a receipt without end", "us services retire", func(a *mfpgate.MoveAnswer) { a.Receipt.Digest = strings.Repeat("x", 20<<10) }},
		{"retired, but draining", "us services retire", func(a *mfpgate.MoveAnswer) { a.State = mfpgate.HoldingDraining }},
		{"deleted, but moved", "us services delete", func(a *mfpgate.MoveAnswer) { a.State = mfpgate.HoldingMoved }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.receipt = func(name string, d mfpgate.DeletionReceipt) error {
					if d.Signed != "jws" || name != "us" {
						return fmt.Errorf("signature of %s: %q", name, d.Signed)
					}
					return nil
				}
				w.after = func(got call) error {
					if got.answer != nil && got.String() == c.at {
						receipt := got.answer.Receipt
						if receipt != nil {
							other := *receipt
							got.answer.Receipt = &other
						}
						c.lie(got.answer)
					}
					return nil
				}
				w.start()
				m := w.moves("dev_1")
				w.gateway(m.ID)
				w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
				w.gateway(m.ID)
				w.comes(mfpOf(1))
				w.sleep(time.Hour)
				m = w.get(m.ID)
				if m.State != mfpgate.MoveCommitted || m.Reason != region.RegionLied || m.Detail == "" || m.Attempts < 10 || m.NextTry.IsZero() || !strings.HasSuffix(c.at, string(m.Step)) {
					t.Errorf("state %s, step %s, reason %q (%s), %d attempts", m.State, m.Step, m.Reason, m.Detail, m.Attempts)
				}
				w.change(func() { w.after = nil })
				w.comes(mfpOf(1))
				if _, err := w.Retry(t.Context(), "", m.ID, admin); err != nil { // long before its time
					t.Error(err)
				}
				w.sleep(time.Minute)
				m = w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
				if diff := cmp.Diff(&mfpgate.DeletionReceipt{ID: "rcp_1", Region: "us", MFP: mfpOf(1), Move: m.ID, Signed: "jws"}, m.Receipt); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestOnlyTheDeviceItselfConfirmsItsMove: the source forgets the device after that.
func TestOnlyTheDeviceItselfConfirmsItsMove(t *testing.T) {
	for rule, lie := range map[string]func(h *mfpgate.Holding){
		"another device has come":   func(h *mfpgate.Holding) { h.MFP = "other" },
		"it came before the move":   func(h *mfpgate.Holding) { h.Epoch-- },
		"it came to what is copied": func(h *mfpgate.Holding) { h.State = mfpgate.HoldingPrepared },
	} {
		t.Run(rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.start()
				m := w.moves("dev_1")
				w.gateway(m.ID)
				w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
				w.change(func() {
					w.clouds["us"].acked = now()
					w.after = func(c call) error {
						if c.String() == "jp services holding" {
							c.holding.CheckedIn = now()
							lie(c.holding)
						}
						return nil
					}
				})
				w.gateway(m.ID)
				w.sleep(time.Hour)
				m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepConfirm, region.RegionLied)
				if w.count("us services delete") > 0 || !m.ConfirmedAt.IsZero() {
					t.Errorf("confirmed %s, and asked for %q", m.ConfirmedAt, w.heard())
				}
			})
		})
	}
}
