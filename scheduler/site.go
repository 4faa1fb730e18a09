package scheduler

import (
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
)

// What a report can carry of the site's own load. What is beyond it, the delivery system does not know.
const (
	maxSiteSteps      = 500
	maxSiteBackground = 64
	maxSiteDevices    = 100 // of one background; of more only their number is told
)

// siteLoad is what the delivery system is told of the site itself.
func siteLoad(p Policy, snap mfpgate.ScheduleSnapshot) mfpgate.SiteLoad {
	own := mfpgate.SiteLoad{Capacity: snap.Capacity[:min(len(snap.Capacity), maxSiteSteps)]}
	for _, b := range p.Background[:min(len(p.Background), maxSiteBackground)] {
		if n := len(b.Devices); n > maxSiteDevices {
			b.Devices, b.Concurrency = nil, n
		}
		own.Background = append(own.Background, b)
	}
	return own
}

// undated is a load without the instant at which its first step was looked at, which is another each day.
func undated(own mfpgate.SiteLoad) mfpgate.SiteLoad {
	if len(own.Capacity) > 0 {
		own.Capacity = slices.Clone(own.Capacity)
		own.Capacity[0].At = time.Time{}
	}
	return own
}
