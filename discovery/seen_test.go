package discovery_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
)

// Whatever shows that a device lives moves lastSeen, and nothing else does.
func TestLastSeenIsASignOfLife(t *testing.T) {
	s := newSite(t)
	p := policy(discovery.Static{Name: "2F copier", Address: copierAt})
	r, stop := s.open(p)
	defer func() { stop() }()
	last := func() time.Time {
		t.Helper()
		all := r.List()
		if len(all) != 1 {
			t.Fatalf("%d devices", len(all))
		}
		return all[0].LastSeen
	}
	want := func(rule string, at time.Time) {
		t.Helper()
		if got := last(); !got.Equal(at) {
			t.Errorf("%s: last seen %s, want %s", rule, got, at)
		}
	}
	want("the configuration shows no life", time.Time{})
	s.clock.Advance(90*time.Second + 300*time.Millisecond)
	told := announced("Copier", "_ipp", "mfp1.local", 631, mfpgate.Identity{Make: "HP", Model: "E52645", Serial: "S1"}, "10.1.0.9")
	told.Location = "2F east"
	r.Sight(told)
	shown := answeredIPP("10.1.0.9:631", mfpgate.Identity{Serial: "S1", Make: "HP", Model: "E52645"})
	r.Sight(shown)
	sighted := start.Add(90 * time.Second)
	want("a sighting, to the second", sighted)
	if diff := cmp.Diff("2F east", r.List()[0].Location); diff != "" {
		t.Errorf("the location: %s", diff)
	}
	s.clock.Advance(time.Minute)
	if _, ok := r.Answered(shown.ID, mfpgate.Reading{At: s.clock.Now(), Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}}); !ok {
		t.Fatal("the sighting is nobody's")
	}
	answered := sighted.Add(time.Minute)
	want("an answer", answered)
	id := r.List()[0].ID
	detail, err := r.Detail(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range detail.Sightings {
		if at := map[bool]time.Time{true: answered, false: sighted}[s.ID == shown.ID]; !s.At.Truncate(time.Second).Equal(at) {
			t.Errorf("%s was seen %s, want %s", s.ID, s.At, at)
		}
	}
	s.clock.Advance(time.Hour)
	r.Failed(id, discovery.NoAnswer)
	want("a failure is no sign of life", answered)
	told.Gone = true
	r.Sight(told)
	want("nor is a goodbye", answered)
	s.clock.Advance(time.Minute)
	r.Identify(copierAt, "")
	relayed := answered.Add(time.Hour + time.Minute)
	want("a connection to the relay", relayed)
	stop()
	r, stop = s.open(p)
	want("after a restart", relayed)
}
