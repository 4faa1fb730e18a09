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
	}
	rng := rand.New(rand.NewPCG(1, 2))
	line, list := slots.NewLine(), []entry{}
	for step := range 20_000 {
		grow := step/2_000%2 == 0 // so that it is long, then empty, then long again
		switch i := rng.IntN(len(list) + 1); {
		case i == len(list) || grow && rng.IntN(3) > 0:
			line.Join(step)
			list = append(list, entry{step, true})
		case rng.IntN(3) == 0:
			list[i].present = !list[i].present
			line.SetPresent(list[i].name, list[i].present)
		default:
			line.Leave(list[i].name)
			list = slices.Delete(list, i, i+1)
		}
		first, before := -1, 0
		probe := -1
		if len(list) > 0 {
			probe = rng.IntN(len(list))
		}
		for i, e := range list {
			if e.present && first == -1 {
				first = e.name
			}
			if e.present && i < probe {
				before++
			}
		}
		if got := line.First(); got != first {
			t.Fatalf("step %d: first is %d, want %d", step, got, first)
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
