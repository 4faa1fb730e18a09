package mfpgate_test

import (
	"testing"

	"github.com/mfpgate/mfpgate"
)

func TestSupplyPercent(t *testing.T) {
	for _, c := range []struct {
		rule       string
		level, max int64
		want       int
		ok         bool
	}{
		{"a part", 6210, 9000, 69, true},
		{"empty", 0, 100, 0, true},
		{"more than full is full", 130, 100, 100, true},
		{"a maximum near the end of the range does not overflow", 1 << 62, 1<<63 - 1, 50, true},
		{"some remains", mfpgate.LevelSome, 100, 0, false},
		{"unknown", mfpgate.LevelUnknown, 100, 0, false},
		{"the maximum is unknown", 10, mfpgate.LevelUnknown, 0, false},
		{"no maximum", 10, 0, 0, false},
	} {
		got, ok := mfpgate.Supply{Level: c.level, Max: c.max}.Percent()
		if got != c.want || ok != c.ok {
			t.Errorf("%s: got %d %v, want %d %v", c.rule, got, ok, c.want, c.ok)
		}
	}
}

func TestSightingIDKeepsItsSource(t *testing.T) {
	id := mfpgate.NewSightingID(mfpgate.SourceIPP, "ipp://[fe80::1%eth0]:631/ipp/print")
	if id.Source() != mfpgate.SourceIPP {
		t.Errorf("%s is of source %q", id, id.Source())
	}
}
