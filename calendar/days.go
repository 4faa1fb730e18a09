package calendar

import (
	"fmt"
	"strings"
	"time"
)

// Days is a set of days of the week; bit 0 is Sunday, as in time.Weekday.
type Days uint8

// Daily holds all seven days.
const Daily Days = 1<<7 - 1

var dayNames = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const dayFix = "write days as mon, mon-fri, sat,sun or daily"

// ParseDays reads lower-case three-letter days, ranges of them and lists of both ("mon-wed,fri"), or "daily". A range may
// wrap ("fri-mon"). A day named twice is refused, for it is more often a slip than meant.
func ParseDays(s string) (Days, error) {
	if s == "daily" {
		return Daily, nil
	}
	if len(s) > 64 {
		return 0, fmt.Errorf("days are longer than 64 characters; %s", dayFix)
	}
	var set Days
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := parseDay(first)
		if err != nil {
			return 0, err
		}
		to := from
		if isRange {
			if to, err = parseDay(last); err != nil {
				return 0, err
			}
			if to == from {
				return 0, fmt.Errorf("range %q starts and ends on one day; write %q for that day or \"daily\" for all", part, first)
			}
		}
		for d := from; ; d = (d + 1) % 7 {
			if set.Has(d) {
				return 0, fmt.Errorf("%s stands twice in %q; name each day once", dayNames[d], s)
			}
			set |= 1 << d
			if d == to {
				break
			}
		}
	}
	return set, nil
}

func parseDay(s string) (time.Weekday, error) {
	for i, name := range dayNames {
		if s == name {
			return time.Weekday(i), nil
		}
	}
	return 0, fmt.Errorf("unknown day %q; %s", s, dayFix)
}

// Has reports whether the day is in the set.
func (d Days) Has(day time.Weekday) bool { return d>>day&1 == 1 }

// String writes the set in a form that ParseDays reads, Monday first, runs of three and more as ranges.
func (d Days) String() string {
	if d&Daily == Daily {
		return "daily"
	}
	var parts []string
	for i := 0; i < 7; i++ { // i counts from Monday
		if !d.Has(time.Weekday((i + 1) % 7)) {
			continue
		}
		end := i
		for end < 6 && d.Has(time.Weekday((end+2)%7)) {
			end++
		}
		if end-i < 2 {
			end = i
			parts = append(parts, dayNames[(i+1)%7])
		} else {
			parts = append(parts, dayNames[(i+1)%7]+"-"+dayNames[(end+1)%7])
		}
		i = end
	}
	return strings.Join(parts, ",")
}

// TimeOfDay is a local time of day in minutes after 00:00, from 0 to 1440. 1440 ("24:00") is the end of the day and stands
// only where an end is asked for.
type TimeOfDay int

// EndOfDay is 24:00.
const EndOfDay TimeOfDay = 24 * 60

// ParseTimeOfDay reads a local time as two digits, a colon and two digits, "00:00" to "24:00". Whether 24:00 is allowed is
// for the caller: as a start it is refused by NewCapacity and NewWindow.
func ParseTimeOfDay(s string) (TimeOfDay, error) {
	digit := func(i int) bool { return s[i] >= '0' && s[i] <= '9' }
	if len(s) != 5 || s[2] != ':' || !digit(0) || !digit(1) || !digit(3) || !digit(4) {
		return 0, fmt.Errorf("%.32q is not a time of day; write hours and minutes as \"08:00\"", s)
	}
	hour, minute := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	t := TimeOfDay(hour*60 + minute)
	if minute > 59 || t > EndOfDay {
		return 0, fmt.Errorf("%q is not a time of day; write \"00:00\" to \"23:59\", or \"24:00\" for the end of the day", s)
	}
	return t, nil
}

// String writes the time as ParseTimeOfDay reads it.
func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", t/60, t%60) }

// checkSpan refuses days and times between which nothing can lie.
func checkSpan(days Days, from, to TimeOfDay) error {
	switch {
	case days == 0 || days > Daily:
		return fmt.Errorf("no day is given; %s", dayFix)
	case from == EndOfDay:
		return fmt.Errorf("24:00 cannot be a start; write \"00:00\" and the day after")
	case from < 0 || from > EndOfDay:
		return fmt.Errorf("start of %d minutes is outside the day; write \"00:00\" to \"23:59\"", int(from))
	case to < 0 || to > EndOfDay:
		return fmt.Errorf("end of %d minutes is outside the day; write \"00:00\" to \"24:00\"", int(to))
	}
	return nil
}
