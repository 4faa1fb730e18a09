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

// deliveries adds those that count, in the order of their ids, whatever order they are listed in.
func (c *scene) deliveries() error {
	order := make([]*mfpgate.Delivery, len(c.s.Deliveries))
	for i := range c.s.Deliveries {
		order[i] = &c.s.Deliveries[i]
	}
	slices.SortStableFunc(order, func(a, b *mfpgate.Delivery) int { return cmp.Compare(a.ID, b.ID) })
	for i, d := range order {
		if i > 0 && d.ID == order[i-1].ID {
			return fmt.Errorf("delivery %q is listed twice", d.ID)
		}
		reason, err := c.delivery(d)
		if err != nil {
			return fmt.Errorf("delivery %q: %w", d.ID, err)
		}
		if reason != "" {
			c.left = append(c.left, mfpgate.LeftOut{Delivery: d.ID, Device: d.Device, Reason: reason})
		}
	}
	return nil
}

// delivery adds one, or says why it does not count.
func (c *scene) delivery(d *mfpgate.Delivery) (mfpgate.Reason, error) {
	if finished(d) {
		return ReasonFinished, nil
	}
	if reason := c.excluded(d); reason != "" {
		return reason, nil
	}
	w, err := c.zones.read(d.Schedule, "", d.Schedule.RRule, c.s.Contract.TimeZone)
	switch {
	case errors.Is(err, errNever):
		return ReasonNeverStarts, nil
	case err != nil:
		return ReasonNotReadable, nil
	}
	e := Estimate(*d)
	it := item{d: d, when: w, start: w.start, p50: millis(e.P50), p95: millis(e.P95), first: len(c.problem.Occurrences)}
	if d.State == mfpgate.DeliveryRunning && w.once {
		it.run(c.now, c.slot)
	}
	it.pinned = c.pin(&it)
	starts := []int64{it.start}
	if !w.once {
		var ok bool
		if starts, ok = w.instants(c.problem.From-it.p95+1, c.problem.To, maxOccurrences); !ok {
			return "", fmt.Errorf("more than %d occurrences in the horizon; make it shorter, or the rule rarer", maxOccurrences)
		}
	}
	if reason := c.outside(&it, starts); reason != "" {
		return reason, nil
	}
	it.device, it.n = c.device(d.Device), len(starts)
	c.items = append(c.items, it)
	return "", c.occur(starts, load.Occurrence{Duration: int32(it.p95), Likely: int32(it.p50), Device: it.device,
		Source: c.source(mfpgate.ContributorDelivery, d.Batch, it.pinned == "")})
}

// excluded says why a delivery is not this gateway's to count. A device behind an inner gateway is vouched for by that
// gateway, which alone knows its mode: it counts unless it is listed here in mode polling. Of a device on USB the gateway itself
// fetches the package, whatever its mode.
func (c *scene) excluded(d *mfpgate.Delivery) mfpgate.Reason {
	if services := c.s.Contract.Services; services != nil && !slices.Contains(services, mfpgate.ServiceDelivery) {
		return ReasonNotInContract
	}
	if c.fetched == nil {
		return ""
	}
	served, known := c.fetched[d.Device]
	switch {
	case known && !served:
		return ReasonPolling
	case !known && d.Via == "":
		return ReasonUnknownDevice
	}
	return ""
}

// run places a delivery that is on its way: it has begun, and holds its slot for a slot of time more at least.
func (i *item) run(now, slot int64) {
	end := max(min(i.start, now)+i.p95, now+slot)
	i.start = max(min(i.start, now), end-millis(maxDuration))
	i.p95 = end - i.start
	i.p50 = min(i.p95, max(i.p50, now-i.start+1))
}

// pin says why a delivery keeps its start, or nothing.
func (c *scene) pin(i *item) string {
	switch {
	case i.d.State == mfpgate.DeliveryRunning:
		return "it is running"
	case !i.when.once:
		return "it recurs"
	case !i.d.Movable:
		return "it is pinned: " + cmp.Or(i.d.PinnedReason, "no reason given")
	case i.start < c.freeze:
		return "it starts before " + c.clock(c.freeze) + ", until which the lead time lets nothing change"
	}
	return ""
}

func (c *scene) outside(i *item, starts []int64) mfpgate.Reason {
	switch {
	case !i.when.once && len(starts) == 0:
		return ReasonBeyond
	case i.when.once && i.end() <= c.problem.From:
		return ReasonPast
	case i.when.once && i.start >= c.problem.To:
		return ReasonBeyond
	}
	return ""
}

// background adds a service's occurrences. Of a jitter each device holds its slot from the earliest start to the latest end;
// only what lies in every case in the run counts as likely.
func (c *scene) background(b *mfpgate.Background) error {
	w, err := c.zones.read(b.Schedule, b.Cron, cmp.Or(b.RRule, b.Schedule.RRule), c.s.Contract.TimeZone)
	if err != nil {
		if errors.Is(err, errNever) && b.Schedule.Local != "" {
			return nil // the clock skips it, as it was told to
		}
		return err
	}
	duration, jitter := max(0, b.Duration), max(0, b.Jitter)
	if duration > maxDuration || jitter > maxDuration || duration+jitter > maxDuration {
		return fmt.Errorf("duration %s and jitter %s together; at most %s", duration, jitter, maxDuration.Truncate(time.Hour))
	}
	planned := millis(duration + jitter)
	starts, ok := w.instants(c.problem.From-planned+1, c.problem.To, maxOccurrences)
	if !ok {
		return fmt.Errorf("more than %d occurrences in the horizon; make it shorter, or the rule rarer", maxOccurrences)
	}
	o := load.Occurrence{Duration: int32(planned), Likely: int32(max(0, millis(duration)-millis(jitter))),
		Source: c.source(mfpgate.ContributorBackground, b.ID, false)}
	devices := c.served(b)
	if named := b.AllDevices || len(b.Devices) > 0; b.Concurrency > 0 || !named {
		n := max(1, b.Concurrency)
		if named {
			n = min(n, len(devices))
		}
		if n = min(n, load.MaxAnonymous); n == 0 {
			return nil
		}
		o.Device = load.Anonymous(n)
		c.weights[o.Source] = n
		return c.occur(starts, o)
	}
	for _, id := range devices {
		o.Device = c.device(id)
		if err := c.occur(starts, o); err != nil {
			return err
		}
	}
	return nil
}

// served lists the devices of a service, once each, of which the gateway relays. What is on USB has no traffic of its own.
func (c *scene) served(b *mfpgate.Background) []mfpgate.DeviceID {
	var list []mfpgate.DeviceID
	switch {
	case !b.AllDevices:
		for _, id := range b.Devices {
			if c.proxies == nil || c.proxies[id] {
				list = append(list, id)
			}
		}
	case c.proxies == nil:
		for i := range c.s.Deliveries {
			list = append(list, c.s.Deliveries[i].Device)
		}
	default:
		for id, proxy := range c.proxies {
			if proxy {
				list = append(list, id)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
