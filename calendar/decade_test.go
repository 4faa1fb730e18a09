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

// localDay is a day as a calendar on the wall shows it.
type localDay struct {
	nth              int // of the tables' days
	date, month      int
	weekday          time.Weekday
	lastDate, fromUp int // of the month, and how often this weekday was there in it, from 1
}

// dates says on which days a rule is due; nil is every day.
type dates func(d localDay) bool

// clock is what a zone's clock shows.
type clock struct {
	// By local minute since the tables' begin: the UTC minutes of the first and last showing, counted from 1, 0 if there is none.
	first, last []int32
	walls       []int32 // local minutes by UTC minute
}

func decadeMinutes() int { return int(decadeEnds.Sub(decadeBegins)/time.Minute) + 2*margin }

// readClock looks at the clock at every minute of the decade.
func readClock(loc *time.Location) *clock {
	n, begin := decadeMinutes(), decadeBegins.Add(-margin*time.Minute)
	first, last, walls := make([]int32, n), make([]int32, n), make([]int32, n)
	base := begin.Unix() / 60
	for m := range n {
		_, ahead := time.Unix((base+int64(m))*60, 0).In(loc).Zone()
		wall := m + ahead/60
		walls[m] = int32(wall)
		if wall < 0 || wall >= n {
			continue // in the margin
		}
		if last[wall] = int32(m) + 1; first[wall] == 0 {
			first[wall] = int32(m) + 1
		}
	}
	return &clock{first, last, walls}
}

// gaps puts into after the UTC minute at which the clock had jumped over a local one, and into by what it would have been
// by the old time.
func (c *clock) gaps() (after, by map[int32]int32) {
	after, by = map[int32]int32{}, map[int32]int32{}
	shown := c.walls[0]
	for m, now := range c.walls {
		for wall := shown + 1; wall < now; wall++ {
			if wall >= 0 && int(wall) < len(c.first) && c.first[wall] == 0 {
				after[wall], by[wall] = int32(m), int32(m)+wall-shown-1
			}
		}
		shown = now
	}
	return after, by
}

// localDays returns all days of the tables.
func localDays() []localDay {
	list := make([]localDay, decadeMinutes()/(24*60))
	for n := range list {
		at := decadeBegins.Add(-margin*time.Minute).AddDate(0, 0, n)
		list[n] = localDay{nth: n, date: at.Day(), month: int(at.Month()), weekday: at.Weekday(), fromUp: (at.Day() + 6) / 7,
			lastDate: time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()}
	}
	return list
}

func on(days ...time.Weekday) dates {
	return func(d localDay) bool { return slices.Contains(days, d.weekday) }
}

// every lists the minutes of the day from one hour to another, inclusive, in steps.
func every(step, from, to int) (minutes []int) {
	for m := from * 60; m < to*60+60; m += step {
		minutes = append(minutes, m)
	}
	return minutes
}

func TestEveryMinuteOfADecade(t *testing.T) {
	const start = "2020-01-01T02:30:00" // day 3 of the tables
	type line struct {
		text    string // a cron line, or an RRULE from start
		times   []int  // minutes of the day
		on      dates
		elapsed bool // it runs on elapsed time, whatever the policy
		every   int  // of ticks: minutes between them, from the start, on days on which it is due
		walls   []int32
	}
	lines := []line{
		{text: "30 2 * * *", times: []int{150}},
		{text: "0 0 * * *", times: []int{0}},
		{text: "30 0 * * *", times: []int{30}},
		{text: "45 1 * * *", times: []int{105}},
		{text: "0 2 * * *", times: []int{120}},
		{text: "0 3 * * *", times: []int{180}},
		{text: "59 23 * * *", times: []int{1439}},
		{text: "*/15 0-3 * * *", times: every(15, 0, 3)},
		{text: "1,31 0-3,23 * * *", times: []int{1, 31, 61, 91, 121, 151, 181, 211, 1381, 1411}},
		{text: "30 2,23 * * sat,sun", times: []int{150, 1410}, on: on(time.Saturday, time.Sunday)},
		{text: "15 0 1-7 4,9 *", times: []int{15}, on: func(d localDay) bool { return d.date <= 7 && (d.month == 4 || d.month == 9) }},
		{text: "*/30 * * * *", times: every(30, 0, 23), elapsed: true},
		{text: "@hourly", times: every(60, 0, 23), elapsed: true},
		{text: "FREQ=DAILY", times: []int{150}},
		{text: "FREQ=DAILY;INTERVAL=3;BYHOUR=0;BYMINUTE=0", times: []int{0}, on: func(d localDay) bool { return d.nth%3 == 0 }},
		{text: "FREQ=WEEKLY;BYDAY=SU,FR;BYHOUR=0,1,2,3;BYMINUTE=0,15,30,45", times: every(15, 0, 3), on: on(time.Sunday, time.Friday)},
		{text: "FREQ=MONTHLY;BYDAY=-1SU", times: []int{150}, on: func(d localDay) bool { return d.weekday == time.Sunday && d.date > d.lastDate-7 }},
		{text: "FREQ=MONTHLY;BYDAY=1SU;BYHOUR=0,2,23", times: []int{30, 150, 1410},
			on: func(d localDay) bool { return d.weekday == time.Sunday && d.fromUp == 1 }},
		{text: "FREQ=HOURLY", every: 60},
		{text: "FREQ=HOURLY;INTERVAL=6", every: 360},
		{text: "FREQ=MINUTELY;INTERVAL=45;BYDAY=SU", every: 45, on: on(time.Sunday)},
	}
	days := localDays()
	for i := range lines {
		l := &lines[i]
		for _, d := range days {
			for _, minute := range l.times {
				// A series starts at its start.
				if wall := d.nth*24*60 + minute; wall >= margin+150 && (l.on == nil || l.on(d)) {
					l.walls = append(l.walls, int32(wall))
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
			if len(after) < 60 || slices.Equal(c.first, c.last) {
				t.Fatalf("the clock skips %d minutes, or repeats none: %s tests nothing", len(after), zone)
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
							for m := c.first[margin+150] - 1; int(m) < len(c.walls); m += int32(l.every) {
								day := int(c.walls[m]) / (24 * 60)
								if day >= len(days) {
									break // in the margin
								}
								if l.on == nil || l.on(days[day]) {
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
	list := make([]int32, 0, len(walls)+10_000)
	for _, wall := range walls {
		switch {
		case c.first[wall] > 0:
			if p.Fold != calendar.FoldSecond {
				list = append(list, c.first[wall]-1)
			}
			if p.Fold != calendar.FoldFirst {
				list = append(list, c.last[wall]-1)
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
