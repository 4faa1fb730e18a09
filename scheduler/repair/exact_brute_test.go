package repair_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/scheduler/repair"
	"github.com/mfpgate/mfpgate/scheduler/repair/repairtest"

	"github.com/mfpgate/mfpgate/tests/need"
)

// tiny makes a problem that can be solved by trying everything. Its slots are of seconds, and much in it is not aligned with them.
func tiny(seed uint64) repair.Problem {
	rng := rand.New(rand.NewPCG(seed, 7))
	const slot = 4000
	last := int64(4 + rng.IntN(9))
	unit := int64(slot)
	if rng.IntN(2) == 0 {
		unit = 1000
	}
	within := func(most int64) int64 { return rng.Int64N(most*slot/unit) * unit }
	p := repair.Problem{Slot: slot, Work: 50_000_000, Capacity: []repair.Step{{At: within(2), Free: 1 + rng.IntN(2)}}}
	for range rng.IntN(4) {
		at := p.Capacity[len(p.Capacity)-1].At + unit + within(last/2)
		p.Capacity = append(p.Capacity, repair.Step{At: at, Free: rng.IntN(4) - 1})
	}
	mixed, proposed, closed := rng.IntN(2) == 0, rng.IntN(3) == 0, rng.IntN(3) == 0
	for range 2 + rng.IntN(5) {
		job := repair.Job{Start: within(last), Duration: unit + within(4)}
		job.First = within(last) - slot
		job.Last = job.First + within(last)
		if mixed {
			job.Priority = rng.IntN(10)
		}
		if proposed && rng.IntN(2) == 0 {
			job.Proposed = (1 + rng.Int64N(last)) * slot
		}
		if closed {
			from := within(last)
			job.Closed = []repair.Span{{From: from, To: from + unit + within(3)}}
		}
		p.Jobs = append(p.Jobs, job)
	}
	return p
}

// everything tries every start of every job. The load can be too much only at a start, planned or possible, or at a step.
type everything struct {
	p        repair.Problem
	starts   [][]int64
	points   []int64
	room     []int
	pos      []int64
	out      []int
	best     repairtest.Objective
	answered bool
}

func tryEverything(p repair.Problem) repairtest.Objective {
	e := &everything{p: p, pos: make([]int64, len(p.Jobs))}
	for _, job := range p.Jobs {
		starts := repairtest.Starts(p, job)
		e.starts = append(e.starts, starts)
		e.points = append(e.points, starts...)
	}
	for _, step := range p.Capacity {
		e.points = append(e.points, step.At)
	}
	slices.Sort(e.points)
	e.points = slices.Compact(e.points)
	for _, t := range e.points {
		e.room = append(e.room, repairtest.Room(p, t))
	}
	e.try(0)
	return e.best
}

func (e *everything) try(i int) {
	if e.answered && len(e.out) > e.best.Unresolved {
		return
	}
	if i == len(e.p.Jobs) {
		o, err := repairtest.ObjectiveOf(e.p, repair.Result{Starts: e.pos, Unresolved: e.out})
		if err != nil {
			panic(err) // two ways to see whether it fits disagree
		}
		if !e.answered || o.Less(e.best) {
			e.best, e.answered = o, true
		}
		return
	}
	job := e.p.Jobs[i]
	for _, start := range e.starts[i] {
		fits := true
		for k, t := range e.points {
			if start <= t && t < start+job.Duration {
				e.room[k]--
				fits = fits && e.room[k] >= 0
			}
		}
		if fits {
			e.pos[i] = start
			e.try(i + 1)
		}
		for k, t := range e.points {
			if start <= t && t < start+job.Duration {
				e.room[k]++
			}
		}
	}
	e.pos[i] = job.Start
	e.out = append(e.out, i)
	e.try(i + 1)
	e.out = e.out[:len(e.out)-1]
}

func TestExactEqualsTryingEverything(t *testing.T) {
	seeds := uint64(1000)
	if testing.Short() {
		seeds = 300
	}
	for seed := range need.Seeds(seeds) {
		p := tiny(seed)
		want := tryEverything(p)
		exact, ok := repair.SolveExact(p)
		if !ok || !exact.Optimal {
			t.Fatalf("seed %d: exact says ok %v, optimal %v", seed, ok, exact.Optimal)
		}
		got, err := repairtest.ObjectiveOf(p, exact)
		if err != nil {
			t.Fatalf("seed %d: exact: %v", seed, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: exact is not the best (-want +got):\n%s", seed, diff)
		}
		if slices.ContainsFunc(p.Jobs, func(job repair.Job) bool { return job.Proposed != 0 }) {
			continue // the bound of the displacement is below what is paid for another start than the one proposed
		}
		bound := repair.Bound{Unresolved: len(exact.Unresolved), Moved: exact.Moved, Displacement: exact.Displacement}
		if diff := cmp.Diff(bound, exact.Bound); diff != "" {
			t.Fatalf("seed %d: the bound of a best answer is not the answer (-want +got):\n%s", seed, diff)
		}
	}
}

func TestSearchIsNeverBetterThanTheBestNorItsBoundAboveIt(t *testing.T) {
	for seed := range need.Seeds(1000) {
		p := tiny(seed)
		p.Work = 300_000
		want := tryEverything(p)
		search := repair.SolveSearch(p)
		got, err := repairtest.ObjectiveOf(p, search)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got.Less(want) {
			t.Fatalf("seed %d: search found %+v, which is better than the best, %+v", seed, got, want)
		}
		if got == want && search.Bound.Displacement > search.Displacement {
			t.Fatalf("seed %d: the bound of the displacement is %d, the best is %d", seed, search.Bound.Displacement, search.Displacement)
		}
	}
}

func TestAnswersOfAnyWorkFit(t *testing.T) {
	for seed := range uint64(8) {
		o := repairtest.Options{Unaligned: seed%2 == 0, Closed: seed%3 == 0, Priorities: seed%4 == 0, Steps: seed%5 == 0, Bimodal: seed%7 == 0}
		for _, o.Work = range []int64{1, 3_000_000, 30_000_000} {
			p := repairtest.Generate(seed, 60, o)
			exact, ok := repair.SolveExact(p)
			if !ok {
				t.Fatalf("seed %d: the exact search refuses 60 jobs", seed)
			}
			best, err := repairtest.ObjectiveOf(p, exact)
			if err != nil {
				t.Errorf("seed %d, work %d: exact: %v", seed, o.Work, err)
			}
			found, err := repairtest.ObjectiveOf(p, repair.SolveSearch(p))
			if err != nil {
				t.Errorf("seed %d, work %d: search: %v", seed, o.Work, err)
			}
			if exact.Optimal && found.Less(best) {
				t.Errorf("seed %d, work %d: search found %+v, which is better than the best, %+v", seed, o.Work, found, best)
			}
		}
	}
}

func TestTheSameProblemHasTheSameAnswer(t *testing.T) {
	for seed := range uint64(4) {
		p := repairtest.Generate(seed, 40, repairtest.Options{Unaligned: seed%2 == 0, Work: 30_000_000})
		first, _ := repair.SolveExact(p)
		again, _ := repair.SolveExact(p)
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("seed %d: exact gave two answers:\n%s", seed, diff)
		}
		if diff := cmp.Diff(repair.SolveSearch(p), repair.SolveSearch(p)); diff != "" {
			t.Errorf("seed %d: search gave two answers:\n%s", seed, diff)
		}
	}
}

func TestSlotsBeyondNumber(t *testing.T) {
	const year = 365 * 24 * 3_600_000
	p := repair.Problem{Slot: 1000, Work: 10_000_000, Capacity: []repair.Step{{At: 0, Free: 1}}}
	for i := range int64(3) {
		p.Jobs = append(p.Jobs, repair.Job{Start: year + i*1000, Duration: 7200_000, First: 0, Last: 50 * year})
	}
	if _, ok := repair.SolveExact(p); ok {
		t.Error("the exact search does not refuse fifty years of seconds")
	}
	got, err := repairtest.ObjectiveOf(p, repair.SolveSearch(p))
	if err != nil || got.Unresolved > 0 || got.Moved != 2 {
		t.Errorf("search found %+v, %v", got, err)
	}
}
