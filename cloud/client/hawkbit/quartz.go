package hawkbit

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// longest is what hawkBit's durations, which it reads as times of day, can say.
const longest = 24*time.Hour - time.Second

var errLength = errors.New("a window of no length")

// OneShot is the maintenance window that is open from from to to, once. Its local time and its offset are those of zone on that
// date: hawkBit knows no zones, and an offset of another season would open it an hour off. It is cut to a day less a second,
// and to whole seconds; the window stays inside what was asked for.
func OneShot(from, to time.Time, zone *time.Location) (Window, error) {
	if up := from.Truncate(time.Second); up.Before(from) {
		from = up.Add(time.Second)
	}
	length := min(to.Sub(from).Truncate(time.Second), longest)
	if length <= 0 {
		return Window{}, fmt.Errorf("%w: %s to %s", errLength, from, to)
	}
	t := from.In(zone)
	// Seconds of an offset, as zones had before 1970, have no place in hawkBit's; a plan has no such dates.
	return Window{
		Schedule: fmt.Sprintf("%d %d %d %d %d ? %d", t.Second(), t.Minute(), t.Hour(), t.Day(), int(t.Month()), t.Year()),
		Duration: time.Time{}.Add(length).Format(time.TimeOnly), Timezone: t.Format("-07:00"),
	}, nil
}

// recurs reports whether a Quartz cron has more than one occurrence, as far as its form tells.
func recurs(schedule string) bool {
	fields := strings.Fields(schedule)
	if len(fields) < 7 {
		return len(fields) == 6
	}
	return strings.ContainsAny(schedule, "*/,-LW#")
}

// length reads the duration of a window.
func (w *Window) length() (time.Duration, error) {
	t, err := time.Parse("15:04:05", w.Duration)
	if err != nil {
		if t, err = time.Parse("15:04", w.Duration); err != nil {
			return 0, fmt.Errorf("%w: a window's duration %.20q", ErrAnswer, w.Duration)
		}
	}
	return t.Sub(t.Truncate(24 * time.Hour)), nil
}

// zone reads the offset of a window.
func (w *Window) zone() (*time.Location, error) {
	t, err := time.Parse("Z07:00", w.Timezone)
	if err != nil {
		return nil, fmt.Errorf("%w: a window's offset %.20q", ErrAnswer, w.Timezone)
	}
	_, offset := t.Zone()
	return time.FixedZone("", offset), nil
}
