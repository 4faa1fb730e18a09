package repair_test

import (
	"testing"

	"github.com/mfpgate/mfpgate/scheduler/repair"
	"github.com/mfpgate/mfpgate/scheduler/repair/repairtest"
)

func TestTheBoundOfTheDisplacementIsNearTheBest(t *testing.T) {
	for seed := range uint64(3) {
		p := repairtest.Fleet(seed, 250, 0.3)
		best, ok := repair.SolveExact(p)
		if !ok || !best.Optimal {
			t.Fatalf("seed %d: not solved: %v", seed, ok)
		}
		bound := repair.LagrangeDisplacement(p, best, 200_000_000)
		if bound > best.Displacement || bound < best.Displacement*9/10 {
			t.Errorf("seed %d: bound of %d ms, the best is %d", seed, bound, best.Displacement)
		}
	}
}

func TestTheBoundOfAllPartsTogetherIsNearTheAnswer(t *testing.T) {
	p := repairtest.Fleet(1, 8000, 0.3) // of each night's moves a few are not proved
	p.Work = 200_000_000
	got := repair.Solve(p)
	if len(got.Unresolved) > 0 || got.Bound.Moved == got.Moved {
		t.Fatalf("%d unresolved, bound of %d moved of %d: another problem is needed", len(got.Unresolved), got.Bound.Moved, got.Moved)
	}
	if got.Bound.Displacement > got.Displacement || got.Bound.Displacement < got.Displacement*9/10 {
		t.Errorf("bound of %d ms, the answer has %d", got.Bound.Displacement, got.Displacement)
	}
}
