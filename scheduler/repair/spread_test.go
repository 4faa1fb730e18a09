package repair_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/scheduler/repair"
	"github.com/mfpgate/mfpgate/scheduler/repair/repairtest"
)

// slots makes a job of whole slots.
func slots(start, duration, first, last int64, group int) repair.Job {
	const slot = repairtest.Slot
	return repair.Job{Start: start * slot, Duration: duration * slot, First: first * slot, Last: last * slot, Group: group}
}

func TestMovesAreSpread(t *testing.T) {
	for _, test := range []struct {
		name    string
		jobs    []repair.Job
		starts  []int64 // in slots, before
		out     []int
		want    []int64
		wantOut []int
		longest int64
	}{
		{"the longest move is shared with another of the same length of time",
			[]repair.Job{slots(0, 2, 0, 20, 0), slots(2, 2, 0, 20, 0)}, []int64{10, 4}, nil, []int64{4, 10}, nil, 8},
		{"of which each must be allowed its start",
			[]repair.Job{slots(0, 2, 0, 20, 0), slots(2, 2, 0, 6, 0)}, []int64{10, 4}, nil, []int64{10, 4}, nil, 10},
		{"and which must last as long",
			[]repair.Job{slots(0, 2, 0, 20, 0), slots(2, 3, 0, 20, 0)}, []int64{10, 4}, nil, []int64{10, 4}, nil, 10},
		{"of those planned alike another customer's is moved",
			[]repair.Job{slots(0, 2, 0, 20, 1), slots(0, 2, 0, 20, 1), slots(0, 2, 0, 20, 2)}, []int64{2, 4, 0}, nil, []int64{0, 4, 2}, nil, 4},
		{"or remains unresolved",
			[]repair.Job{slots(0, 2, 0, 20, 1), slots(0, 2, 0, 20, 1), slots(0, 2, 0, 1, 2)}, []int64{0, 4, 0}, []int{0}, []int64{0, 4, 0}, []int{2}, 4},
		{"unless it may not be",
			[]repair.Job{slots(0, 2, 0, 20, 1), slots(0, 2, 0, 20, 1), slots(0, 2, 0, 1, 2)}, []int64{2, 4, 0}, nil, []int64{2, 4, 0}, nil, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := repair.Problem{Slot: repairtest.Slot, Capacity: []repair.Step{{Free: 9}}, Jobs: test.jobs}
			r := repair.Result{Unresolved: test.out}
			for _, s := range test.starts {
				r.Starts = append(r.Starts, s*p.Slot)
			}
			repair.Spread(p, &r, all(p))
			for i := range r.Starts {
				r.Starts[i] /= p.Slot
			}
			if diff := cmp.Diff(repair.Result{Starts: test.want, Unresolved: test.wantOut, LongestMove: test.longest * p.Slot}, r); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func all(p repair.Problem) []int32 {
	jobs := make([]int32, len(p.Jobs))
	for i := range jobs {
		jobs[i] = int32(i)
	}
	return jobs
}

// burden is the sum of the squares of what the groups bear.
func burden(p repair.Problem, r repair.Result) (sum int) {
	load := map[int]int{}
	for i, job := range p.Jobs {
		if r.Starts[i] != job.Start || slices.Contains(r.Unresolved, i) {
			load[job.Group]++
		}
	}
	for _, l := range load {
		sum += l * l
	}
	return sum
}

func TestSpreadingChangesNothingElse(t *testing.T) {
	shorter, fairer := 0, 0
	for seed := range uint64(6) {
		p := repairtest.Fleet(seed, 500, 0.3+float64(seed)/8)
		p.Work = 20_000_000
		r := repair.SolveSearch(p)
		before, err := repairtest.ObjectiveOf(p, r)
		if err != nil {
			t.Fatal(err)
		}
		longest, bears := r.LongestMove, burden(p, r)
		repair.Spread(p, &r, all(p))
		after, err := repairtest.ObjectiveOf(p, r)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("seed %d: the answer is worth something else:\n%s", seed, diff)
		}
		if r.LongestMove > longest || burden(p, r) > bears {
			t.Errorf("seed %d: the longest move was %d and is %d, the burden was %d and is %d", seed, longest, r.LongestMove, bears, burden(p, r))
		}
		if r.LongestMove < longest {
			shorter++
		}
		if burden(p, r) < bears {
			fairer++
		}
	}
	if shorter == 0 || fairer < 4 {
		t.Errorf("of 6 answers %d have a shorter longest move and %d are fairer", shorter, fairer)
	}
}
