package calendar_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/teambition/rrule-go"

	"github.com/mfpgate/mfpgate/calendar"
)

func MustLocal(tb testing.TB, s string) calendar.LocalTime {
	tb.Helper()
	l, err := calendar.ParseLocalTime(s)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func MustRRULE(tb testing.TB, start, rule, zone string) calendar.Recurrence {
	tb.Helper()
	r, err := calendar.ParseRRULE(MustLocal(tb, start), rule, MustZone(tb, zone), calendar.Policy{})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestRRULE(t *testing.T) {
	for _, tt := range []struct {
		rule, start, text, zone string
		want                    []string // the first ones; fewer than 4 are all
	}{
		{"the start is an occurrence", "2026-06-01T09:00:00", "FREQ=DAILY;COUNT=2", "UTC",
			[]string{"2026-06-01T09:00:00Z", "2026-06-02T09:00:00Z"}},
		{"a start off the rule is none", "2026-06-01T09:00:00", "FREQ=WEEKLY;BYDAY=TU;COUNT=1", "UTC", []string{"2026-06-02T09:00:00Z"}},
		{"until is inclusive", "2026-06-01T09:00:00", "FREQ=DAILY;UNTIL=20260602T090000Z", "UTC",
			[]string{"2026-06-01T09:00:00Z", "2026-06-02T09:00:00Z"}},
		{"a local until is read in the zone", "2026-06-01T09:00:00", "FREQ=DAILY;UNTIL=20260602T090000", "Asia/Tokyo",
			[]string{"2026-06-01T09:00:00+09:00", "2026-06-02T09:00:00+09:00"}},
		{"the last working day of the month", "2026-01-01T22:00:00", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3", "Europe/Berlin",
			[]string{"2026-01-30T22:00:00+01:00", "2026-02-27T22:00:00+01:00", "2026-03-31T22:00:00+02:00"}},
		{"patch Tuesday", "2026-01-01T03:00:00", "FREQ=MONTHLY;BYDAY=2TU;COUNT=2", "UTC", []string{"2026-01-13T03:00:00Z", "2026-02-10T03:00:00Z"}},
		{"the last day of the month", "2026-01-31T03:00:00", "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3", "UTC",
			[]string{"2026-01-31T03:00:00Z", "2026-02-28T03:00:00Z", "2026-03-31T03:00:00Z"}},
		{"a 31st that a month lacks is left out", "2026-01-31T03:00:00", "FREQ=MONTHLY;COUNT=3", "UTC",
			[]string{"2026-01-31T03:00:00Z", "2026-03-31T03:00:00Z", "2026-05-31T03:00:00Z"}},
		{"29 February waits for leap years", "2096-02-29T00:00:00", "FREQ=YEARLY;COUNT=2", "UTC", []string{"2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"}},
		{"WKST decides which weeks count", "1997-08-05T09:00:00", "FREQ=WEEKLY;INTERVAL=2;COUNT=3;BYDAY=TU,SU;WKST=SU", "UTC",
			[]string{"1997-08-05T09:00:00Z", "1997-08-17T09:00:00Z", "1997-08-19T09:00:00Z"}},
		{"the seconds of the start stay", "2026-06-01T09:00:07", "FREQ=DAILY;BYHOUR=1;COUNT=1", "UTC", []string{"2026-06-02T01:00:07Z"}},
		{"daily stays with the clock", "2026-03-28T06:00:00", "FREQ=DAILY;COUNT=3", "Europe/Berlin",
			[]string{"2026-03-28T06:00:00+01:00", "2026-03-29T06:00:00+02:00", "2026-03-30T06:00:00+02:00"}},
		{"hourly counts elapsed hours", "2026-03-28T18:00:00", "FREQ=HOURLY;INTERVAL=6;COUNT=3", "Europe/Berlin",
			[]string{"2026-03-28T18:00:00+01:00", "2026-03-29T00:00:00+01:00", "2026-03-29T07:00:00+02:00"}},
		{"minutely counts elapsed minutes", "2026-10-25T02:00:00", "FREQ=MINUTELY;INTERVAL=45;COUNT=3", "Europe/Berlin",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+01:00"}},
		{"hourly limits hold against the clock", "2026-03-28T00:30:00", "FREQ=HOURLY;BYHOUR=2,3;BYDAY=SU;COUNT=2", "Europe/Berlin",
			[]string{"2026-03-29T03:30:00+02:00", "2026-04-05T02:30:00+02:00"}},
		{"an hourly rule runs at each of its minutes", "2026-06-01T09:20:00", "FREQ=HOURLY;INTERVAL=2;BYMINUTE=10,40;COUNT=3", "UTC",
			[]string{"2026-06-01T09:40:00Z", "2026-06-01T11:10:00Z", "2026-06-01T11:40:00Z"}},
		{"hourly minutes follow the clock over half an hour's gap", "2026-10-04T01:00:00", "FREQ=HOURLY;BYMINUTE=15,45;COUNT=4", "Australia/Lord_Howe",
			[]string{"2026-10-04T01:15:00+10:30", "2026-10-04T01:45:00+10:30", "2026-10-04T02:45:00+11:00", "2026-10-04T03:15:00+11:00"}},
		{"an hourly rule may start in a gap", "2026-03-29T02:30:00", "FREQ=HOURLY;COUNT=2", "Europe/Berlin",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"}},
		{"lower case is read", "2026-06-01T09:00:00", "freq=daily;count=1", "UTC", []string{"2026-06-01T09:00:00Z"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			r := MustRRULE(t, tt.start, tt.text, tt.zone)
			from := MustTime(t, "1990-01-01T00:00:00Z")
			if diff := cmp.Diff(tt.want, written(r, from, from.AddDate(200, 0, 0))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRRULERefuses(t *testing.T) {
	for _, tt := range []struct{ rule, text, want string }{
		{"empty", "", `"" is not NAME=VALUE`},
		{"no frequency", "COUNT=2", "has no FREQ"},
		{"secondly", "FREQ=SECONDLY", "FREQ=SECONDLY is not supported"},
		{"the property's name", "RRULE:FREQ=DAILY", "write only what follows"},
		{"a part twice", "FREQ=DAILY;BYHOUR=1;BYHOUR=2", "BYHOUR stands twice"},
		{"count and until", "FREQ=DAILY;COUNT=2;UNTIL=20270101T000000Z", "exclude each other"},
		{"count zero", "FREQ=DAILY;COUNT=0", "write a number from 1 to 100000"},
		{"an interval without end", "FREQ=DAILY;INTERVAL=99999999999999999999", "write a number from 1 to 1000000"},
		{"two intervals", "FREQ=DAILY;INTERVAL=1,2", "has 2 numbers; write one"},
		{"until as a date", "FREQ=DAILY;UNTIL=20270101", "is not a date with time"},
		{"until before the start", "FREQ=DAILY;UNTIL=20200101T000000Z", "never occurs"},
		{"by year day", "FREQ=YEARLY;BYYEARDAY=1", "BYYEARDAY is not supported"},
		{"by week", "FREQ=YEARLY;BYWEEKNO=1", "BYWEEKNO is not supported"},
		{"by second", "FREQ=DAILY;BYSECOND=1", "BYSECOND is not supported"},
		{"an extension", "FREQ=DAILY;RSCALE=GREGORIAN", "RSCALE is not supported"},
		{"month days in weeks", "FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY cannot stand with FREQ=WEEKLY"},
		{"ordinals in weeks", "FREQ=WEEKLY;BYDAY=2MO", `write "MO"`},
		{"ordinal zero", "FREQ=MONTHLY;BYDAY=0MO", "write a number from 1 to 53"},
		{"a lone ordinal", "FREQ=MONTHLY;BYDAY=2", "is not a day"},
		{"an empty day", "FREQ=MONTHLY;BYDAY=MO,", "is not a day"},
		{"an hour too many", "FREQ=DAILY;BYHOUR=24", "write a number from 0 to 23"},
		{"a negative hour", "FREQ=DAILY;BYHOUR=-1", "write a number from 0 to 23"},
		{"two signs", "FREQ=MONTHLY;BYMONTHDAY=--1", "write a number from 1 to 31"},
		{"positions of nothing", "FREQ=DAILY;BYSETPOS=1", "BYSETPOS needs another BY part"},
		{"positions of ticks", "FREQ=HOURLY;BYMINUTE=1,2;BYSETPOS=1", "BYSETPOS with FREQ=HOURLY"},
		{"a week start that is no day", "FREQ=WEEKLY;WKST=1", "WKST=1 is not a day"},
		{"30 February", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never occurs"},
		{"30 February by the minute", "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30", "never occurs"},
		{"a minute that the ticks miss", "FREQ=MINUTELY;INTERVAL=60;BYMINUTE=7", "never occurs"},
		{"a sixth Monday", "FREQ=MONTHLY;BYDAY=6MO", "never occurs"},
		{"too long", "FREQ=DAILY;BYHOUR=" + strings.Repeat("1,", 1200) + "1", "longer than 2048"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, err := calendar.ParseRRULE(MustLocal(t, "2026-06-01T09:00"), tt.text, time.UTC, calendar.Policy{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(tt.want, "never") != errors.Is(err, calendar.ErrNeverOccurs) {
				t.Errorf("%v: ErrNeverOccurs is %v", err, errors.Is(err, calendar.ErrNeverOccurs))
			}
		})
	}
}

// randomRRULE writes a rule that both engines read.
func randomRRULE(random *rand.Rand) string {
	freq := []string{"MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}[random.IntN(6)]
	parts := []string{"FREQ=" + freq}
	add := func(name string, chance float64, item func() string) {
		if random.Float64() >= chance {
			return
		}
		var items []string
		for range 1 + random.IntN(3) {
			if s := item(); !slices.Contains(items, s) {
				items = append(items, s)
			}
		}
		parts = append(parts, name+"="+strings.Join(items, ","))
	}
	signed := func(n int) string {
		if v := 1 + random.IntN(n); random.IntN(2) == 0 {
			return fmt.Sprint(v)
		} else {
			return fmt.Sprint(-v)
		}
	}
	number := func(from, to int) func() string {
		return func() string { return fmt.Sprint(from + random.IntN(to-from+1)) }
	}
	if random.IntN(2) == 0 {
		parts = append(parts, fmt.Sprintf("INTERVAL=%d", 1+random.IntN(5)))
	}
	add("BYMONTH", .3, number(1, 12))
	if freq != "WEEKLY" {
		add("BYMONTHDAY", .3, func() string { return signed(31) })
	}
	// The library reads "FR,-3FR" as the third last Friday only; the RFC's text is the union, as ours. So they are not mixed.
	ordinals := (freq == "MONTHLY" || freq == "YEARLY") && random.IntN(2) == 0
	add("BYDAY", .5, func() string {
		day := []string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}[random.IntN(7)]
		if ordinals {
			return signed(5) + day
		}
		return day
	})
	add("BYHOUR", .4, number(0, 23))
	if freq == "MINUTELY" {
		add("BYMINUTE", .2, number(0, 59))
	} else {
		add("BYMINUTE", .4, number(0, 59))
	}
	// In the week of the start the library counts positions from the start on; the RFC's set is the whole week's.
	if freq != "MINUTELY" && freq != "HOURLY" && freq != "WEEKLY" && len(parts) > 2 && strings.Contains(strings.Join(parts[1:], ";"), "BY") {
		add("BYSETPOS", .3, func() string { return signed(6) })
	}
	if random.IntN(3) == 0 {
		parts = append(parts, "WKST="+[]string{"MO", "SU", "WE"}[random.IntN(3)])
	}
	if random.IntN(3) == 0 {
		parts = append(parts, fmt.Sprintf("COUNT=%d", 1+random.IntN(20)))
	}
	return strings.Join(parts, ";")
}

// Away from clock changes rrule-go is right, and so must we be: random rules give the same first occurrences.
func TestRRULEAgreesWithLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(20260601, 1))
	compared, empty := 0, 0
	for range 300 {
		text := randomRRULE(random)
		start := time.Date(2024+random.IntN(4), time.Month(1+random.IntN(12)), 1+random.IntN(28), random.IntN(24), random.IntN(60), 0, 0, time.UTC)
		option, err := rrule.StrToROption(text)
		if err != nil {
			t.Fatal(err)
		}
		option.Dtstart = start
		library, err := rrule.NewRRule(*option)
		if err != nil {
			t.Fatal(err)
		}
		horizon := start.AddDate(3, 0, 0)
		ours, err := calendar.ParseRRULE(calendar.LocalTimeOf(start), text, time.UTC, calendar.Policy{})
		if err != nil && !errors.Is(err, calendar.ErrNeverOccurs) {
			t.Fatal(err)
		}
		var got []string
		for at := range ours.Between(start.Add(-time.Hour), horizon) {
			if got = append(got, at.Format(time.RFC3339)); len(got) == 30 {
				break
			}
		}
		// The library does not end its search when a rule never occurs (again), so it is asked only for what we found.
		if len(got) == 0 {
			empty++
			continue
		}
		var want []string
		for next := library.Iterator(); len(want) < len(got); {
			at, ok := next()
			if !ok {
				break
			}
			want = append(want, at.Format(time.RFC3339))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s from %s (-library +ours):\n%s", text, start, diff)
		}
		compared++
	}
	if compared < 200 {
		t.Errorf("only %d rules were compared, %d have none to compare", compared, empty)
	}
}

func FuzzParseRRULE(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		f.Add(randomRRULE(random))
	}
	f.Add("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;INTERVAL=1000000")
	loc := MustZone(f, "America/Santiago")
	start := MustLocal(f, "2026-04-04T23:30:00")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := calendar.ParseRRULE(start, text, loc, calendar.Policy{Fold: calendar.FoldBoth})
		if err != nil {
			return
		}
		checkAscending(t, r)
	})
}

// checkAscending fails if Between and Next differ or do not ascend. Next is zero only at the end.
func checkAscending(t *testing.T, r calendar.Recurrence) {
	t.Helper()
	at := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	n := 0
	for u := range r.Between(at, at.AddDate(5, 0, 0)) {
		next := r.Next(at.Add(-time.Second))
		if n > 0 {
			next = r.Next(at)
		}
		if n > 0 && !u.After(at) || !next.Equal(u) {
			t.Fatalf("%s: after %s comes %s, but Next gives %s", r, at, u, next)
		}
		if at, n = u, n+1; n == 50 {
			return
		}
	}
}
