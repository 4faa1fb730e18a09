package repair

func solveExact(p Problem) (Result, bool) { return Result{}, false }

// solveSearch leaves everything in the way unresolved, greedily.
func solveSearch(p Problem) Result {
	starts := make([]int64, len(p.Jobs))
	for i := range starts {
		starts[i] = p.Jobs[i].Start
	}
	var unresolved, kept []int
	for i := range starts {
		q := Problem{Slot: p.Slot, Capacity: p.Capacity}
		r := Result{}
		for _, k := range append(kept, i) {
			q.Jobs = append(q.Jobs, p.Jobs[k])
			r.Starts = append(r.Starts, starts[k])
		}
		if len(kept) > 2000 || feasibleLoad(q, r.Starts, make([]bool, len(q.Jobs))) != nil {
			unresolved = append(unresolved, i)
		} else {
			kept = append(kept, i)
		}
	}
	r := tally(p, starts, unresolved)
	r.Solver = "search"
	return r
}
