package printer_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestLifeBringsJobsTonerAndTroubles(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC))
	s := printertest.Start(t, printer.SiteOptions{Clock: clock, Rand: rand.New(rand.NewPCG(1, 2)), JobsPerHour: 120})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.60"), Serial: "S"})
	seen := map[string]int{}
	var last int
	for range 24 * 60 * 2 { // a day, by half minutes
		clock.AwaitTimers(1)
		clock.Advance(30 * time.Second)
		v := printer.Look(p)
		seen[string(v.State)]++
		for _, r := range v.Reasons {
			seen[r]++
		}
		if v.Impressions < last {
			t.Fatalf("the counter fell from %d to %d", last, v.Impressions)
		}
		last = v.Impressions
	}
	if last < 5000 {
		t.Errorf("%d impressions in a day at 120 jobs an hour", last)
	}
	for _, want := range []string{"idle", "processing", "stopped", "media-low-warning", "cover-open-error", "toner-low-warning", "toner-empty-error"} {
		if seen[want] == 0 {
			t.Errorf("%s was never seen; seen: %v", want, seen)
		}
	}
	if seen["idle"] < seen["stopped"] {
		t.Errorf("mostly stopped: %v", seen)
	}
}
