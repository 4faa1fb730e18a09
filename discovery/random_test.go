package discovery_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
)

// Whatever sources show, in whatever order: a sighting is of one device, an address leads to a device that has it, devices
// are whole, what was split off does not come back, and a restart changes nothing of it.
func TestRandomSightingsKeepTheRules(t *testing.T) {
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 7))
		s := newSite(t)
		r, stop := s.open(static)
		parted := map[mfpgate.SightingID]mfpgate.DeviceID{}
		for range 120 {
			s.clock.Advance(time.Duration(rng.IntN(90)) * time.Second)
			all := r.Details()
			switch op := rng.IntN(20); {
			case op < 12:
				r.Sight(randomSighting(rng))
			case op < 14:
				gone := randomSighting(rng)
				gone.Gone, gone.Endpoints = true, nil
				r.Sight(gone)
			case op < 16:
				r.Unanswered(randomSighting(rng).ID)
			case op < 18:
				r.Identify(randomAddress(rng), "")
			case op == 18 && len(all) > 1:
				_ = r.Pin(t.Context(), all[0].Device.ID, []mfpgate.DeviceID{all[1].Device.ID})
				clear(parted) // an administrator's later word
			case len(all) > 0:
				d := all[rng.IntN(len(all))]
				if len(d.Sightings) > 1 {
					shown := d.Sightings[rng.IntN(len(d.Sightings))].ID
					if _, err := r.Split(t.Context(), d.Device.ID, shown); err == nil && shown.Source() != mfpgate.SourceRelay { // which follows its address
						parted[shown] = d.Device.ID
					}
				}
			}
			if wrong := broken(r); wrong != "" {
				t.Fatalf("seed %d: %s", seed, wrong)
			}
			owner := map[mfpgate.SightingID]mfpgate.DeviceID{}
			for _, d := range r.Details() {
				for _, s := range d.Sightings {
					owner[s.ID] = d.Device.ID
				}
			}
			for sighting, id := range parted {
				if now, there := owner[sighting]; there && now == id {
					t.Fatalf("seed %d: %s was split from %s and is of it again", seed, sighting, id)
				}
			}
		}
		before := sheet(r)
		var lines []string
		for _, d := range r.Details() {
			for _, x := range d.Sightings {
				lines = append(lines, fmt.Sprint(d.Device.ID, d.Device.Name, " ", x.ID, x.Answered, x.Gone, x.Pinned, "\n"))
			}
		}
		stop()
		r, stop = s.open(static)
		if after := sheet(r); after != before {
			t.Fatalf("seed %d: before the restart\n%s\nafter\n%s\n%s", seed, before, after, lines)
		}
		stop()
	}
}

// broken says which rule does not hold.
func broken(r *discovery.Registry) string {
	r.Sweep()
	owner := map[mfpgate.SightingID]mfpgate.DeviceID{}
	for _, d := range r.Details() {
		if len(d.Sightings) == 0 && !d.Configured {
			return fmt.Sprintf("%s has no sighting", d.Device.ID)
		}
		for _, s := range d.Sightings {
			if other, twice := owner[s.ID]; twice {
				return fmt.Sprintf("%s is of %s and of %s", s.ID, other, d.Device.ID)
			}
			owner[s.ID] = d.Device.ID
		}
		if d.Device.State == mfpgate.DeviceOffline && (d.Device.Reason == "" || d.Device.Since.IsZero()) {
			return fmt.Sprintf("%s is offline without a reason or a time: %+v", d.Device.ID, d.Device)
		}
	}
	ids := map[mfpgate.DeviceID]bool{}
	for _, id := range r.IDs() {
		ids[id] = true
	}
	for i := range 6 {
		a := netip.AddrFrom4([4]byte{10, 1, 0, byte(9 + i)})
		id, _, _, ok := r.Lookup(a, "")
		if ok && !ids[id] {
			return fmt.Sprintf("%s leads to %s, which is no device", a, id)
		}
	}
	return ""
}

func randomAddress(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 1, 0, byte(9 + rng.IntN(6))})
}

func randomSighting(rng *rand.Rand) mfpgate.Sighting {
	var i mfpgate.Identity
	n := rng.IntN(5)
	if rng.IntN(3) > 0 {
		i.UUID = fmt.Sprintf("11111111-aaaa-4b6c-9000-%012d", n+1)
	}
	if rng.IntN(2) > 0 {
		i.Make, i.Model, i.Serial = "HP", "E52645", fmt.Sprintf("SERIAL%d", n)
	}
	if rng.IntN(3) == 0 {
		i.MAC = fmt.Sprintf("3c:2a:f4:00:00:0%d", n)
	}
	at := randomAddress(rng).String()
	switch rng.IntN(3) {
	case 0:
		return announced(fmt.Sprintf("Copier %d", rng.IntN(4)), "_ipp", "a.local", 631, i, at)
	case 1:
		i.SysObjectID = "1.3.6.1.4.1.11.2.3.9.1"
		return answeredSNMP(at, i)
	}
	return answeredIPP(at+":631", i)
}
