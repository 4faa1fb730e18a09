package calendar

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
)

// CapacityStep sets the number of devices served at once between two local times on some days. To <= From runs over
// midnight and belongs to the day it starts on; From == To lasts a whole day.
type CapacityStep struct {
	Days     Days
	From, To TimeOfDay
	Devices  int // 0 serves none
}

// Validate says what is wrong with the step, or nil.
func (s CapacityStep) Validate() error {
	if err := checkSpan(s.Days, s.From, s.To); err != nil {
		return err
	}
	if s.Devices < 0 {
		return fmt.Errorf("devices is %d; write 0 or more", s.Devices)
	}
	return nil
}

// Capacity is how many devices are served at once, by the local clock of one zone. It is immutable and safe for any number
// of goroutines.
type Capacity struct {
	loc *time.Location
	// The local week starts on Sunday 00:00: from starts[i] seconds on, up to the next start, devices[i] are served. The
	// first start is 0 and neighbours differ, the last and the first excepted.
	starts  []int64
	devices []int
}

const (
	daySeconds  = 24 * 60 * 60
	weekSeconds = 7 * daySeconds
)

// NewCapacity lays the steps over a base figure: inside a step its own figure holds, larger or smaller than the base; where
// steps overlap the smallest holds; elsewhere the base. A step holds while the local clock shows a time inside it, so an
// hour that the clock repeats counts twice and one that it skips not at all. Errors name the first bad step, counted from 1;
// callers that know its place use CapacityStep.Validate.
func NewCapacity(devices int, steps []CapacityStep, loc *time.Location) (*Capacity, error) {
	if devices < 1 {
		return nil, fmt.Errorf("devices is %d; write 1 or more", devices)
	}
	return newCapacity(devices, steps, loc)
}

func newCapacity(devices int, steps []CapacityStep, loc *time.Location) (*Capacity, error) {
	if loc == nil {
		return nil, errors.New("no time zone; give an IANA zone")
	}
	// A span of the week, in seconds, up to two weeks' end: the part after the first wraps to its start.
	type stretch struct {
		from, to int64
		devices  int
	}
	var stretches []stretch
	bounds := []int64{0}
	for i, step := range steps {
		if err := step.Validate(); err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		length := int64(step.To-step.From) * 60
		if length <= 0 {
			length += daySeconds
		}
		for day := time.Sunday; day <= time.Saturday; day++ {
			if !step.Days.Has(day) {
				continue
			}
			from := int64(day)*daySeconds + int64(step.From)*60
			to := from + length
			stretches = append(stretches, stretch{from, to, step.Devices})
			if to > weekSeconds {
				stretches = append(stretches, stretch{from - weekSeconds, to - weekSeconds, step.Devices})
			}
			bounds = append(bounds, from, to%weekSeconds)
		}
	}
	slices.Sort(bounds)
	c := &Capacity{loc: loc}
	for _, at := range slices.Compact(bounds) {
		holds, stepped := devices, false
		for _, s := range stretches {
			if s.from <= at && at < s.to && (!stepped || s.devices < holds) {
				holds, stepped = s.devices, true
			}
		}
		if n := len(c.devices); n == 0 || c.devices[n-1] != holds {
			c.starts, c.devices = append(c.starts, at), append(c.devices, holds)
		}
	}
	return c, nil
}

// At returns the figure at t and the first instant after t at which it changes, in t's location; zero means never. It does not allocate.
func (c *Capacity) At(t time.Time) (devices int, until time.Time) {
	if len(c.devices) == 1 {
		return c.devices[0], time.Time{}
	}
	u := t.Unix()
	zone := spanAt(c.loc, u)
	i, left := c.find(u + zone.offset)
	devices = c.devices[i]
	// Each turn ends on a bound of the week or of the zone; the figure often stays the same over the latter.
	for {
		if u+left < zone.end {
			u += left
			i = (i + 1) % len(c.devices)
			left = c.length(i)
		} else {
			u = zone.end
			zone = spanAt(c.loc, u)
			i, left = c.find(u + zone.offset)
		}
		if c.devices[i] != devices {
			return devices, time.Unix(u, 0).In(t.Location())
		}
	}
}

// find returns the entry in force at a local time in Unix seconds, and the seconds to the next one.
func (c *Capacity) find(local int64) (i int, left int64) {
	const thursday = 4 * daySeconds // Unix time starts on one
	at := (local%weekSeconds + weekSeconds + thursday) % weekSeconds
	i = sort.Search(len(c.starts), func(i int) bool { return c.starts[i] > at }) - 1
	if i+1 < len(c.starts) {
		return i, c.starts[i+1] - at
	}
	return i, weekSeconds - at
}

func (c *Capacity) length(i int) int64 {
	if i+1 < len(c.starts) {
		return c.starts[i+1] - c.starts[i]
	}
	return weekSeconds - c.starts[i]
}

// Smallest returns the smallest and Largest the largest figure that ever holds.
func (c *Capacity) Smallest() int { return slices.Min(c.devices) }

// Largest returns the largest figure that ever holds.
func (c *Capacity) Largest() int { return slices.Max(c.devices) }

// Equal reports whether both serve the same figures by the same clock.
func (c *Capacity) Equal(o *Capacity) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.loc.String() == o.loc.String() && slices.Equal(c.starts, o.starts) && slices.Equal(c.devices, o.devices)
}
