package calendar

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// ErrNeverOccurs is returned for a rule that is well written but has no date ("30 February").
var ErrNeverOccurs = errors.New("never occurs")

var descriptors = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// cronField is one of the five; names stand for first, first+1 and so on.
type cronField struct {
	name        string
	first, last int
	names       []string
}

var cronFields = [5]cronField{
	{name: "minute", first: 0, last: 59},
	{name: "hour", first: 0, last: 23},
	{name: "day of month", first: 1, last: 31},
	{name: "month", first: 1, last: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "day of week", first: 0, last: 7, names: dayNames[:]},
}

// ParseCron reads a line of five fields (minute, hour, day of month, month, day of week) in local time of loc, or one of
// @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly.
//
// A field is * or a list of numbers and ranges; * and ranges may have a step ("*/15", "8-18/2"). Months and days of the week
// have names ("jan", "mon-fri"); 0 and 7 are Sunday. When both day fields are restricted a day needs to match only one of
// them, as in Vixie cron; a field that starts with * does not restrict in this sense, so "0 0 */2 * 1" is every Monday on an
// odd date.
//
// A line whose hour field allows every hour runs on elapsed time when the clock changes, whatever p says: at each showing of
// a repeated local time, and in a gap as though the clock had not changed. Other lines follow p.
//
// Refused are seconds, years, "?", "L", "W" and "#", steps after a single number, ranges that run backwards, "@every" (it
// names no time), "TZ=" and "CRON_TZ=" (the zone is loc), and lines that never occur (ErrNeverOccurs).
func ParseCron(line string, loc *time.Location, p Policy) (Recurrence, error) {
	r, err := parseCron(line)
	if err != nil {
		return Recurrence{}, fmt.Errorf("cron line %.80q: %w", line, err)
	}
	if loc == nil {
		return Recurrence{}, fmt.Errorf("cron line %.80q: has no time zone; give an IANA zone", line)
	}
	r.text, r.loc, r.policy = line, loc, p
	if r.hours == 1<<24-1 {
		r.policy = Policy{Gap: GapShift, Fold: FoldBoth}
	}
	some := Recurrence{r}
	if some.Next(time.Unix(0, 0)).IsZero() {
		return Recurrence{}, fmt.Errorf("cron line %.80q: %w; no such date exists, change the day of month or the month", line, ErrNeverOccurs)
	}
	return some, nil
}

func parseCron(line string) (*rule, error) {
	const fix = "write minute, hour, day of month, month and day of week, such as \"30 2 * * *\""
	if len(line) > 512 {
		return nil, errors.New("is longer than 512 characters; " + fix)
	}
	if i := strings.IndexFunc(line, func(c rune) bool { return c != '\t' && (c < ' ' || c > '~') }); i >= 0 {
		return nil, errors.New("has a character outside printable ASCII; " + fix)
	}
	fields := strings.Fields(line)
	if len(fields) > 0 && (strings.HasPrefix(fields[0], "TZ=") || strings.HasPrefix(fields[0], "CRON_TZ=")) {
		return nil, errors.New("a zone cannot stand in the line; remove TZ= and give the time zone beside it")
	}
	if len(fields) == 1 && fields[0][0] == '@' {
		known, ok := descriptors[fields[0]]
		if !ok {
			return nil, errors.New("unknown descriptor; write @hourly, @daily, @weekly, @monthly, @yearly or five fields (\"*/30 * * * *\" for every 30 minutes)")
		}
		fields = strings.Fields(known)
	}
	switch len(fields) {
	case 5:
	case 6, 7:
		return nil, fmt.Errorf("has %d fields, not five; leave seconds and years out and %s", len(fields), fix)
	default:
		return nil, fmt.Errorf("has %d fields, not five; %s", len(fields), fix)
	}
	var sets [5]uint64
	for i, f := range cronFields {
		set, err := f.parse(fields[i])
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", f.name, fields[i], err)
		}
		sets[i] = set
	}
	r := &rule{freq: monthly, interval: 1, first: distantPast, last: distantFuture, until: distantFuture, hours: uint32(sets[1])}
	if days := uint32(sets[2]); days != 1<<32-2 {
		r.dates.days = days
	}
	if months := uint16(sets[3]); months != 1<<13-2 {
		r.dates.months = months
	}
	if days := Days(sets[4]|sets[4]>>7) & Daily; days != Daily {
		r.dates.weekdays = days
	}
	r.dates.either = fields[2][0] != '*' && fields[4][0] != '*'
	if r.dates.either && (r.dates.days == 0 || r.dates.weekdays == 0) {
		r.dates.days, r.dates.weekdays = 0, 0 // one of them, spelled out, allows every day
	}
	r.times = timesOf(uint32(sets[1]), sets[0], 0)
	return r, nil
}

// timesOf lists the seconds of the day for sets of hours and minutes.
func timesOf(hours uint32, minutes uint64, second int64) []int64 {
	times := make([]int64, 0, bits.OnesCount32(hours)*bits.OnesCount64(minutes))
	for h := range int64(24) {
		for m := range int64(60) {
			if hours>>h&1 == 1 && minutes>>m&1 == 1 {
				times = append(times, h*3600+m*60+second)
			}
		}
	}
	return times
}

func (f cronField) parse(list string) (set uint64, err error) {
	for part := range strings.SplitSeq(list, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		from, to := f.first, f.last
		if span != "*" {
			a, b, isRange := strings.Cut(span, "-")
			if stepped && !isRange {
				return 0, fmt.Errorf("a step follows * or a range; write \"%s-%d/%s\"", a, f.last, stepText)
			}
			if from, err = f.number(a); err != nil {
				return 0, err
			}
			to = from
			if isRange {
				if to, err = f.number(b); err != nil {
					return 0, err
				}
				if b == "sun" && from > 0 {
					to = 7 // "fri-sun"
				}
				if to < from {
					return 0, fmt.Errorf("range %q runs backwards; write two ranges", span)
				}
			}
		} else if f.last == 7 {
			to = 6 // so that steps do not meet Sunday twice
		}
		step := 1
		if stepped {
			if step, err = parseNumber(stepText, 1, f.last); err != nil {
				return 0, fmt.Errorf("step %w", err)
			}
			if step > to-from && to > from {
				return 0, fmt.Errorf("step %d is longer than the range; write a step of at most %d, or the one number that is meant", step, to-from)
			}
		}
		for n := from; n <= to; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}

func (f cronField) number(s string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(s, name) {
			return f.first + i, nil
		}
	}
	n, err := parseNumber(s, f.first, f.last)
	if err != nil && len(f.names) > 0 {
		return 0, fmt.Errorf("%w or a name such as %q", err, f.names[1])
	}
	return n, err
}

// parseNumber reads decimal digits without a sign.
func parseNumber(s string, first, last int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || s[0] == '+' || s[0] == '-' || n < first || n > last {
		return 0, fmt.Errorf("%.32q is out of place; write a number from %d to %d", s, first, last)
	}
	return n, nil
}
