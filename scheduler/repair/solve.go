package repair

import (
	"cmp"
	"math/bits"
	"slices"
	"sort"
)

const (
	solveLeastWork = 1 << 28 // of the flow, which ends by itself but for absurd slots
	solveWholePart = 10      // of the work, one in so many is for what concerns all parts
)

// solvePart is a set of jobs that do not depend on others, with its answer.
type solvePart struct {
	problem      Problem // all jobs, and the capacity that matters to these
	jobs         []int32 // ascending
	result       Result  // by index in jobs
	evictions    int     // known once counted
	counted      bool
	displacement int64 // a bound that holds however many move
}

// Solve gives jobs new starts. Jobs that need no thought stay; the others fall into parts that do not depend on one another, and each is
// answered by the best tier for it: the flow, exact, where every job fits into a slot; an exact search where there are few; or a
// search that Problem.Work bounds. The parts share the work by their jobs; what the small ones do not need the others have. It is a
// function of the problem alone.
//
// Solver is empty when nothing had to be solved. A problem that Check refuses is answered with every job unresolved.
func Solve(p Problem) Result {
	starts := make([]int64, len(p.Jobs))
	for i := range p.Jobs {
		starts[i] = p.Jobs[i].Start
	}
	if p.Check() != nil {
		unresolved := make([]int, len(p.Jobs))
		for i := range unresolved {
			unresolved[i] = i
		}
		return Result{Starts: starts, Unresolved: unresolved}
	}
	var parts []*solvePart
	total := 0
	for _, jobs := range split(p) {
		parts = append(parts, newSolvePart(p, jobs))
		total += len(jobs)
	}
	left := p.Work
	if len(parts) > 1 {
		left -= p.Work / solveWholePart
	}
	bySize := slices.Clone(parts)
	slices.SortStableFunc(bySize, func(a, b *solvePart) int { return cmp.Compare(len(a.jobs), len(b.jobs)) })
	rest := total
	for _, part := range bySize {
		share := solveShare(left, len(part.jobs), rest)
		left -= min(share, part.solve(share, solveShare(max(p.Work, solveLeastWork), len(part.jobs), total)))
		rest -= len(part.jobs)
	}
	return solveJoin(p, starts, parts)
}

// solveShare is work*some/total, which fits even where the product does not.
func solveShare(work int64, some, total int) int64 {
	hi, lo := bits.Mul64(uint64(work), uint64(some))
	share, _ := bits.Div64(hi, lo, uint64(total))
	return int64(share)
}

func newSolvePart(p Problem, jobs []int32) *solvePart {
	from, to := int64(maxInstant), int64(0)
	for _, i := range jobs {
		job := &p.Jobs[i]
		from, to = min(from, job.Start), max(to, job.Start+job.Duration)
		if job.First <= job.Last {
			from, to = min(from, job.First), max(to, job.Last+job.Duration)
		}
	}
	first := sort.Search(len(p.Capacity), func(i int) bool { return p.Capacity[i].At > from })
	last := sort.Search(len(p.Capacity), func(i int) bool { return p.Capacity[i].At >= to })
	p.Capacity = p.Capacity[max(0, first-1):last]
	return &solvePart{problem: p, jobs: jobs}
}

// solve answers the part and says what work that took, of which the flow has its own.
func (part *solvePart) solve(work, flowWork int64) (spent int64) {
	p := part.problem
	if starts, unresolved, bound, ok := solveFlow(p, part.jobs, flowWork); ok {
		part.result = part.tally(starts, unresolved)
		part.result.Bound, part.result.Optimal, part.result.Solver = bound, true, "flow"
		if len(unresolved) > 0 {
			_, part.result.Certificates = boundEnergy(p, part.jobs, part.room())
		}
		return 0
	}
	local := part.local(work)
	if part.count() == 0 {
		starts := make([]int64, len(part.jobs))
		for k := range starts {
			starts[k] = local.Jobs[k].Start
		}
		part.result = Result{Starts: starts, Optimal: true}
		return 0
	}
	answer, spent, ok := Result{}, int64(0), false
	if len(part.jobs) <= exactJobs {
		answer, spent, ok = solveExact(local)
	}
	if !ok {
		answer, spent = solveSearch(local)
	}
	part.result = part.tally(answer.Starts, answer.Unresolved)
	part.result.Solver = answer.Solver
	part.bound(local, answer)
	return spent
}

// tally counts what the starts of the part's jobs mean.
func (part *solvePart) tally(starts []int64, unresolved []int) Result {
	r := Result{Starts: starts, Unresolved: unresolved}
	for k, i := range part.jobs {
		r.count(starts[k] - part.problem.Jobs[i].Start)
	}
	return r
}

// local is the problem of these jobs only.
func (part *solvePart) local(work int64) Problem {
	local := part.problem
	local.Work = work
	local.Jobs = make([]Job, len(part.jobs))
	for k, i := range part.jobs {
		local.Jobs[k] = part.problem.Jobs[i]
	}
	return local
}

func (part *solvePart) room() *boundRoom {
	from, to := int64(maxInstant), int64(0)
	for _, i := range part.jobs {
		job := &part.problem.Jobs[i]
		from, to = min(from, job.Start), max(to, job.Start+job.Duration)
		if job.First <= job.Last {
			from, to = min(from, job.First), max(to, job.Last+job.Duration)
		}
	}
	return newBoundRoom(part.problem.Capacity, from, to, len(part.jobs))
}

// count is how many of the part must leave their place.
func (part *solvePart) count() int {
	if !part.counted {
		part.evictions, part.counted = boundEvictions(boundHomes(part.problem, part.jobs), part.problem.Capacity), true
	}
	return part.evictions
}

// bound adds what is known without the search to what the search knows, and says whether that proves the answer the best.
func (part *solvePart) bound(local Problem, answer Result) {
	r, room := &part.result, part.room()
	least, certificates := boundEnergy(part.problem, part.jobs, room)
	part.displacement = boundDisplacement(part.problem, part.jobs, room, part.count(), len(r.Unresolved))
	r.Certificates = certificates
	proposed := int64(0)
	for _, job := range local.Jobs {
		if job.Proposed != 0 {
			proposed++
		}
	}
	// The tiers count a slot for each proposal that is changed, which is no displacement.
	answer.Bound.Displacement = max(0, answer.Bound.Displacement-proposed*local.Slot)
	r.Bound = Bound{
		Unresolved:   min(len(r.Unresolved), max(answer.Bound.Unresolved, least)),
		Moved:        min(r.Moved, max(answer.Bound.Moved, part.count()-len(r.Unresolved))),
		Displacement: min(r.Displacement, max(answer.Bound.Displacement, part.displacement)),
	}
	met := len(r.Unresolved) == 0 && r.Bound.Moved == r.Moved && r.Bound.Displacement == r.Displacement
	if r.Optimal = answer.Optimal || met && proposed == 0; answer.Optimal {
		r.Bound.Unresolved, r.Bound.Moved = len(r.Unresolved), r.Moved
		if proposed == 0 {
			r.Bound.Displacement = r.Displacement
		}
	}
}

// solveJoin puts the answers of the parts together.
func solveJoin(p Problem, starts []int64, parts []*solvePart) Result {
	var unresolved []int
	var certificates []Certificate
	var searched []int32 // the flow spreads its moves itself
	solvers := map[string]bool{}
	optimal := true
	for _, part := range parts {
		for k, i := range part.jobs {
			starts[i] = part.result.Starts[k]
		}
		for _, k := range part.result.Unresolved {
			unresolved = append(unresolved, int(part.jobs[k]))
		}
		certificates = append(certificates, part.result.Certificates...)
		if solvers[part.result.Solver] = true; part.result.Solver != "flow" {
			searched = append(searched, part.jobs...)
		}
		optimal = optimal && part.result.Optimal
	}
	slices.Sort(unresolved)
	r := tally(p, starts, unresolved)
	if len(searched) > 0 {
		spread(p, &r, searched)
	}
	r.Certificates, r.Optimal = certificates, optimal
	for _, solver := range []string{"flow", "exact", "search"} {
		if solvers[solver] {
			if r.Solver != "" {
				r.Solver += "+"
			}
			r.Solver += solver
		}
	}
	r.Bound = solveBound(p, r, parts)
	return r
}

// solveBound is the bound of the whole. A bound on moves holds for as many unresolved jobs, of the same priorities, as the answer
// has; another answer might have more of them in one part and fewer in another, and move fewer altogether, unless every part
// has its best.
func solveBound(p Problem, r Result, parts []*solvePart) Bound {
	if len(parts) == 1 {
		return parts[0].result.Bound
	}
	var sum Bound
	var free int64  // displacement, however many move
	settled := true // in every part who remains is proved to be the best
	for _, part := range parts {
		b := part.result.Bound
		settled = settled && (part.result.Optimal || len(part.result.Unresolved) == 0)
		sum.Unresolved += b.Unresolved
		sum.Moved += b.Moved
		sum.Displacement += b.Displacement
		free += part.displacement
	}
	if settled && sum.Moved == r.Moved {
		return sum
	}
	if !settled {
		sum.Moved, free = sum.Unresolved-len(r.Unresolved), 0
		for _, part := range parts {
			sum.Moved += max(0, part.count()-part.result.Bound.Unresolved)
		}
		sum.Moved = max(0, sum.Moved)
	}
	// Nor do the displacements of the parts add up: that of one may be less if another moves less and it more.
	sum.Displacement = min(r.Displacement, max(free, solveDisplacement(p, r, parts)))
	return sum
}

// solveDisplacement is a bound of all parts together, for as many unresolved and as many moves.
func solveDisplacement(p Problem, r Result, parts []*solvePart) int64 {
	all := p
	all.Jobs = nil
	for _, part := range parts {
		for _, i := range part.jobs {
			all.Jobs = append(all.Jobs, p.Jobs[i])
		}
	}
	return lagrangeDisplacement(all, r, p.Work/solveWholePart)
}
