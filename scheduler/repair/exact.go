package repair

import "slices"

// exact finds the best answer by branch and bound, one aim after the other, and starts from what the search finds.
type exact struct {
	g      *grid
	m      *exactModel
	s      *search
	best   searchCost
	pos    []int32 // of the best answer
	work   int64
	nodes  int
	gaveUp int
}

// exactColumns is how large a model may be.
const exactColumns = 400_000

// solveExact finds the best answer, or one with bounds if the work is spent before. ok is false if the problem is too large to begin with.
func solveExact(p Problem) (Result, bool) {
	g := newGrid(p)
	columns := int64(0)
	for j := range g.jobs {
		columns += g.flexibility(int32(j)) + 2
	}
	if columns > exactColumns || len(p.Jobs) > 512 || len(g.at) > 4096 {
		return Result{}, false
	}
	e := &exact{g: g, s: newSearch(g, digest(p))}
	e.s.fill(p.Work / 20)
	e.s.settle(p.Work / 20)
	e.s.ruin(min(p.Work/10, e.s.work+int64(len(p.Jobs)*len(p.Jobs))*10_000))
	e.best, e.pos = e.s.cost, slices.Clone(e.s.pos)
	e.m = newExactModel(g)
	e.work = e.s.work
	var bounds [exactLevels]int64
	proved := true
	for level := range exactLevels {
		if level == exactPriority && e.samePriority() {
			bounds[level] = e.aim(level)
			continue
		}
		share := e.work + (p.Work-e.work)*6/10
		if level == exactDistance {
			share = p.Work
		}
		if e.aim(level) > 0 {
			bounds[level] = e.branch(level, share)
		}
		if bounds[level] < e.aim(level) {
			proved = false
		}
	}
	lastWork, lastNodes = e.work, e.nodes
	r := g.result(e.pos, "exact")
	r.Optimal = proved
	r.Bound = Bound{Unresolved: int(bounds[exactOut])}
	if bounds[exactOut] == e.aim(exactOut) {
		r.Bound.Moved = int(bounds[exactMoved])
		r.Bound.Displacement = min(bounds[exactDistance]*e.m.unit, r.Displacement)
	}
	return r, true
}

// aim is the best answer's value of a level.
func (e *exact) aim(level int) int64 { return e.m.level(level, e.best) }

func (e *exact) samePriority() bool {
	for _, j := range e.g.jobs {
		if j.priority != e.g.jobs[0].priority {
			return false
		}
	}
	return true
}

// offer takes what the search has if it is better than the best.
func (e *exact) offer() {
	if e.s.cost.less(e.best) {
		e.best = e.s.cost
		copy(e.pos, e.s.pos)
	}
}

// round makes an answer of a relaxation: first what it takes most of, then what still fits, and a little search from there.
func (e *exact) round(lp *exactLP, shares [][]exactShare, thorough bool) {
	s := e.s
	var all []exactShare
	for _, list := range shares {
		all = append(all, list...)
	}
	slices.SortStableFunc(all, func(x, y exactShare) int {
		switch {
		case x.x > y.x:
			return -1
		case x.x < y.x:
			return 1
		}
		return 0
	})
	s.work = 0
	for j, pos := range s.pos {
		if pos != gridOut {
			s.take(int32(j))
		}
	}
	for _, share := range all {
		j, pos := e.m.job[share.q], e.m.pos[share.q]
		if pos != gridOut && s.pos[j] == gridOut && s.fits(j, pos) {
			s.put(j, pos)
		}
	}
	e.offer()
	left := slices.Clone(s.out)
	slices.Sort(left)
	for _, j := range left {
		if pos := s.nearest(j); pos != gridOut {
			s.put(j, pos)
		}
	}
	s.settle(s.work + int64(len(s.pos))*400)
	more := int64(len(s.pos)) * 600
	if thorough {
		more *= 60
	}
	s.ruin(s.work + more)
	e.offer()
	lp.work += s.work
}

var lastWork int64
var lastNodes int
