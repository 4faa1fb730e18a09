package calendar_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/calendar"
)

func TestCron(t *testing.T) {
	for _, tt := range []struct {
		rule, line, after string
		want              []string
	}{
		{"five fields", "30 2 * * *", "2026-06-01T02:30:00Z", []string{"2026-06-02T02:30:00Z"}},
		{"a fraction of a second before is due at once", "30 2 * * *", "2026-06-01T02:29:59.999Z", []string{"2026-06-01T02:30:00Z"}},
		{"lists, ranges and steps", "0,30 8-12/2 * * *", "2026-06-01T09:00:00Z", []string{"2026-06-01T10:00:00Z", "2026-06-01T10:30:00Z", "2026-06-01T12:00:00Z"}},
		{"names", "0 0 * Feb Mon-fri", "2026-01-30T12:00:00Z", []string{"2026-02-02T00:00:00Z"}},
		{"7 is Sunday", "0 0 * * 7", "2026-06-01T00:00:00Z", []string{"2026-06-07T00:00:00Z", "2026-06-14T00:00:00Z"}},
		{"a range may end on sun", "0 0 * * sat-sun", "2026-06-01T00:00:00Z", []string{"2026-06-06T00:00:00Z", "2026-06-07T00:00:00Z", "2026-06-13T00:00:00Z"}},
		{"either of two restricted day fields suffices", "0 0 13 * fri", "2026-06-01T00:00:00Z", []string{"2026-06-05T00:00:00Z", "2026-06-12T00:00:00Z", "2026-06-13T00:00:00Z"}},
		{"a day field that starts with * must match as well", "0 0 */2 * mon", "2026-06-01T00:00:00Z", []string{"2026-06-15T00:00:00Z", "2026-06-29T00:00:00Z"}},
		{"a restricted field that spells out all days allows all", "0 0 1-31 * mon", "2026-06-01T00:00:00Z", []string{"2026-06-02T00:00:00Z"}},
		{"29 February waits for a leap year", "0 0 29 2 *", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"a step on days of the week starts on Sunday", "0 0 * * */3", "2026-06-01T00:00:00Z", []string{"2026-06-03T00:00:00Z", "2026-06-06T00:00:00Z", "2026-06-07T00:00:00Z"}},
		{"@weekly is Sunday", "@weekly", "2026-06-01T00:00:00Z", []string{"2026-06-07T00:00:00Z"}},
		{"@monthly is the first", "@monthly", "2026-06-01T00:00:00Z", []string{"2026-07-01T00:00:00Z"}},
		{"@yearly is New Year", "@yearly", "2026-06-01T00:00:00Z", []string{"2027-01-01T00:00:00Z"}},
		{"tabs and several blanks separate", "  0\t0  1 1   * ", "2026-06-01T00:00:00Z", []string{"2027-01-01T00:00:00Z"}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			r, err := calendar.ParseCron(tt.line, time.UTC, calendar.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for at := MustTime(t, tt.after); len(got) < len(tt.want); {
				at = r.Next(at)
				got = append(got, at.Format(time.RFC3339))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCronRefuses(t *testing.T) {
	for _, tt := range []struct{ rule, line, want string }{
		{"empty", "", "has 0 fields, not five"},
		{"four fields", "0 0 * *", "has 4 fields, not five; write minute, hour"},
		{"seconds", "0 0 0 * * *", "leave seconds and years out"},
		{"a zone", "TZ=Europe/Berlin 0 0 * * *", "remove TZ= and give the time zone beside it"},
		{"a zone without a line", "TZ=0", "remove TZ="},
		{"a zone without a name", "CRON_TZ=", "remove TZ="},
		{"@every", "@every 30m", "has 2 fields"},
		{"@reboot", "@reboot", "unknown descriptor; write @hourly"},
		{"30 February", "0 0 30 2 *", "never occurs; no such date exists"},
		{"31 in short months", "0 0 31 2,4,6,9,11 *", "never occurs"},
		{"minute 60", "60 * * * *", `minute "60": "60" is out of place; write a number from 0 to 59`},
		{"day 0", "0 0 0 * *", "write a number from 1 to 31"},
		{"a sign", "+5 * * * *", "write a number from 0 to 59"},
		{"a range that runs backwards", "0 22-6 * * *", `range "22-6" runs backwards; write two ranges`},
		{"a step after a number", "5/15 * * * *", `write "5-59/15"`},
		{"step zero", "*/0 * * * *", "step \"0\" is out of place"},
		{"a step that never comes", "*/90 * * * *", "step \"90\" is out of place; write a number from 1 to 59"},
		{"a step beyond the range", "0 8-10/5 * * *", "step 5 is longer than the range"},
		{"an empty item", "0,,5 * * * *", `"" is out of place`},
		{"only a comma", ", * * * *", `"" is out of place`},
		{"an unknown name", "0 0 * * monday", "or a name such as \"mon\""},
		{"names elsewhere", "0 mon * * *", "write a number from 0 to 23"},
		{"a question mark", "0 0 ? * *", `"?" is out of place`},
		{"the last day", "0 0 L * *", `"L" is out of place`},
		{"digits of other scripts", "٣ * * * *", "printable ASCII"},
		{"too long", strings.Repeat("1,", 300), "longer than 512"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, err := calendar.ParseCron(tt.line, time.UTC, calendar.Policy{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(tt.want, "never occurs") != errors.Is(err, calendar.ErrNeverOccurs) {
				t.Errorf("%v: ErrNeverOccurs is %v", err, errors.Is(err, calendar.ErrNeverOccurs))
			}
		})
	}
	if _, err := calendar.ParseCron("@daily", nil, calendar.Policy{}); err == nil {
		t.Error("a line without a zone was taken")
	}
}

func TestZeroRecurrenceIsNeverDue(t *testing.T) {
	var r calendar.Recurrence
	if got := r.Next(time.Unix(0, 0)); !got.IsZero() {
		t.Errorf("Next is %s", got)
	}
	for at := range r.Between(time.Unix(0, 0), time.Unix(1e9, 0)) {
		t.Fatalf("Between gives %s", at)
	}
}

func TestRecurrenceEnds(t *testing.T) {
	r := MustRRULE(t, "2026-10-25T02:30:00", "FREQ=DAILY;COUNT=1", "Europe/Berlin")
	if got := r.Next(MustTime(t, "2026-10-25T02:30:00+02:00")); !got.IsZero() {
		t.Errorf("after the last occurrence Next is %s, want zero", got)
	}
	r, err := calendar.ParseCron("@yearly", time.UTC, calendar.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Next(MustTime(t, "9999-06-01T00:00:00Z")); !got.IsZero() {
		t.Errorf("past the year 9999 Next is %s, want zero", got)
	}
}

func TestBetweenTakesItsStartAndNotItsEnd(t *testing.T) {
	r, err := calendar.ParseCron("0 0 * * *", time.UTC, calendar.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	from, to := MustTime(t, "2026-06-01T00:00:00Z"), MustTime(t, "2026-06-03T00:00:00Z")
	if diff := cmp.Diff([]string{"2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z"}, expand(r, from, to)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"}, expand(r, from.Add(1), to.Add(1))); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseCron(f *testing.F) {
	for _, s := range []string{"*/30 * * * *", "0 0 13 * fri", "@daily", "TZ=0", "CRON_TZ= 0 0 * * *", "0 0 30 2 *", "5,55 1-2 * jan-mar sat-sun", "0 0 31 */2 *"} {
		f.Add(s)
	}
	loc := MustZone(f, "Australia/Lord_Howe")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := calendar.ParseCron(line, loc, calendar.Policy{Gap: calendar.GapShift, Fold: calendar.FoldSecond})
		if err == nil {
			checkAscending(t, r)
		}
	})
}
