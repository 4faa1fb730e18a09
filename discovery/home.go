package discovery

import (
	"maps"
	"time"

	"github.com/mfpgate/mfpgate"
)

// SetHomes says of devices in which region their data live. Of one that is not named nothing is known: it counts as at home in the
// site region. Whoever watches hears of each device whose home is another now.
func (r *Registry) SetHomes(homes map[mfpgate.DeviceID]string) {
	r.mu.Lock()
	defer r.release()
	before := r.homes
	r.homes = maps.Clone(homes)
	for id := range r.devices {
		if before[id] != r.homes[id] {
			r.tell(id)
		}
	}
}

// home is the region of a device's data. The lock is held.
func (r *Registry) home(id mfpgate.DeviceID) string {
	if home := r.homes[id]; home != "" {
		return home
	}
	return r.policy.SiteRegion
}

// Relayed tells when a device last had a connection through the relay, to the second; zero: it never had. After a restart, times of
// the last ten minutes before it may be missing.
func (r *Registry) Relayed(id mfpgate.DeviceID) time.Time {
	r.mu.Lock()
	defer r.release()
	d := r.devices[id]
	if d == nil {
		return time.Time{}
	}
	r.refresh(d, r.Clock.Now())
	return d.seen
}
