package portal

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	zone := time.FixedZone("JST", 9*3600)
	now := time.Date(2026, 3, 3, 5, 32, 10, 0, time.UTC)
	for _, c := range []struct{ rule, got, want string }{
		{"under a second", duration(999 * time.Millisecond), "0 s"},
		{"a clock that stepped back", duration(-time.Hour), "0 s"},
		{"seconds", duration(59900 * time.Millisecond), "59 s"},
		{"minutes", duration(time.Hour - 1), "59 min"},
		{"hours", duration(2*time.Hour + 5*time.Minute), "2 h 5 min"},
		{"days", duration(48 * time.Hour), "2 days"},
		{"bytes", size(999), "999 B"},
		{"kilobytes", size(1000), "1.0 kB"},
		{"no 1000.0 of a unit", size(999_999), "1.0 MB"},
		{"gigabytes", size(12_340_000_000), "12.3 GB"},
		{"terabytes", size(12_340_000_000_000), "12.3 TB"},
		{"no space in three digits", count(999), "999"},
		{"spaces", count(1234567), "1\u202f234\u202f567"},
		{"a sentence", sentence("the disk is full"), "The disk is full."},
		{"a sentence that is one", sentence("Ünlü?"), "Ünlü?"},
		{"no sentence", sentence(" "), ""},
		{"today in the site's zone", at(time.Date(2026, 3, 2, 16, 0, 1, 0, time.UTC), now, zone).Text, "01:00:01"},
		{"yesterday there", at(time.Date(2026, 3, 2, 14, 59, 0, 0, time.UTC), now, zone).Text, "2026-03-02 23:59"},
		{"no time", at(time.Time{}, now, zone).Text, ""},
		{"for machines", at(now, now, zone).Machine, "2026-03-03T05:32:10Z"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.rule, c.got, c.want)
		}
	}
}

func TestTheScaleIsRound(t *testing.T) {
	for highest, want := range map[int]int{0: 2, 1: 2, 3: 4, 8: 8, 9: 10, 11: 12, 13: 16, 17: 20, 50: 60, 100: 100, 101: 120, 99_999: 100_000} {
		if got := niceTop(highest); got != want {
			t.Errorf("niceTop(%d) is %d, want %d", highest, got, want)
		}
	}
}
