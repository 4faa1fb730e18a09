package region

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// The timers of a move.
const (
	timerDeadline = "deadline" // of the commit
	timerDraining = "draining" // of the time that the source takes no changes before it
	timerProbes   = "probes"   // of the gateway's
	timerStuck    = "stuck"
	timerKeep     = "keep" // of what has ended
)

// arm has a timer fire after a while, whatever hangs.
func (s *Saga) arm(tx store.Tx, r *record, name string, wait time.Duration) error {
	if r.Timers == nil {
		r.Timers = map[string]timer{}
	}
	t := timer{At: s.now().Add(wait), Wait: wait}
	r.Timers[name] = t
	if name == timerDeadline {
		r.Deadline = t.At
	}
	return s.wind(tx, r.ID, name, wait)
}

func (s *Saga) wind(tx store.Tx, id mfpgate.MoveID, name string, wait time.Duration) error {
	payload, err := json.Marshal(work{Move: id, Timer: name})
	if err != nil {
		return err
	}
	return s.journal.Intend(tx, journal.Intent{ID: timerID(id, name), Kind: kindTimer, Payload: payload, Delay: wait})
}

func timerID(id mfpgate.MoveID, name string) string { return string(id) + "/timer-" + name }

// disarm takes a timer back.
func (s *Saga) disarm(tx store.Tx, r *record, name string) error {
	if _, armed := r.Timers[name]; !armed {
		return nil
	}
	delete(r.Timers, name)
	if name == timerDeadline {
		r.Deadline = time.Time{}
	}
	_, err := s.journal.Cancel(tx, timerID(r.ID, name))
	return err
}

func (s *Saga) handleTimer(_ context.Context, in journal.Intent) (func(store.Tx) error, error) {
	var w work
	if err := json.Unmarshal(in.Payload, &w); err != nil {
		return nil, journal.Permanent(err)
	}
	return func(tx store.Tx) error {
		r, err := getRecord(tx, w.Move)
		if errors.Is(err, errNoMove) {
			return nil
		}
		if err != nil {
			return err
		}
		t, armed := r.Timers[w.Timer]
		if !armed {
			return nil
		}
		now := s.now()
		left := t.At.Sub(now)
		if left > t.Wait { // the clock was set back: so much is never left
			if err := s.arm(tx, r, w.Timer, t.Wait); err != nil {
				return err
			}
			return keep(tx, r)
		}
		if left > 0 {
			return s.wind(tx, w.Move, w.Timer, left)
		}
		delete(r.Timers, w.Timer)
		return s.fire(tx, r, w.Timer, t.Wait)
	}, nil
}

// fire does what a timer is for.
func (s *Saga) fire(tx store.Tx, r *record, name string, after time.Duration) error {
	var err error
	switch {
	case name == timerDeadline && r.State == mfpgate.MoveOpen:
		err = s.compensate(tx, r, CommitTime, fmt.Sprintf("The move was not committed within %s; it was in step %s. %s", after, r.Step, r.Detail), management)
	case name == timerDraining && r.State == mfpgate.MoveOpen:
		err = s.compensate(tx, r, DrainTime, fmt.Sprintf("Region %s would have kept the device from changes for more than %s; the move was in step %s. %s",
			r.From, after, r.Step, r.Detail), management)
	case name == timerProbes && r.Step == mfpgate.StepVerify && r.Verified:
		err = s.advance(tx, r, management)
	case name == timerStuck && r.State == mfpgate.MoveCommitted && r.Step == mfpgate.StepConfirm:
		r.State = mfpgate.MoveStuck
		r.Reason, r.Detail = NotSeen, lostText(r)
		err = s.audit(tx, r, r.Step, management, "stuck", r.Detail)
	case name == timerKeep && r.State.Ended():
		return sweep(tx, r)
	}
	if err != nil {
		return err
	}
	return save(tx, r)
}

func lostText(r *record) string {
	return fmt.Sprintf("The device has not come to region %s since %s. Switch it on and let it reach its cloud, or confirm that it is lost.", r.To,
		r.CommittedAt.Format(time.DateOnly))
}
