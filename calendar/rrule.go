package calendar

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The bounds of a rule's numbers.
const (
	maxInterval = 1_000_000
	maxCount    = 100_000
)

var frequencies = map[string]frequency{
	"YEARLY": yearly, "MONTHLY": monthly, "WEEKLY": weekly, "DAILY": daily, "HOURLY": hourly, "MINUTELY": minutely,
}

var rruleDays = map[string]time.Weekday{"SU": 0, "MO": 1, "TU": 2, "WE": 3, "TH": 4, "FR": 5, "SA": 6}

// ParseRRULE reads the value of an RRULE property (RFC 5545 §3.3.10) that starts at a local time in loc: FREQ from MINUTELY
// to YEARLY with INTERVAL, COUNT, UNTIL, BYMONTH, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE, BYSETPOS and WKST. Where the RFC leaves
// a choice:
//
//   - The start is an occurrence only if the rule matches it.
//   - Rules of DAILY and longer follow p. HOURLY and MINUTELY run on elapsed time from the start, so "every 6 hours" moves
//     against the clock when the clock changes; FREQ=DAILY with BYHOUR stays with the clock. Their BY parts are held against
//     what the clock shows.
//   - COUNT counts instants: a local time that p skips is not counted, one that p runs twice is counted twice.
//   - UNTIL is UTC ("20261231T230000Z"), or local time without the Z; both are inclusive.
//
// Refused by name are SECONDLY, BYSECOND, BYYEARDAY, BYWEEKNO, RSCALE and SKIP (RFC 7529), BYSETPOS with HOURLY or MINUTELY,
// numbers out of their range, an INTERVAL above 1,000,000, a COUNT above 100,000, a date as UNTIL, and rules that never occur
// (ErrNeverOccurs).
func ParseRRULE(start LocalTime, text string, loc *time.Location, p Policy) (Recurrence, error) {
	if loc == nil {
		return Recurrence{}, fmt.Errorf("rrule %.120q: has no time zone; give an IANA zone", text)
	}
	r, count, err := parseRRULE(start, text, loc)
	if err != nil {
		return Recurrence{}, fmt.Errorf("rrule %.120q: %w", text, err)
	}
	r.text, r.loc, r.policy = text, loc, p
	if r.freq >= hourly {
		first := Policy{Gap: p.Gap, Fold: p.Fold}
		if first.Gap == GapSkip { // a series needs a start
			first.Gap = GapNext
		}
		at, ok := start.In(loc, first)
		if !ok {
			return Recurrence{}, fmt.Errorf("rrule %.120q: %w; it starts after the year 9999", text, ErrNeverOccurs)
		}
		r.start = at.Unix()
	}
	seen, last := 0, int64(0)
	r.walk(distantPast, func(u int64) bool {
		seen, last = seen+1, u
		return seen < count
	})
	if seen == 0 {
		return Recurrence{}, fmt.Errorf("rrule %.120q: %w; no date from the start on matches it before its end", text, ErrNeverOccurs)
	}
	if seen == count {
		r.until = last
	}
	return Recurrence{r}, nil
}

// parseRRULE returns the rule and its COUNT, 0 if it has none. The caller adds zone, policy and the start of ticks.
func parseRRULE(start LocalTime, text string, loc *time.Location) (r *rule, count int, err error) {
	if len(text) > 2048 {
		return nil, 0, errors.New("is longer than 2048 characters; write shorter lists")
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(strings.ToUpper(text), ";") {
		name, value, ok := strings.Cut(part, "=")
		switch _, twice := parts[name]; {
		case strings.HasPrefix(name, "RRULE:"):
			return nil, 0, errors.New("starts with the property's name; write only what follows \"RRULE:\"")
		case !ok || value == "":
			return nil, 0, fmt.Errorf("%.32q is not NAME=VALUE; write such as \"FREQ=DAILY\"", part)
		case twice:
			return nil, 0, fmt.Errorf("%s stands twice; join the two", name)
		}
		parts[name] = value
	}
	p := &rruleParser{parts: parts, rule: &rule{interval: 1, first: start.wall, last: lastWall, until: distantFuture}}
	if err := p.parse(start, loc); err != nil {
		return nil, 0, err
	}
	return p.rule, p.count, nil
}

// rruleParser takes one part after the other out of parts.
type rruleParser struct {
	parts map[string]string
	rule  *rule
	count int
}

func (p *rruleParser) take(name string) (value string, ok bool) {
	value, ok = p.parts[name]
	delete(p.parts, name)
	return value, ok
}

// numbers takes a list of numbers from first to last, or, if signed, from -last to -first as well.
func (p *rruleParser) numbers(name string, first, last int, signed bool) ([]int, error) {
	list, ok := p.take(name)
	if !ok {
		return nil, nil
	}
	var numbers []int
	for text := range strings.SplitSeq(list, ",") {
		digits, negative := text, false
		if signed {
			if digits, negative = strings.CutPrefix(text, "-"); !negative {
				digits = strings.TrimPrefix(text, "+")
			}
		}
		n, err := parseNumber(digits, first, last)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if negative {
			n = -n
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func (p *rruleParser) number(name string, absent, last int) (int, error) {
	numbers, err := p.numbers(name, 1, last, false)
	switch {
	case err != nil:
		return 0, err
	case len(numbers) > 1:
		return 0, fmt.Errorf("%s: has %d numbers; write one", name, len(numbers))
	case len(numbers) == 0:
		return absent, nil
	}
	return numbers[0], nil
}

func (p *rruleParser) parse(start LocalTime, loc *time.Location) error {
	r := p.rule
	name, ok := p.take("FREQ")
	if !ok {
		return errors.New("has no FREQ; write such as \"FREQ=DAILY\"")
	}
	if r.freq, ok = frequencies[name]; !ok {
		return fmt.Errorf("FREQ=%.32s is not supported; write MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY", name)
	}
	interval, err := p.number("INTERVAL", 1, maxInterval)
	if err != nil {
		return err
	}
	r.interval = int64(interval)
	if p.count, err = p.number("COUNT", 0, maxCount); err != nil {
		return err
	}
	if err := p.takeUntil(loc); err != nil {
		return err
	}
	months, err := p.numbers("BYMONTH", 1, 12, false)
	if err != nil {
		return err
	}
	for _, m := range months {
		r.dates.months |= 1 << m
	}
	days, err := p.numbers("BYMONTHDAY", 1, 31, true)
	if err != nil {
		return err
	}
	if len(days) > 0 && r.freq == weekly {
		return errors.New("BYMONTHDAY cannot stand with FREQ=WEEKLY; write FREQ=MONTHLY or FREQ=DAILY")
	}
	for _, d := range days {
		if d > 0 {
			r.dates.days |= 1 << d
		} else {
			r.dates.fromEnd |= 1 << -d
		}
	}
	if err := p.takeWeekdays(); err != nil {
		return err
	}
	by := len(months) + len(days) + len(r.dates.nth) + int(r.dates.weekdays)
	p.datesOfStart(floorDiv(start.wall, daySeconds))
	hours, err := p.numbers("BYHOUR", 0, 23, false)
	if err != nil {
		return err
	}
	minutes, err := p.numbers("BYMINUTE", 0, 59, false)
	if err != nil {
		return err
	}
	p.setTimes(hours, minutes, mod(start.wall, daySeconds))
	if r.setPos, err = p.numbers("BYSETPOS", 1, 366, true); err != nil {
		return err
	}
	switch {
	case len(r.setPos) > 0 && r.freq >= hourly:
		return fmt.Errorf("BYSETPOS with FREQ=%s is not supported; write FREQ=DAILY with BYHOUR", name)
	case len(r.setPos) > 0 && by+len(hours)+len(minutes) == 0:
		return errors.New("BYSETPOS needs another BY part to choose from; add one or remove it")
	}
	if err := p.takeWeekStart(floorDiv(start.wall, daySeconds)); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.parts)) {
		return fmt.Errorf("%.32s is not supported; write the rule with BYMONTH, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE or BYSETPOS", name)
	}
	return nil
}

func (p *rruleParser) takeUntil(loc *time.Location) error {
	value, ok := p.take("UNTIL")
	if !ok {
		return nil
	}
	if p.count > 0 {
		return errors.New("COUNT and UNTIL exclude each other; keep one")
	}
	if t, err := time.Parse("20060102T150405Z", value); err == nil && len(value) == 16 {
		p.rule.until = t.Unix()
		return nil
	}
	t, err := time.Parse("20060102T150405", value)
	if err != nil || len(value) != 15 {
		return fmt.Errorf("UNTIL=%.32s is not a date with time; write such as \"20261231T230000Z\"", value)
	}
	at, _ := LocalTime{t.Unix()}.In(loc, Policy{Gap: GapNext, Fold: FoldSecond})
	p.rule.until = at.Unix()
	return nil
}

func (p *rruleParser) takeWeekdays() error {
	list, ok := p.take("BYDAY")
	if !ok {
		return nil
	}
	d := &p.rule.dates
	for text := range strings.SplitSeq(list, ",") {
		day, ok := rruleDays[text[max(0, len(text)-2):]]
		if !ok {
			return fmt.Errorf("BYDAY: %.32q is not a day; write MO, TU, WE, TH, FR, SA or SU, with a number before it for the nth", text)
		}
		ordinal := text[:len(text)-2]
		if ordinal == "" {
			d.weekdays |= 1 << day
			continue
		}
		if p.rule.freq != monthly && p.rule.freq != yearly {
			return fmt.Errorf("BYDAY: %.32q counts days, which needs FREQ=MONTHLY or FREQ=YEARLY; write %q", text, text[len(text)-2:])
		}
		digits, negative := strings.CutPrefix(ordinal, "-")
		if !negative {
			digits = strings.TrimPrefix(ordinal, "+")
		}
		n, err := parseNumber(digits, 1, 53)
		if err != nil {
			return fmt.Errorf("BYDAY: %w", err)
		}
		if negative {
			n = -n
		}
		d.nth = append(d.nth, nthWeekday{n, day})
	}
	d.nthInYear = p.rule.freq == yearly && d.months == 0
	return nil
}

// datesOfStart fills in from the start what the rule leaves open (RFC 5545 §3.3.10: "information missing from the rule").
func (p *rruleParser) datesOfStart(day int64) {
	r := p.rule
	year, month, n := dateOf(day)
	if r.dates.days|r.dates.fromEnd == 0 && r.dates.weekdays == 0 && len(r.dates.nth) == 0 {
		switch r.freq {
		case weekly:
			r.dates.weekdays = 1 << weekdayOf(day)
		case monthly:
			r.dates.days = 1 << n
		case yearly:
			r.dates.days = 1 << n
			if r.dates.months == 0 {
				r.dates.months = 1 << month
			}
		}
	}
	switch r.freq {
	case monthly:
		r.base = int64(year)*12 + int64(month) - 1
	case yearly:
		r.base = int64(year)
	default:
		r.base = day
	}
}

func (p *rruleParser) setTimes(hours, minutes []int, second int64) {
	r := p.rule
	for _, h := range hours {
		r.hours |= 1 << h
	}
	for _, m := range minutes {
		r.minutes |= 1 << m
	}
	if r.freq >= hourly {
		return
	}
	if r.hours == 0 {
		r.hours = 1 << (second / 3600)
	}
	if r.minutes == 0 {
		r.minutes = 1 << (second % 3600 / 60)
	}
	r.times = timesOf(r.hours, r.minutes, second%60)
}

func (p *rruleParser) takeWeekStart(day int64) error {
	value, ok := p.take("WKST")
	start := time.Monday
	if ok {
		if start, ok = rruleDays[value]; !ok {
			return fmt.Errorf("WKST=%.32s is not a day; write MO, TU, WE, TH, FR, SA or SU", value)
		}
	}
	if p.rule.freq == weekly {
		p.rule.base = day - mod(int64(weekdayOf(day)-start), 7)
	}
	return nil
}
