package repair

import (
	"container/heap"
	"math"
)

// exactState is a copy of a method's state, to come back to.
type exactState struct {
	key, rows, row, basic, hold []int32
	sideRow                     [exactDistance]int32
	inv                         [][]float64
	norm, x, price              []float64
	since                       int
}

func (lp *exactLP) copyTo(s *exactState) {
	s.key, s.rows, s.row = append(s.key[:0], lp.key...), append(s.rows[:0], lp.rows...), append(s.row[:0], lp.row...)
	s.basic, s.hold = append(s.basic[:0], lp.basic...), append(s.hold[:0], lp.hold...)
	s.sideRow, s.since = lp.sideRow, lp.since
	s.norm, s.x, s.price = append(s.norm[:0], lp.norm...), append(s.x[:0], lp.x...), append(s.price[:0], lp.price...)
	s.inv = exactCopy(s.inv, lp.inv)
	lp.work += int64(len(lp.inv)*len(lp.inv))/2 + int64(len(lp.row)+len(lp.key))
}

func (lp *exactLP) copyFrom(s *exactState) {
	lp.key, lp.rows, lp.row = append(lp.key[:0], s.key...), append(lp.rows[:0], s.rows...), append(lp.row[:0], s.row...)
	lp.basic, lp.hold = append(lp.basic[:0], s.basic...), append(lp.hold[:0], s.hold...)
	lp.sideRow, lp.since = s.sideRow, s.since
	lp.norm, lp.x, lp.price = append(lp.norm[:0], s.norm...), append(lp.x[:0], s.x...), append(lp.price[:0], s.price...)
	lp.inv = exactCopy(lp.inv, s.inv)
	lp.eta = append(lp.eta[:0], make([]float64, len(s.x))...)
	lp.work += int64(len(lp.inv)*len(lp.inv))/2 + int64(len(lp.row)+len(lp.key))
}

func exactCopy(to, from [][]float64) [][]float64 {
	for len(to) < len(from) {
		to = append(to, nil)
	}
	to = to[:len(from)]
	for i, line := range from {
		to[i] = append(to[i][:0], line...)
	}
	return to
}

// exactGain is what was learnt of how much a split of a job raises the bound.
type exactGain struct {
	sum   [2]float64 // by side, per share that is excluded
	count [2]float64
}

func (g *exactGain) learn(side int, gain, share float64) {
	g.sum[side] += gain / max(share, 0.01)
	g.count[side]++
}

// exactLevel is the branch and bound of one aim. It looks at the node with the least bound, solves its relaxation and, as long as better
// answers are possible there, divides it in two.
type exactLevel struct {
	*exact
	lp      *exactLP
	level   int
	earlier [exactLevels]int64 // the aims before this one, which answers that are sought are no worse in
	until   int64              // the work that may be spent
	most    int                // the nodes that may be looked at
	gains   map[[2]int32]*exactGain
	state   exactState
	open    exactOpen
}

func (e *exact) newLevel(level int) *exactLevel {
	l := &exactLevel{exact: e, level: level, gains: make(map[[2]int32]*exactGain), lp: newExactLP(e.m, level, e.s.rng)}
	l.earlier = l.before()
	l.lp.limit(e.own())
	l.lp.lists()
	l.lp.reset()
	heap.Push(&l.open, l.lp.save(0, 0))
	return l
}

// before are the best answer's aims before this one.
func (e *exactLevel) before() (aims [exactLevels]int64) {
	for k := range e.level {
		aims[k] = e.aim(k)
	}
	return aims
}

// branch brings one aim to its best, within bounds of work and nodes, and returns what no answer can be below, which is the best
// answer's aim if it has looked at all.
func (e *exact) branch(level int, until int64, most int) int64 {
	for {
		bound, again := e.newLevel(level).run(until, most)
		if !again {
			return bound
		}
		if e.work > until {
			return 0
		}
	}
}

// spent says whether the work is.
func (e *exactLevel) spent() bool { return e.work+e.lp.work > e.until }

// run goes on until all is looked at or its bounds are reached. It reports again if an answer was found that is better in an aim before
// this one: then what was sought is no longer what is best.
func (e *exactLevel) run(until int64, most int) (bound int64, again bool) {
	lp := e.lp
	lp.work = 0
	e.until, e.most = until, most
	defer func() { e.work += lp.work }()
	for e.open.Len() > 0 && e.open[0].bound < e.aim(e.level) {
		if e.most <= 0 || e.spent() {
			return e.open[0].bound, false
		}
		n := heap.Pop(&e.open).(*exactNode)
		lp.load(n)
		if e.plunge(n.bound, n.depth) {
			return 0, true
		}
	}
	return e.aim(e.level), false
}

// plunge looks at a node, which is loaded, and at one of its halves, and at one of that, until it need not be divided. The other halves
// are open then, as is what it had no time for. It reports again like run.
func (e *exactLevel) plunge(bound int64, depth int) (again bool) {
	lp := e.lp
	for ; ; depth++ {
		e.most--
		status := lp.solve(e.aim(e.level), e.until-e.work, math.MaxInt)
		if status == exactGiveUp && !e.spent() {
			lp.reset()
			status = lp.solve(e.aim(e.level), e.until-e.work, math.MaxInt)
		}
		if status == exactCut {
			return false
		}
		if e.spent() {
			heap.Push(&e.open, lp.save(bound, depth))
			return false
		}
		var shares [][]exactShare
		if status == exactDone {
			if b, ok := lp.bound(e.aim(e.level)); ok {
				bound = max(bound, b)
			}
			shares = lp.shares()
			if depth%8 == 0 {
				e.round(lp, shares)
			} else {
				e.look(shares)
			}
			if depth == 0 {
				e.dive()
			}
			if e.before() != e.earlier {
				return true
			}
		}
		if _, ok := lp.fix(e.aim(e.level)); !ok {
			return false
		}
		if e.most <= 0 || e.spent() {
			heap.Push(&e.open, lp.save(bound, depth+1)) // looking at it again need not round again
			return false
		}
		split, more := e.choose(shares)
		if !more {
			return false
		}
		if split == nil {
			continue // a half was excluded
		}
		first := split.low >= 0.5
		other := lp.save(bound, depth+1)
		for q := lp.m.off[split.job]; q < lp.m.off[split.job+1]; q++ {
			if lp.first(*split, q) == first {
				other.alive[q>>6] &^= 1 << (q & 63)
			}
		}
		heap.Push(&e.open, other)
		lp.keep(*split, first)
	}
}

// choose finds the split that raises the bound the most on both sides, by trying those of which little is known. It returns none if it
// has excluded a side on the way; more is false if no answer is left.
func (e *exactLevel) choose(shares [][]exactShare) (split *exactSplit, more bool) {
	lp := e.lp
	if shares == nil {
		shares = make([][]exactShare, len(lp.key))
	}
	splits := lp.splits(shares)
	if len(splits) == 0 {
		return nil, false
	}
	if len(splits) == 1 {
		return &splits[0], true
	}
	best := e.aim(e.level)
	base, _ := lp.weighWhole()
	at, most := 0, -1.0
	copied := false
	tried, worse := 0, 0
	for i := range splits {
		s := &splits[i]
		if i >= 12 && worse > 4 || i > 40 {
			break
		}
		key := [2]int32{s.job, int32(s.kind)}
		gain := e.gains[key]
		if gain == nil {
			gain = &exactGain{}
			e.gains[key] = gain
		}
		var up [2]float64
		share := [2]float64{1 - s.low, s.low} // what is excluded if the first side is kept, or the second
		if gain.count[0] >= 3 && gain.count[1] >= 3 || tried >= 10 {
			for side := range up {
				if gain.count[side] > 0 {
					up[side] = gain.sum[side] / gain.count[side] * share[side]
				}
			}
		} else {
			tried++
			if !copied {
				lp.copyTo(&e.state)
				copied = true
			}
			for side := range up {
				alive := append([]bool(nil), lp.alive[lp.m.off[s.job]:lp.m.off[s.job+1]]...)
				lp.keep(*s, side == 0)
				status := lp.solve(best, e.until-e.work, 12)
				b, ok := lp.weighWhole()
				copy(lp.alive[lp.m.off[s.job]:], alive)
				lp.list(s.job)
				lp.copyFrom(&e.state)
				if status == exactCut || !ok {
					lp.keep(*s, side == 1)
					return nil, true
				}
				up[side] = max(float64(b.total-base.total)/float64(b.scale), 0)
				gain.learn(side, up[side], share[side])
			}
		}
		if score := max(up[0], 1e-4) * max(up[1], 1e-4); score > most {
			most, at, worse = score, i, 0
		} else {
			worse++
		}
	}
	return &splits[at], true
}

// dive follows the relaxation down to an answer: it gives jobs the places that it takes most of, and solves it again, until all have one.
func (e *exactLevel) dive() {
	lp := e.lp
	from := lp.save(0, 0)
	defer lp.load(from)
	best := e.aim(e.level)
	for {
		status := lp.solve(best, e.until-e.work, math.MaxInt)
		if status != exactDone {
			return
		}
		shares := lp.shares()
		var top exactShare
		some := 0
		for j, list := range shares {
			for _, s := range list {
				if s.x > 0.999 && lp.ends[j]-lp.m.off[j] > 1 {
					e.only(int32(j), s.q)
				} else if s.x <= 0.999 && s.x > top.x {
					top = s
				}
			}
			if len(list) > 1 {
				some++
			}
		}
		if some == 0 {
			e.round(lp, shares)
			return
		}
		for j, list := range shares {
			for _, s := range list {
				if s.x <= 0.999 && s.x > 0.85 {
					e.only(int32(j), s.q)
				}
			}
		}
		e.only(lp.m.job[top.q], top.q)
		if e.look(shares); some%8 == 0 {
			e.round(lp, shares)
		}
	}
}

// only excludes all of a job's columns but one.
func (e *exactLevel) only(j, q int32) {
	lp := e.lp
	for k := lp.m.off[j]; k < lp.m.off[j+1]; k++ {
		lp.alive[k] = k == q
	}
	lp.list(j)
}

// look takes the relaxation for an answer if it is one.
func (e *exactLevel) look(shares [][]exactShare) {
	for _, list := range shares {
		if len(list) != 1 {
			return
		}
	}
	e.round(e.lp, shares)
}
