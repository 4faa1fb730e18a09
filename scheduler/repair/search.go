package repair

import (
	"encoding/binary"
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
)

// searchCost is what an answer costs, by level; of two answers the one that is less at the first level at which they differ is better.
type searchCost struct {
	out      int64 // unresolved jobs, and below them the sum of their priorities
	moved    int64
	distance int64
}

const searchOut = 1 << 32 // one unresolved job, in searchCost.out

func (c searchCost) less(d searchCost) bool {
	if c.out != d.out {
		return c.out < d.out
	}
	if c.moved != d.moved {
		return c.moved < d.moved
	}
	return c.distance < d.distance
}

func (c searchCost) plus(d searchCost) searchCost {
	return searchCost{c.out + d.out, c.moved + d.moved, c.distance + d.distance}
}

func (c searchCost) minus(d searchCost) searchCost {
	return searchCost{c.out - d.out, c.moved - d.moved, c.distance - d.distance}
}

// search is an answer that always fits, and what is needed to change it quickly.
type search struct {
	g     *grid
	pos   []int32 // by job
	a, b  []int32 // the cells that each job takes, half-open; meaningless for one that is out
	free  []int32 // by cell
	full  []uint64
	begin [][]int32 // by cell, the jobs that begin there
	slot  []int32   // by job, its index there
	out   []int32   // the jobs that are out
	moved []int32   // the jobs that are neither out nor at home
	where []int32   // by job, its index in out or moved
	cost  searchCost
	work  int64 // spent so far
	rng   *rand.Rand
}

func newSearch(g *grid, seed uint64) *search {
	n := len(g.jobs)
	s := &search{
		g: g, pos: make([]int32, n), a: make([]int32, n), b: make([]int32, n), free: append([]int32(nil), g.room...),
		full: make([]uint64, (len(g.at)+63)/64), begin: make([][]int32, len(g.at)), slot: make([]int32, n), where: make([]int32, n),
		rng: rand.New(rand.NewPCG(seed, uint64(n))),
	}
	for c, room := range g.room {
		if room == 0 {
			s.full[c>>6] |= 1 << (c & 63)
		}
	}
	for j := range s.pos {
		s.pos[j] = gridOut
		s.where[j] = int32(j)
		s.out = append(s.out, int32(j))
		s.cost = s.cost.plus(s.price(int32(j), gridOut))
	}
	return s
}

// digest seeds the random choices, so that the same problem has the same answer.
func digest(p Problem) uint64 {
	h := fnv.New64a()
	var b [8]byte
	add := func(values ...int64) {
		for _, v := range values {
			binary.LittleEndian.PutUint64(b[:], uint64(v))
			h.Write(b[:])
		}
	}
	add(p.Slot, p.Work, int64(len(p.Capacity)), int64(len(p.Jobs)))
	for _, step := range p.Capacity {
		add(step.At, int64(step.Free))
	}
	for _, j := range p.Jobs {
		add(j.Start, j.Duration, j.First, j.Last, int64(j.Priority), j.Proposed, int64(len(j.Closed)))
	}
	return h.Sum64()
}

// price is what job j costs at a position.
func (s *search) price(j, pos int32) searchCost {
	switch pos {
	case gridHome:
		return searchCost{}
	case gridOut:
		return searchCost{out: searchOut + int64(s.g.jobs[j].priority)}
	}
	return searchCost{moved: 1, distance: s.g.distance(j, pos)}
}

// list is where a job at pos is listed besides begin.
func (s *search) list(pos int32) *[]int32 {
	switch pos {
	case gridHome:
		return nil
	case gridOut:
		return &s.out
	}
	return &s.moved
}

func (s *search) unlist(j int32) {
	if l := s.list(s.pos[j]); l != nil {
		last := (*l)[len(*l)-1]
		(*l)[s.where[j]] = last
		s.where[last] = s.where[j]
		*l = (*l)[:len(*l)-1]
	}
}

func (s *search) enlist(j, pos int32) {
	s.pos[j] = pos
	if l := s.list(pos); l != nil {
		s.where[j] = int32(len(*l))
		*l = append(*l, j)
	}
}

// put places a job that is out where it fits.
func (s *search) put(j, pos int32) {
	a, b := s.g.cells(j, pos)
	s.cost = s.cost.plus(s.price(j, pos)).minus(s.price(j, gridOut))
	s.unlist(j)
	s.enlist(j, pos)
	s.a[j], s.b[j] = a, b
	for c := a; c < b; c++ {
		s.free[c]--
		if s.free[c] == 0 {
			s.full[c>>6] |= 1 << (c & 63)
		}
	}
	s.slot[j] = int32(len(s.begin[a]))
	s.begin[a] = append(s.begin[a], j)
	s.work += 50 + int64(b-a)*2
}

// take puts a job out.
func (s *search) take(j int32) {
	a, b := s.a[j], s.b[j]
	s.cost = s.cost.minus(s.price(j, s.pos[j])).plus(s.price(j, gridOut))
	s.unlist(j)
	s.enlist(j, gridOut)
	for c := a; c < b; c++ {
		if s.free[c] == 0 {
			s.full[c>>6] &^= 1 << (c & 63)
		}
		s.free[c]++
	}
	l := s.begin[a]
	last := l[len(l)-1]
	l[s.slot[j]] = last
	s.slot[last] = s.slot[j]
	s.begin[a] = l[:len(l)-1]
	s.work += 50 + int64(b-a)*2
}

// lastFull is the last cell of [a, b) without room, or -1.
func (s *search) lastFull(a, b int32) int32 {
	for w := (b - 1) >> 6; w >= a>>6; w-- {
		x := s.full[w]
		if w == (b-1)>>6 {
			x &= ^uint64(0) >> (63 - (b-1)&63)
		}
		if w == a>>6 {
			x &= ^uint64(0) << (a & 63)
		}
		if x != 0 {
			return w<<6 + 63 - int32(bits.LeadingZeros64(x))
		}
	}
	return -1
}

// firstFull is the first cell of [a, b) without room, or -1.
func (s *search) firstFull(a, b int32) int32 {
	for w := a >> 6; w <= (b-1)>>6; w++ {
		x := s.full[w]
		if w == a>>6 {
			x &= ^uint64(0) << (a & 63)
		}
		if w == (b-1)>>6 {
			x &= ^uint64(0) >> (63 - (b-1)&63)
		}
		if x != 0 {
			return w<<6 + int32(bits.TrailingZeros64(x))
		}
	}
	return -1
}

// nextFree is the first cell from c on that has room, or one beyond the last.
func (s *search) nextFree(c int32) int32 {
	for w := c >> 6; int(w) < len(s.full); w++ {
		x := ^s.full[w]
		if w == c>>6 {
			x &= ^uint64(0) << (c & 63)
		}
		if x != 0 {
			return min(w<<6+int32(bits.TrailingZeros64(x)), int32(len(s.free)))
		}
	}
	return int32(len(s.free))
}

// prevFree is the last cell up to c that has room, or -1.
func (s *search) prevFree(c int32) int32 {
	if c < 0 {
		return -1
	}
	for w := c >> 6; w >= 0; w-- {
		x := ^s.full[w]
		if w == c>>6 {
			x &= ^uint64(0) >> (63 - c&63)
		}
		if x != 0 {
			return w<<6 + 63 - int32(bits.LeadingZeros64(x))
		}
	}
	return -1
}

// fits says whether a job that is out has room at a position.
func (s *search) fits(j, pos int32) bool {
	a, b := s.g.cells(j, pos)
	s.work += 6
	return s.firstFull(a, b) < 0
}

// later is the first point from p on, at most hi, at which job j fits, or -1.
func (s *search) later(j, p, hi int32) int32 {
	for p <= hi {
		a, b := s.g.cells(j, p)
		s.work += 20
		f := s.lastFull(a, b)
		if f < 0 {
			return p
		}
		p = s.g.after[s.nextFree(f+1)]
	}
	return -1
}

// sooner is the last point up to p, at least lo, at which job j fits, or -1.
func (s *search) sooner(j, p, lo int32) int32 {
	job := &s.g.jobs[j]
	for p >= lo {
		a, b := s.g.cells(j, p)
		s.work += 20
		f := s.firstFull(a, b)
		if f < 0 {
			return p
		}
		f = s.prevFree(f-1) + 1
		p = int32(max(floorDiv(s.g.at[f]-job.duration-job.base, s.g.slot), -1))
	}
	return -1
}
