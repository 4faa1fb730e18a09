package repair

import (
	"cmp"
	"slices"
)

// refiner improves the answer of a search piece by piece: it frees some jobs that are near each other, keeps the others where they are,
// and brings those to their best by branch and bound.
type refiner struct {
	*ruiner
	size   int // how many jobs to free
	most   int
	last   int   // the aims after this one do not matter, and an answer as good is taken, too
	budget int64 // for one piece
}

func newRefiner(s *search, last int) *refiner {
	n := len(s.pos)
	r := &refiner{ruiner: &ruiner{search: s, all: n <= 1024}, size: min(24, n), most: min(120, n), last: last, budget: 60_000_000}
	if last < exactDistance {
		r.budget = 20_000_000
	}
	return r
}

// step frees and places one piece. The answer is never worse afterwards in the aims that matter.
func (r *refiner) step(until int64) {
	if r.piece(r.near(), min(until, r.search.work+r.budget)) {
		r.size = min(r.size+2, r.most)
	} else {
		r.size = max(r.size*4/5, min(8, r.most))
	}
}

// near chooses jobs about a place of one that is out or moved.
func (r *refiner) near() []int32 {
	s := r.search
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
	add := func(j int32) {
		far := int32(0)
		if s.pos[j] != gridOut {
			far = max(s.a[j]-middle, middle-s.b[j]+1, 0)
		} else {
			far = s.g.reach(j, middle)
		}
		if s.pos[j] == gridHome && far > 0 {
			far += 2
		}
		all = append(all, near{j, far*4 + s.rng.Int32N(loose+2)})
	}
	if r.all {
		for j := range s.pos {
			add(int32(j))
		}
	} else {
		for d := int32(0); d < 256 && len(all) < 4*r.size; d++ {
			for side, c := range [2]int32{middle - d, middle + d} {
				if c < 0 || int(c) >= len(s.begin) || d == 0 && side == 1 {
					continue
				}
				list := s.begin[c]
				for range min(len(list), r.size/2) {
					add(list[s.rng.IntN(len(list))])
				}
			}
		}
		for range min(len(s.out), 8) {
			add(s.out[s.rng.IntN(len(s.out))])
		}
	}
	slices.SortFunc(all, func(x, y near) int { return cmp.Or(cmp.Compare(x.far, y.far), cmp.Compare(x.j, y.j)) })
	s.work += int64(len(all)) * 60
	free := []int32{seed}
	columns := s.g.flexibility(seed) + 2
	for _, x := range all {
		if len(free) < r.size && x.j != seed && x.j != free[len(free)-1] {
			if columns += s.g.flexibility(x.j) + 2; columns > exactColumns {
				break // windows may have very many places
			}
			free = append(free, x.j)
		}
	}
	slices.Sort(free)
	return slices.Compact(free)
}

// reach is how far from a cell the nearest place of a job is.
func (g *grid) reach(j, middle int32) int32 {
	job := &g.jobs[j]
	far := max(job.homeA-middle, middle-job.homeB+1, 0)
	for _, piece := range g.pieces[job.from:job.to] {
		a, _ := g.cells(j, piece.lo)
		_, b := g.cells(j, piece.hi)
		far = min(far, max(a-middle, middle-b+1, 0))
	}
	return far
}

// piece brings the free jobs to their best, and says whether there was work enough to be sure of it.
func (r *refiner) piece(free []int32, until int64) (done bool) {
	s := r.search
	e := &exact{g: s.g, s: s, best: s.cost}
	for _, j := range free {
		e.pos = append(e.pos, s.pos[j])
	}
	for _, j := range free {
		if s.pos[j] != gridOut {
			s.take(j)
		}
	}
	e.rest = s.cost
	for _, j := range free {
		e.rest = e.rest.minus(s.price(j, gridOut))
	}
	e.m = newExactModel(s.g, free, s.free)
	e.work = s.work + int64(len(e.m.pos))*20 + int64(len(s.free))
	s.work = 0
	done = true
	switch r.last {
	case exactOut:
		e.best.out += searchOut // so that one as good is good enough
		done = e.branch(exactOut, until, 30) >= e.aim(exactOut)
	case exactMoved:
		e.best.moved++
		done = e.branch(exactMoved, until, 30) >= e.aim(exactMoved)
	default:
		for level := range exactLevels {
			if e.aim(level) > 0 && (level != exactPriority || !e.samePriority()) && e.branch(level, until, 200) < e.aim(level) {
				done = false
			}
		}
	}
	s.work = e.work
	for i, j := range free {
		if s.pos[j] == e.pos[i] {
			continue
		}
		if s.pos[j] != gridOut {
			s.take(j)
		}
	}
	for i, j := range free {
		if s.pos[j] != e.pos[i] {
			s.put(j, e.pos[i])
		}
	}
	return done
}

// load makes the best answer that of the search.
func (e *exact) load() {
	s := e.s
	for i, j := range e.m.ids {
		if s.pos[j] != gridOut && s.pos[j] != e.pos[i] {
			s.take(j)
		}
	}
	for i, j := range e.m.ids {
		if s.pos[j] != e.pos[i] {
			s.put(j, e.pos[i])
		}
	}
}

// neighbours improves the best answer by pieces until that has not helped for a while.
func (e *exact) neighbours(until int64) {
	e.load()
	r := newRefiner(e.s, exactDistance)
	e.s.work = e.work
	for failed := 0; failed < 20+len(e.pos)/4 && e.s.work < until && e.best != (searchCost{}); failed++ {
		r.step(until)
		if e.s.cost.less(e.best) {
			e.offer()
			failed = 0
		}
	}
	e.work = e.s.work
	e.s.work = 0
}

// wander looks for an answer that is better in an aim, or in one before it, by passing from one that is as good in these to another,
// whatever they cost otherwise.
func (e *exact) wander(level int, until int64) bool {
	value := func(c searchCost) [2]int64 {
		if level == exactOut {
			return [2]int64{c.out / searchOut}
		}
		return [2]int64{c.out, c.moved}
	}
	best := value(e.best)
	e.load()
	r := newRefiner(e.s, level)
	e.s.work = e.work
	better := false
	for e.s.work < until && !better {
		r.step(until)
		now := value(e.s.cost)
		better = slices.Compare(now[:], best[:]) < 0
	}
	e.work = e.s.work
	e.s.work = 0
	e.offer()
	return better
}
