package main

import (
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// cost is what a plan costs; less is better, the first figure first.
type cost struct {
	unresolved, moved int
	far               time.Duration
}

func (c cost) less(o cost) bool {
	if c.unresolved != o.unresolved {
		return c.unresolved < o.unresolved
	}
	if c.moved != o.moved {
		return c.moved < o.moved
	}
	return c.far < o.far
}

// trial tries everything that could be done with a few deliveries.
type trial struct {
	c      *counted
	jobs   []api.Delivery
	room   []int            // with what is tolerated and what is fixed
	served map[string][]int // by device and tick: how many things
	load   []int
	best   cost
	found  bool
	left   int // steps
}

// better reports whether any plan costs less than the given one, or false if there is too much to try.
func better(c *counted, than cost, before []int) (found, sure bool) {
	t := &trial{c: c, served: map[string][]int{}, best: than, left: 20_000, load: make([]int, ticks)}
	fixed := c.load(nil, true)
	t.room = append(t.room, c.room...)
	for _, b := range c.over(before, 1) {
		if b.Peak-b.Capacity < c.s.Contract.NotifyMinExcess {
			for i := index(b.From); i < index(b.To); i++ {
				t.room[i] = b.Peak
			}
		}
	}
	for i := range t.room {
		t.room[i] = max(t.room[i], fixed[i])
	}
	for _, d := range c.s.Deliveries {
		if start, counts := c.start[d.DeliveryID]; counts && !c.fixed[d.DeliveryID] {
			t.jobs = append(t.jobs, d)
		} else if counts {
			t.serve(d.DeviceID, start, c.end[d.DeliveryID], 1)
		}
	}
	for _, b := range c.s.Background {
		for _, at := range starts(b) {
			to := at.Add(time.Duration(b.Duration + b.Jitter))
			for _, device := range c.served(b) {
				t.serve(device, at, to, 1)
			}
			for i := max(0, index(at)); i < min(ticks, ceilIndex(to)); i++ {
				t.load[i] += b.Concurrency
			}
		}
	}
	if len(t.jobs) > 6 {
		return false, false
	}
	t.place(0, cost{})
	return t.found, t.left > 0
}

// serve adds something to a device, or takes it away, and reports whether there is room for all.
func (t *trial) serve(device string, from, to time.Time, by int) bool {
	line := t.served[device]
	if line == nil {
		line = make([]int, ticks)
		t.served[device] = line
	}
	fits := true
	for i := max(0, index(from)); i < min(ticks, ceilIndex(to)); i++ {
		was := line[i] > 0
		line[i] += by
		if is := line[i] > 0; is != was {
			t.load[i] += by
		}
		fits = fits && (t.room == nil || t.load[i] <= t.room[i])
	}
	return fits
}

func (t *trial) place(k int, so cost) {
	if t.left--; t.left <= 0 || t.found || !so.less(t.best) {
		return
	}
	if k == len(t.jobs) {
		t.found = true
		return
	}
	d := t.jobs[k]
	start := t.c.start[d.DeliveryID]
	length := t.c.end[d.DeliveryID].Sub(start)
	try := func(at time.Time, so cost) {
		if t.serve(d.DeviceID, at, at.Add(length), 1) {
			t.place(k+1, so)
		}
		t.serve(d.DeviceID, at, at.Add(length), -1)
	}
	try(start, so)
	slot := time.Duration(t.c.s.Contract.Slot)
	for at := night; so.moved < t.best.moved && at.Before(night.Add(ticks*tick)); at = at.Add(slot) {
		j := judge{c: t.c}
		if j.change(api.Change{DeliveryID: d.DeliveryID, From: start, To: at, MoveBy: api.Shift(at.Sub(start)), IfMatch: `"` + string(d.Version) + `"`}); len(j.faults) == 0 {
			try(at, cost{so.unresolved, so.moved + 1, so.far + at.Sub(start).Abs()})
		}
	}
	t.place(k+1, cost{so.unresolved + 1, so.moved, so.far})
}
