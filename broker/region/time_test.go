package region_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
)

func (w *world) away(at string) {
	w.change(func() {
		w.before = func(c call) error {
			if c.String() == at {
				return errAway
			}
			return nil
		}
	})
}

// count is how often a call was made.
func (w *world) count(at string) (n int) {
	for _, c := range w.heard() {
		if c == at {
			n++
		}
	}
	return n
}

func TestAStepIsTriedEightTimesBeforeTheCommit(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.away("us services copy")
		w.start()
		m := w.moves("dev_1")
		w.sleep(20 * time.Second)
		m = w.want(m.ID, mfpgate.MoveOpen, mfpgate.StepCopy, region.RegionUnreached)
		if m.Attempts < 3 || !m.NextTry.After(now()) || !strings.Contains(m.Detail, errAway.Error()) {
			t.Errorf("attempts %d, next %s, %s", m.Attempts, m.NextTry, m.Detail)
		}
		w.sleep(10 * time.Minute)
		m = w.backAsItWas(m, region.RegionUnreached)
		if n := w.count("us services copy"); n != 8 {
			t.Errorf("%d tries", n)
		}
	})
}

// TestASilentRegionIsGivenHalfAMinute: each call ends, whatever the region does.
func TestASilentRegionIsGivenHalfAMinute(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		hung := 0
		w.hang = func(ctx context.Context, at string) {
			if at == "us services copy" && hung < 3 {
				hung++
				<-ctx.Done()
			}
		}
		w.start()
		m := w.moves("dev_1")
		w.sleep(29 * time.Second)
		w.want(m.ID, mfpgate.MoveOpen, mfpgate.StepCopy, "")
		w.sleep(2 * time.Second)
		w.want(m.ID, mfpgate.MoveOpen, mfpgate.StepCopy, region.RegionUnreached)
		w.sleep(3 * time.Minute)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
	})
}

func TestTheCommitComesInTimeOrNotAtAll(t *testing.T) {
	for _, c := range []struct {
		rule  string
		after time.Duration // the region refuses no more
		away  string
		tries int
		want  mfpgate.Reason // "" is committed
		least time.Duration
		most  time.Duration
	}{
		{"in time", 14 * time.Minute, "us services drain", 1000, "", 14 * time.Minute, 20 * time.Minute},
		{"thirty minutes", time.Hour, "us services copy", 1000, region.CommitTime, 30 * time.Minute, 31 * time.Minute},
		{"a source is not kept from changes for longer than fifteen", time.Hour, "us services delta", 1000, region.DrainTime, 15 * time.Minute, 16 * time.Minute},
	} {
		t.Run(c.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.limits = region.Limits{Tries: c.tries}
				w.away(c.away)
				w.start()
				m := w.moves("dev_1")
				w.gateway(m.ID)
				began := now()
				for w.get(m.ID).State == mfpgate.MoveOpen {
					w.sleep(10 * time.Second)
					w.gateway(m.ID)
					if now().Sub(began) > c.after {
						w.change(func() { w.before = nil })
					}
				}
				took := now().Sub(began)
				if took < c.least || took > c.most {
					t.Errorf("it took %s", took)
				}
				if c.want == "" {
					w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepRedirect, region.AwaitsDevice)
					return
				}
				w.backAsItWas(m, c.want)
			})
		})
	}
}

// TestWhatIsTakenBackIsTakenBackInTheEnd: a region that is away then is asked until it is there, in the same order.
func TestWhatIsTakenBackIsTakenBackInTheEnd(t *testing.T) {
	for _, at := range back {
		t.Run(at, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.before = func(c call) error {
					switch c.String() {
					case at:
						return errAway
					case "us services delta":
						return region.ErrOutOfTurn
					}
					return nil
				}
				w.start()
				m := w.moves("dev_1")
				w.gateway(m.ID)
				w.sleep(6 * time.Hour)
				m = w.get(m.ID)
				if m.State != mfpgate.MoveCompensating || m.Reason != region.RegionRefused || !strings.Contains(m.Detail, errAway.Error()) || m.Attempts < 20 {
					t.Errorf("state %s, reason %q (%s), %d attempts", m.State, m.Reason, m.Detail, m.Attempts)
				}
				w.change(func() { w.before = nil })
				w.sleep(6 * time.Minute)
				w.backAsItWas(m, region.RegionRefused)
			})
		})
	}
}

// TestAMoveThatNeverBeganElsewhereDoesNotWaitForAnother: the source takes part in another region's move, and refuses all of this one's.
func TestAMoveThatNeverBeganElsewhereDoesNotWaitForAnother(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.before = func(c call) error {
			if c.region == "us" && c.role == "services" && c.order.Move != "" {
				return region.ErrOutOfTurn
			}
			return nil
		}
		w.start()
		m := w.moves("dev_1")
		w.sleep(time.Minute)
		w.want(m.ID, mfpgate.MoveCompensating, mfpgate.StepUndrain, region.RegionRefused) // it may end soon
		w.sleep(time.Hour)
		w.backAsItWas(m, region.RegionRefused)
	})
}

// behind is the clock of a machine that was set back.
type behind struct {
	mfpgate.SystemClock
	by *atomic.Int64
}

func (c behind) Now() time.Time { return c.SystemClock.Now().Add(-time.Duration(c.by.Load())) }

// TestAClockThatIsSetBackMakesNothingLonger: what is left of a time is never more than the whole.
func TestAClockThatIsSetBackMakesNothingLonger(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.limits.Tries = 1000
		w.away("us services copy")
		w.start()
		m := w.moves("dev_1")
		w.sleep(20 * time.Minute)
		w.clock.by.Store(int64(24 * time.Hour))
		w.sleep(35 * time.Minute)
		w.backAsItWas(m, region.CommitTime)
	})
}

func TestADeviceThatDoesNotAcknowledgeIsGivenADay(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		w.gateway(m.ID)
		w.sleep(23 * time.Hour)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepRedirect, region.AwaitsDevice)
		w.sleep(2 * time.Hour)
		m = w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepConfirm, region.AwaitsDevice)
		if n := w.count("us management redirect"); !m.AckedAt.IsZero() || n > 1000 {
			t.Errorf("acknowledged %s, asked %d times", m.AckedAt, n)
		}
	})
}

// TestHowLongThingsMayTake pins what is promised where nothing else is set.
func TestHowLongThingsMayTake(t *testing.T) {
	want := region.Limits{Call: 30 * time.Second, Tries: 8, MinDelay: time.Second, MaxDelay: 5 * time.Minute, Open: 30 * time.Minute, Draining: 15 * time.Minute,
		Probe: time.Minute, Poll: 15 * time.Second, Redirect: 24 * time.Hour, Stuck: 30 * 24 * time.Hour, Keep: 90 * 24 * time.Hour}
	w := newWorld(t)
	if got := w.make(w.store).Limits; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestADeviceThatNeverComes(t *testing.T) {
	for _, c := range []struct {
		rule string
		do   func(w *world, m mfpgate.Move)
		lost bool
		last string // action
	}{
		{"comes after all", func(w *world, m mfpgate.Move) {
			w.comes(m.MFP)
			_ = w.CheckedIn(w.t.Context(), gw, m.ID, m.Epoch, time.Time{}, nil)
			w.sleep(time.Minute)
		}, false, "move.confirmed"},
		{"is given up", func(w *world, m mfpgate.Move) {
			for range 2 {
				if _, err := w.ConfirmLost(w.t.Context(), gw, m.ID, admin); err != nil {
					w.t.Error(err)
				}
			}
			w.sleep(time.Second)
		}, true, "move.stepped"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.limits.Stuck = 36 * time.Hour
				w.start()
				m := w.moves("dev_1")
				if _, err := w.ConfirmLost(t.Context(), gw, m.ID, admin); reason(err) != region.BeforeCommit {
					t.Errorf("before the commit: %v", err)
				}
				w.gateway(m.ID)
				w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
				w.gateway(m.ID)
				w.sleep(35 * time.Hour)
				w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepConfirm, region.AwaitsDevice)
				w.sleep(2 * time.Hour)
				m = w.want(m.ID, mfpgate.MoveStuck, mfpgate.StepConfirm, region.NotSeen)
				w.away("jp services holding") // what is said then is said once
				w.sleep(time.Hour)
				w.change(func() { w.before = nil })
				w.sleep(time.Hour)
				w.want(m.ID, mfpgate.MoveStuck, mfpgate.StepConfirm, region.NotSeen)
				if slices.Contains(w.heard(), "us services delete") {
					t.Errorf("deleted before it came: %q", w.heard())
				}
				c.do(w, m)
				m = w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
				if m.Lost != c.lost || m.ConfirmedAt.IsZero() != c.lost {
					t.Errorf("lost %t, confirmed %s", m.Lost, m.ConfirmedAt)
				}
				actions := w.audits()
				if n := len(actions); !slices.Equal(actions[n-3:], []string{"move.stuck", c.last, "move.done"}) {
					t.Errorf("audit %q", actions)
				}
			})
		})
	}
}

// TestALostDeviceIsNotWaitedFor: it may be given up before the move has come so far.
func TestALostDeviceIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		if _, err := w.ConfirmLost(t.Context(), "", m.ID, admin); err != nil {
			t.Fatal(err)
		}
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
	})
}

// TestADeviceThatHasMovedOnIsNotWaitedFor: a later move leads it to a third region.
func TestADeviceThatHasMovedOnIsNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.start()
		m := w.moves("dev_1")
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		w.gateway(m.ID)
		w.sleep(time.Second)
		w.change(func() {
			h := *w.clouds["jp"].held[m.MFP]
			h.State, h.To = mfpgate.HoldingMoved, "de"
			w.clouds["jp"].held[m.MFP] = &h
		})
		w.sleep(25 * time.Hour)
		w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
	})
}

// TestWhatCannotBeAdoptedIsNotCommitted: the commit is one transaction.
func TestWhatCannotBeAdoptedIsNotCommitted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.adopt = func(tx store.Tx, m mfpgate.Move, _ json.RawMessage) error {
			return errors.Join(tx.Set("adopted/"+m.MFP, nil), fmt.Errorf("device %s is claimed by another tenant", m.MFP))
		}
		w.start()
		m := w.moves("dev_1")
		w.gateway(m.ID)
		w.sleep(14 * time.Minute)
		m = w.backAsItWas(m, region.AdoptFailed)
		if !strings.Contains(m.Detail, "another tenant") {
			t.Errorf("%s", m.Detail)
		}
		err := w.store.View(t.Context(), func(s store.Snapshot) error {
			_, err := s.Get("adopted/" + mfpOf(1))
			return err
		})
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("half of the commit is there: %v", err)
		}
	})
}
