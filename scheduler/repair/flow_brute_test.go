package repair

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// bruteGrain is the resolution of generated instances, in milliseconds.
const bruteGrain = 250

// brute knows every answer of a tiny problem.
type brute struct {
	p        Problem
	choices  [][]int64 // by job, the planned start first
	free     []int     // by grain
	load     []int
	best     [4]int64 // unresolved, their priorities, moved, displacement with the price of changed proposals
	found    bool
	moved    map[[2]int64]int64 // the fewest, by unresolved and their priorities
	displace map[[3]int64]int64 // the least, by those and moved
}

// bruteSolve tries all assignments.
func bruteSolve(p Problem) *brute {
	b := &brute{p: p, moved: map[[2]int64]int64{}, displace: map[[3]int64]int64{}}
	end := int64(0)
	for _, job := range p.Jobs {
		choices := []int64{job.Start}
		for at := int64(0); at <= job.Last; at += p.Slot {
			touches := slices.ContainsFunc(job.Closed, func(s Span) bool { return at < s.To && at+job.Duration > s.From })
			if at >= job.First && at != job.Start && !touches {
				choices = append(choices, at)
			}
		}
		b.choices = append(b.choices, choices)
		end = max(end, job.Start+job.Duration, job.Last+job.Duration)
	}
	b.free = make([]int, end/bruteGrain+2)
	b.load = make([]int, len(b.free))
	for _, step := range p.Capacity {
		for k := range b.free {
			if int64(k)*bruteGrain >= step.At {
				b.free[k] = step.Free
			}
		}
	}
	b.try(0, [4]int64{}, 0)
	return b
}

func (b *brute) try(i int, cost [4]int64, displacement int64) {
	if i == len(b.p.Jobs) {
		if !b.found || slices.Compare(cost[:], b.best[:]) < 0 {
			b.found, b.best = true, cost
		}
		left := [2]int64(cost[:2])
		if fewest, ok := b.moved[left]; !ok || cost[2] < fewest {
			b.moved[left] = cost[2]
		}
		if least, ok := b.displace[[3]int64(cost[:3])]; !ok || displacement < least {
			b.displace[[3]int64(cost[:3])] = displacement
		}
		return
	}
	job := &b.p.Jobs[i]
	remain := cost
	remain[0]++
	remain[1] += int64(job.Priority)
	b.try(i+1, remain, displacement)
	for k, at := range b.choices[i] {
		if !b.add(at, job.Duration) {
			continue
		}
		next, by := cost, max(at-job.Start, job.Start-at)
		if k > 0 {
			next[2]++
			next[3] += by
			if job.Proposed != 0 && job.Proposed != at {
				next[3] += b.p.Slot
			}
		}
		b.try(i+1, next, displacement+by)
		for g := at / bruteGrain; g < (at+job.Duration)/bruteGrain; g++ {
			b.load[g]--
		}
	}
}

func (b *brute) add(at, duration int64) bool {
	for g := at / bruteGrain; g < (at+duration)/bruteGrain; g++ {
		if b.load[g]+1 > b.free[g] {
			return false
		}
	}
	for g := at / bruteGrain; g < (at+duration)/bruteGrain; g++ {
		b.load[g]++
	}
	return true
}

// bruteCost is what an answer costs in the terms of best.
func bruteCost(p Problem, r Result) [4]int64 {
	cost := [4]int64{int64(len(r.Unresolved)), 0, int64(r.Moved), r.Displacement}
	for _, i := range r.Unresolved {
		cost[1] += int64(p.Jobs[i].Priority)
	}
	for i, at := range r.Starts {
		if job := &p.Jobs[i]; at != job.Start && job.Proposed != 0 && job.Proposed != at {
			cost[3] += p.Slot
		}
	}
	return cost
}

// bruteKind says how far a generated instance is from the case of the flow.
type bruteKind struct {
	unit    bool // starts on slots, durations of a slot at most, capacity that changes on slots
	jobs    int
	reach   int // of a window, in slots
	slots   int64
	free    int // the most, less one
	closed  bool
	propose bool
}

func bruteGenerate(rng *rand.Rand, kind bruteKind) Problem {
	const slot = 1000
	slots := cmp.Or(kind.slots, 9)
	p := Problem{Slot: slot, Work: 1 << 24}
	at := func(limit int64) int64 { // an instant
		if kind.unit {
			return rng.Int64N(limit) * slot
		}
		return rng.Int64N(limit*slot/bruteGrain) * bruteGrain
	}
	for from := at(3); from < (slots+3)*slot; from += slot + at(4) {
		p.Capacity = append(p.Capacity, Step{from, rng.IntN(cmp.Or(kind.free, 4)) - rng.IntN(2)})
	}
	crowd := at(slots - 2)
	for range 1 + rng.IntN(kind.jobs) {
		job := Job{Start: at(slots), Duration: int64(1+rng.IntN(4)) * bruteGrain, Priority: rng.IntN(3), Group: rng.IntN(3)}
		if rng.IntN(2) == 0 {
			job.Start = crowd
		}
		if !kind.unit {
			job.Duration = int64(1+rng.IntN(10)) * bruteGrain
		}
		switch rng.IntN(8) {
		case 0: // can only stay
			job.First, job.Last = job.Start+1, job.Start
		case 1: // its window is elsewhere
			job.First = rng.Int64N(slots * slot)
			job.Last = job.First + rng.Int64N(2*slot)
		default:
			job.First = max(0, job.Start-rng.Int64N(int64(kind.reach)*slot))
			job.Last = min(job.Start+rng.Int64N(int64(kind.reach)*slot), slots*slot)
		}
		for from := rng.Int64N(2 * slots * slot / bruteGrain); kind.closed && from < slots*slot/bruteGrain && rng.IntN(3) > 0; {
			to := from + 1 + rng.Int64N(8)
			job.Closed = append(job.Closed, Span{from * bruteGrain, to * bruteGrain})
			from = to + rng.Int64N(8)
		}
		if kind.propose && rng.IntN(2) == 0 {
			job.Proposed = (1 + rng.Int64N(slots)) * slot
		}
		p.Jobs = append(p.Jobs, job)
	}
	return p
}
