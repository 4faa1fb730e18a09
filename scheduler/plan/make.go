package plan

import (
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Options bound a plan.
type Options struct {
	// Work bounds the search for new starts, in units of about a nanosecond of one core; 0 is DefaultWork. It is counted, not
	// timed: the answer does not depend on the machine.
	Work int64
}

// DefaultWork is about a second.
const DefaultWork = 1_000_000_000

// ErrBroken is returned where a repair would break a rule or leave an overload that nothing explains. That is a defect of this
// program; the plan before stays in force.
var ErrBroken = errors.New("the repair breaks its own rules")

// Make returns the overloads of a snapshot and, if the contract's mode is propose or auto, the proposal that removes them. In
// mode notify, and without overloads, the proposal is empty and has no id. Errors wrap ErrSnapshot or ErrBroken.
func Make(s mfpgate.ScheduleSnapshot, o Options) (mfpgate.SchedulePlan, error) {
	c, err := newScene(s, time.Time{}, time.Time{})
	if err != nil {
		return mfpgate.SchedulePlan{}, err
	}
	bands, err := c.bands()
	if err != nil {
		return mfpgate.SchedulePlan{}, err
	}
	p := mfpgate.SchedulePlan{Bands: bands, BandsLeft: bands, LeftOut: c.left}
	mode := s.Contract.Mode
	if len(bands) == 0 || mode != mfpgate.SchedulePropose && mode != mfpgate.ScheduleAuto {
		return p, nil
	}
	r, err := c.newRoom()
	if err != nil {
		return p, err
	}
	work := o.Work
	if work <= 0 {
		work = DefaultWork
	}
	a, err := r.solve(work, bands)
	if err != nil {
		return p, err
	}
	p.Proposal = a.proposal()
	p.Proposal.Apply = mode == mfpgate.ScheduleAuto
	a.certify(p.Bands)
	after, err := newScene(With(s, p.Proposal.Changes), time.Time{}, time.Time{})
	if err != nil {
		return p, err
	}
	if p.BandsLeft, err = after.bands(); err != nil {
		return p, err
	}
	a.certify(p.BandsLeft)
	return p, nil
}

// With returns the snapshot as it is once the changes are applied. Changes of deliveries that it has not are ignored.
func With(s mfpgate.ScheduleSnapshot, changes []mfpgate.Change) mfpgate.ScheduleSnapshot {
	to := make(map[string]time.Time, len(changes))
	for _, c := range changes {
		to[c.Delivery] = c.To
	}
	deliveries := make([]mfpgate.Delivery, len(s.Deliveries))
	copy(deliveries, s.Deliveries)
	for i := range deliveries {
		if at, ok := to[deliveries[i].ID]; ok {
			deliveries[i].Schedule = mfpgate.LocalSchedule{Start: at}
		}
	}
	s.Deliveries = deliveries
	return s
}
