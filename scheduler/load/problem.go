package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate/calendar"
)

// Occurrence is one run of a delivery or a background service.
type Occurrence struct {
	Start    int64 // UTC milliseconds
	Duration int32 // milliseconds until the planned (p95) end
	Likely   int32 // milliseconds until the p50 end, at most Duration; the same as Duration where nothing is uncertain
	// Device is the index of the one device that it serves, in 0 to Problem.Devices-1, or Anonymous(n).
	Device int32
	Source int32 // index of its delivery batch or background service in Problem.Movable
}

// MaxDuration is how long an occurrence may last.
const MaxDuration = (1<<31 - 1) * time.Millisecond

// MaxAnonymous is how many anonymous devices one occurrence may stand for.
const MaxAnonymous = 1_000_000

// Anonymous stands in Occurrence.Device for n devices, 1 to MaxAnonymous, that nobody knows and nothing else serves.
func Anonymous(n int) int32 { return int32(-n) }

// weight is how many devices the occurrence serves.
func (o *Occurrence) weight() int64 {
	if o.Device < 0 {
		return -int64(o.Device)
	}
	return 1
}

func (o *Occurrence) end() int64 { return o.Start + int64(o.Duration) }

// Step says how many devices are served at once from At on until the next step.
type Step struct {
	At      int64 // UTC milliseconds
	Devices int   // 0 serves none; negative where what is not among the occurrences takes more than there is
}

// Problem is what is planned, and the room for it.
type Problem struct {
	Occurrences []Occurrence
	Capacity    []Step // ascending; before the first step there is no room
	From, To    int64  // the horizon, UTC milliseconds, of year 1 to 9999
	Devices     int    // how many known devices there are
	Movable     []bool // by source: whether its occurrences can be given another start. Its length is the number of sources.
	// MinExcess leaves out bands in which the load never exceeds the capacity by so many devices. 0 and 1 leave none out.
	MinExcess int
}

// ErrProblem is returned for a problem whose parts do not fit one another: a defect of the caller.
var ErrProblem = errors.New("not a problem of load")

// The bounds of instants: they leave room for sums.
const (
	minInstant = -62135596800_000
	maxInstant = 253402300800_000
)

func (p *Problem) validate() error {
	refuse := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrProblem, fmt.Sprintf(format, a...))
	}
	switch {
	case p.From < minInstant || p.To > maxInstant || p.From > p.To:
		return refuse("horizon from %d to %d; it must lie in the years 1 to 9999 and not run backwards", p.From, p.To)
	case p.Devices < 0 || int64(p.Devices) > 1<<31 || len(p.Movable) > 1<<31-1 || len(p.Occurrences) > 1<<31-1:
		return refuse("%d devices, %d sources and %d occurrences; each must fit 31 bits", p.Devices, len(p.Movable), len(p.Occurrences))
	}
	const mostDevices = 1 << 40
	for i, s := range p.Capacity {
		if i > 0 && s.At <= p.Capacity[i-1].At || s.At < minInstant || s.At > maxInstant {
			return refuse("capacity step %d is at %d; steps must ascend in the years 1 to 9999", i, s.At)
		}
		if s.Devices < -mostDevices || s.Devices > mostDevices {
			return refuse("capacity step %d is of %d devices; at most %d are allowed", i, s.Devices, mostDevices)
		}
	}
	var all int64
	for i := range p.Occurrences {
		o := &p.Occurrences[i]
		if uint32(o.Source) >= uint32(len(p.Movable)) || uint32(o.Likely) > uint32(o.Duration) || o.Duration < 0 ||
			int64(o.Device) >= int64(p.Devices) || o.Device < -MaxAnonymous || o.Start < minInstant || o.Start > maxInstant {
			return refuse("occurrence %d, %+v, is out of bounds", i, *o)
		}
		all += o.weight()
	}
	deepest := 0
	for _, s := range p.Capacity { // below zero it adds to the excess
		deepest = min(deepest, s.Devices)
	}
	all -= int64(deepest)
	if length := p.To - p.From; length > 0 && all > (1<<62)/length {
		return refuse("%d devices over %d ms overflow device-milliseconds", all, length)
	}
	return nil
}

// Expand appends an occurrence like o for each time the recurrence is due, if any of it lies in the horizon from from to to:
// also those that started before. o.Start is not used.
func Expand(dst []Occurrence, r calendar.Recurrence, from, to int64, o Occurrence) []Occurrence {
	earliest := from - int64(o.Duration) + 1
	for second := range r.Instants(time.UnixMilli(earliest), time.UnixMilli(to)) {
		o.Start = second * 1000
		dst = append(dst, o)
	}
	return dst
}
