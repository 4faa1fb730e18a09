package delivery

import (
	"errors"
	"time"

	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// Where a plan may lie. Anything else is a slip of the pen or of a clock.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Plausible reports whether a plan may name t.
func Plausible(t time.Time) bool { return !t.Before(earliest) && t.Before(latest) }

// Resolve returns the schedule with the start in UTC that follows from its local time; of one that says startUtc alone it is that, to the
// millisecond. Errors are api.Faults.
func Resolve(s api.Schedule) (api.Schedule, error) {
	if s.Local == "" {
		switch {
		case s.RRule != "":
			return s, fault("/schedule/local", "a recurring delivery needs a local time and a time zone to begin at")
		case s.StartUTC == nil:
			return s, fault("/schedule", "needs local and timeZone, or startUtc")
		case !Plausible(*s.StartUTC):
			return s, fault("/schedule/startUtc", "must be a date from 2000 to 2099")
		}
		if s.TimeZone != "" {
			if _, err := calendar.ParseZone(s.TimeZone); err != nil {
				return s, fault("/schedule/timeZone", err.Error())
			}
		}
		at := s.StartUTC.UTC().Truncate(time.Millisecond)
		s.StartUTC = &at
		return s, nil
	}
	r, at, err := parse(s)
	if err != nil {
		return s, err
	}
	if s.RRule != "" {
		at = r.Next(at.Add(-time.Second))
	}
	if !Plausible(at) {
		return s, fault("/schedule/local", "must be a date from 2000 to 2099")
	}
	at = at.UTC()
	s.StartUTC = &at
	return s, nil
}

// parse reads a local schedule: its recurrence, if it has one, and its first time.
func parse(s api.Schedule) (r calendar.Recurrence, first time.Time, err error) {
	zone, err := calendar.ParseZone(s.TimeZone)
	if err != nil {
		return r, first, fault("/schedule/timeZone", err.Error())
	}
	local, err := calendar.ParseLocalTime(s.Local)
	if err != nil {
		return r, first, fault("/schedule/local", err.Error())
	}
	policy, err := policyOf(s)
	if err != nil {
		return r, first, err
	}
	first, ok := local.In(zone, policy)
	if s.RRule != "" {
		if r, err = calendar.ParseRRULE(local, s.RRule, zone, policy); err != nil {
			return r, first, fault("/schedule/rrule", err.Error())
		}
		if !ok {
			first = r.Next(time.Time{})
		}
		return r, first, nil
	}
	if !ok {
		return r, first, fault("/schedule/local", "the clock there never shows this time, and gap says to skip it")
	}
	return r, first, nil
}

func policyOf(s api.Schedule) (p calendar.Policy, err error) {
	if s.Gap != "" {
		if p.Gap, err = calendar.ParseGap(s.Gap); err != nil {
			return p, fault("/schedule/gap", err.Error())
		}
	}
	if s.Fold != "" {
		if p.Fold, err = calendar.ParseFold(s.Fold); err != nil {
			return p, fault("/schedule/fold", err.Error())
		}
	}
	return p, nil
}

// Next returns the first start of a resolved schedule after t, or false if there is none.
func Next(s api.Schedule, t time.Time) (time.Time, bool) {
	if s.StartUTC == nil {
		return time.Time{}, false
	}
	if s.RRule == "" || s.StartUTC.After(t) {
		return *s.StartUTC, s.StartUTC.After(t)
	}
	r, _, err := parse(s)
	if err != nil {
		return time.Time{}, false
	}
	next := r.Next(t)
	return next.UTC(), !next.IsZero()
}

// Moved returns a one-time schedule at another start, in the same words: in local time, if it was. Where no local time of the zone
// means to, it says to in UTC alone.
func Moved(s api.Schedule, to time.Time) api.Schedule {
	to = to.UTC().Truncate(time.Millisecond)
	out := api.Schedule{TimeZone: s.TimeZone, StartUTC: &to}
	zone, err := calendar.ParseZone(s.TimeZone)
	if s.Local == "" || err != nil {
		return out
	}
	for _, fold := range []string{"", "second"} {
		next := api.Schedule{Local: calendar.LocalTimeOf(to.In(zone)).String(), TimeZone: s.TimeZone, Gap: s.Gap, Fold: fold}
		if r, err := Resolve(next); err == nil && r.StartUTC.Equal(to) {
			return r
		}
	}
	return out
}

func fault(pointer, rule string) error { return api.Faults{{Pointer: pointer, Rule: rule}} }

// Faults returns the faults in an error that errors.Join may have joined.
func Faults(err error) (list api.Faults) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, Faults(e)...)
		}
		return list
	}
	var many api.Faults
	if errors.As(err, &many) {
		return many
	}
	if err != nil {
		list = append(list, api.Fault{Rule: err.Error()})
	}
	return list
}
