package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
)

// Unlimited is the capacity where nothing limits it.
const Unlimited = math.MaxInt32

// maxHorizon bounds how far anything is expanded: a window that ends in a century must not make a hundred years of days.
const maxHorizon = 400 * 24 * time.Hour

// Capacity returns the contract's limit from from to to: the first step is at from, neighbours differ. Inside a rule of its
// calendar the rule's figure holds, the smallest where rules overlap, and elsewhere MaxConcurrent; without a limit it is
// Unlimited. A rule holds while a clock in its zone shows a time inside it, so that an hour that the clock repeats counts
// twice. Days are those on which its RRULE falls, counted from 1970-01-01. An error names the rule that is not well written.
func Capacity(c mfpgate.Contract, from, to time.Time) ([]mfpgate.CapacityStep, error) {
	base := c.MaxConcurrent
	if base == 0 {
		base = Unlimited
	}
	if to.Sub(from) > maxHorizon+maxDuration {
		return nil, fmt.Errorf("capacity from %s to %s: %w", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), errHorizon)
	}
	var edges []edge
	for i, r := range c.CapacityCalendar {
		list, err := ruleSpans(r, c.TimeZone, from, to)
		if err != nil {
			return nil, fmt.Errorf("capacity rule %d: %w", i+1, err)
		}
		for _, s := range list {
			edges = append(edges, edge{max(s.from, from.UnixMilli()), i, 1}, edge{s.to, i, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	open := make([]int, len(c.CapacityCalendar))
	steps := []mfpgate.CapacityStep{}
	add := func(at int64) {
		devices, ruled := base, false
		for i, n := range open {
			if limit := c.CapacityCalendar[i].MaxConcurrent; n > 0 && (!ruled || limit < devices) {
				devices, ruled = limit, true
			}
		}
		if n := len(steps); n == 0 || steps[n-1].Devices != devices {
			steps = append(steps, mfpgate.CapacityStep{At: time.UnixMilli(at).UTC(), Devices: devices})
		}
	}
	at := from.UnixMilli()
	for _, e := range edges {
		if e.at >= to.UnixMilli() {
			break
		}
		if e.at > at {
			add(at)
			at = e.at
		}
		open[e.rule] += e.by
	}
	add(at)
	return steps, nil
}

// edge is where a rule begins (1) or ends (-1) to hold.
type edge struct {
	at   int64
	rule int
	by   int
}

// span is a piece of time, half-open, in UTC milliseconds.
type span struct{ from, to int64 }

// ruleSpans gives the instants in from to to at which a rule holds. Spans of one rule may overlap.
func ruleSpans(r mfpgate.CapacityRule, zone string, from, to time.Time) ([]span, error) {
	start, end, err := checkRule(r)
	if err != nil {
		return nil, err
	}
	loc, err := calendar.ParseZone(cmp.Or(r.TimeZone, zone, "UTC"))
	if err != nil {
		return nil, err
	}
	days, err := ruleDays(r.RRule)
	if err != nil {
		return nil, err
	}
	if end <= start {
		end += calendar.EndOfDay
	}
	// Local time is at most a day from UTC, and the rule of a day may run into the next.
	const day = 24 * time.Hour
	var list []span
	last := int64(math.MinInt64)
	for u := range days.Between(from.Add(-3*day).Truncate(day), to.Add(2*day)) {
		wall := u.Unix() - u.Unix()%86400
		if wall == last {
			continue // several times on one day
		}
		last = wall
		list = appendShown(list, loc, wall+int64(start)*60, wall+int64(end)*60, from, to)
	}
	return list, nil
}

// checkRule returns the local times from and to which a capacity rule holds, or what is wrong with it, its zone aside.
func checkRule(r mfpgate.CapacityRule) (start, end calendar.TimeOfDay, err error) {
	if start, err = calendar.ParseTimeOfDay(r.Start); err != nil {
		return 0, 0, fmt.Errorf("start: %w", err)
	}
	if end, err = calendar.ParseTimeOfDay(r.End); err != nil {
		return 0, 0, fmt.Errorf("end: %w", err)
	}
	if start == calendar.EndOfDay {
		return 0, 0, fmt.Errorf("start 24:00 is the end of a day; write 00:00")
	}
	if r.MaxConcurrent < 0 {
		return 0, 0, fmt.Errorf("maxConcurrent is %d; write 0 or more", r.MaxConcurrent)
	}
	_, err = ruleDays(r.RRule)
	return start, end, err
}

// ruleDays reads a rule's days as instants in UTC on them, which stand for local dates.
func ruleDays(text string) (calendar.Recurrence, error) {
	if strings.Contains(strings.ToUpper(text), "COUNT=") {
		return calendar.Recurrence{}, fmt.Errorf("rrule %.120q: a capacity rule has no first day to COUNT from; write UNTIL", text)
	}
	first, err := calendar.ParseLocalTime("1970-01-01T00:00:00")
	if err != nil {
		return calendar.Recurrence{}, err
	}
	return calendar.ParseRRULE(first, text, time.UTC, calendar.Policy{})
}

// appendShown appends the instants between from and to at which a clock in loc shows a wall time from a to b, which are
// seconds since the wall showed 1970.
func appendShown(list []span, loc *time.Location, a, b int64, from, to time.Time) []span {
	const day = 24 * 60 * 60
	for u := a - day; u < b+day; {
		offset, end := zoneAt(loc, u)
		s := span{max(a-offset, u) * 1000, min(b-offset, end) * 1000}
		s.from, s.to = max(s.from, from.UnixMilli()), min(s.to, to.UnixMilli())
		if s.from < s.to {
			list = append(list, s)
		}
		u = end
	}
	return list
}

// zoneAt returns the offset from UTC at u, and until when it lasts at least.
func zoneAt(loc *time.Location, u int64) (offset, end int64) {
	t := time.Unix(u, 0).In(loc)
	_, seconds := t.Zone()
	_, until := t.ZoneBounds()
	switch {
	case until.IsZero():
		return int64(seconds), math.MaxInt64 / 2000
	case until.Unix() <= u: // time.Time's own bound lies in the past on 31 December of some leap years: go by the hour
		return int64(seconds), u + 3600
	}
	return int64(seconds), until.Unix()
}

// smaller merges steps of two origins: the smaller holds. Before its first step an origin does not limit.
func smaller(a, b []mfpgate.CapacityStep) []mfpgate.CapacityStep {
	x, y := Unlimited, Unlimited
	var out []mfpgate.CapacityStep
	for len(a) > 0 || len(b) > 0 {
		var at time.Time
		if len(b) == 0 || len(a) > 0 && !b[0].At.Before(a[0].At) {
			at = a[0].At
		} else {
			at = b[0].At
		}
		for len(a) > 0 && a[0].At.Equal(at) {
			x, a = a[0].Devices, a[1:]
		}
		for len(b) > 0 && b[0].At.Equal(at) {
			y, b = b[0].Devices, b[1:]
		}
		if n := len(out); n == 0 || out[n-1].Devices != min(x, y) {
			out = append(out, mfpgate.CapacityStep{At: at, Devices: min(x, y)})
		}
	}
	return out
}
