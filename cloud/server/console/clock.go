package console

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// clock shows instants as the place does whose schedule it is.
type clock struct {
	zone *time.Location
	now  time.Time
}

// clockOf is the clock of the contract's zone; a contract without one is read in UTC.
func clockOf(contract api.Contract, now time.Time) clock {
	loc, err := calendar.ParseZone(contract.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	return clock{loc, now}
}

// at shows t to the minute, with the offset from UTC where the clock shows the same time twice.
func (c clock) at(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	text := t.In(c.zone).Format("2006-01-02 15:04")
	if c.twice(t) {
		text += " (" + offset(t.In(c.zone)) + ")"
	}
	return moment{Text: text, Machine: t.UTC().Format(time.RFC3339)}
}

// passed is at, with how long ago it was.
func (c clock) passed(t time.Time) moment {
	m := c.at(t)
	if since := c.now.Sub(t); m.Text != "" && since >= 0 {
		m.Ago = ago(since)
	}
	return m
}

func (c clock) twice(t time.Time) bool {
	local := calendar.LocalTimeOf(t.Truncate(time.Second).In(c.zone))
	first, _ := local.In(c.zone, calendar.Policy{})
	second, _ := local.In(c.zone, calendar.Policy{Fold: calendar.FoldSecond})
	return !first.Equal(second)
}

// local is t for an input of a date and a time.
func (c clock) local(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(c.zone).Format("2006-01-02T15:04")
}

// instant reads such an input. A time that the clock skips is the first after the gap, one that it shows twice the first.
func (c clock) instant(local string) (time.Time, error) {
	l, err := calendar.ParseLocalTime(local)
	if err != nil {
		return time.Time{}, err
	}
	t, _ := l.In(c.zone, calendar.Policy{})
	return t.UTC(), nil
}

// name is the zone with its present offset: Asia/Tokyo (UTC+09:00).
func (c clock) name(t time.Time) string {
	if c.zone == time.UTC {
		return "UTC"
	}
	return c.zone.String() + " (" + offset(t.In(c.zone)) + ")"
}

func offset(t time.Time) string { return "UTC" + t.Format("-07:00") }

// during is a piece of time for people; the date of its end is left out where it is that of its beginning.
type during struct{ From, To moment }

func (c clock) during(from, to time.Time) during {
	d := during{c.at(from), c.at(to)}
	if !from.IsZero() && from.In(c.zone).Format(time.DateOnly) == to.In(c.zone).Format(time.DateOnly) {
		d.To.Text = d.To.Text[len("2006-01-02 "):]
	}
	return d
}

// hour is the first instant at which the clock shows that hour or, where it skips it, a later one.
func (c clock) hour(y int, m time.Month, d, h int) time.Time {
	local := calendar.LocalTimeOf(time.Date(y, m, d, h, 0, 0, 0, time.UTC))
	t, _ := local.In(c.zone, calendar.Policy{})
	return t.UTC()
}

// startOf is when a schedule first begins. A local time outranks an instant.
func startOf(s api.Schedule) (time.Time, bool) {
	if s.Local != "" {
		if l, loc, p, err := localOf(s); err == nil {
			t, ok := l.In(loc, p)
			return t.UTC(), ok
		}
	}
	if s.StartUTC == nil {
		return time.Time{}, false
	}
	return s.StartUTC.UTC(), true
}

func localOf(s api.Schedule) (l calendar.LocalTime, loc *time.Location, p calendar.Policy, err error) {
	if loc, err = calendar.ParseZone(s.TimeZone); err != nil {
		return l, loc, p, err
	}
	if s.Gap != "" {
		if p.Gap, err = calendar.ParseGap(s.Gap); err != nil {
			return l, loc, p, err
		}
	}
	if s.Fold != "" {
		if p.Fold, err = calendar.ParseFold(s.Fold); err != nil {
			return l, loc, p, err
		}
	}
	l, err = calendar.ParseLocalTime(s.Local)
	return l, loc, p, err
}

// startsOf are a delivery's starts that lie between from and to; more than one only if it recurs.
func startsOf(s api.Schedule, from, to time.Time) iter.Seq[time.Time] {
	start, ok := startOf(s)
	if s.RRule != "" {
		l, loc, p, err := localOf(s)
		if err != nil && ok {
			l, loc, err = calendar.LocalTimeOf(start.UTC()), time.UTC, nil
		}
		if rule, bad := calendar.ParseRRULE(l, s.RRule, loc, p); err == nil && bad == nil {
			return rule.Between(from, to)
		}
	}
	if !ok || start.Before(from) || !start.Before(to) {
		return slices.Values([]time.Time(nil))
	}
	return slices.Values([]time.Time{start})
}

// scheduleAt is a schedule with another start. A local time stays one, in its own zone.
func scheduleAt(s api.Schedule, start time.Time) api.Schedule {
	start = start.UTC()
	s.StartUTC = &start
	if s.Local == "" {
		return s
	}
	loc, err := calendar.ParseZone(s.TimeZone)
	if err != nil {
		s.Local, s.TimeZone = "", ""
		return s
	}
	local := calendar.LocalTimeOf(start.In(loc))
	s.Local = local.String()
	s.Fold = ""
	if first, _ := local.In(loc, calendar.Policy{}); !first.Equal(start) {
		s.Fold = "second"
	}
	return s
}

// lasting is a duration for people: 1 h 5 min.
func lasting(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	switch {
	case d <= 0:
		return "0 min"
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0 && s > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	case m > 0:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d s", s)
	}
}

// moved says how far, and which way: 35 min later.
func moved(d time.Duration) string {
	switch {
	case d < 0:
		return lasting(-d) + " earlier"
	case d > 0:
		return lasting(d) + " later"
	default:
		return "the same time"
	}
}
