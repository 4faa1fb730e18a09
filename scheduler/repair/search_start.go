package repair

import (
	"cmp"
	"container/heap"
	"slices"
)

// searchHeap holds jobs that are at home, the one to evict first on top.
type searchHeap struct {
	g    *grid
	jobs []int32
}

func (h *searchHeap) Len() int { return len(h.jobs) }

func (h *searchHeap) Less(x, y int) bool {
	a, b := &h.g.jobs[h.jobs[x]], &h.g.jobs[h.jobs[y]]
	// A job that can be nowhere else would remain unresolved, which is worse than a move more.
	if fixed := a.from == a.to; fixed != (b.from == b.to) {
		return !fixed
	}
	if a.homeB != b.homeB {
		return a.homeB > b.homeB
	}
	if a.homeA != b.homeA {
		return a.homeA > b.homeA // of those that end together, the shortest is the easiest to place
	}
	if a.priority != b.priority {
		return a.priority < b.priority
	}
	return h.jobs[x] < h.jobs[y]
}

func (h *searchHeap) Swap(x, y int) { h.jobs[x], h.jobs[y] = h.jobs[y], h.jobs[x] }
func (h *searchHeap) Push(x any)    { h.jobs = append(h.jobs, x.(int32)) }
func (h *searchHeap) Pop() any {
	last := h.jobs[len(h.jobs)-1]
	h.jobs = h.jobs[:len(h.jobs)-1]
	return last
}

// evict sweeps over the cells and, wherever more are at home than there is room for, drops the one that ends last: that is the fewest
// that must leave their places. It returns who stays.
func (g *grid) evict() []bool {
	order := make([]int32, len(g.jobs))
	for j := range order {
		order[j] = int32(j)
	}
	slices.SortFunc(order, func(x, y int32) int {
		if c := cmp.Compare(g.jobs[x].homeA, g.jobs[y].homeA); c != 0 {
			return c
		}
		return cmp.Compare(x, y)
	})
	stay := make([]bool, len(g.jobs))
	ends := make([]int32, len(g.at)+1)
	h := &searchHeap{g: g}
	load := int32(0)
	for c := range g.at {
		load -= ends[c]
		for len(order) > 0 && int(g.jobs[order[0]].homeA) == c {
			j := order[0]
			order = order[1:]
			stay[j] = true
			load++
			ends[g.jobs[j].homeB]++
			heap.Push(h, j)
		}
		for load > g.room[c] {
			j := heap.Pop(h).(int32)
			if int(g.jobs[j].homeB) <= c {
				continue // it has ended long ago
			}
			stay[j] = false
			ends[g.jobs[j].homeB]--
			load--
		}
		if load == 0 {
			h.jobs = h.jobs[:0]
		}
	}
	return stay
}

// flexibility is how many other starts job j has.
func (g *grid) flexibility(j int32) int64 {
	n := int64(0)
	for _, piece := range g.pieces[g.jobs[j].from:g.jobs[j].to] {
		n += int64(piece.hi-piece.lo) + 1
	}
	return n
}

// begins fills an empty answer: who need not leave stays, the others are placed nearest to home in the best of several orders.
func (s *search) fill(work int64) {
	stay := s.g.evict()
	s.work += int64(len(stay)) * 60
	for j, yes := range stay {
		if yes {
			s.put(int32(j), gridHome)
		}
	}
	left := slices.Clone(s.out)
	slices.Sort(left)
	flexible := make([]int64, len(stay))
	for _, j := range left {
		flexible[j] = s.g.flexibility(j)
	}
	jobs := s.g.jobs
	orders := []func(x, y int32) int{
		func(x, y int32) int { return cmp.Compare(flexible[x], flexible[y]) },
		func(x, y int32) int { return cmp.Compare(jobs[y].duration, jobs[x].duration) },
		func(x, y int32) int { return cmp.Compare(jobs[x].duration, jobs[y].duration) },
		func(x, y int32) int { return cmp.Compare(s.deadline(x), s.deadline(y)) },
	}
	best, bestCost := []int32(nil), searchCost{}
	for _, order := range orders {
		slices.SortFunc(left, func(x, y int32) int { return cmp.Or(order(x, y), cmp.Compare(x, y)) })
		for _, j := range left {
			if p := s.nearest(j); p != gridOut {
				s.put(j, p)
			}
		}
		if best == nil || s.cost.less(bestCost) {
			best, bestCost = slices.Clone(s.pos), s.cost
		}
		for _, j := range left {
			if s.pos[j] != gridOut {
				s.take(j)
			}
		}
		if s.work > work {
			break
		}
	}
	for _, j := range left {
		if best[j] != gridOut {
			s.put(j, best[j])
		}
	}
}

// deadline is the last instant at which job j could end.
func (s *search) deadline(j int32) int64 {
	job := &s.g.jobs[j]
	t := job.start
	if job.to > job.from {
		t = max(t, s.g.instant(j, s.g.pieces[job.to-1].hi))
	}
	return t + job.duration
}

// settle moves each job that is out or moved to the best position that is left, until nothing changes any more.
func (s *search) settle(work int64) {
	for s.work < work {
		before := s.cost
		again := append(slices.Clone(s.out), s.moved...)
		slices.SortFunc(again, func(x, y int32) int {
			if c := cmp.Compare(s.away(y), s.away(x)); c != 0 {
				return c
			}
			return cmp.Compare(x, y)
		})
		for _, j := range again {
			s.improve(j)
			if s.work > work {
				return
			}
		}
		if !s.cost.less(before) {
			return
		}
	}
}

// away is the distance of job j, the most if it is out.
func (s *search) away(j int32) int64 {
	if s.pos[j] == gridOut {
		return 1 << 62
	}
	return s.g.distance(j, s.pos[j])
}

// improve gives job j the best position that is free or, if there is none at home, one that a single other job can leave for less.
func (s *search) improve(j int32) {
	old := s.pos[j]
	if old != gridOut {
		s.take(j)
	}
	best := s.nearest(j)
	if best == gridOut || (old >= 0 && best >= 0 && s.g.distance(j, old) <= s.g.distance(j, best)) {
		best = old
	}
	if best == gridHome {
		s.put(j, best)
		return
	}
	if s.swap(j, gridHome, best, 24) {
		return
	}
	if best != gridOut {
		s.put(j, best)
		return
	}
	// It is out, and whoever makes room for it need only find another place.
	tries := 0
	for _, piece := range s.g.pieces[s.g.jobs[j].from:s.g.jobs[j].to] {
		step := max(1, (piece.hi-piece.lo)/12)
		for p := piece.lo + s.rng.Int32N(step); p <= piece.hi && tries < 40; p += step {
			tries++
			if s.swap(j, s.plain(j, p), gridOut, 6) {
				return
			}
		}
	}
}

// swap places job j, which is out, at pos by moving a single other job from there, if that is cheaper than to place j at instead,
// which is free. Of at most limit candidates it takes the best.
func (s *search) swap(j, pos, instead int32, limit int) bool {
	a, b := s.g.cells(j, pos)
	f, l := s.firstFull(a, b), s.lastFull(a, b)
	if f < 0 {
		return false
	}
	if s.g.room[f] == 0 || s.g.room[l] == 0 {
		return false // nobody to leave
	}
	bestCost := s.cost.minus(s.price(j, gridOut)).plus(s.price(j, instead))
	victim, place := int32(-1), int32(0)
	for c := f; c >= 0 && c > f-64 && limit > 0; c-- {
		list := s.begin[c]
		s.work += 2
		for i, start := 0, 0; i < len(list) && limit > 0; i++ {
			if i == 0 && len(list) > limit {
				start = s.rng.IntN(len(list))
			}
			k := list[(start+i)%len(list)]
			s.work += 2
			if s.b[k] <= l {
				continue
			}
			limit--
			old := s.pos[k]
			s.take(k)
			s.put(j, pos)
			if p := s.nearest(k); p != gridOut {
				cost := s.cost.minus(s.price(k, gridOut)).plus(s.price(k, p))
				if cost.less(bestCost) {
					bestCost, victim, place = cost, k, p
				}
			}
			s.take(j)
			s.put(k, old)
			// Putting k back has changed its index: what follows it in the list is still each seen at most once or twice.
			list = s.begin[c]
		}
	}
	if victim < 0 {
		return false
	}
	s.take(victim)
	s.put(j, pos)
	s.put(victim, place)
	return true
}
