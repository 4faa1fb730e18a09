package repair

import (
	"cmp"
	"slices"
)

// neighbours improves the best answer piece by piece: it frees some jobs that are near each other, keeps the others where they are, and
// brings those to their best by branch and bound, until that has not helped for a while.
func (e *exact) neighbours(until int64) {
	n := len(e.pos)
	size := min(24, n)
	for failed := 0; failed < 20+n/4 && e.work < until && !e.perfect(); {
		e.load(e.pos)
		free := e.near(size)
		better, done := e.neighbour(free, min(until, e.work+30_000_000))
		failed++
		switch {
		case better:
			failed = 0
		case done:
			size = min(size+2, n, 120)
		default:
			size = max(size*4/5, 8)
		}
	}
}

func (e *exact) perfect() bool { return e.best.out == 0 && e.best.moved == 0 }

// load makes an answer the search's.
func (e *exact) load(to []int32) {
	s := e.s
	work := s.work
	for j, pos := range s.pos {
		if pos != gridOut && pos != to[j] {
			s.take(int32(j))
		}
	}
	for j, pos := range to {
		if s.pos[j] != pos {
			s.put(int32(j), pos)
		}
	}
	e.work += s.work - work + int64(len(e.pos))*2
}

// near chooses about count jobs about a place of a job that is out or moved.
func (e *exact) near(count int) []int32 {
	s := e.s
	r := &ruiner{search: s}
	var seed int32
	if l := len(s.out) + len(s.moved); l > 0 {
		k := s.rng.IntN(l)
		if len(s.out) > 0 && s.rng.IntN(2) == 0 {
			k = s.rng.IntN(len(s.out))
		}
		if k < len(s.out) {
			seed = s.out[k]
		} else {
			seed = s.moved[k-len(s.out)]
		}
	}
	middle := r.middle(seed)
	type near struct {
		j   int32
		far int32
	}
	var all []near
	loose := s.rng.Int32N(24)
	for i := range s.pos {
		j := int32(i)
		far := int32(0)
		if s.pos[j] != gridOut {
			far = max(s.a[j]-middle, middle-s.b[j]+1, 0)
		} else {
			far = e.reach(j, middle)
		}
		if s.pos[j] == gridHome && far > 0 {
			far += 2
		}
		all = append(all, near{j, far*4 + s.rng.Int32N(loose+2)})
	}
	slices.SortFunc(all, func(x, y near) int { return cmp.Or(cmp.Compare(x.far, y.far), cmp.Compare(x.j, y.j)) })
	e.work += int64(len(all)) * 40
	free := []int32{seed}
	for _, x := range all {
		if x.j != seed && len(free) < count {
			free = append(free, x.j)
		}
	}
	slices.Sort(free)
	return free
}

// reach is how far from a cell the nearest place of a job is.
func (e *exact) reach(j, middle int32) int32 {
	job := &e.g.jobs[j]
	far := max(job.homeA-middle, middle-job.homeB+1, 0)
	for _, piece := range e.g.pieces[job.from:job.to] {
		a, _ := e.g.cells(j, piece.lo)
		_, b := e.g.cells(j, piece.hi)
		far = min(far, max(a-middle, middle-b+1, 0))
	}
	return far
}

// neighbour brings the free jobs to their best, the others staying, and says whether the answer is better for it, and whether there was
// work enough to be sure.
func (e *exact) neighbour(free []int32, until int64) (better, done bool) {
	s := e.s
	work := s.work
	for _, j := range free {
		if s.pos[j] != gridOut {
			s.take(j)
		}
	}
	inner := &exact{g: e.g, s: s, best: e.best, pos: slices.Clone(e.pos), rest: s.cost, work: e.work + s.work - work}
	for _, j := range free {
		inner.rest = inner.rest.minus(s.price(j, gridOut))
	}
	inner.m = newExactModel(e.g, free, s.free)
	inner.work += int64(len(inner.m.pos)) * 20
	done = true
	for level := 0; level < exactLevels; level++ {
		if inner.aim(level) == 0 || level == exactPriority && inner.samePriority() {
			continue
		}
		if inner.branch(level, until, 200) < inner.aim(level) {
			done = false
		}
	}
	e.work = inner.work
	if inner.best.less(e.best) {
		e.best = inner.best
		copy(e.pos, inner.pos)
		return true, done
	}
	return false, done
}

// wander looks for an answer with fewer unresolved jobs, by passing from one with as many to another, whatever they cost otherwise.
func (e *exact) wander(until int64) bool {
	n := len(e.pos)
	size := min(24, n)
	at := slices.Clone(e.pos)
	out := e.best.out
	for e.work < until {
		e.load(at)
		free := e.near(size)
		s := e.s
		cost, work := s.cost, s.work
		for _, j := range free {
			if s.pos[j] != gridOut {
				s.take(j)
			}
		}
		inner := &exact{g: e.g, s: s, best: cost, pos: slices.Clone(at), rest: s.cost, work: e.work + s.work - work}
		for _, j := range free {
			inner.rest = inner.rest.minus(s.price(j, gridOut))
		}
		inner.m = newExactModel(e.g, free, s.free)
		inner.best.out += searchOut // so that one as good is good enough
		bound := inner.branch(exactOut, e.work+10_000_000, 30)
		e.work = inner.work
		switch {
		case bound >= inner.aim(exactOut):
			size = min(size+1, n, 100)
		default:
			size = max(size-2, 10)
		}
		copy(at, inner.pos)
		if inner.best.out < out {
			e.best = inner.best
			copy(e.pos, inner.pos)
			return true
		}
	}
	return false
}
