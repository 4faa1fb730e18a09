package server_test

import (
	"fmt"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// Long polls do not pile up: each costs a look at the contract a second.
func TestLongPollsAreBounded(t *testing.T) {
	const most = 16
	d := crowded(t, 1, "osaka-1")
	next := decode[api.ScheduleEvents](t, d.as("osaka-1", "GET", path("osaka-1", "events"), nil)).Next
	poll := path("osaka-1", fmt.Sprint("events?wait=PT1M&after=", next))
	got := make(chan reply, most+1)
	for range most + 1 {
		go func() { got <- d.as("osaka-1", "GET", poll, nil) }() // each is received below
	}
	if first := <-got; first.status != 429 || first.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d %s", first.status, first.body)
	}
	d.server.EndStreams()
	for range most {
		if g := <-got; g.status != 200 {
			t.Errorf("one that waited: %d %s", g.status, g.body)
		}
	}
	for range most + 1 { // those that ended do not count
		if g := d.as("osaka-1", "GET", poll, nil); g.status != 200 {
			t.Fatalf("later: %d %s", g.status, g.body)
		}
	}
}
