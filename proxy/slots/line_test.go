package slots_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mfpgate/mfpgate/proxy/slots"
)

// The queue agrees, over a long random history, with a plain list that is searched from the front.
func TestLineAgreesWithAList(t *testing.T) {
	type entry struct {
		name    int
		present bool
		planned bool
	}
	rng := rand.New(rand.NewPCG(1, 2))
	line, list := slots.NewLine(), []entry{}
	for step := range 20_000 {
		grow := step/2_000%2 == 0 // so that it is long, then empty, then long again
		switch i := rng.IntN(len(list) + 1); {
		case i == len(list) || grow && rng.IntN(3) > 0:
			line.Join(step)
			list = append(list, entry{step, true, false})
		case rng.IntN(3) == 0:
			list[i].present = !list[i].present
			line.SetPresent(list[i].name, list[i].present)
		case rng.IntN(3) == 0:
			list[i].planned = !list[i].planned
			line.Plan(list[i].name, list[i].planned)
		default:
			line.Leave(list[i].name)
			list = slices.Delete(list, i, i+1)
		}
		first, before := map[bool]int{true: -1, false: -1}, 0
		probe := -1
		if len(list) > 0 {
			probe = rng.IntN(len(list))
		}
		for i, e := range list {
			if e.present && first[e.planned] == -1 {
				first[e.planned] = e.name
			}
			if e.present && i < probe && e.planned == list[probe].planned {
				before++
			}
		}
		for planned, want := range first {
			if got := line.First(planned); got != want {
				t.Fatalf("step %d: the first whose slot is planned (%v) is %d, want %d", step, planned, got, want)
			}
		}
		if probe >= 0 {
			if got := line.Before(list[probe].name); got != before {
				t.Fatalf("step %d: %d before %d, want %d", step, got, list[probe].name, before)
			}
		}
		if limit := 2*len(list) + 65; line.Places() > limit {
			t.Fatalf("step %d: %d places for %d tickets, want at most %d", step, line.Places(), len(list), limit)
		}
	}
}
