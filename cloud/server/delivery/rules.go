package delivery

import (
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// maxDuration bounds what a delivery is expected to take, and a retry's interval.
const maxDuration = 14 * 24 * time.Hour

// Check returns every rule that a resolved delivery breaks in itself, joined.
func Check(d api.Delivery) error {
	var errs []error
	if w := d.Window; w != nil {
		for pointer, t := range map[string]*time.Time{"window.earliestStart": w.EarliestStart, "window.latestEnd": w.LatestEnd} {
			if t != nil && !Plausible(*t) {
				errs = append(errs, fault(pointer, "must be a date of this or the next century"))
			}
		}
		if w.EarliestStart != nil && w.LatestEnd != nil && !w.EarliestStart.Before(*w.LatestEnd) {
			errs = append(errs, fault("window.latestEnd", "must be after earliestStart"))
		}
		for _, b := range w.Blackouts {
			if !b.From.Before(b.To) || !Plausible(b.From) || !Plausible(b.To) {
				errs = append(errs, fault("window.blackouts", "each must end after it begins, in this or the next century"))
				break
			}
		}
	}
	if e := d.Duration; e != nil {
		switch {
		case e.P50 < 0 || e.P95 < 0 || time.Duration(max(e.P50, e.P95)) > maxDuration:
			errs = append(errs, fault("duration", "must be at most 14 days"))
		case e.P95 < e.P50:
			errs = append(errs, fault("duration.p95", "must be at least p50"))
		}
	}
	if r := d.Retry; r != nil && (r.Interval < 0 || time.Duration(r.Interval) > maxDuration || r.Max > 0 && time.Duration(r.Interval) < time.Second) {
		errs = append(errs, fault("retry.interval", "must be 1 second to 14 days"))
	}
	if d.Movable != nil && *d.Movable && d.PinnedReason != "" {
		errs = append(errs, fault("pinnedReason", "is for a delivery with movable false"))
	}
	return errors.Join(errs...)
}

// planned is the time that a delivery is taken to hold its slot.
func planned(d mfpgate.Delivery) time.Duration { return max(d.Duration.P95, d.Duration.P50) }

// Window returns why a start is outside a delivery's window, as faults, or nil.
func Window(d mfpgate.Delivery, start time.Time) error {
	end := start.Add(planned(d))
	var errs []error
	if !d.EarliestStart.IsZero() && start.Before(d.EarliestStart) {
		errs = append(errs, fault("window.earliestStart", "the start is before "+text(d.EarliestStart)))
	}
	if !d.LatestEnd.IsZero() && end.After(d.LatestEnd) {
		errs = append(errs, fault("window.latestEnd", "with its duration it would end after "+text(d.LatestEnd)))
	}
	for _, b := range d.Blackouts {
		if start.Before(b.To) && b.From.Before(end) || start.Equal(b.From) {
			errs = append(errs, fault("window.blackouts", "it would touch the blackout from "+text(b.From)+" to "+text(b.To)))
		}
	}
	return errors.Join(errs...)
}

// LeadTime returns why a start comes too soon for devices that ask for their schedule seldom, or nil.
func LeadTime(c mfpgate.Contract, now, start time.Time) error {
	if first := now.Add(c.LeadTime); start.Before(first) {
		return fault("schedule", "the contract's lead time allows no start before "+text(first))
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
