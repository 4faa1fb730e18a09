// Package repairtest makes problems of the kinds that fleets have, and compares answers with those of other solvers. It serves tests
// and benches only.
package repairtest

import (
	"math"
	"math/rand/v2"

	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// Options shape a generated problem. What is zero is drawn from the seed.
type Options struct {
	Slots       int     // in the horizon
	Utilisation float64 // of the room by the jobs' durations; more than 1 cannot all be placed
	Bimodal     bool    // short and long jobs instead of log-normal durations
	MaxWindow   float64 // the longest window, as a multiple of the job's duration; at least 1
	Unaligned   bool    // starts, durations and steps of any second instead of whole slots
	Priorities  bool
	Closed      bool // some windows have closed time
	Steps       bool // the room varies
	Work        int64
}

// Slot is that of every generated problem.
const Slot int64 = 300_000

// Origin is the instant at which the horizon of every generated problem begins: a multiple of Slot and of an hour.
const Origin int64 = 1_790_800_000_000 / 3_600_000 * 3_600_000

// Generate makes a problem of n jobs, planned in batches, with windows of one to eight durations.
func Generate(seed uint64, n int, o Options) repair.Problem {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	if o.Slots == 0 {
		o.Slots = 144 << rng.IntN(2)
	}
	if o.Utilisation == 0 {
		o.Utilisation = 0.5 + 0.6*rng.Float64()
	}
	if o.MaxWindow == 0 {
		o.MaxWindow = 2 + 6*rng.Float64()
	}
	p := repair.Problem{Slot: Slot, Work: o.Work}
	if p.Work == 0 {
		p.Work = 1_000_000_000
	}
	batches := 3 + rng.IntN(10)
	total := 0.0
	for range n {
		slots := math.Exp(rng.NormFloat64()*0.7 + 1.6)
		if o.Bimodal {
			slots = 1 + 2*rng.Float64()
			if rng.IntN(4) == 0 {
				slots = 10 + 8*rng.Float64()
			}
		}
		slots = min(max(slots, 1), float64(o.Slots)/4)
		duration := int64(math.Round(slots)) * Slot
		if o.Unaligned {
			duration = int64(slots*float64(Slot)) / 1000 * 1000
		}
		used := int(ceil(duration, Slot))
		batch := rng.IntN(batches)
		start := batch*(o.Slots-used)/batches + rng.IntN(3)
		if rng.IntN(4) == 0 {
			start = rng.IntN(o.Slots - used + 1)
		}
		start = min(start, o.Slots-used)
		spare := int(float64(used) * rng.Float64() * (o.MaxWindow - 1))
		before := rng.IntN(spare + 1)
		job := repair.Job{
			Start: Origin + int64(start)*Slot, Duration: duration,
			First: Origin + int64(max(start-before, 0))*Slot, Last: Origin + int64(min(start-before+spare, o.Slots-used))*Slot,
		}
		if o.Unaligned && rng.IntN(2) == 0 {
			job.Start += rng.Int64N(Slot/1000) * 1000
		}
		if o.Priorities {
			job.Priority = rng.IntN(10)
		}
		if o.Closed && rng.IntN(3) == 0 {
			from := job.First + rng.Int64N(job.Last-job.First+job.Duration)/1000*1000
			job.Closed = []repair.Span{{From: from, To: from + Slot*int64(1+rng.IntN(6))}}
		}
		total += float64(duration) / float64(Slot)
		p.Jobs = append(p.Jobs, job)
	}
	room := max(1, int(math.Round(total/float64(o.Slots)/o.Utilisation)))
	p.Capacity = []repair.Step{{At: Origin, Free: room}}
	if o.Steps {
		for at := int64(0); at < int64(o.Slots); at += 12 + rng.Int64N(36) {
			step := repair.Step{At: Origin + at*Slot, Free: max(0, room-1+rng.IntN(3))}
			if o.Unaligned {
				step.At += rng.Int64N(Slot/1000) * 1000
			}
			if last := &p.Capacity[len(p.Capacity)-1]; last.At >= step.At {
				last.Free = step.Free
			} else {
				p.Capacity = append(p.Capacity, step)
			}
		}
	}
	return p
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// Fleet makes a week of n deliveries: seven nights, log-normal durations, batches at round hours of unequal size, each to be delivered in
// its night. utilisation is that of the nights' room; at 0.3 a few of a hundred must move and all find a place.
func Fleet(seed uint64, n int, utilisation float64) repair.Problem {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	const night, nights, day = 120, 7, 288
	p := repair.Problem{Slot: Slot, Work: 1_000_000_000}
	weights := make([]float64, nights*10)
	sum := 0.0
	for i := range weights {
		weights[i] = 0.6 + 0.8*rng.Float64()
		sum += weights[i]
	}
	total := int64(0)
	for i := range n {
		at, k := float64(i)/float64(n)*sum, 0
		for at >= weights[k] {
			at -= weights[k]
			k++
		}
		duration := int64(min(max(math.Round(math.Exp(rng.NormFloat64()*0.6+0.9)), 1), 24)) * Slot
		begin := Origin + int64(k/10*day)*Slot
		job := repair.Job{Start: begin + int64(k%10)*12*Slot, Duration: duration, First: begin, Last: begin + night*Slot - duration}
		if rng.IntN(3) == 0 { // two hours around
			job.First, job.Last = max(job.First, job.Start-24*Slot), min(job.Last, job.Start+24*Slot)
		}
		job.Start = min(job.Start, job.Last)
		job.Group = rng.IntN(50)
		total += duration / Slot
		p.Jobs = append(p.Jobs, job)
	}
	room := int(float64(total) / (night * nights) / utilisation)
	for d := range int64(nights) {
		p.Capacity = append(p.Capacity, repair.Step{At: Origin + d*day*Slot, Free: room}, repair.Step{At: Origin + (d*day+night)*Slot, Free: room / 4})
	}
	return p
}
