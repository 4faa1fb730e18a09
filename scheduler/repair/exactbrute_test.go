package repair_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/mfpgate/mfpgate/scheduler/repair"
	"github.com/mfpgate/mfpgate/scheduler/repair/repairtest"
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

// best tries every start of every job.
func best(p repair.Problem) repairtest.Objective {
	choices := make([][]int64, len(p.Jobs))
	for i, job := range p.Jobs {
		choices[i] = repairtest.Starts(p, job)
	}
	r := repair.Result{Starts: make([]int64, len(p.Jobs))}
	var found *repairtest.Objective
	var try func(i int)
	try = func(i int) {
		if i == len(p.Jobs) {
			if o, err := repairtest.ObjectiveOf(p, r); err == nil && (found == nil || o.Less(*found)) {
				found = &o
			}
			return
		}
		for _, start := range choices[i] {
			r.Starts[i] = start
			// What is too much already does not become less.
			part := repair.Problem{Slot: p.Slot, Capacity: p.Capacity, Jobs: p.Jobs[:i+1]}
			if _, err := repairtest.ObjectiveOf(part, repair.Result{Starts: r.Starts[:i+1], Unresolved: r.Unresolved}); err == nil {
				try(i + 1)
			}
		}
		r.Starts[i] = p.Jobs[i].Start
		r.Unresolved = append(r.Unresolved, i)
		try(i + 1)
		r.Unresolved = r.Unresolved[:len(r.Unresolved)-1]
	}
	try(0)
	return *found
}

func TestExactEqualsTryingEverything(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 500
	}
	for seed := range seeds {
		p := tiny(seed)
		want := best(p)
		exact, ok := repair.SolveExact(p)
		if !ok || !exact.Optimal {
			t.Fatalf("seed %d: exact says ok %v, optimal %v", seed, ok, exact.Optimal)
		}
		got, err := repairtest.ObjectiveOf(p, exact)
		if err != nil {
			t.Fatalf("seed %d: exact: %v", seed, err)
		}
		if got != want {
			t.Fatalf("seed %d: exact found %+v, the best is %+v", seed, got, want)
		}
		if exact.Bound != (repair.Bound{Unresolved: len(exact.Unresolved), Moved: exact.Moved, Displacement: exact.Displacement}) {
			t.Fatalf("seed %d: an answer that is optimal has the bound %+v", seed, exact.Bound)
		}
		p.Work = 300_000
		search := repair.SolveSearch(p)
		got, err = repairtest.ObjectiveOf(p, search)
		if err != nil {
			t.Fatalf("seed %d: search: %v", seed, err)
		}
		if got.Less(want) {
			t.Fatalf("seed %d: search found %+v, which is better than the best, %+v", seed, got, want)
		}
		if got == want && search.Bound.Displacement > search.Displacement {
			t.Fatalf("seed %d: the bound of search is %d, above the best %d", seed, search.Bound.Displacement, search.Displacement)
		}
	}
}

func TestTheSameProblemHasTheSameAnswer(t *testing.T) {
	for seed := range uint64(4) {
		p := repairtest.Generate(seed, 40, repairtest.Options{Unaligned: seed%2 == 0, Work: 100_000_000})
		a, _ := repair.SolveExact(p)
		b, _ := repair.SolveExact(p)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("seed %d: exact gave two answers", seed)
		}
		if !reflect.DeepEqual(repair.SolveSearch(p), repair.SolveSearch(p)) {
			t.Errorf("seed %d: search gave two answers", seed)
		}
	}
}
