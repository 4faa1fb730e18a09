package calendar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/calendar"
)

func MustZone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	loc, err := calendar.ParseZone(name)
	if err != nil {
		tb.Fatal(err)
	}
	return loc
}

func MustDays(tb testing.TB, s string) calendar.Days {
	tb.Helper()
	d, err := calendar.ParseDays(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func MustTime(tb testing.TB, s string) time.Time {
	tb.Helper()
	u, err := time.Parse(time.RFC3339, s)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestCapacityAt(t *testing.T) {
	weekdays, daily := MustDays(t, "mon-fri"), calendar.Daily
	sat, fri := MustDays(t, "sat"), MustDays(t, "fri")
	type step = calendar.CapacityStep
	for _, tt := range []struct {
		rule    string
		steps   []step
		zone    string
		at      string
		devices int
		until   string // "" is never
	}{
		{rule: "without steps the base holds for ever", zone: "UTC", at: "2026-06-01T00:00:00Z", devices: 50},
		{rule: "a step that equals the base changes nothing, ever", steps: []step{{daily, 480, 1080, 50}}, zone: "UTC", at: "2026-06-01T00:00:00Z", devices: 50},
		{rule: "a step holds from its first minute", steps: []step{{weekdays, 480, 1080, 30}}, zone: "UTC", at: "2026-06-01T08:00:00Z", devices: 30, until: "2026-06-01T18:00:00Z"},
		{rule: "a step does not hold at its end", steps: []step{{weekdays, 480, 1080, 30}}, zone: "UTC", at: "2026-06-01T18:00:00Z", devices: 50, until: "2026-06-02T08:00:00Z"},
		{rule: "the weekend waits for Monday", steps: []step{{weekdays, 480, 1080, 30}}, zone: "UTC", at: "2026-06-05T18:00:00Z", devices: 50, until: "2026-06-08T08:00:00Z"},
		{rule: "a step may raise the base", steps: []step{{daily, 0, 360, 80}}, zone: "UTC", at: "2026-06-01T05:59:59.9Z", devices: 80, until: "2026-06-01T06:00:00Z"},
		{rule: "the smallest holds in an overlap", steps: []step{{daily, 480, 1080, 30}, {daily, 720, 780, 10}, {daily, 700, 800, 60}}, zone: "UTC", at: "2026-06-01T12:30:00Z", devices: 10, until: "2026-06-01T13:00:00Z"},
		{rule: "a step over midnight belongs to the day it starts on", steps: []step{{fri, 1320, 360, 5}}, zone: "UTC", at: "2026-06-06T05:00:00Z", devices: 5, until: "2026-06-06T06:00:00Z"},
		{rule: "a step over midnight does not hold in the morning of its day", steps: []step{{fri, 1320, 360, 5}}, zone: "UTC", at: "2026-06-05T05:00:00Z", devices: 50, until: "2026-06-05T22:00:00Z"},
		{rule: "a step over the end of the week wraps", steps: []step{{sat, 1320, 360, 5}}, zone: "UTC", at: "2026-06-07T05:00:00Z", devices: 5, until: "2026-06-07T06:00:00Z"},
		{rule: "24:00 ends with the day", steps: []step{{sat, 1320, 1440, 5}}, zone: "UTC", at: "2026-06-06T23:00:00Z", devices: 5, until: "2026-06-07T00:00:00Z"},
		{rule: "equal times last a day", steps: []step{{sat, 480, 480, 5}}, zone: "UTC", at: "2026-06-06T08:00:00Z", devices: 5, until: "2026-06-07T08:00:00Z"},
		{rule: "a day of zero devices serves none", steps: []step{{sat, 0, 1440, 0}}, zone: "UTC", at: "2026-06-06T08:00:00Z", devices: 0, until: "2026-06-07T00:00:00Z"},
		{rule: "the night of the gap is an hour shorter", steps: []step{{daily, 1200, 360, 5}}, zone: "Europe/Berlin", at: "2026-03-28T20:00:00+01:00", devices: 5, until: "2026-03-29T06:00:00+02:00"},
		{rule: "the night of the fold is an hour longer", steps: []step{{daily, 1200, 360, 5}}, zone: "Europe/Berlin", at: "2026-10-24T20:00:00+02:00", devices: 5, until: "2026-10-25T06:00:00+01:00"},
		{rule: "a step inside the gap does not hold", steps: []step{{daily, 135, 165, 5}}, zone: "Europe/Berlin", at: "2026-03-28T02:45:00+01:00", devices: 50, until: "2026-03-30T02:15:00+02:00"},
		{rule: "a step inside the fold leaves at the change", steps: []step{{daily, 150, 180, 5}}, zone: "Europe/Berlin", at: "2026-10-25T02:30:00+02:00", devices: 5, until: "2026-10-25T02:00:00+01:00"},
		{rule: "a step inside the fold comes back", steps: []step{{daily, 150, 180, 5}}, zone: "Europe/Berlin", at: "2026-10-25T02:00:00+01:00", devices: 50, until: "2026-10-25T02:30:00+01:00"},
		{rule: "the missing day is passed over", steps: []step{{fri, 0, 1440, 5}}, zone: "Pacific/Apia", at: "2011-12-29T12:00:00-10:00", devices: 50, until: "2012-01-06T00:00:00+14:00"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, err := calendar.NewCapacity(50, tt.steps, MustZone(t, tt.zone))
			if err != nil {
				t.Fatal(err)
			}
			devices, until := c.At(MustTime(t, tt.at))
			got := ""
			if !until.IsZero() {
				got = until.UTC().Format(time.RFC3339)
			}
			want := ""
			if tt.until != "" {
				want = MustTime(t, tt.until).UTC().Format(time.RFC3339)
			}
			if devices != tt.devices || got != want {
				t.Errorf("At(%s) = %d until %q, want %d until %q", tt.at, devices, got, tt.devices, want)
			}
		})
	}
}

func TestNewCapacityRefuses(t *testing.T) {
	for _, tt := range []struct {
		rule    string
		devices int
		step    calendar.CapacityStep
		zone    *time.Location
		want    string
	}{
		{"the base serves at least one", 0, calendar.CapacityStep{Days: 1, To: 60}, time.UTC, "devices is 0; write 1 or more"},
		{"a zone is given", 1, calendar.CapacityStep{Days: 1, To: 60}, nil, "no time zone"},
		{"a step has a day", 1, calendar.CapacityStep{To: 60}, time.UTC, "step 1: no day is given; write days as"},
		{"24:00 is no start", 1, calendar.CapacityStep{Days: 1, From: 1440, To: 60}, time.UTC, "24:00 cannot be a start"},
		{"a start lies in the day", 1, calendar.CapacityStep{Days: 1, From: -1, To: 60}, time.UTC, "outside the day"},
		{"an end lies in the day", 1, calendar.CapacityStep{Days: 1, To: 1441}, time.UTC, "outside the day"},
		{"devices are not negative", 1, calendar.CapacityStep{Days: 1, To: 60, Devices: -1}, time.UTC, "write 0 or more"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, err := calendar.NewCapacity(tt.devices, []calendar.CapacityStep{tt.step}, tt.zone)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// The figure of every minute around clock changes equals what the local clock's reading says, and until is where it next
// differs.
func TestCapacityFollowsTheLocalClock(t *testing.T) {
	steps := []calendar.CapacityStep{
		{Days: MustDays(t, "sat,sun"), From: 1410, To: 75, Devices: 3},
		{Days: calendar.Daily, From: 105, To: 150, Devices: 7},
		{Days: MustDays(t, "thu-sun"), From: 0, To: 15, Devices: 9},
	}
	reading := func(t time.Time, loc *time.Location) int {
		l := t.In(loc)
		minute, day := calendar.TimeOfDay(l.Hour()*60+l.Minute()), l.Weekday()
		holds := 50
		for _, s := range steps {
			in := s.Days.Has(day) && minute >= s.From && (minute < s.To || s.To <= s.From) ||
				s.To <= s.From && s.Days.Has((day+6)%7) && minute < s.To
			if in && s.Devices < holds { // every figure is below the base
				holds = s.Devices
			}
		}
		return holds
	}
	for _, tr := range transitions(t) {
		loc := MustZone(t, tr.zone)
		c, err := calendar.NewCapacity(50, steps, loc)
		if err != nil {
			t.Fatal(err)
		}
		from := tr.at.Add(-36 * time.Hour)
		_, until := c.At(from)
		for m := 1; m < 72*60; m++ {
			at := from.Add(time.Duration(m) * time.Minute)
			want, before := reading(at, loc), reading(at.Add(-time.Minute), loc)
			got, next := c.At(at)
			if got != want {
				t.Fatalf("%s: At(%s) = %d, want %d", tr.zone, at.In(loc), got, want)
			}
			if changed := want != before; changed != until.Equal(at) {
				t.Fatalf("%s: at %s the figure changed: %v, but until was %s", tr.zone, at.In(loc), changed, until.In(loc))
			}
			until = next
		}
	}
}

// transition is one clock change.
type transition struct {
	zone string
	at   time.Time
}

// transitions lists gaps and folds of an hour, of half an hour, at midnight, and a day left out.
func transitions(tb testing.TB) []transition {
	tb.Helper()
	var list []transition
	for zone, years := range map[string][]int{
		"Europe/Berlin": {2026}, "Australia/Lord_Howe": {2026}, "America/Santiago": {2026}, "Africa/Cairo": {2026},
		"Pacific/Apia": {2011}, "America/St_Johns": {2010}, "America/Havana": {2026}, "Asia/Beirut": {2026}, "Africa/Casablanca": {2026},
	} {
		loc := MustZone(tb, zone)
		for _, year := range years {
			at := time.Date(year, 1, 2, 0, 0, 0, 0, loc)
			for {
				_, end := at.ZoneBounds()
				if end.IsZero() || end.Year() > year {
					break
				}
				list = append(list, transition{zone, end.UTC()})
				at = end
			}
		}
	}
	if len(list) < 16 {
		tb.Fatalf("only %d clock changes found", len(list))
	}
	return list
}

func TestCapacityAtDoesNotAllocate(t *testing.T) {
	c, err := calendar.NewCapacity(50, []calendar.CapacityStep{{Days: MustDays(t, "mon-fri"), From: 480, To: 1080, Devices: 30}}, MustZone(t, "Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	at := MustTime(t, "2026-03-28T20:00:00Z")
	if n := testing.AllocsPerRun(100, func() { c.At(at) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func BenchmarkCapacityAt(b *testing.B) {
	c, err := calendar.NewCapacity(50, []calendar.CapacityStep{{Days: MustDays(b, "mon-fri"), From: 480, To: 1080, Devices: 30}}, MustZone(b, "Europe/Berlin"))
	if err != nil {
		b.Fatal(err)
	}
	at := MustTime(b, "2026-06-03T10:00:00Z")
	b.ReportAllocs()
	for b.Loop() {
		c.At(at)
	}
}

func TestParseDays(t *testing.T) {
	for _, tt := range []struct{ rule, in, want, err string }{
		{rule: "one day", in: "wed", want: "wed"},
		{rule: "a range", in: "mon-fri", want: "mon-fri"},
		{rule: "a list", in: "sat,sun", want: "sat,sun"},
		{rule: "ranges and days", in: "mon-wed,fri", want: "mon-wed,fri"},
		{rule: "a range wraps over the week", in: "fri-mon", want: "mon,fri-sun"},
		{rule: "two days stay a list", in: "mon-tue", want: "mon,tue"},
		{rule: "daily is all", in: "daily", want: "daily"},
		{rule: "seven days are daily", in: "tue-mon", want: "daily"},
		{rule: "empty", in: "", err: `unknown day ""; write days as`},
		{rule: "upper case", in: "Mon", err: `unknown day "Mon"`},
		{rule: "a full name", in: "monday", err: `unknown day "monday"`},
		{rule: "a trailing comma", in: "mon,", err: `unknown day ""`},
		{rule: "a space", in: "sat, sun", err: `unknown day " sun"`},
		{rule: "a triple range", in: "mon-wed-fri", err: `unknown day "wed-fri"`},
		{rule: "daily in a list", in: "daily,mon", err: `unknown day "daily"`},
		{rule: "a day twice", in: "mon-wed,tue", err: `tue stands twice in "mon-wed,tue"`},
		{rule: "a range of one", in: "mon-mon", err: "starts and ends on one day"},
		{rule: "too long", in: strings.Repeat("mon,", 20), err: "longer than 64"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			d, err := calendar.ParseDays(tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, d.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseTimeOfDay(t *testing.T) {
	for in, want := range map[string]calendar.TimeOfDay{"00:00": 0, "08:00": 480, "23:59": 1439, "24:00": 1440} {
		if got, err := calendar.ParseTimeOfDay(in); err != nil || got != want || got.String() != in {
			t.Errorf("ParseTimeOfDay(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "8:00", "08:60", "24:01", "25:00", "0800", "08:00:00", "08-00", "+8:00", "٠٨:٠٠", "08:0é"} {
		if got, err := calendar.ParseTimeOfDay(in); err == nil || !strings.Contains(err.Error(), "write") {
			t.Errorf("ParseTimeOfDay(%q) = %v, %v, want an error that names the fix", in, got, err)
		}
	}
}

func FuzzParseDays(f *testing.F) {
	for _, s := range []string{"mon-fri", "sat,sun", "daily", "fri-mon", "mon-wed,fri", "mon-", ",", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := calendar.ParseDays(s)
		if err != nil {
			return
		}
		again, err := calendar.ParseDays(d.String())
		if err != nil || again != d {
			t.Errorf("%q reads as %s, which reads as %s, %v", s, d, again, err)
		}
	})
}
