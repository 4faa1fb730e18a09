package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/load"
)

// ErrSnapshot is wrapped by every error of this package that a snapshot is to blame for: what is not well written in it, or
// more than is bounded.
var ErrSnapshot = errors.New("not a snapshot to plan from")

var errHorizon = errors.New("more than 400 days")

const (
	defaultHorizon = 35 * 24 * time.Hour
	defaultSlot    = 5 * time.Minute
	maxOccurrences = 4_000_000
)

// scene is a snapshot expanded: every device and every millisecond that count.
type scene struct {
	s        mfpgate.ScheduleSnapshot
	zones    zones
	site     *time.Location
	now      int64
	freeze   int64 // before it nothing changes
	slot     int64
	items    []item // by delivery id
	left     []mfpgate.LeftOut
	problem  load.Problem
	sources  []source // by load.Occurrence.Source
	weights  []int    // by source: the devices of one occurrence
	sourceOf map[source]int32
	devices  map[mfpgate.DeviceID]int32
	// fetched says of each device whether its deliveries pass the gateway, and proxies whether all of its traffic does. Nil: all.
	fetched, proxies map[mfpgate.DeviceID]bool
}

// source is what a band's contributors are: a batch, what can move of it apart, or a service.
type source struct {
	kind, id string
	movable  bool
}

// item is a delivery that counts.
type item struct {
	d        *mfpgate.Delivery
	when     when
	start    int64 // of one that comes once
	p50, p95 int64
	pinned   string // why it cannot move, for people; empty if it can
	device   int32
	first, n int // its occurrences in the problem
}

// end returns the planned end of an item that comes once.
func (i *item) end() int64 { return i.start + i.p95 }

// newScene expands a snapshot. The load is that from from to to; both zero: from now to the horizon.
func newScene(s mfpgate.ScheduleSnapshot, from, to time.Time) (*scene, error) {
	c := &scene{s: s, zones: zones{}, now: s.Now.UnixMilli(), sourceOf: map[source]int32{}, devices: map[mfpgate.DeviceID]int32{}}
	if err := c.settle(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if from.IsZero() && to.IsZero() {
		from = time.UnixMilli(c.now)
		to = c.horizon()
	}
	c.problem.From, c.problem.To = from.UnixMilli(), to.UnixMilli()
	if err := c.expand(from, to); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return c, nil
}

func (c *scene) settle() (err error) {
	if y := c.s.Now.UTC().Year(); y < 1970 || y > 2100 {
		return fmt.Errorf("now is in the year %d; the clock is not set", y)
	}
	if c.s.Horizon < 0 || c.s.Horizon > maxHorizon {
		return fmt.Errorf("horizon of %s: %w", c.s.Horizon, errHorizon)
	}
	if c.site, err = c.zones.get(cmp.Or(c.s.Contract.TimeZone, "UTC")); err != nil {
		return fmt.Errorf("contract: %w", err)
	}
	c.freeze = c.now + millis(max(0, c.s.Contract.LeadTime))
	if c.slot = c.s.Contract.Slot.Milliseconds(); c.slot == 0 {
		c.slot = defaultSlot.Milliseconds()
	}
	if c.slot < 1000 {
		return fmt.Errorf("slot of %s; write one second or more", c.s.Contract.Slot)
	}
	if c.s.Devices != nil {
		c.fetched, c.proxies = make(map[mfpgate.DeviceID]bool, len(c.s.Devices)), make(map[mfpgate.DeviceID]bool, len(c.s.Devices))
		for _, d := range c.s.Devices {
			c.fetched[d.ID], c.proxies[d.ID] = d.Served(), d.MonitoringMode == mfpgate.MonitoringProxy
		}
	}
	return nil
}

// horizon is where the plan ends: the snapshot's, or 35 days, or the end of the last window if that is later.
func (c *scene) horizon() time.Time {
	now := time.UnixMilli(c.now)
	if c.s.Horizon > 0 {
		return now.Add(c.s.Horizon)
	}
	to := now.Add(defaultHorizon)
	for i := range c.s.Deliveries {
		if d := &c.s.Deliveries[i]; d.LatestEnd.After(to) && !finished(d) {
			to = d.LatestEnd
		}
	}
	if last := now.Add(maxHorizon); to.After(last) {
		to = last
	}
	return to
}

func (c *scene) expand(from, to time.Time) error {
	own, err := Capacity(c.s.Contract, from, to)
	if err != nil {
		return fmt.Errorf("contract: %w", err)
	}
	relay := slices.Clone(c.s.Capacity)
	slices.SortStableFunc(relay, func(a, b mfpgate.CapacityStep) int { return a.At.Compare(b.At) })
	for _, s := range smaller(own, relay) {
		at := s.At.UnixMilli()
		if at <= c.problem.From && len(c.problem.Capacity) > 0 || len(c.problem.Capacity) > 0 && at <= c.problem.Capacity[len(c.problem.Capacity)-1].At {
			c.problem.Capacity[len(c.problem.Capacity)-1].Devices = s.Devices
			continue
		}
		c.problem.Capacity = append(c.problem.Capacity, load.Step{At: max(at, c.problem.From), Devices: s.Devices})
	}
	if err := c.deliveries(); err != nil {
		return err
	}
	list := slices.Clone(c.s.Background)
	slices.SortStableFunc(list, func(a, b mfpgate.Background) int { return cmp.Compare(a.ID, b.ID) })
	if c.s.Contract.Services != nil && !slices.Contains(c.s.Contract.Services, mfpgate.ServiceDelivery) {
		list = nil
	}
	for i := range list {
		if err := c.background(&list[i]); err != nil {
			return fmt.Errorf("background %q: %w", list[i].ID, err)
		}
	}
	c.problem.Devices = len(c.devices)
	c.problem.MinExcess = c.s.Contract.NotifyMinExcess
	return nil
}

func (c *scene) source(kind, id string, movable bool) int32 {
	s := source{kind, id, movable}
	n, ok := c.sourceOf[s]
	if !ok {
		n = int32(len(c.sources))
		c.sourceOf[s] = n
		c.sources = append(c.sources, s)
		c.weights = append(c.weights, 1)
		c.problem.Movable = append(c.problem.Movable, movable)
	}
	return n
}

func (c *scene) device(id mfpgate.DeviceID) int32 {
	n, ok := c.devices[id]
	if !ok {
		n = int32(len(c.devices))
		c.devices[id] = n
	}
	return n
}

// occur adds one occurrence for each start.
func (c *scene) occur(starts []int64, o load.Occurrence) error {
	if len(c.problem.Occurrences)+len(starts) > maxOccurrences {
		return fmt.Errorf("more than %d occurrences in the horizon; make it shorter, or the rules rarer", maxOccurrences)
	}
	for _, o.Start = range starts {
		c.problem.Occurrences = append(c.problem.Occurrences, o)
	}
	return nil
}

func finished(d *mfpgate.Delivery) bool {
	switch d.State {
	case mfpgate.DeliveryDone, mfpgate.DeliveryFailed, mfpgate.DeliveryCancelled:
		return true
	}
	return false
}
