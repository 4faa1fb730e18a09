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
	return plan.Timeline(s, from, to, slot)
}
