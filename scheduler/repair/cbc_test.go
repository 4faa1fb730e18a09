package repair_test

import (
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/scheduler/repair"
	"github.com/mfpgate/mfpgate/scheduler/repair/repairtest"
	"github.com/mfpgate/mfpgate/tests/need"
)

func TestExactEqualsCBC(t *testing.T) {
	cbc := need.Program(t, "cbc")
	for seed := range uint64(6) {
		p := repairtest.Generate(seed, 20+int(seed)*5, repairtest.Options{
			Bimodal: seed%3 == 2, Unaligned: seed%2 == 1, Priorities: seed%4 == 1, Closed: seed%3 == 1, Steps: seed > 3, Slots: 100,
		})
		result, ok := repair.SolveExact(p)
		if !ok {
			t.Fatalf("seed %d: the exact search refuses %d jobs", seed, len(p.Jobs))
		}
		ours, err := repairtest.ObjectiveOf(p, result)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		theirs, proved, err := repairtest.CBC(t.Context(), cbc, p, 4*time.Second)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if proved && ours != theirs || theirs.Less(ours) {
			t.Errorf("seed %d: exact found %+v (optimal: %v), CBC %+v (optimal: %v)", seed, ours, result.Optimal, theirs, proved)
		}
		t.Logf("seed %d: exact %+v (optimal: %v), CBC %+v (optimal: %v)", seed, ours, result.Optimal, theirs, proved)
	}
}
