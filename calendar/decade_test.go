package calendar_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/calendar"
)

// The decade is read from the clock, minute for minute, and nothing of the engine is used to say what is due: rules are
// functions here, and zones are tables of what time.Time.In shows.

var (
	decadeBegins = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	decadeEnds   = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
)

const margin = 3 * 24 * 60 // minutes read before and after the decade, for what moves over its ends

// reading is a local minute, as a clock on the wall shows it.
type reading struct {
	day, minute      int // since the tables' first day, and of the day
	date, month      int
	weekday          time.Weekday
	lastDate, fromUp int // of the month, and how often this weekday was there in it, from 1
}

// due says what a rule is, of every local minute.
type due func(r reading) bool

// clock is what a zone's clock shows.
type clock struct {
	// By local minute since the tables' begin: the UTC minutes of the first and last showing, -1 if there is none, and how
	// many there are.
	first, last []int32
	showings    []uint8
	walls       []int32 // by UTC minute
}

func decadeMinutes() int { return int(decadeEnds.Sub(decadeBegins)/time.Minute) + 2*margin }

// readClock looks at the clock at every minute of the decade.
func readClock(loc *time.Location) *clock {
	n, begin := decadeMinutes(), decadeBegins.Add(-margin*time.Minute)
	c := &clock{first: make([]int32, n), last: make([]int32, n), showings: make([]uint8, n), walls: make([]int32, n)}
	for i := range n {
		c.first[i], c.last[i] = -1, -1
	}
	base := begin.Unix() / 60
	for m := range n {
		l := time.Unix((base+int64(m))*60, 0).In(loc)
		year, month, date := l.Date()
		hour, minute, _ := l.Clock()
		wall := time.Date(year, month, date, hour, minute, 0, 0, time.UTC).Unix()/60 - base
		c.walls[m] = int32(wall)
		if wall < 0 || wall >= int64(n) {
			continue // in the margin
		}
		if c.showings[wall]++; c.first[wall] < 0 {
			c.first[wall] = int32(m)
		}
		c.last[wall] = int32(m)
	}
	return c
}

// gaps puts into after the UTC minute at which the clock had jumped over a local one, and into by what it would have been
// by the old time.
func (c *clock) gaps() (after, by map[int32]int32) {
	after, by = map[int32]int32{}, map[int32]int32{}
	for m := 1; m < len(c.walls); m++ {
		for wall := c.walls[m-1] + 1; wall < c.walls[m]; wall++ {
			if wall >= 0 && int(wall) < len(c.first) && c.first[wall] < 0 {
				after[wall], by[wall] = int32(m), int32(m)+wall-c.walls[m-1]-1
			}
		}
	}
	return after, by
}

// days returns the readings of all days of the tables, at midnight.
func days() []reading {
	list := make([]reading, decadeMinutes()/(24*60))
	for day := range list {
		at := decadeBegins.Add(-margin*time.Minute).AddDate(0, 0, day)
		list[day] = reading{day: day, date: at.Day(), month: int(at.Month()), weekday: at.Weekday(), fromUp: (at.Day() + 6) / 7,
			lastDate: time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()}
	}
	return list
}

func at(hour, minute int) due { return func(r reading) bool { return r.minute == hour*60+minute } }

func both(a, b due) due { return func(r reading) bool { return a(r) && b(r) } }

func on(days ...time.Weekday) due {
	return func(r reading) bool { return slices.Contains(days, r.weekday) }
}

func TestEveryMinuteOfADecade(t *testing.T) {
	lastSunday := func(r reading) bool { return r.weekday == time.Sunday && r.date > r.lastDate-7 }
	quarters := func(from, to int) due {
		return func(r reading) bool { return r.minute/60 >= from && r.minute/60 <= to && r.minute%15 == 0 }
	}
	always := func(reading) bool { return true }
	const start = "2020-01-01T02:30:00" // a Wednesday, day 3 of the tables
	type line struct {
		text    string // a cron line, or an RRULE from start
		due     due
		elapsed bool // it runs on elapsed time, whatever the policy
		every   int  // of ticks: minutes between them, from the start, if the clock then shows what is due
		walls   []int32
	}
	lines := []line{
		{text: "30 2 * * *", due: at(2, 30)},
		{text: "0 0 * * *", due: at(0, 0)},
		{text: "30 0 * * *", due: at(0, 30)},
		{text: "45 1 * * *", due: at(1, 45)},
		{text: "0 2 * * *", due: at(2, 0)},
		{text: "0 3 * * *", due: at(3, 0)},
		{text: "59 23 * * *", due: at(23, 59)},
		{text: "*/15 0-3 * * *", due: quarters(0, 3)},
		{text: "30 2,23 * * sat,sun", due: both(on(time.Saturday, time.Sunday), func(r reading) bool { return r.minute == 150 || r.minute == 1410 })},
		{text: "15 0 1-7 4,9 *", due: both(at(0, 15), func(r reading) bool { return r.date <= 7 && (r.month == 4 || r.month == 9) })},
		{text: "*/30 * * * *", due: func(r reading) bool { return r.minute%30 == 0 }, elapsed: true},
		{text: "@hourly", due: func(r reading) bool { return r.minute%60 == 0 }, elapsed: true},
		{text: "FREQ=DAILY", due: at(2, 30)},
		{text: "FREQ=DAILY;INTERVAL=3;BYHOUR=0;BYMINUTE=0", due: both(at(0, 0), func(r reading) bool { return r.day%3 == 0 })},
		{text: "FREQ=WEEKLY;BYDAY=SU,FR;BYHOUR=0,1,2,3;BYMINUTE=0,15,30,45", due: both(on(time.Sunday, time.Friday), quarters(0, 3))},
		{text: "FREQ=MONTHLY;BYDAY=-1SU", due: both(at(2, 30), lastSunday)},
		{text: "FREQ=MONTHLY;BYDAY=1SU;BYHOUR=0,2,23", due: both(on(time.Sunday), func(r reading) bool {
			return r.fromUp == 1 && r.minute%60 == 30 && slices.Contains([]int{0, 2, 23}, r.minute/60)
		})},
		{text: "FREQ=HOURLY", due: always, every: 60},
		{text: "FREQ=HOURLY;INTERVAL=6", due: always, every: 360},
		{text: "FREQ=MINUTELY;INTERVAL=45;BYDAY=SU", due: on(time.Sunday), every: 45},
	}
	days := days()
	for _, r := range days {
		for r.minute = range 24 * 60 {
			wall := int32(r.day*24*60 + r.minute)
			if wall < margin+150 { // a series starts at its start
				continue
			}
			for i := range lines {
				if l := &lines[i]; l.every == 0 && l.due(r) {
					l.walls = append(l.walls, wall)
				}
			}
		}
	}
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Pacific/Apia"} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			loc := MustZone(t, zone)
			c := readClock(loc)
			after, by := c.gaps()
			if repeated := slices.Max(c.showings); len(after) < 60 || repeated != 2 {
				t.Fatalf("the clock skips %d minutes and shows one %d times: these rules of %s test nothing", len(after), repeated, zone)
			}
			for _, l := range lines {
				for _, gap := range []calendar.Gap{calendar.GapNext, calendar.GapSkip, calendar.GapShift} {
					for _, fold := range []calendar.Fold{calendar.FoldFirst, calendar.FoldSecond, calendar.FoldBoth} {
						p := calendar.Policy{Gap: gap, Fold: fold}
						if (l.elapsed || l.every > 0) && p != (calendar.Policy{}) && p != (calendar.Policy{Gap: calendar.GapSkip, Fold: calendar.FoldSecond}) {
							continue // they do not depend on it
						}
						rule := MustRule(t, l.text, start, loc, p)
						if l.elapsed {
							p = calendar.Policy{Gap: calendar.GapShift, Fold: calendar.FoldBoth}
						}
						var want []int32
						if l.every > 0 {
							for m := c.first[margin+150]; int(m) < len(c.walls); m += int32(l.every) {
								day := int(c.walls[m]) / (24 * 60)
								if day >= len(days) {
									break // in the margin
								}
								r := days[day]
								if r.minute = int(c.walls[m]) % (24 * 60); l.due(r) {
									want = append(want, m)
								}
							}
						} else {
							want = c.resolve(l.walls, after, by, p)
						}
						if diff := c.compare(rule, want, loc); diff != "" {
							t.Errorf("%s, gap %v, fold %v: %s", l.text, gap, fold, diff)
						}
					}
				}
			}
		})
	}
}

// MustRule reads a cron line, or an RRULE that starts at a local time.
func MustRule(tb testing.TB, text, start string, loc *time.Location, p calendar.Policy) calendar.Recurrence {
	tb.Helper()
	r, err := calendar.ParseCron(text, loc, p)
	if text[0] == 'F' {
		r, err = calendar.ParseRRULE(MustLocal(tb, start), text, loc, p)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// resolve says at which UTC minutes local ones run.
func (c *clock) resolve(walls []int32, after, by map[int32]int32, p calendar.Policy) []int32 {
	var list []int32
	for _, wall := range walls {
		switch {
		case c.first[wall] >= 0:
			if p.Fold != calendar.FoldSecond {
				list = append(list, c.first[wall])
			}
			if p.Fold != calendar.FoldFirst {
				list = append(list, c.last[wall])
			}
		case p.Gap == calendar.GapNext && after[wall] > 0:
			list = append(list, after[wall])
		case p.Gap == calendar.GapShift && after[wall] > 0:
			list = append(list, by[wall])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// compare returns the first difference in the decade without the days of its margins, from the second day on: a series may
// start on the first.
func (c *clock) compare(rule calendar.Recurrence, want []int32, loc *time.Location) string {
	from, to := int32(margin+2*24*60), int32(len(c.walls)-margin)
	want = slices.DeleteFunc(want, func(m int32) bool { return m < from || m >= to })
	begin := decadeBegins.Add(-margin * time.Minute)
	name := func(m int32) string { return begin.Add(time.Duration(m) * time.Minute).In(loc).Format(time.RFC3339) }
	i, base := 0, begin.Unix()
	for got := range rule.Instants(begin.Add(time.Duration(from)*time.Minute), decadeEnds) {
		if i == len(want) {
			return fmt.Sprintf("%s is too much", time.Unix(got, 0).In(loc))
		}
		if got != base+int64(want[i])*60 {
			return fmt.Sprintf("got %s, want %s", time.Unix(got, 0).In(loc), name(want[i]))
		}
		i++
	}
	if i < len(want) {
		return fmt.Sprintf("%s is missing", name(want[i]))
	}
	if len(want) < 20 {
		return fmt.Sprintf("only %d instants are due in a decade: too few to test anything", len(want))
	}
	return ""
}
