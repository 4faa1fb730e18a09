package repair

import (
	"math/rand/v2"
	"slices"
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

// cycleArc moves one job, or the room that one takes, and costs in the terms of bruteCost.
type cycleArc struct {
	from, to int
	cost     [4]int64
}

// cycleArcs are the ways in which an answer can be changed a little: each job to each of its other places, and room from and to an
// end that all slots share.
func cycleArcs(p Problem, r Result, slots int) []cycleArc {
	end, nowhere := slots, slots+1
	load := make([]int, slots)
	arcs := []cycleArc{{from: nowhere, to: end}}
	if len(r.Unresolved) > 0 {
		arcs = append(arcs, cycleArc{from: end, to: nowhere})
	}
	for i := range p.Jobs {
		job := &p.Jobs[i]
		cost := func(at int64) (c [4]int64) {
			if by := max(at-job.Start, job.Start-at); by > 0 {
				c[2], c[3] = 1, by
				if job.Proposed != 0 && job.Proposed != at {
					c[3] += p.Slot
				}
			}
			return c
		}
		places := append(bruteGrid(p, i), job.Start)
		now, from := [4]int64{1, int64(job.Priority), 0, 0}, nowhere
		if !slices.Contains(r.Unresolved, i) {
			now, from = cost(r.Starts[i]), int(r.Starts[i]/p.Slot)
			load[from]++
			arcs = append(arcs, cycleArc{from, nowhere, [4]int64{1 - now[0], int64(job.Priority) - now[1], -now[2], -now[3]}})
		}
		for _, at := range places {
			c := cost(at)
			arcs = append(arcs, cycleArc{from, int(at / p.Slot), [4]int64{c[0] - now[0], c[1] - now[1], c[2] - now[2], c[3] - now[3]}})
		}
	}
	for v := range load {
		free := 0
		for _, step := range p.Capacity {
			if step.At <= int64(v)*p.Slot {
				free = step.Free
			}
		}
		if load[v] < free {
			arcs = append(arcs, cycleArc{from: v, to: end})
		}
		if load[v] > 0 {
			arcs = append(arcs, cycleArc{from: end, to: v})
		}
	}
	return arcs
}

// An assignment is the best if and only if no cycle of changes has a price below nothing; Bellman and Ford's algorithm finds one.
func TestFlowLeavesNothingToImprove(t *testing.T) {
	const slots = 60
	chains := 0
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 4))
		p := bruteGenerate(rng, bruteKind{unit: true, jobs: 150, reach: 1 + rng.IntN(8), slots: 40, free: 2 + rng.IntN(8), closed: seed%2 == 0, propose: seed%3 == 0})
		got := Solve(p)
		if err := Feasible(p, got); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if cap := got.Moved; cap > 2 {
			chains++
		}
		var price [slots + 2][4]int64
		arcs := cycleArcs(p, got, slots)
		for round := 0; ; round++ {
			changed := false
			for _, arc := range arcs {
				next := price[arc.from]
				for k := range next {
					next[k] += arc.cost[k]
				}
				if slices.Compare(next[:], price[arc.to][:]) < 0 {
					price[arc.to], changed = next, true
				}
			}
			if !changed {
				break
			}
			if round > slots+2 {
				t.Fatalf("seed %d: an answer with %v can be improved", seed, bruteCost(p, got))
			}
		}
		if got.Solver != "flow" && got.Solver != "" || !got.Optimal {
			t.Fatalf("seed %d: solver %q, optimal %v", seed, got.Solver, got.Optimal)
		}
	}
	if chains < 300 {
		t.Fatalf("only %d of the problems needed moves", chains)
	}
}

func TestFlowSpreadsMoves(t *testing.T) {
	const slot = 60_000
	batch := func(jobs, groups int) Problem {
		p := Problem{Slot: slot, Capacity: []Step{{0, 4}}}
		for i := range jobs {
			p.Jobs = append(p.Jobs, Job{Start: 10 * slot, Duration: slot, First: 10 * slot, Last: 40 * slot, Group: i * groups / jobs})
		}
		return p
	}
	t.Run("customers bear alike", func(t *testing.T) {
		p := batch(40, 4)
		got := Solve(p)
		moved := map[int]int{}
		for i, at := range got.Starts {
			if at != p.Jobs[i].Start {
				moved[p.Jobs[i].Group]++
			}
		}
		for group := range 4 {
			if moved[group] != 9 {
				t.Errorf("customers' moves %v, want 9 each of 36", moved)
				break
			}
		}
	})
	t.Run("who was planned first goes first", func(t *testing.T) {
		// All of slots 10 and 11 must go right; in order, nobody goes further than 4 slots.
		p := batch(16, 1)
		for i := range 8 {
			p.Jobs[i].Start = 11 * slot
		}
		p.Capacity = []Step{{0, 0}, {12 * slot, 4}}
		if got := Solve(p); got.LongestMove != 4*slot || got.Moved != 16 {
			t.Errorf("moved %d, longest %d slots, want 16 and 4", got.Moved, got.LongestMove/slot)
		}
	})
}
