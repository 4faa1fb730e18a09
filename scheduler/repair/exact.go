package repair

import (
	"math"
	"slices"
)

// exact finds the best answer by branch and bound, one aim after the other.
type exact struct {
	g    *grid
	m    *exactModel
	s    *search
	rest searchCost // what the jobs that are not in the model cost
	best searchCost
	pos  []int32 // of the best answer, by job of the model
	work int64

	kept [exactLevels]*exactLevel // where alternate goes on
}

// What is too large to begin with.
const (
	exactColumns = 400_000
	exactJobs    = 512
	exactCells   = 4096
)

// solveExact finds the best answer, or one with bounds if the work is spent before. ok is false if the problem is too large to begin with.
func solveExact(p Problem) (r Result, spent int64, ok bool) {
	g := newGrid(p)
	if g == nil || len(p.Jobs) > exactJobs || len(g.at) > exactCells {
		return Result{}, 0, false
	}
	columns := int64(0)
	for j := range g.jobs {
		columns += g.flexibility(int32(j)) + 2
	}
	if columns > exactColumns {
		return Result{}, 0, false
	}
	e := &exact{g: g, s: newSearch(g, digest(p))}
	e.s.fill(p.Work / 20)
	e.s.settle(p.Work / 20)
	e.s.ruin(min(p.Work/20, e.s.work+int64(len(p.Jobs)*len(p.Jobs))*1000))
	e.best, e.pos = e.s.cost, slices.Clone(e.s.pos)
	ids := make([]int32, len(p.Jobs))
	for j := range ids {
		ids[j] = int32(j)
	}
	e.m = newExactModel(g, ids, g.room)
	e.work, e.s.work = e.s.work, 0
	bounds := e.levels(p.Work)
	r = g.result(e.pos, "exact")
	r.Optimal = true
	for level, bound := range bounds {
		r.Optimal = r.Optimal && bound >= e.aim(level)
	}
	r.Bound = Bound{Unresolved: int(bounds[exactOut])}
	if bounds[exactOut] == e.aim(exactOut) && bounds[exactPriority] == e.aim(exactPriority) {
		r.Bound.Moved = int(bounds[exactMoved])
		r.Bound.Displacement = bounds[exactDistance] * e.m.unit
		for _, job := range g.jobs {
			if job.proposed != 0 {
				r.Bound.Displacement -= g.slot // which the aim may count, and the displacement does not
			}
		}
		r.Bound.Displacement = max(r.Bound.Displacement, 0)
		r.Bound.Displacement = min(r.Bound.Displacement, r.Displacement)
	}
	return r, e.work, true
}

// levels brings the aims to their best, in their order, and returns what no answer can be below in each, given the ones before. A
// later aim is looked at while an earlier one is not proved, and then that again: an answer that is displaced less is often near one
// that moves fewer.
func (e *exact) levels(until int64) (bounds [exactLevels]int64) {
	for level := 0; level < exactLevels; {
		before := e.best
		switch {
		case e.aim(level) == 0:
			bounds[level] = 0
		case level == exactPriority && e.samePriority():
			bounds[level] = e.aim(level)
		default:
			left := until - e.work
			share := until
			switch {
			case level < exactMoved:
				share = e.work + left*6/10
			case level == exactMoved:
				share = e.work + left*3/10
			case bounds[exactMoved] < e.aim(exactMoved) && left > until/exactLast:
				share = e.work + left/2
			}
			bounds[level] = e.alternate(level, share)
		}
		level++
		for k := range level - 1 {
			if e.m.level(k, before) == e.aim(k) {
				continue
			}
			// What was proved of the aims between was about worse answers.
			for stale := k + 1; stale < level-1; stale++ {
				bounds[stale] = 0
			}
			if e.work < until && k+1 < level-1 {
				level = k + 1
			}
			break
		}
		if level == exactLevels && bounds[exactMoved] < e.aim(exactMoved) && e.work < until-until/exactLast {
			level = exactMoved
		}
	}
	return bounds
}

// exactLast is the share of the work, one in so many, with which it is not worth to look at an aim again.
const exactLast = 20

// alternate brings one aim to its best: it divides, and in between looks for better answers by pieces, which leaves less to divide.
func (e *exact) alternate(level int, until int64) (bound int64) {
	l, most := e.kept[level], math.MaxInt
	if l == nil || l.before() != l.earlier {
		l, most = e.newLevel(level), 1
	}
	first := true
	for part := max((until-e.work)/40, 1); ; part += part / 4 {
		b, again := l.run(min(until, e.work+part), most)
		most = math.MaxInt
		if again || l.before() != l.earlier {
			l, most = e.newLevel(level), 1
			bound = 0
		} else {
			bound = max(bound, b)
		}
		e.kept[level] = l
		if bound >= e.aim(level) || e.work >= until {
			return bound
		}
		end := min(until, e.work+part)
		switch level {
		case exactOut, exactMoved:
			// From an answer that is good in the later aims there is more room to wander.
			if level == exactMoved {
				e.neighbours(min(until, e.work+part*3/4))
			} else if !first {
				e.neighbours(min(until, e.work+part/3))
			}
			for e.work < end && bound < e.aim(level) && e.wander(level, end) {
			}
			first = false
		default:
			e.neighbours(end)
		}
		if l.before() != l.earlier {
			l, most, bound = e.newLevel(level), 1, 0
		}
	}
}

// own is what the jobs of the model cost.
func (e *exact) own() searchCost { return e.best.minus(e.rest) }

// aim is the best answer's value of a level.
func (e *exact) aim(level int) int64 { return e.m.level(level, e.own()) }

func (e *exact) samePriority() bool {
	for _, p := range e.m.priority {
		if p != e.m.priority[0] {
			return false
		}
	}
	return true
}

// offer takes what the search has if it is better than the best.
func (e *exact) offer() {
	if e.s.cost.less(e.best) {
		e.best = e.s.cost
		for i, j := range e.m.ids {
			e.pos[i] = e.s.pos[j]
		}
	}
}

// round makes an answer of a relaxation: first what it takes most of, then what still fits.
func (e *exact) round(lp *exactLP, shares [][]exactShare) {
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
	for _, j := range e.m.ids {
		if s.pos[j] != gridOut {
			s.take(j)
		}
	}
	for _, share := range all {
		j, pos := e.m.ids[e.m.job[share.q]], e.m.pos[share.q]
		if pos != gridOut && s.pos[j] == gridOut && s.fits(j, pos) {
			s.put(j, pos)
		}
	}
	for _, j := range e.m.ids {
		if s.pos[j] != gridOut {
			continue
		}
		if pos := s.nearest(j); pos != gridOut {
			s.put(j, pos)
		}
	}
	e.offer()
	if len(e.m.ids) == len(s.pos) {
		s.settle(s.work + int64(len(s.pos))*400)
		s.ruin(s.work + int64(len(s.pos))*600)
		e.offer()
	}
	lp.work += s.work + int64(len(all))*20
	s.work = 0
}
