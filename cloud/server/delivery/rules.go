package delivery

import (
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// Window returns why a start is outside a delivery's window, as faults, or nil.
func Window(d mfpgate.Delivery, start time.Time) error {
	end := start.Add(plan.Estimate(d).P95)
	var errs []error
	if !d.EarliestStart.IsZero() && start.Before(d.EarliestStart) {
		errs = append(errs, fault("/window/earliestStart", "the start is before "+text(d.EarliestStart)))
	}
	if !d.LatestEnd.IsZero() && end.After(d.LatestEnd) {
		errs = append(errs, fault("/window/latestEnd", "with its duration it would end after "+text(d.LatestEnd)))
	}
	for _, b := range d.Blackouts {
		if start.Before(b.To) && b.From.Before(end) || start.Equal(b.From) {
			errs = append(errs, fault("/window/blackouts", "it would touch the blackout from "+text(b.From)+" to "+text(b.To)))
		}
	}
	return errors.Join(errs...)
}

// LeadTime returns why a start comes too soon for devices that ask for their schedule seldom, or nil.
func LeadTime(c mfpgate.Contract, now, start time.Time) error {
	if first := now.Add(c.LeadTime); start.Before(first) {
		return fault("/schedule", "the contract's lead time allows no start before "+text(first))
	}
	return nil
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Added returns the overloads that a change of the schedule adds, given the bands before and after it: those of a stretch of time in which
// more devices exceed the capacity, or for longer, than before. A stretch is as long as bands of before or after touch.
func Added(before, after []mfpgate.Band) (added []mfpgate.Band) {
	type stretch struct {
		to              time.Time
		was, is         time.Duration
		peakWas, peakIs int
		bands           []mfpgate.Band
	}
	var list []*stretch
	i, j := 0, 0
	last := func(b mfpgate.Band) *stretch {
		if n := len(list); n > 0 && !b.From.After(list[n-1].to) {
			s := list[n-1]
			if b.To.After(s.to) {
				s.to = b.To
			}
			return s
		}
		s := &stretch{to: b.To}
		list = append(list, s)
		return s
	}
	for i < len(before) || j < len(after) {
		if j == len(after) || i < len(before) && before[i].From.Before(after[j].From) {
			s := last(before[i])
			s.was += before[i].Excess
			s.peakWas = max(s.peakWas, before[i].Peak-before[i].Capacity)
			i++
			continue
		}
		s := last(after[j])
		s.is += after[j].Excess
		s.peakIs = max(s.peakIs, after[j].Peak-after[j].Capacity)
		s.bands = append(s.bands, after[j])
		j++
	}
	for _, s := range list {
		if s.is > s.was || s.peakIs > s.peakWas {
			added = append(added, s.bands...)
		}
	}
	return added
}
