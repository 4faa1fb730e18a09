package calendar_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/robfig/cron/v3"

	"github.com/mfpgate/mfpgate/calendar"
)

var _ cron.Schedule = calendar.Recurrence{}

func TestClockChanges(t *testing.T) {
	next, skip, shift := calendar.GapNext, calendar.GapSkip, calendar.GapShift
	first, second, both := calendar.FoldFirst, calendar.FoldSecond, calendar.FoldBoth
	for _, tt := range []struct {
		rule, line, zone string
		gap              calendar.Gap
		fold             calendar.Fold
		from, to         string // local dates
		want             []string
	}{
		{"a skipped time runs at the first instant after the gap", "30 2 * * *", "Europe/Berlin", next, first, "2026-03-28", "2026-03-31",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"skip leaves a skipped time out", "30 2 * * *", "Europe/Berlin", skip, first, "2026-03-28", "2026-03-31",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00"}},
		{"shift runs a skipped time by the old offset", "30 2 * * *", "Europe/Berlin", shift, first, "2026-03-28", "2026-03-31",
			[]string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"skipped times and the one after the gap are one run", "0,30 2,3 * * *", "Europe/Berlin", next, first, "2026-03-29", "2026-03-30",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"}},
		{"shifted times take their place in order", "15,45 2,3 * * *", "Europe/Berlin", shift, first, "2026-03-29", "2026-03-30",
			[]string{"2026-03-29T03:15:00+02:00", "2026-03-29T03:45:00+02:00"}},
		{"a repeated time runs once, at first", "30 2 * * *", "Europe/Berlin", next, first, "2026-10-25", "2026-10-26", []string{"2026-10-25T02:30:00+02:00"}},
		{"second runs a repeated time at its last showing", "30 2 * * *", "Europe/Berlin", next, second, "2026-10-25", "2026-10-26", []string{"2026-10-25T02:30:00+01:00"}},
		{"both runs a repeated time twice", "30 2 * * *", "Europe/Berlin", next, both, "2026-10-25", "2026-10-26",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"}},
		{"the end of the fold is shown once", "0 3 * * *", "Europe/Berlin", next, both, "2026-10-25", "2026-10-26", []string{"2026-10-25T03:00:00+01:00"}},
		{"half an hour is skipped in Lord Howe", "0 2 * * *", "Australia/Lord_Howe", next, first, "2026-10-04", "2026-10-05", []string{"2026-10-04T02:30:00+11:00"}},
		{"half an hour is repeated in Lord Howe", "45 1 * * *", "Australia/Lord_Howe", next, first, "2026-04-05", "2026-04-06", []string{"2026-04-05T01:45:00+11:00"}},
		{"midnight is skipped in Santiago", "0 0 * * *", "America/Santiago", next, first, "2026-09-05", "2026-09-08",
			[]string{"2026-09-05T00:00:00-04:00", "2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"}},
		{"the hour before midnight is repeated in Santiago", "30 23 * * *", "America/Santiago", next, second, "2026-04-04", "2026-04-05", []string{"2026-04-04T23:30:00-04:00"}},
		{"midnight is skipped in Cairo", "0 0 24 4 *", "Africa/Cairo", next, first, "2026-04-23", "2026-04-26", []string{"2026-04-24T01:00:00+03:00"}},
		{"a missing day runs when the next begins", "0 12 30 12 *", "Pacific/Apia", next, first, "2011-12-29", "2012-01-02", []string{"2011-12-31T00:00:00+14:00"}},
		{"a missing day may be skipped", "0 12 * * *", "Pacific/Apia", skip, first, "2011-12-29", "2012-01-01",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"}},
		{"hourly lines run each hour over a gap, whatever the policy", "30 * * * *", "Europe/Berlin", skip, first, "2026-03-29", "2026-03-29T05",
			[]string{"2026-03-29T00:30:00+01:00", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"}},
		{"hourly lines run each hour over a fold, whatever the policy", "@hourly", "Europe/Berlin", next, first, "2026-10-25T01", "2026-10-25T04",
			[]string{"2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"}},
		{"hourly lines lose nothing in half an hour's gap", "0 * * * *", "Australia/Lord_Howe", next, first, "2026-10-04T01", "2026-10-04T04",
			[]string{"2026-10-04T01:00:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			loc := MustZone(t, tt.zone)
			r, err := calendar.ParseCron(tt.line, loc, calendar.Policy{Gap: tt.gap, Fold: tt.fold})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, written(r, localDate(t, tt.from, loc), localDate(t, tt.to, loc))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Go's bounds of a zone end before their own instant on 31 December of a leap year after 2037.
func TestLeapYearsEndFarAhead(t *testing.T) {
	loc := MustZone(t, "Australia/Lord_Howe")
	r, err := calendar.ParseCron("0 12 * * *", loc, calendar.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	from := localDate(t, "2040-12-30", loc)
	want := []string{"2040-12-30T12:00:00+11:00", "2040-12-31T12:00:00+11:00", "2041-01-01T12:00:00+11:00", "2041-01-02T12:00:00+11:00"}
	if diff := cmp.Diff(want, written(r, from, from.AddDate(0, 0, 4))); diff != "" {
		t.Error(diff)
	}
}

func localDate(tb testing.TB, s string, loc *time.Location) time.Time {
	tb.Helper()
	at, err := time.ParseInLocation("2006-01-02T15", (s + "T00")[:13], loc)
	if err != nil {
		tb.Fatal(err)
	}
	return at
}

// written expands a rule both ways, which must agree.
func written(r calendar.Recurrence, from, to time.Time) []string {
	var list []string
	after := from.Add(-time.Nanosecond)
	for at := range r.Between(from, to) {
		list = append(list, at.Format(time.RFC3339))
		if after = r.Next(after); !after.Equal(at) {
			return append(list, "but Next gives "+after.Format(time.RFC3339))
		}
	}
	return list
}

// Every minute for days around each clock change is looked at on the clock itself, and what a rule must give is worked out
// from these readings alone.
func TestEveryMinuteAroundClockChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	lines := []string{"30 2 * * *", "0 0 * * *", "0 2 * * *", "45 1 * * *", "30 23 * * *", "0 12 * * *", "*/20 0-3,23 * * *", "5,55 1-2 * * sat,sun", "17 * * * *", "*/30 * * * *"}
	for range 3 {
		lines = append(lines, fmt.Sprintf("%d,%d %d,%d * * *", random.IntN(60), random.IntN(60), random.IntN(4), (22+random.IntN(5))%24))
	}
	const around = 4 * 24 * 60
	for _, tr := range transitions(t) {
		loc := MustZone(t, tr.zone)
		begin := tr.at.Add(-around * time.Minute)
		// shown lists, for each local minute, when the clock showed it.
		shown := map[time.Time][]time.Time{}
		var walls []time.Time // in the order of the instants
		for m := range 2 * around {
			at := begin.Add(time.Duration(m) * time.Minute)
			wall := wallOf(at, loc)
			shown[wall] = append(shown[wall], at)
			walls = append(walls, wall)
		}
		for _, line := range lines {
			plain, err := calendar.ParseCron(line, time.UTC, calendar.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			for _, gap := range []calendar.Gap{calendar.GapNext, calendar.GapSkip, calendar.GapShift} {
				for _, fold := range []calendar.Fold{calendar.FoldFirst, calendar.FoldSecond, calendar.FoldBoth} {
					p := calendar.Policy{Gap: gap, Fold: fold}
					r, err := calendar.ParseCron(line, loc, p)
					if err != nil {
						t.Fatal(err)
					}
					if line == "17 * * * *" || line == "*/30 * * * *" {
						p = calendar.Policy{Gap: calendar.GapShift, Fold: calendar.FoldBoth}
					}
					var want []time.Time
					for wall := range plain.Between(walls[0], walls[len(walls)-1]) {
						want = append(want, resolve(shown[wall], wall, walls, begin, p)...)
					}
					slices.SortFunc(want, time.Time.Compare)
					want = slices.CompactFunc(want, time.Time.Equal)
					from, to := tr.at.Add(-2*24*time.Hour), tr.at.Add(2*24*time.Hour)
					want = slices.DeleteFunc(want, func(u time.Time) bool { return u.Before(from) || !u.Before(to) })
					var written []string
					for _, u := range want {
						written = append(written, u.In(loc).Format(time.RFC3339))
					}
					if diff := cmp.Diff(written, expand(r, from, to)); diff != "" {
						t.Fatalf("%s in %s at %s, gap %v, fold %v:\n%s", line, tr.zone, tr.at.In(loc), gap, fold, diff)
					}
					// Next finds the same from every three quarters of an hour.
					for at, i := from, 0; i < len(want); at = at.Add(45 * time.Minute) {
						for i < len(want) && !want[i].After(at) {
							i++
						}
						if i < len(want) {
							if got := r.Next(at); !got.Equal(want[i]) {
								t.Fatalf("%s in %s, gap %v, fold %v: Next(%s) = %s, want %s", line, tr.zone, gap, fold, at.In(loc), got, want[i].In(loc))
							}
						}
					}
				}
			}
		}
	}
}

func expand(r calendar.Recurrence, from, to time.Time) (list []string) {
	for at := range r.Between(from, to) {
		list = append(list, at.Format(time.RFC3339))
	}
	return list
}

// wallOf returns what the clock shows, as the same reading in UTC.
func wallOf(at time.Time, loc *time.Location) time.Time {
	l := at.In(loc)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC)
}

func resolve(shown []time.Time, wall time.Time, walls []time.Time, begin time.Time, p calendar.Policy) []time.Time {
	switch {
	case len(shown) > 0 && p.Fold == calendar.FoldBoth:
		return shown
	case len(shown) > 0 && p.Fold == calendar.FoldSecond:
		return shown[len(shown)-1:]
	case len(shown) > 0:
		return shown[:1]
	case p.Gap == calendar.GapSkip:
		return nil
	}
	i := slices.IndexFunc(walls, func(w time.Time) bool { return w.After(wall) })
	after := begin.Add(time.Duration(i) * time.Minute)
	if p.Gap == calendar.GapNext {
		return []time.Time{after}
	}
	last := walls[i-1] // the minute before the gap
	return []time.Time{after.Add(wall.Sub(last) - time.Minute)}
}
