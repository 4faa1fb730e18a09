package calendar_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/calendar"
)

func TestWindowBetween(t *testing.T) {
	for _, tt := range []struct {
		rule, days     string
		open, close    calendar.TimeOfDay
		zone, from, to string
		want           []string
	}{
		{"a night is nine hours when the clock goes forward", "sat", 1200, 360, "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z",
			[]string{"2026-03-28T19:00:00Z 9h0m0s"}},
		{"a night is eleven hours when the clock goes back", "sat", 1200, 360, "Europe/Berlin", "2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z",
			[]string{"2026-10-24T18:00:00Z 11h0m0s"}},
		{"a window opens after the gap it starts in", "daily", 150, 240, "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z",
			[]string{"2026-03-29T01:00:00Z 1h0m0s"}},
		{"a window inside the gap does not open", "daily", 135, 165, "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z", nil},
		{"a window that ends inside the fold opens again", "daily", 60, 150, "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-25T12:00:00Z",
			[]string{"2026-10-24T23:00:00Z 1h30m0s", "2026-10-25T01:00:00Z 30m0s"}},
		{"intervals are cut to what was asked for", "daily", 0, 1440, "UTC", "2026-06-01T10:00:00Z", "2026-06-03T11:00:00Z", []string{"2026-06-01T10:00:00Z 49h0m0s"}},
		{"days in a row touch", "mon,tue", 0, 1440, "UTC", "2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z", []string{"2026-06-01T00:00:00Z 48h0m0s"}},
		{"an empty time asks for nothing", "daily", 0, 60, "UTC", "2026-06-01T00:00:00Z", "2026-06-01T00:00:00Z", nil},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w, err := calendar.NewWindow(MustDays(t, tt.days), tt.open, tt.close, MustZone(t, tt.zone))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range w.Between(MustTime(t, tt.from), MustTime(t, tt.to)) {
				got = append(got, i.From.Format(time.RFC3339)+" "+i.To.Sub(i.From).String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewWindowRefuses(t *testing.T) {
	if _, err := calendar.NewWindow(0, 0, 60, time.UTC); err == nil {
		t.Error("a window without days was taken")
	}
	if _, err := calendar.NewWindow(calendar.Daily, calendar.EndOfDay, 60, time.UTC); err == nil {
		t.Error("24:00 was taken as a start")
	}
	if _, err := calendar.NewWindow(calendar.Daily, 0, 60, nil); err == nil {
		t.Error("a window without a zone was taken")
	}
}

func TestLocalTimeIn(t *testing.T) {
	for _, tt := range []struct {
		rule, local, zone string
		policy            calendar.Policy
		want              string // "" is never
	}{
		{"an ordinary time", "2026-12-02T02:00:00", "Europe/Berlin", calendar.Policy{}, "2026-12-02T01:00:00Z"},
		{"seconds may be left out", "2026-12-02T02:00", "Europe/Berlin", calendar.Policy{}, "2026-12-02T01:00:00Z"},
		{"a skipped time is next", "2026-03-29T02:30:00", "Europe/Berlin", calendar.Policy{}, "2026-03-29T01:00:00Z"},
		{"a skipped time may be left out", "2026-03-29T02:30:00", "Europe/Berlin", calendar.Policy{Gap: calendar.GapSkip}, ""},
		{"both gives the first showing", "2026-10-25T02:30:00", "Europe/Berlin", calendar.Policy{Fold: calendar.FoldBoth}, "2026-10-25T00:30:00Z"},
		{"second gives the second", "2026-10-25T02:30:00", "Europe/Berlin", calendar.Policy{Fold: calendar.FoldSecond}, "2026-10-25T01:30:00Z"},
		{"a missing day shifts by a day", "2011-12-30T08:00:00", "Pacific/Apia", calendar.Policy{Gap: calendar.GapShift}, "2011-12-30T18:00:00Z"},
		{"before 1970", "1961-02-03T04:05:06", "UTC", calendar.Policy{}, "1961-02-03T04:05:06Z"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			at, ok := MustLocal(t, tt.local).In(MustZone(t, tt.zone), tt.policy)
			got := ""
			if ok {
				got = at.UTC().Format(time.RFC3339)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseLocalTimeRefuses(t *testing.T) {
	for _, s := range []string{"", "2026-12-02", "2026-12-02T02:00:00Z", "2026-12-02T02:00:00+01:00", "2026-02-30T02:00:00", "2026-12-02 02:00:00", "2026-12-02T02:00:00.5"} {
		if got, err := calendar.ParseLocalTime(s); !errors.Is(err, calendar.ErrLocalTime) {
			t.Errorf("ParseLocalTime(%q) = %s, %v, want ErrLocalTime", s, got, err)
		}
	}
}

func TestParseZoneRefuses(t *testing.T) {
	for _, s := range []string{"", "Local", "Europe/Berlim", "../../etc/passwd", "/etc/localtime"} {
		if _, err := calendar.ParseZone(s); !errors.Is(err, calendar.ErrZone) {
			t.Errorf("ParseZone(%q) gives %v, want ErrZone", s, err)
		}
	}
}

func TestPolicyWords(t *testing.T) {
	for _, s := range []string{"next", "skip", "shift"} {
		if g, err := calendar.ParseGap(s); err != nil || g.String() != s {
			t.Errorf("ParseGap(%q) = %s, %v", s, g, err)
		}
	}
	for _, s := range []string{"first", "second", "both"} {
		if f, err := calendar.ParseFold(s); err != nil || f.String() != s {
			t.Errorf("ParseFold(%q) = %s, %v", s, f, err)
		}
	}
	_, gap := calendar.ParseGap("Next")
	_, fold := calendar.ParseFold("")
	if gap == nil || fold == nil {
		t.Errorf("got %v and %v, want errors", gap, fold)
	}
}

func TestTZDataNamesTheVersionItFinds(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"UTC": "", "tzdata.zi": "# version 2031x\n# redo posix_only\n"} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ZONEINFO", dir)
	if got := calendar.TZData(); got != "2031x" {
		t.Errorf("got %q, want 2031x", got)
	}
	if err := os.Remove(dir + "/tzdata.zi"); err != nil {
		t.Fatal(err)
	}
	if got, want := calendar.TZData(), "unknown version in "+dir; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
