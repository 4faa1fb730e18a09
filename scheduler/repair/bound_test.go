package repair

import (
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
)

// boundSeeds runs a test on many generated problems of every kind, with all their answers known.
func boundSeeds(t *testing.T, seeds uint64, test func(t *testing.T, seed uint64, p Problem, all *brute)) {
	t.Helper()
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 2))
		kind := bruteKind{unit: seed%4 == 0, jobs: 6, reach: 1 + rng.IntN(3), closed: seed%3 == 0, propose: seed%5 == 0}
		p := bruteGenerate(rng, kind)
		test(t, seed, p, bruteSolve(p))
		if t.Failed() {
			t.Fatalf("seed %d: %+v", seed, p)
		}
	}
}

func boundWhole(p Problem) *boundRoom { return newBoundRoom(p.Capacity, 0, 1<<20, len(p.Jobs)) }

func TestEvictionsAreTheFewestThatLeaveTheirPlace(t *testing.T) {
	boundSeeds(t, 6000, func(t *testing.T, seed uint64, p Problem, _ *brute) {
		for i := range p.Jobs { // with no other place, who leaves is unresolved
			p.Jobs[i].First, p.Jobs[i].Last = 1, 0
		}
		want := bruteSolve(p).best[0]
		if got := boundEvictions(boundHomes(p, bruteJobs(p)), p.Capacity); int64(got) != want {
			t.Errorf("%d evictions, the fewest are %d", got, want)
		}
	})
}

func TestBoundsAreNeverAboveTheBest(t *testing.T) {
	exact := 0
	boundSeeds(t, 12000, func(t *testing.T, seed uint64, p Problem, all *brute) {
		jobs, room := bruteJobs(p), boundWhole(p)
		left, certificates := boundEnergy(p, jobs, room)
		if int64(left) > all.best[0] {
			t.Errorf("bound of %d unresolved, the best has %d", left, all.best[0])
		}
		if int64(left) == all.best[0] && left > 0 {
			exact++
		}
		evictions := boundEvictions(boundHomes(p, jobs), p.Capacity)
		for of, least := range all.displace {
			if int64(evictions) > of[0]+of[2] {
				t.Errorf("%d evictions, an answer has %d unresolved and %d moved", evictions, of[0], of[2])
			}
			if bound := boundDisplacement(p, jobs, room, evictions, int(of[0])); bound > least {
				t.Errorf("bound of %d ms with %d unresolved, an answer has %d", bound, of[0], least)
			}
		}
		for _, c := range certificates {
			boundTrue(t, p, c)
		}
	})
	if exact < 1500 {
		t.Errorf("the bound on the unresolved met the best %d times only", exact)
	}
}

// boundTrue checks a certificate by itself: the jobs that it is about, alone, leave as many as it says.
func boundTrue(t *testing.T, p Problem, c Certificate) {
	t.Helper()
	if c.AtLeast < 1 || c.Need <= c.Have || c.From >= c.To || !slices.IsSorted(c.Jobs) {
		t.Errorf("certificate %+v proves nothing", c)
	}
	only := p
	only.Jobs = nil
	for _, i := range c.Jobs {
		only.Jobs = append(only.Jobs, p.Jobs[i])
	}
	if left := bruteSolve(only).best[0]; left < int64(c.AtLeast) {
		t.Errorf("certificate %+v, but %d suffice", c, left)
	}
}

func TestPlacesAreThoseOfAJobAlone(t *testing.T) {
	boundSeeds(t, 4000, func(t *testing.T, seed uint64, p Problem, _ *brute) {
		room := boundWhole(p)
		for i := range p.Jobs {
			alone := Problem{Slot: p.Slot, Capacity: p.Capacity, Jobs: p.Jobs[i : i+1]}
			b := &brute{}
			*b = *bruteSolve(alone)
			var starts []int64
			for _, at := range bruteGrid(p, i) {
				if b.add(at, p.Jobs[i].Duration) {
					starts = append(starts, at)
					for g := at / bruteGrain; g < (at+p.Jobs[i].Duration)/bruteGrain; g++ {
						b.load[g]--
					}
				}
			}
			lo, ok := room.first(&p.Jobs[i], 0, p.Slot)
			hi, too := room.last(&p.Jobs[i], p.Jobs[i].Last, p.Slot)
			if ok != too || ok != (len(starts) > 0) || ok && (lo != starts[0] || hi != starts[len(starts)-1]) {
				t.Errorf("job %d: first %d %v, last %d %v, starts %v", i, lo, ok, hi, too, starts)
			}
		}
	})
}

// bruteGrid is where a job may start on the grid.
func bruteGrid(p Problem, i int) []int64 {
	var starts []int64
	for at := int64(0); at <= p.Jobs[i].Last; at += p.Slot {
		if p.Jobs[i].allows(at, p.Slot) {
			starts = append(starts, at)
		}
	}
	return starts
}

// A fleet has more ends of places than are compared, and more durations than classes.
func TestCertificatesOfAFleetAddUp(t *testing.T) {
	p := fleetLong(6000, 3)
	for i := range p.Jobs { // ends off the grid
		p.Jobs[i].Start += int64(i%5) * 1000
	}
	left, certificates := boundEnergy(p, bruteJobs(p), newBoundRoom(p.Capacity, p.Capacity[0].At, p.Capacity[0].At*2, len(p.Jobs)))
	if left < 1000 {
		t.Errorf("bound of %d unresolved, where there is room for a third", left)
	}
	for _, c := range certificates {
		var needs []int64
		need := int64(0)
		for _, i := range c.Jobs {
			job, least := &p.Jobs[i], p.Jobs[i].Duration
			for at := range boundStarts(p, i) {
				least = min(least, max(0, min(at+job.Duration, c.To)-max(at, c.From)))
			}
			needs = append(needs, least)
			need += least
		}
		have := int64(0)
		for k, step := range p.Capacity {
			to := c.To
			if k+1 < len(p.Capacity) {
				to = min(to, p.Capacity[k+1].At)
			}
			have += int64(step.Free) * max(0, to-max(step.At, c.From))
		}
		slices.Sort(needs)
		slices.Reverse(needs)
		atLeast := 0
		for over := need - have; over > 0; atLeast++ {
			over -= needs[atLeast]
		}
		if c.Need != need || c.Have != have || c.AtLeast != atLeast {
			t.Errorf("%v: need %d, have %d, at least %d; counted %d, %d, %d", c.Span, c.Need, c.Have, c.AtLeast, need, have, atLeast)
		}
	}
}

// boundStarts yields every place of a job.
func boundStarts(p Problem, i int) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		job := &p.Jobs[i]
		if !yield(job.Start) {
			return
		}
		for at := (job.First + p.Slot - 1) / p.Slot * p.Slot; at <= job.Last; at += p.Slot {
			if job.allows(at, p.Slot) && !yield(at) {
				return
			}
		}
	}
}
