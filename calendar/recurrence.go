package calendar

import (
	"iter"
	"slices"
	"time"
)

// Recurrence gives the instants at which a rule is due, to the second. It is immutable, safe for any number of goroutines,
// and a cron.Schedule of robfig/cron. The zero value is never due.
type Recurrence struct {
	rule *rule
}

// Next returns the first instant after t at which the rule is due, in the rule's zone, or the zero time if there is none
// before the year 10000 or, roughly, within 400 years.
func (r Recurrence) Next(after time.Time) time.Time {
	var next time.Time
	if r.rule != nil {
		r.rule.walk(after.Unix(), func(u int64) bool {
			next = time.Unix(u, 0).In(r.rule.loc)
			return false
		})
	}
	return next
}

// Between gives every instant u with from <= u < to at which the rule is due, ascending and without repeats, in the rule's
// zone. It is the cheap way to expand a rule: much of the cost of Next is finding its place.
func (r Recurrence) Between(from, to time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for u := range r.Instants(from, to) {
			if !yield(time.Unix(u, 0).In(r.rule.loc)) {
				return
			}
		}
	}
}

// Instants gives those of Between as Unix seconds, which is cheaper still where a million of them are needed.
func (r Recurrence) Instants(from, to time.Time) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		if r.rule == nil || !from.Before(to) {
			return
		}
		after, end := from.Unix(), to.Unix()
		if from.Nanosecond() == 0 {
			after--
		}
		if to.Nanosecond() > 0 {
			end++
		}
		r.rule.walk(after, func(u int64) bool { return u < end && yield(u) })
	}
}

// String returns the rule as it was written.
func (r Recurrence) String() string {
	if r.rule == nil {
		return ""
	}
	return r.rule.text
}

// Equal reports whether both were parsed from the same text, start, zone and policy.
func (r Recurrence) Equal(o Recurrence) bool {
	if r.rule == nil || o.rule == nil {
		return r.rule == o.rule
	}
	a, b := r.rule, o.rule
	return a.text == b.text && a.first == b.first && a.policy == b.policy && a.loc.String() == b.loc.String()
}

// walk gives the rule's instants after the given one, ascending, until yield returns false.
//
// It goes through the zone's spans of one offset. Within a span the clock shows each local time once, in order, so the
// local times of the rule become instants by subtraction; what differs at a clock change is only which local times are taken
// at the ends of a span.
func (r *rule) walk(after int64, yield func(u int64) bool) {
	if r.freq >= hourly {
		r.walkTicks(after, yield)
		return
	}
	const yearOne = -62135596800
	after = max(after, yearOne, min(r.first, lastWall)-2*daySeconds) // local time is less than two days ahead of UTC
	emit := func(u int64) bool { return u <= r.until && yield(u) }
	var s scan
	zone := spanAt(r.loc, after+1)
	before := zone.offset
	if zone.start > distantPast {
		before = spanAt(r.loc, zone.start-1).offset
	}
	for {
		// The clock showed all up to shown before the span, and starts at opens.
		shown, opens := zone.start+before, zone.start+zone.offset
		lo, hi := max(opens, after+1+zone.offset), zone.end+zone.offset
		if gap := opens - shown; gap > 0 {
			switch {
			case r.policy.Gap == GapNext && after < zone.start:
				found := false
				r.each(&s, shown, opens, func(int64) bool { found = true; return false })
				if found {
					if !emit(zone.start) {
						return
					}
					lo++ // an occurrence at the same instant is the same run
				}
			case r.policy.Gap == GapShift && after+1 < zone.start+gap:
				if !r.walkShifted(&s, after, zone, before, emit) {
					return
				}
				lo = max(lo, opens+gap)
			}
		} else if r.policy.Fold == FoldFirst {
			lo = max(lo, shown)
		}
		next := span{offset: zone.offset}
		if zone.end < distantFuture {
			next = spanAt(r.loc, zone.end)
		}
		if r.policy.Fold == FoldSecond && next.offset < zone.offset {
			hi = zone.end + next.offset
		}
		offset := zone.offset
		if !r.each(&s, lo, hi, func(wall int64) bool { return emit(wall - offset) }) || opens > min(r.last, lastWall) {
			return
		}
		if zone.end >= distantFuture || zone.end > r.until || zone.end > lastWall {
			return
		}
		after, before, zone = max(after, zone.end-1), offset, next
		s.idle += spanCost
	}
}

// walkShifted gives the instants in the first stretch of a span, as long as the gap before it: those of the local times
// that were skipped, shifted by the gap, and those of the local times that the clock does show then.
func (r *rule) walkShifted(s *scan, after int64, zone span, before int64, emit func(u int64) bool) bool {
	var merged []int64
	shown, opens := zone.start+before, zone.start+zone.offset
	r.each(s, shown, opens, func(wall int64) bool { merged = append(merged, wall-before); return true })
	r.each(s, opens, 2*opens-shown, func(wall int64) bool { merged = append(merged, wall-zone.offset); return true })
	slices.Sort(merged)
	for _, u := range slices.Compact(merged) {
		if u > after && !emit(u) {
			return false
		}
	}
	return true
}
