package calendar

import (
	"slices"
	"time"
)

type frequency uint8

const (
	daily frequency = iota
	weekly
	monthly
	yearly
	hourly
	minutely
)

// rule is what a cron line or an RRULE says, in plain fields. From daily on up it is a set of local times, laid out in
// periods (days, weeks, months or years, every interval-th); hourly and minutely rules are ticks, in ticks.go.
type rule struct {
	text   string
	loc    *time.Location
	policy Policy

	freq     frequency
	interval int64
	base     int64 // period 0: its day, the first day of its week, its month counted from year 0, or its year
	dates    dates
	times    []int64 // seconds of the day, ascending
	setPos   []int   // positions in the period's set of local times, from 1 or from -1
	first    int64   // no local time before this one
	last     int64   // and none after this one
	until    int64   // no instant after this one

	start   int64 // of ticks: the instant of the first
	hours   uint32
	minutes uint64 // of minutely rules a limit, of hourly ones the minutes to run at; 0 is the start's own
}

// dates says which dates of a period belong to a rule. An empty field allows all.
type dates struct {
	months    uint16 // bit 1 is January
	days      uint32 // bit 1 is the first of the month
	fromEnd   uint32 // bit 1 is the last of the month
	weekdays  Days
	nth       []nthWeekday
	nthInYear bool // ordinals count in the year, not in the month
	either    bool // days or weekdays suffice, as in cron
}

type nthWeekday struct {
	n   int // from 1, or from -1 for the last
	day time.Weekday
}

func (d *dates) match(year, month, day, length int, weekday time.Weekday) bool {
	if d.months != 0 && d.months>>month&1 == 0 {
		return false
	}
	anyDay, anyWeekday := d.days|d.fromEnd == 0, d.weekdays == 0 && len(d.nth) == 0
	inDays := d.days>>day&1 == 1 || d.fromEnd>>(length-day+1)&1 == 1
	inWeekdays := d.weekdays.Has(weekday)
	if !inWeekdays && len(d.nth) > 0 {
		inWeekdays = d.matchNth(year, month, day, length, weekday)
	}
	if d.either && !anyDay && !anyWeekday {
		return inDays || inWeekdays
	}
	return (anyDay || inDays) && (anyWeekday || inWeekdays)
}

func (d *dates) matchNth(year, month, day, length int, weekday time.Weekday) bool {
	if d.nthInYear {
		newYear := dayOf(year, 1, 1)
		day = int(dayOf(year, month, day)-newYear) + 1
		length = int(dayOf(year+1, 1, 1) - newYear)
	}
	forward, backward := (day-1)/7+1, -((length-day)/7 + 1)
	return slices.ContainsFunc(d.nth, func(n nthWeekday) bool {
		return n.day == weekday && (n.n == forward || n.n == backward)
	})
}

// The last local time that is looked at: later years cannot be written in RFC 3339.
var lastWall = dayOf(10000, 1, 1)*daySeconds - 1

// maxIdle bounds the work: a rule for which so many days are looked at without an occurrence, or some 400 years pass with
// none, never occurs again. The rarest of dates, a 29 February on one weekday, comes back within 40 years.
const maxIdle = 400_000

// spanCost is what it takes to find the next clock change, in days looked at.
const spanCost = 256

// scan is the state of one walk over a rule; it is never shared.
type scan struct {
	idle int
	days []int64
	set  []int64
	buf  [31]int64
}

// each gives the local times w of the rule with lo <= w < hi, ascending, until yield returns false. It returns false when
// the walk is over: yield said so, or too much passed without an occurrence.
func (r *rule) each(s *scan, lo, hi int64, yield func(wall int64) bool) bool {
	lo, hi = max(lo, r.first), min(hi, r.last+1, lastWall+1)
	if lo >= hi {
		return true
	}
	for k := max(0, r.periodOf(floorDiv(lo, daySeconds))); ; k++ {
		start := r.fill(s, k)
		if start*daySeconds >= hi {
			return true
		}
		if len(s.days) == 0 || len(r.setPos) > 0 && len(r.pick(s)) == 0 {
			if s.idle > maxIdle {
				return false
			}
			continue
		}
		s.idle = 0
		if len(r.setPos) > 0 {
			for _, wall := range s.set {
				if wall >= hi {
					return true
				}
				if wall >= lo && !yield(wall) {
					return false
				}
			}
			continue
		}
		for _, day := range s.days {
			midnight := day * daySeconds
			if midnight >= hi {
				return true
			}
			for _, t := range r.times {
				wall := midnight + t
				if wall >= lo && wall < hi && !yield(wall) {
					return false
				}
			}
		}
	}
}

// periodOf returns the number of the period that holds the day, or of the last one before it.
func (r *rule) periodOf(day int64) int64 {
	switch r.freq {
	case weekly:
		return floorDiv(day-r.base, 7*r.interval)
	case monthly:
		year, month, _ := dateOf(day)
		return floorDiv(int64(year)*12+int64(month)-1-r.base, r.interval)
	case yearly:
		year, _, _ := dateOf(day)
		return floorDiv(int64(year)-r.base, r.interval)
	default:
		return floorDiv(day-r.base, r.interval)
	}
}

// fill puts the days of period k into s.days, ascending, and returns the first day of the period.
func (r *rule) fill(s *scan, k int64) (start int64) {
	if s.days == nil {
		s.days = s.buf[:0]
	}
	s.days = s.days[:0]
	s.idle++
	at := r.base + k*r.interval
	switch r.freq {
	case weekly:
		start = r.base + 7*k*r.interval
		for day := start; day < start+7; day++ {
			r.fillDay(s, day)
		}
	case monthly:
		year, month := int(floorDiv(at, 12)), int(mod(at, 12))+1
		start = dayOf(year, month, 1)
		r.fillMonth(s, year, month, start)
	case yearly:
		start = dayOf(int(at), 1, 1)
		for month, day := 1, start; month <= 12; month++ {
			r.fillMonth(s, int(at), month, day)
			day += int64(monthLength(int(at), month))
		}
	default:
		start = at
		r.fillDay(s, at)
	}
	return start
}

func (r *rule) fillDay(s *scan, day int64) {
	if d := &r.dates; d.months == 0 && d.days|d.fromEnd == 0 && len(d.nth) == 0 {
		if d.weekdays == 0 || d.weekdays.Has(weekdayOf(day)) {
			s.days = append(s.days, day)
		}
		return
	}
	s.idle++
	year, month, n := dateOf(day)
	if r.dates.match(year, month, n, monthLength(year, month), weekdayOf(day)) {
		s.days = append(s.days, day)
	}
}

func (r *rule) fillMonth(s *scan, year, month int, start int64) {
	if r.dates.months != 0 && r.dates.months>>month&1 == 0 {
		return
	}
	length, weekday := monthLength(year, month), weekdayOf(start)
	s.idle += length
	if d := &r.dates; d.days|d.fromEnd == 0 && d.weekdays == 0 && len(d.nth) == 0 {
		for day := start; day < start+int64(length); day++ {
			s.days = append(s.days, day)
		}
		return
	}
	for n := 1; n <= length; n++ {
		if r.dates.match(year, month, n, length, weekday) {
			s.days = append(s.days, start+int64(n)-1)
		}
		if weekday++; weekday == 7 {
			weekday = 0
		}
	}
}

// pick puts the local times at the rule's positions of the period's set (BYSETPOS) into s.set, ascending.
func (r *rule) pick(s *scan) []int64 {
	s.set = s.set[:0]
	size := len(s.days) * len(r.times)
	for _, pos := range r.setPos {
		i := pos - 1
		if pos < 0 {
			i = size + pos
		}
		if i >= 0 && i < size {
			s.set = append(s.set, s.days[i/len(r.times)]*daySeconds+r.times[i%len(r.times)])
		}
	}
	slices.Sort(s.set)
	s.set = slices.Compact(s.set)
	return s.set
}
