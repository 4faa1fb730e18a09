package server_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// count is how many records there are under a prefix.
func (d *desk) count(prefix string) (n int) {
	d.t.Helper()
	err := d.facts.View(d.t.Context(), func(at store.Snapshot) error {
		n = 0
		for _, err := range store.All(at, prefix) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// A gateway that always has something new to tell takes no more than its room.
func TestWhatAGatewayTellsIsBounded(t *testing.T) {
	d := crowded(t, 3, "osaka-1")
	d.contract("osaka-1", func(c *api.Contract) { c.Mode = "propose" })
	for n := range 4 {
		r := report(fmt.Sprint("r", n), d.clock.Now(), "")
		for i := range 1000 {
			from := tonight.Add(time.Duration(i) * time.Hour)
			r.Bands = append(r.Bands, api.Band{BandID: fmt.Sprintf("b%d-%d", n, i), From: from, To: from.Add(time.Hour), Capacity: 2, Peak: 3, PeakAt: from, Certainty: "certain"})
		}
		if got := d.as("osaka-1", "PUT", path("osaka-1", "overload-reports", r.ReportID), r); got.status != http.StatusCreated {
			t.Fatalf("report: %d %s", got.status, got.body)
		}
		d.clock.Advance(time.Minute)
	}
	if n := d.count("warning/osaka-1/"); n != 3000 {
		t.Errorf("%d warnings, want the 1000 that are open and the last 2000 that are closed", n)
	}
	if got := d.as("hana", "GET", path("osaka-1", "warnings", "b0-0"), nil); got.status != 404 {
		t.Errorf("the first that was closed: %d", got.status)
	}
	for n := range 510 {
		if got := d.propose("osaka-1", proposal(fmt.Sprint("p", n), false, move(2, 15*time.Minute)), ""); got.status != 202 {
			t.Fatalf("proposal: %d %s", got.status, got.body)
		}
		d.clock.Advance(time.Millisecond)
	}
	for _, prefix := range []string{"proposal/", "proposal-at/", "proposal-changes/", "proposal-unresolved/"} {
		if n := d.count(prefix + "osaka-1/"); n != 500 {
			t.Errorf("%d records %s, want 500", n, prefix)
		}
	}
	for id, want := range map[string]int{"p9": 404, "p10": 200, "p509": 200} {
		if got := d.as("osaka-1", "GET", path("osaka-1", "change-proposals", id), nil); got.status != want {
			t.Errorf("proposal %s: %d, want %d", id, got.status, want)
		}
	}
}
