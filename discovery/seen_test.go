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

// The relay's sight of a device is its connections alone.
func TestRelayedIsAConnection(t *testing.T) {
	s := newSite(t)
	p := policy(discovery.Static{Name: "2F copier", Address: copierAt})
	r, stop := s.open(p)
	id := r.List()[0].ID
	r.Sight(answeredIPP("10.1.0.9:631", mfpgate.Identity{Serial: "S1", Make: "HP", Model: "E52645"}))
	if at := r.Relayed(id); !at.IsZero() {
		t.Errorf("an answer counts as a connection: %s", at)
	}
	s.clock.Advance(time.Minute)
	r.Identify(copierAt, "")
	if got, want := r.Relayed(id), s.clock.Now(); !got.Equal(want) {
		t.Errorf("a connection that no sweep has seen: %s, want %s", got, want)
	}
	if at := r.Relayed("dev_0"); !at.IsZero() {
		t.Errorf("of no device: %s", at)
	}
	want := s.clock.Now()
	stop()
	s.clock.Advance(time.Hour)
	r, stop = s.open(p)
	defer func() { stop() }()
	if got := r.Relayed(id); !got.Equal(want) {
		t.Errorf("after a restart: %s, want %s", got, want)
	}
}

func TestHomesAreToldOf(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy(discovery.Static{Name: "2F copier", Address: copierAt}))
	defer func() { stop() }()
	d := r.List()[0]
	if d.Home != "jp" {
		t.Fatalf("a device of which nothing is known is at home in %q", d.Home)
	}
	changes, quit := r.Watch(4)
	defer quit()
	homes := map[mfpgate.DeviceID]string{d.ID: "us", "dev_0": "us"}
	heard := func() int { return len(changes) }
	r.SetHomes(homes)
	homes[d.ID] = "de" // the caller's own
	if got := r.List()[0].Home; got != "us" || heard() != 1 {
		t.Errorf("home %q, %d changes", got, heard())
	}
	r.SetHomes(map[mfpgate.DeviceID]string{d.ID: "us"})
	if heard() != 1 {
		t.Errorf("the same home is a change")
	}
	r.SetHomes(nil)
	if got := r.List()[0].Home; got != "jp" || heard() != 2 {
		t.Errorf("home %q, %d changes", got, heard())
	}
}
