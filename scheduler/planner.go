package scheduler

import (
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// Planning is package plan as a Planner.
type Planning struct{ plan.Options }

// Make is plan.Make.
func (p Planning) Make(s mfpgate.ScheduleSnapshot) (mfpgate.SchedulePlan, error) {
	return plan.Make(s, p.Options)
}

// Timeline is plan.Timeline.
func (Planning) Timeline(s mfpgate.ScheduleSnapshot, from, to time.Time, slot time.Duration) ([]Slot, error) {
	list, err := plan.Timeline(s, from, to, slot)
	if err != nil {
		return nil, err
	}
	slots := make([]Slot, len(list))
	for i, x := range list {
		slots[i] = Slot(x)
	}
	return slots, nil
}
