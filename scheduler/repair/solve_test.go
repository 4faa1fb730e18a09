package repair

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/tests/need"
)

func TestSolveIsFeasibleAndItsBoundsAreTrue(t *testing.T) {
	boundSeeds(t, 6000, func(t *testing.T, seed uint64, p Problem, all *brute) {
		got := Solve(p)
		if err := Feasible(p, got); err != nil {
			t.Error(err)
			return
		}
		cost := bruteCost(p, got)
		if got.Optimal && cost != all.best {
			t.Errorf("%v is said to be the best, which is %v", cost, all.best)
		}
		if got.Solver == "flow" && !got.Optimal {
			t.Error("the flow is not the best")
		}
		if all.best == [4]int64{} && cost != all.best {
			t.Errorf("%v, where nothing needs to move", cost)
		}
		if int64(got.Bound.Unresolved) > all.best[0] {
			t.Errorf("bound of %d unresolved, best %d", got.Bound.Unresolved, all.best[0])
		}
		if fewest := all.moved[[2]int64(cost[:2])]; int64(got.Bound.Moved) > fewest {
			t.Errorf("bound of %d moved, best %d", got.Bound.Moved, fewest)
		}
		if least := all.displace[[3]int64(cost[:3])]; got.Bound.Displacement > least {
			t.Errorf("bound of %d ms, best %d", got.Bound.Displacement, least)
		}
		for _, c := range got.Certificates {
			boundTrue(t, p, c)
		}
	})
}

func TestSolveDependsOnTheProblemOnly(t *testing.T) {
	for seed := range need.Seeds(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p := bruteGenerate(rng, bruteKind{unit: true, jobs: 40, reach: 4, closed: seed%2 == 0, propose: seed%3 == 0})
		got := Solve(p)
		if diff := cmp.Diff(got, Solve(p)); diff != "" {
			t.Fatalf("seed %d: a second answer differs:\n%s", seed, diff)
		}
		q := p
		q.Jobs = make([]Job, len(p.Jobs))
		for i, k := range rng.Perm(len(p.Jobs)) {
			q.Jobs[k] = p.Jobs[i]
		}
		other := Solve(q)
		if diff := cmp.Diff(append([]int64{got.LongestMove}, sliceOf(bruteCost(p, got))...), append([]int64{other.LongestMove}, sliceOf(bruteCost(q, other))...)); diff != "" {
			t.Fatalf("seed %d: jobs in another order are worth another answer:\n%s", seed, diff)
		}
	}
}

func sliceOf(cost [4]int64) []int64 { return cost[:] }

// FuzzSolve reads a problem of whatever bytes there are.
func FuzzSolve(f *testing.F) {
	f.Add([]byte("\x00\x02\x03\x00\x01\x05\x02\x00\x01\x04\x00\x01\x00\x00\x01\x04\x00\x01\x00\x00"))
	f.Add([]byte{3, 1, 0, 2, 0, 9, 0, 1, 0, 0, 1, 0, 9, 0, 1, 0, 0, 1, 0, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := fuzzProblem(data)
		got := Solve(p)
		if p.Check() != nil {
			if len(got.Unresolved) != len(p.Jobs) {
				t.Fatal("a problem that is refused was answered")
			}
			return
		}
		if err := Feasible(p, got); err != nil {
			t.Fatalf("%v\n%+v", err, p)
		}
	})
}

// fuzzProblem spends the bytes on small numbers mostly, and now and then on one of any size.
func fuzzProblem(data []byte) Problem {
	number := func() int64 {
		if len(data) == 0 {
			return 0
		}
		small := int64(data[0])
		data = data[1:]
		if small == 255 && len(data) >= 8 {
			small = int64(binary.LittleEndian.Uint64(data))
			data = data[8:]
		}
		return small
	}
	p := Problem{Slot: 1000 * number(), Work: 1 << 16}
	for range number() % 16 {
		p.Capacity = append(p.Capacity, Step{number() * 500, int(number()%8) - 2})
	}
	for len(data) > 0 && len(p.Jobs) < 64 {
		job := Job{Start: number() * 500, Duration: number() * 250, First: number() * 500, Last: number() * 500}
		flags := number()
		job.Priority, job.Group = int(flags&7), int(flags>>3&3)
		if flags&32 != 0 {
			job.Proposed = number() * 500
		}
		if flags&64 != 0 {
			from := number() * 250
			job.Closed = append(job.Closed, Span{from, from + number()*250})
		}
		p.Jobs = append(p.Jobs, job)
	}
	return p
}
