package repair

import (
	"math/rand/v2"
	"testing"
)

func bruteJobs(p Problem) []int32 {
	jobs := make([]int32, len(p.Jobs))
	for i := range jobs {
		jobs[i] = int32(i)
	}
	return jobs
}

func TestFlowIsAsGoodAsAllAssignmentsTried(t *testing.T) {
	for seed := range uint64(8000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := bruteGenerate(rng, bruteKind{unit: true, jobs: 7, reach: 1 + rng.IntN(4), closed: seed%2 == 0, propose: seed%3 == 0})
		want := bruteSolve(p)
		starts, unresolved, bound, ok := solveFlow(p, bruteJobs(p), 1<<30)
		if !ok {
			t.Fatalf("seed %d: the flow did not answer", seed)
		}
		got := tally(p, starts, unresolved)
		if err := Feasible(p, got); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		cost := bruteCost(p, got)
		if cost != want.best {
			t.Fatalf("seed %d: unresolved, priorities, moved, displacement %v, best %v", seed, cost, want.best)
		}
		least := want.displace[[3]int64(cost[:3])]
		if bound.Unresolved != len(unresolved) || bound.Moved != got.Moved || bound.Displacement > least || seed%3 != 0 && bound.Displacement != least {
			t.Fatalf("seed %d: bound %+v, least displacement %d", seed, bound, least)
		}
	}
}
