package daemon

import (
	"sort"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// The contract's calendar is laid out for a while ahead, so that admission need not expand rules at each connection.
const (
	layOut  = 8 * 24 * time.Hour
	layBack = time.Hour // the wall clock may be set back a little
)

// laidOut is a contract's limit from from to to.
type laidOut struct {
	contract *keptContract
	from, to time.Time
	steps    []mfpgate.CapacityStep
}

// limits answers what a contract limits at a moment.
type limits struct{ last atomic.Pointer[laidOut] }

// at returns the contract's limit at t and until when it holds. The client has judged the
// calendar; should it fail even so, as where a zone is gone, MaxConcurrent holds alone.
func (l *limits) at(kept *keptContract, t time.Time) (devices int, until time.Time) {
	known := l.last.Load()
	if known == nil || known.contract != kept || t.Before(known.from) || !t.Before(known.to) {
		next := &laidOut{contract: kept, from: t.Add(-layBack), to: t.Add(layOut)}
		steps, err := plan.Capacity(kept.Contract.Root(kept.ETag), next.from, next.to)
		if err != nil {
			steps = []mfpgate.CapacityStep{{At: next.from, Devices: plan.Unlimited}}
			if most := kept.Contract.MaxConcurrent; most > 0 {
				steps[0].Devices = most
			}
		}
		next.steps = steps
		l.last.Store(next)
		known = next
	}
	i := sort.Search(len(known.steps), func(i int) bool { return known.steps[i].At.After(t) })
	if i < len(known.steps) {
		until = known.steps[i].At
	} else if len(kept.Contract.CapacityCalendar) > 0 {
		until = known.to // what comes then is not laid out yet
	}
	return known.steps[max(0, i-1)].Devices, until
}

// capacity is the smaller of the configuration's and the contract's, at each moment, and until when it holds.
func (c *contracts) capacity(configured func(time.Time) (int, time.Time)) func(time.Time) (int, time.Time) {
	return func(t time.Time) (int, time.Time) {
		devices, until := configured(t)
		kept := c.of(c.daemon.config.Load().Cloud)
		if kept == nil {
			return devices, until
		}
		limit, change := c.limits.at(kept, t)
		if until.IsZero() || !change.IsZero() && change.Before(until) {
			until = change
		}
		return min(devices, limit), until
	}
}
