package repair

import (
	"math/bits"
	"slices"
	"sort"
)

const (
	solveExactJobs = 300     // up to so many the exact tier is tried
	solveLeastWork = 1 << 28 // of the flow, which ends by itself but for absurd slots
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
// search that Problem.Work bounds. The parts share the work by their jobs. It is a function of the problem alone.
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
	for _, part := range parts {
		part.solve(solveShare(p.Work, len(part.jobs), total), solveShare(max(p.Work, solveLeastWork), len(part.jobs), total))
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

func (part *solvePart) solve(work, flowWork int64) {
	p := part.problem
	if starts, unresolved, bound, ok := solveFlow(p, part.jobs, flowWork); ok {
		part.result = part.tally(starts, unresolved)
		part.result.Bound, part.result.Optimal, part.result.Solver = bound, true, "flow"
		if len(unresolved) > 0 {
			_, part.result.Certificates = boundEnergy(p, part.jobs, part.room())
		}
		return
	}
	local := part.local(work)
	if part.count() == 0 {
		starts := make([]int64, len(part.jobs))
		for k := range starts {
			starts[k] = local.Jobs[k].Start
		}
		part.result = Result{Starts: starts, Optimal: true}
		return
	}
	answer, ok := Result{}, false
	if len(part.jobs) <= solveExactJobs {
		answer, ok = solveExact(local)
	}
	if !ok {
		answer = solveSearch(local)
	}
	part.result = part.tally(answer.Starts, answer.Unresolved)
	part.result.Solver = answer.Solver
	part.bound(local, answer)
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
	r.Bound = Bound{
		Unresolved:   min(len(r.Unresolved), max(answer.Bound.Unresolved, least)),
		Moved:        min(r.Moved, max(answer.Bound.Moved, part.count()-len(r.Unresolved))),
		Displacement: min(r.Displacement, max(answer.Bound.Displacement, part.displacement)),
	}
	met := len(r.Unresolved) == 0 && r.Bound.Moved == r.Moved && r.Bound.Displacement == r.Displacement
	proposed := slices.ContainsFunc(local.Jobs, func(job Job) bool { return job.Proposed != 0 })
	if r.Optimal = answer.Optimal || met && !proposed; answer.Optimal {
		r.Bound.Unresolved, r.Bound.Moved = len(r.Unresolved), r.Moved
		if !proposed {
			r.Bound.Displacement = r.Displacement
		}
	}
}

// solveJoin puts the answers of the parts together.
func solveJoin(p Problem, starts []int64, parts []*solvePart) Result {
	var unresolved []int
	var certificates []Certificate
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
		solvers[part.result.Solver] = true
		optimal = optimal && part.result.Optimal
	}
	slices.Sort(unresolved)
	r := tally(p, starts, unresolved)
	r.Certificates, r.Optimal = certificates, optimal
	for _, solver := range []string{"flow", "exact", "search"} {
		if solvers[solver] {
			if r.Solver != "" {
				r.Solver += "+"
			}
			r.Solver += solver
		}
	}
	r.Bound = solveBound(r, parts)
	return r
}

// solveBound is the bound of the whole. A bound on moves holds for as many unresolved jobs, of the same priorities, as the answer
// has; another answer might have more of them in one part and fewer in another, and move fewer altogether, unless every part
// has its best.
func solveBound(r Result, parts []*solvePart) Bound {
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
	if settled {
		if sum.Moved < r.Moved {
			sum.Displacement = min(sum.Displacement, free)
		}
		return sum
	}
	sum.Moved = sum.Unresolved - len(r.Unresolved)
	for _, part := range parts {
		sum.Moved += max(0, part.count()-part.result.Bound.Unresolved)
	}
	return Bound{Unresolved: sum.Unresolved, Moved: max(0, sum.Moved)}
}
