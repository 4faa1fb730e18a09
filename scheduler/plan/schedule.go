package plan

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/scheduler/load"
)

// maxDuration is how long one delivery is taken to last at most.
const maxDuration = load.MaxDuration

// What is assumed of a delivery of which nothing is known but its size, or not even that.
const (
	assumedRate     = 1 << 20 // bytes a second
	assumedShortest = time.Minute
	assumedDuration = 15 * time.Minute
)

// Estimate returns how long a delivery is planned to hold its slot: both quantiles are more than 0 and P95 is at least P50. A
// quantile that is missing is the other one. Where both are, it is its size at 1 MiB a second, of DurationSize, or 15
// minutes, of DurationAssumed.
func Estimate(d mfpgate.Delivery) mfpgate.DurationEstimate {
	e := d.Duration
	switch {
	case e.P50 <= 0 && e.P95 <= 0 && d.Bytes > 0:
		e.P95 = max(assumedShortest, time.Duration(min(d.Bytes/assumedRate, int64(maxDuration/time.Second)))*time.Second)
		e.P50, e.Basis = e.P95, mfpgate.DurationSize
	case e.P50 <= 0 && e.P95 <= 0:
		e.P50, e.P95, e.Basis = assumedDuration, assumedDuration, mfpgate.DurationAssumed
	case e.P50 <= 0:
		e.P50 = e.P95
	case e.P95 < e.P50:
		e.P95 = e.P50
	}
	e.P50, e.P95 = min(e.P50, maxDuration), min(e.P95, maxDuration)
	return e
}

// millis rounds a duration up.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// zones reads each zone once.
type zones map[string]*time.Location

func (z zones) get(name string) (*time.Location, error) {
	if loc, ok := z[name]; ok {
		return loc, nil
	}
	loc, err := calendar.ParseZone(name)
	if err == nil {
		z[name] = loc
	}
	return loc, err
}

// when is a schedule that is read: one instant, or a rule.
type when struct {
	once  bool
	start int64 // of once
	rule  calendar.Recurrence
}

// errNever is of a schedule without an instant.
var errNever = errors.New("names no instant")

// read resolves a schedule. A local time outranks an instant, and home is the zone of one that names none.
func (z zones) read(s mfpgate.LocalSchedule, cron, rrule, home string) (when, error) {
	loc, err := z.get(cmp.Or(s.TimeZone, home, "UTC"))
	if err != nil {
		return when{}, err
	}
	var policy calendar.Policy
	if s.Gap != "" {
		if policy.Gap, err = calendar.ParseGap(s.Gap); err != nil {
			return when{}, err
		}
	}
	if s.Fold != "" {
		if policy.Fold, err = calendar.ParseFold(s.Fold); err != nil {
			return when{}, err
		}
	}
	if cron != "" {
		rule, err := calendar.ParseCron(cron, loc, policy)
		return when{rule: rule}, err
	}
	if s.Local == "" && s.Start.IsZero() {
		return when{}, fmt.Errorf("schedule without a local time and a start: %w", errNever)
	}
	local := calendar.LocalTimeOf(s.Start.In(loc))
	if s.Local != "" {
		if local, err = calendar.ParseLocalTime(s.Local); err != nil {
			return when{}, err
		}
	}
	if rrule != "" {
		rule, err := calendar.ParseRRULE(local, rrule, loc, policy)
		return when{rule: rule}, err
	}
	if s.Local == "" {
		return when{once: true, start: s.Start.UnixMilli()}, nil
	}
	at, ok := local.In(loc, policy)
	if !ok {
		return when{}, fmt.Errorf("local time %s in %s is skipped by the clock: %w", local, loc, errNever)
	}
	return when{once: true, start: at.UnixMilli()}, nil
}

// Start returns the instant that a schedule names first, its rule left aside, or false if it names none. home is the zone of one that
// names no zone.
func Start(s mfpgate.LocalSchedule, home string) (time.Time, bool) {
	w, err := zones{}.read(s, "", "", home)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(w.start).UTC(), true
}

// instants gives the starts in from to to, in UTC milliseconds, or false if there are more than limit.
func (w when) instants(from, to int64, limit int) ([]int64, bool) {
	if w.once {
		if w.start < from || w.start >= to {
			return nil, true
		}
		return []int64{w.start}, true
	}
	var list []int64
	for at := range w.rule.Between(time.UnixMilli(from), time.UnixMilli(to)) {
		if len(list) == limit {
			return nil, false
		}
		list = append(list, at.UnixMilli())
	}
	return list, true
}
