package repair

import (
	"cmp"
	"slices"
)

// exactNode is a part of the answers that is still to be looked at.
type exactNode struct {
	alive            []uint64 // by column
	key, rows, basic []int32  // where the method goes on
	bound            int64
	depth            int
}

// exactOpen holds the nodes, the one with the least bound on top and of those the deepest.
type exactOpen []*exactNode

func (o exactOpen) Len() int { return len(o) }
func (o exactOpen) Less(x, y int) bool {
	if o[x].bound != o[y].bound {
		return o[x].bound < o[y].bound
	}
	return o[x].depth > o[y].depth
}
func (o exactOpen) Swap(x, y int) { o[x], o[y] = o[y], o[x] }
func (o *exactOpen) Push(x any)   { *o = append(*o, x.(*exactNode)) }
func (o *exactOpen) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}

// save notes the method's state.
func (lp *exactLP) save(bound int64, depth int) *exactNode {
	n := &exactNode{
		alive: make([]uint64, (len(lp.alive)+63)/64), key: slices.Clone(lp.key), rows: slices.Clone(lp.rows), basic: slices.Clone(lp.basic),
		bound: bound, depth: depth,
	}
	for q, yes := range lp.alive {
		if yes {
			n.alive[q>>6] |= 1 << (q & 63)
		}
	}
	return n
}

// load makes a node's state the current one.
func (lp *exactLP) load(n *exactNode) {
	for q := range lp.alive {
		lp.alive[q] = n.alive[q>>6]>>(q&63)&1 == 1
	}
	lp.lists()
	if !lp.set(n.key, n.rows, n.basic) {
		lp.reset()
	}
}

// exactShare is a column that is taken in part.
type exactShare struct {
	q int32
	x float64
}

// shares lists by job what the relaxation takes.
func (lp *exactLP) shares() [][]exactShare {
	shares := make([][]exactShare, len(lp.key))
	values := lp.keyValues()
	for j, q := range lp.key {
		if values[j] > 1e-6 {
			shares[j] = append(shares[j], exactShare{q, values[j]})
		}
	}
	for i, q := range lp.basic {
		if q >= 0 && lp.x[i] > 1e-6 {
			shares[lp.m.job[q]] = append(shares[lp.m.job[q]], exactShare{q, lp.x[i]})
		}
	}
	return shares
}

// exactSplit divides a job's columns in two.
type exactSplit struct {
	job   int32
	kind  int     // exactOut: out or not; exactMoved: home or not; exactDistance: at or before a start or after it
	start int64   // of the latter
	low   float64 // the share of the columns on the first side
}

// first says whether a column is on a split's first side.
func (lp *exactLP) first(s exactSplit, q int32) bool {
	switch pos := lp.m.pos[q]; {
	case s.kind == exactOut:
		return pos == gridOut
	case s.kind == exactMoved:
		return pos == gridHome
	default:
		return pos != gridOut && lp.m.g.instant(lp.m.ids[s.job], pos) <= s.start
	}
}

// splits lists ways to divide, the most promising first. There is none if every job has a single place.
func (lp *exactLP) splits(shares [][]exactShare) []exactSplit {
	type scored struct {
		exactSplit
		score float64
	}
	var all []scored
	m := lp.m
	for i, list := range shares {
		if len(list) < 2 {
			continue
		}
		j, id := int32(i), m.ids[i]
		out, home, mean, weight := 0.0, 0.0, 0.0, 0.0
		for _, s := range list {
			switch pos := m.pos[s.q]; pos {
			case gridOut:
				out += s.x
				continue
			case gridHome:
				home += s.x
			}
			mean += s.x * float64(m.g.instant(id, m.pos[s.q])-m.g.jobs[id].start)
			weight += s.x
		}
		if out > 1e-6 && out < 1-1e-6 {
			all = append(all, scored{exactSplit{job: j, kind: exactOut, low: out}, 10 * out * (1 - out)})
		}
		if home > 1e-6 && home < 1-1e-6 && lp.level <= exactDistance {
			f := 1.0
			if lp.level == exactMoved {
				f = 10
			}
			all = append(all, scored{exactSplit{job: j, kind: exactMoved, low: home}, f * home * (1 - home)})
		}
		if weight > 1e-6 {
			mean /= weight
			low, spread := 0.0, 0.0
			start := m.g.jobs[id].start + int64(mean)
			for _, s := range list {
				if m.pos[s.q] == gridOut {
					continue
				}
				t := m.g.instant(id, m.pos[s.q])
				if t <= start {
					low += s.x
				}
				spread += s.x * abs(float64(t-start)) / float64(m.g.jobs[id].duration+m.g.slot)
			}
			if low > 1e-6 && low < weight-1e-6 {
				f := 0.5
				if lp.level == exactDistance {
					f = 1
				}
				all = append(all, scored{exactSplit{job: j, kind: exactDistance, start: start, low: low}, f * min(spread, 1)})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y scored) int { return cmp.Compare(y.score, x.score) })
	splits := make([]exactSplit, len(all))
	for i, s := range all {
		splits[i] = s.exactSplit
	}
	if len(splits) == 0 {
		for j := range lp.key {
			var some []int32
			for q := m.off[j]; q < m.off[j+1]; q++ {
				if lp.alive[q] {
					some = append(some, q)
				}
			}
			if len(some) > 1 {
				s := exactSplit{job: int32(j), kind: exactOut}
				switch p := m.pos[some[0]]; {
				case m.pos[some[len(some)-1]] == gridOut:
				case p == gridHome:
					s.kind = exactMoved
				default:
					s.kind, s.start = exactDistance, m.g.instant(m.ids[j], m.pos[some[len(some)/2-1]])
				}
				return []exactSplit{s}
			}
		}
	}
	return splits
}

// keep excludes one side of a split.
func (lp *exactLP) keep(s exactSplit, first bool) {
	for q := lp.m.off[s.job]; q < lp.m.off[s.job+1]; q++ {
		if lp.alive[q] && lp.first(s, q) != first {
			lp.alive[q] = false
		}
	}
	lp.list(s.job)
}
