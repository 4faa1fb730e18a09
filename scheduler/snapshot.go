package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
)

const (
	// maxSteps bounds the capacity's changes in a horizon: of a year with twenty a day.
	maxSteps = 10_000
	// maxStarts bounds the occurrences of one recurring delivery that are looked at.
	maxStarts = 1000
)

// snapshot is all that a plan is made of. What was rejected is pinned.
func (s *Scheduler) snapshot(p Policy, c mfpgate.Contract, st state, now time.Time, rejected map[string]rejection) mfpgate.ScheduleSnapshot {
	snap := mfpgate.ScheduleSnapshot{Now: now, Horizon: s.horizon(p), Contract: c, DeltaToken: st.Token, Devices: s.Site.Devices()}
	snap.Capacity = s.capacity(now.Add(-day), now.Add(snap.Horizon+day))
	if snap.Devices == nil {
		snap.Devices = []mfpgate.ScheduledDevice{}
	}
	for _, id := range slices.Sorted(maps.Keys(s.deliveries)) {
		d := s.deliveries[id]
		if d.State == mfpgate.DeliveryPlanned || d.State == mfpgate.DeliveryRunning {
			d.Duration = s.book.Fill(d)
		}
		if _, no := rejected[id]; no && d.Movable {
			d.Movable, d.PinnedReason = false, "another start was rejected"
		}
		snap.Deliveries = append(snap.Deliveries, d)
	}
	ids := map[string]bool{}
	for _, b := range s.background {
		ids[b.ID] = true
		snap.Background = append(snap.Background, b)
	}
	for _, b := range p.Background {
		if !ids[b.ID] {
			snap.Background = append(snap.Background, b)
		}
	}
	slices.SortStableFunc(snap.Background, func(a, b mfpgate.Background) int { return strings.Compare(a.ID, b.ID) })
	return snap
}

// capacity samples the relay's own.
func (s *Scheduler) capacity(from, to time.Time) []mfpgate.CapacityStep {
	var steps []mfpgate.CapacityStep
	for at := from; len(steps) < maxSteps; {
		devices, until := s.Site.Capacity(at)
		if n := len(steps); n == 0 || steps[n-1].Devices != devices {
			steps = append(steps, mfpgate.CapacityStep{At: at.UTC(), Devices: max(devices, 0)})
		}
		if until.IsZero() || !until.After(at) || !until.Before(to) {
			break
		}
		at = until
	}
	if len(steps) > 0 {
		steps[0].At = from.UTC().Truncate(day) // the same all day, so that nothing new looks the same
	}
	return steps
}

// starts are the instants in from to to at which a delivery is planned to begin. A local time outranks an instant; what
// cannot be read has none, and the plan says so.
func starts(d mfpgate.Delivery, home string, from, to time.Time) []time.Time {
	at := d.Schedule.Start
	if d.Schedule.Local != "" || d.Schedule.RRule != "" {
		loc, err := calendar.ParseZone(cmp.Or(d.Schedule.TimeZone, home, "UTC"))
		if err != nil {
			return nil
		}
		gap, err1 := calendar.ParseGap(cmp.Or(d.Schedule.Gap, "next"))
		fold, err2 := calendar.ParseFold(cmp.Or(d.Schedule.Fold, "first"))
		if err1 != nil || err2 != nil {
			return nil
		}
		policy := calendar.Policy{Gap: gap, Fold: fold}
		local := calendar.LocalTimeOf(at.In(loc))
		if d.Schedule.Local != "" {
			if local, err = calendar.ParseLocalTime(d.Schedule.Local); err != nil {
				return nil
			}
		}
		if d.Schedule.RRule != "" {
			rule, err := calendar.ParseRRULE(local, d.Schedule.RRule, loc, policy)
			if err != nil {
				return nil
			}
			var list []time.Time
			for at := range rule.Between(from, to) {
				if list = append(list, at); len(list) == maxStarts {
					break
				}
			}
			return list
		}
		var ok bool
		if at, ok = local.In(loc, policy); !ok {
			return nil
		}
	}
	if at.IsZero() || at.Before(from) || !at.Before(to) {
		return nil
	}
	return []time.Time{at}
}

// begin is when a delivery was last due before now.
func (s *Scheduler) begin(d mfpgate.Delivery, now time.Time) (time.Time, bool) {
	home := ""
	if c, ok := s.Site.Contract(); ok {
		home = c.TimeZone
	}
	list := starts(d, home, now.Add(-transferLife), now.Add(early))
	if len(list) == 0 {
		return time.Time{}, false
	}
	return list[len(list)-1], true
}

// slots are the pieces of time in which devices are planned to be served, ascending.
type slots map[mfpgate.DeviceID][]mfpgate.Interval

// planned lays out the slots of a snapshot. A device's slot is held as long as nineteen of twenty like it need.
func planned(snap mfpgate.ScheduleSnapshot) slots {
	served := map[mfpgate.DeviceID]bool{}
	for _, d := range snap.Devices {
		served[d.ID] = d.Served()
	}
	of := slots{}
	for _, d := range snap.Deliveries {
		if d.State != mfpgate.DeliveryPlanned && d.State != mfpgate.DeliveryRunning || !served[d.Device] {
			continue
		}
		long := max(d.Duration.P50, d.Duration.P95)
		if long <= 0 {
			long = assumedSlot
		}
		for _, at := range starts(d, snap.Contract.TimeZone, snap.Now.Add(-maxDuration), snap.Now.Add(snap.Horizon)) {
			of[d.Device] = append(of[d.Device], mfpgate.Interval{From: at, To: at.Add(long)})
		}
	}
	for id := range of {
		slices.SortFunc(of[id], func(a, b mfpgate.Interval) int { return a.From.Compare(b.From) })
	}
	return of
}

// assumedSlot is what package plan assumes of a delivery of which nothing is known.
const assumedSlot = 15 * time.Minute

// at reports whether t is in a slot of the device, and until when.
func (s slots) at(device mfpgate.DeviceID, t time.Time) (until time.Time, ok bool) {
	for _, i := range s[device] {
		if i.From.After(t) {
			break
		}
		if i.To.After(t) && i.To.After(until) {
			until, ok = i.To, true
		}
	}
	return until, ok
}
