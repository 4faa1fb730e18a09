package discovery_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
)

var (
	liar   = netip.MustParseAddr("10.1.0.66")
	second = netip.MustParseAddr("10.1.0.10")
)

// One answer that takes the UUID of one device and the serial number of another makes neither one nor less known.
func TestAForgedAnswerJoinsNobody(t *testing.T) {
	for _, c := range []struct {
		rule   string
		policy *discovery.Policy
	}{
		{"configured", policy(discovery.Static{Name: "2F copier", Address: copierAt}, discovery.Static{Name: "3F copier", Address: second})},
		{"met", policy()},
	} {
		s := newSite(t)
		r, stop := s.open(c.policy)
		a, b := hp, hp2
		a.Serial, b.Serial = "AAA111", "BBB222"
		r.Sight(answeredIPP("10.1.0.9:631", a))
		r.Sight(answeredIPP("10.1.0.10:631", b))
		first, _, known := r.Identify(copierAt, "")
		other, _, _ := r.Identify(second, "")
		forged := a
		forged.Serial = b.Serial
		r.Sight(answeredIPP("10.1.0.66:631", forged))
		r.Sight(answeredIPP("10.1.0.10:631", b)) // what is shown again changes nothing of it
		r.Sight(answeredIPP("10.1.0.9:631", a))
		one, _, knownOne := r.Identify(copierAt, "")
		two, _, knownTwo := r.Identify(second, "")
		if one != first || two != other || knownOne != known || knownTwo != known {
			t.Errorf("%s: %s and %s became %s (known %v) and %s (known %v)", c.rule, first, other, one, knownOne, two, knownTwo)
		}
		stop()
	}
}

// Nor does one that announces itself as either, too, at the address where it answers or where they do.
func TestForgedAnnouncementsJoinNobody(t *testing.T) {
	a, b := hp, hp2
	a.Serial, b.Serial = "AAA111", "BBB222"
	both := func(x, y mfpgate.Identity) mfpgate.Identity { x.Serial = y.Serial; return x }
	for _, c := range []struct {
		rule   string
		second []mfpgate.Sighting // besides the first, which answers
		lie    mfpgate.Identity
	}{
		{"both answer", []mfpgate.Sighting{answeredIPP("10.1.0.10:631", b), announced("B", "_ipp", "b.local", 631, hp2, "10.1.0.10")}, both(b, a)},
		{"both answer, and the liar has the first's UUID", []mfpgate.Sighting{answeredIPP("10.1.0.10:631", b)}, both(a, b)},
		{"the second tells no serial number", []mfpgate.Sighting{answeredIPP("10.1.0.10:631", hp2)}, both(b, a)},
		{"the second only announces itself", []mfpgate.Sighting{announced("B", "_ipp", "b.local", 631, hp2, "10.1.0.10")}, both(b, a)},
	} {
		permutations([]mfpgate.Sighting{
			answeredIPP("10.1.0.66:631", c.lie),
			announced("X", "_ipp", "x.local", 631, hp2, "10.1.0.66"),
			announced("Y", "_ipp", "x.local", 631, hp, "10.1.0.66", "10.1.0.10"),
			announced("Z", "_ipp", "x.local", 631, hp2, "10.1.0.9", "10.1.0.66"),
		}, func(forged []mfpgate.Sighting) {
			s := newSite(t)
			r, stop := s.open(policy())
			defer stop()
			genuine := slices.Concat([]mfpgate.Sighting{answeredIPP("10.1.0.9:631", a), announced("A", "_ipp", "a.local", 631, hp, "10.1.0.9")}, c.second)
			for _, sighting := range genuine {
				r.Sight(sighting)
			}
			before := owners(r)
			for _, sighting := range slices.Concat(forged, genuine) {
				r.Sight(sighting)
			}
			after := owners(r)
			for _, sighting := range genuine {
				if was, is := before[sighting.ID], after[sighting.ID]; is != was {
					t.Fatalf("%s: %s is of %s, was of %s\n%s", c.rule, sighting.ID, is, was, sheet(r))
				}
			}
		})
	}
}

// owners are the devices of all sightings.
func owners(r *discovery.Registry) map[mfpgate.SightingID]mfpgate.DeviceID {
	of := map[mfpgate.SightingID]mfpgate.DeviceID{}
	for _, d := range r.Details() {
		for _, s := range d.Sightings {
			of[s.ID] = d.Device.ID
		}
	}
	return of
}

// Who repeats what a configured device says of itself is not let in by the relay for that, while the device is there.
func TestAWordDoesNotOpenTheRelay(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	defer stop()
	r.Sight(answeredIPP("10.1.0.9:631", hp))
	r.Sight(answeredIPP("10.1.0.66:631", hp))
	if _, name, known := r.Identify(liar, ""); known {
		t.Errorf("the liar is let in as %q", name)
	}
	if _, name, known := r.Identify(copierAt, ""); !known || name != "2F copier" {
		t.Errorf("the device is %q, known %v", name, known)
	}
}

// Announcements cost a device none of the places where it answers.
func TestAnnouncementsDriveNoAnswerOut(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	id, _, _ := r.Identify(copierAt, "")
	r.Sight(answeredIPP("10.1.0.9:631", hp))
	for i := range 3 * discovery.MaxSightings {
		s.clock.Advance(time.Second)
		r.Sight(announced(fmt.Sprintf("X%d", i), "_ipp", "x.local", uint16(1000+i), hp, "10.1.0.66"))
	}
	if got, _, _, ok := r.Lookup(copierAt, ""); !ok || got != id {
		t.Errorf("the relay knows the device's address as %q, it was %s", got, id)
	}
	if target, _ := r.Target(id); len(target.Ways) == 0 || target.Ways[0].Endpoint.Address.Addr() != copierAt {
		t.Errorf("asked first at %+v", target.Ways)
	}
}

// Whoever fills the table with names that answer nowhere keeps no device out.
func TestAFloodOfNamesKeepsNoDeviceOut(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	for i := range discovery.MaxStrangers + 100 {
		identity := mfpgate.Identity{UUID: fmt.Sprintf("22222222-aaaa-4b6c-9000-%012d", i)}
		r.Sight(announced(fmt.Sprintf("X%d", i), "_ipp", fmt.Sprintf("x%d.local", i), 631, identity, "10.1.0.66"))
	}
	s.clock.Advance(time.Second)
	r.Sight(answeredIPP("10.1.0.9:631", hp))
	if _, _, _, ok := r.Lookup(copierAt, ""); !ok {
		r.Sweep()
		if _, _, _, ok := r.Lookup(copierAt, ""); !ok {
			t.Error("a device that answers was not recorded")
		}
	}
	if id, _, _ := r.Identify(second, ""); id == "" {
		t.Error("a device that came to the relay was not recorded")
	}
	if n := len(r.IDs()); n > discovery.MaxStrangers {
		t.Errorf("%d devices", n)
	}
}

// An endpoint that everybody claims costs no more than one that nobody does.
func TestAnEndpointThatAllClaimIsCheap(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	const devices = 2000
	for i := range devices {
		identity := mfpgate.Identity{UUID: fmt.Sprintf("22222222-aaaa-4b6c-9000-%012d", i)}
		r.Sight(announced(fmt.Sprintf("X%d", i), "_ipp", "x.local", 631, identity, "10.1.0.66"))
	}
	fastest := time.Hour // of many: other work of the machine slows some of them
	for i := range 50 {
		identity := mfpgate.Identity{UUID: fmt.Sprintf("33333333-aaaa-4b6c-9000-%012d", i)}
		began := time.Now()
		r.Sight(announced(fmt.Sprintf("Y%d", i), "_ipp", "x.local", 631, identity, "10.1.0.66"))
		fastest = min(fastest, time.Since(began))
	}
	if fastest > 6*time.Millisecond {
		t.Errorf("%s for each", fastest)
	}
}

// A device that was last heard in the future, by a clock that was set since, is not there for a year.
func TestTheClockStepsBack(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	r.Identify(copierAt, "")
	stop()
	s.clock.Advance(-365 * 24 * time.Hour)
	r, stop = s.open(static)
	defer func() { stop() }()
	for range 3 {
		s.clock.Advance(time.Hour)
		r.Sweep()
	}
	if d := r.List()[0]; d.State == mfpgate.DeviceOnline {
		t.Errorf("silent for 3 hours, it is %s", d.State)
	}
}

// What a device calls itself is text and nothing else, in a terminal too.
func TestNamesDoNotSteerATerminal(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	evil := answeredIPP("10.1.0.9:631", hp)
	evil.Name = "a\u009b31mb\u202ec\u2028d\x1b[2J"
	r.Sight(evil)
	if got := r.List()[0].Name; got != "a 31mbc d [2J" {
		t.Errorf("%q", got)
	}
}

// The configured address is asked first, and remembered, however many others answer as the device.
func TestTheConfiguredAddressIsAskedFirst(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	defer stop()
	r.Sight(answeredIPP("10.1.0.9:631", hp))
	id, _, _ := r.Identify(copierAt, "")
	for i := range 2 * discovery.MaxSightings {
		s.clock.Advance(time.Second)
		r.Sight(answeredIPP(fmt.Sprintf("10.1.0.1:%d", 1000+i), hp))
	}
	if target, _ := r.Target(id); len(target.Ways) == 0 || target.Ways[0].Endpoint.Address.Addr() != copierAt || target.Ways[0].Sighting == "" {
		t.Errorf("asked first at %+v", target.Ways[0])
	}
}
