package calendar

import (
	"errors"
	"fmt"
	"time"
)

// LocalTime is what a clock on the wall shows, date included, to the second, without a zone.
type LocalTime struct {
	wall int64 // seconds since the wall showed 1970-01-01T00:00:00
}

// ErrLocalTime is returned for text that is no local time.
var ErrLocalTime = errors.New("not a local time")

// ParseLocalTime reads "2026-12-02T02:00:00"; the seconds may be left out. An offset or Z is refused: a local time has none.
func ParseLocalTime(s string) (LocalTime, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if len(s) != len(layout) { // time.Parse takes fractions that the layout does not have
			continue
		}
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1 {
			return LocalTime{t.Unix()}, nil
		}
	}
	return LocalTime{}, fmt.Errorf("%w: %.40q; write date and time without an offset, as \"2026-12-02T02:00:00\"", ErrLocalTime, s)
}

// LocalTimeOf returns what a clock in t's location shows at t, without its fraction of a second.
func LocalTimeOf(t time.Time) LocalTime {
	_, offset := t.Zone()
	return LocalTime{t.Unix() + int64(offset)}
}

// String writes the time as ParseLocalTime reads it.
func (l LocalTime) String() string { return time.Unix(l.wall, 0).UTC().Format("2006-01-02T15:04:05") }

// In returns the instant at which a clock in loc shows l, or false if it never does and the gap rule is skip. FoldBoth
// gives the first showing, since one instant is asked for.
func (l LocalTime) In(loc *time.Location, p Policy) (time.Time, bool) {
	r := rule{loc: loc, policy: p, interval: 1, freq: daily, first: l.wall, last: l.wall, until: distantFuture,
		times: []int64{mod(l.wall, daySeconds)}, base: floorDiv(l.wall, daySeconds)}
	t := Recurrence{&r}.Next(time.Unix(l.wall-2*daySeconds, 0))
	return t, !t.IsZero()
}

// Days are counted from 1970-01-01 in the proleptic Gregorian calendar, as time.Time counts.

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func mod(a, b int64) int64 { return a - floorDiv(a, b)*b }

func weekdayOf(day int64) time.Weekday { return time.Weekday(mod(day+int64(time.Thursday), 7)) }

func leap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

var monthLengths = [13]int{0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func monthLength(year, month int) int {
	if month == 2 && leap(year) {
		return 29
	}
	return monthLengths[month]
}

// dayOf and dateOf count years from March, so that the leap day comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").
func dayOf(year, month, day int) int64 {
	y, m := int64(year), int64(month)
	if m <= 2 {
		y, m = y-1, m+12
	}
	era := floorDiv(y, 400)
	yearOfEra := y - era*400
	dayOfYear := (153*(m-3)+2)/5 + int64(day) - 1
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719468
}

func dateOf(n int64) (year, month, day int) {
	n += 719468
	era := floorDiv(n, 146097)
	dayOfEra := n - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	m := (5*dayOfYear + 2) / 153
	year, month, day = int(yearOfEra+era*400), int(m+3), int(dayOfYear-(153*m+2)/5+1)
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, day
}
