package repair

import "math/rand/v2"

// exactLP solves the linear relaxation of one level by the dual simplex method. Each job's columns sum up to one; one of them, its key,
// stands for that row, and so the basis that is worked with has only the rows of the cells in which room is short. These rows are added
// when they are first broken. Its arithmetic is of floating point, and nothing that is claimed rests on it: from the prices that it ends
// with, bound computes in whole numbers what no answer can be below.
type exactLP struct {
	m     *exactModel
	level int
	cost  []float64            // by column, a little disturbed, because equal costs make the method stall
	whole []int64              // by column, as it is
	live  []exactPlace         // the columns that are not excluded, by job
	ends  []int32              // by job, where its list ends; it begins where its columns do
	alive []bool               // by column: not excluded
	side  [exactDistance]int64 // the most that the aims before this one may be

	key     []int32 // by job
	rows    []int32 // which rows are in the working basis: a cell, or -1-level
	row     []int32 // by cell, its index in rows, or -1
	sideRow [exactDistance]int32
	basic   []int32 // by index: a column, or -1-row index for that row's slack
	inv     [][]float64
	norm    []float64
	x       []float64 // by index
	hold    []int32   // by job: how many columns besides the key are basic
	price   []float64 // by row index, at least nearly 0

	sum, rhoSum       []float64 // scratch: prefix sums over the cells
	eta               []float64
	nonzero           []int32
	keyValue, keyNorm []float64 // scratch, by job
	least             []int64   // scratch, by job
	prefix            []int64   // scratch, by cell
	since             int       // pivots since the last refactor
	scaled            float64   // see scale
	work              int64
}

const exactTiny = 1e-9

// exactPlace is a column as the innermost loops want it.
type exactPlace struct {
	cost  float64
	whole int64
	a, b  int32
	q     int32
	kind  int32 // which of a job's side parts it has: none at home, that of a move, that of being out
}

// list makes job j's list anew.
func (lp *exactLP) list(j int32) {
	m := lp.m
	end := m.off[j]
	for q := m.off[j]; q < m.off[j+1]; q++ {
		if !lp.alive[q] {
			continue
		}
		kind := int32(0)
		switch pos := m.pos[q]; {
		case pos >= 0:
			kind = 1
		case pos == gridOut:
			kind = 2
		}
		lp.live[end] = exactPlace{lp.cost[q], lp.whole[q], m.a[q], m.b[q], q, kind}
		end++
	}
	lp.ends[j] = end
	lp.work += int64(m.off[j+1] - m.off[j])
}

func (lp *exactLP) lists() {
	for j := range lp.key {
		lp.list(int32(j))
	}
}

// places are job j's columns that are not excluded.
func (lp *exactLP) places(j int) []exactPlace { return lp.live[lp.m.off[j]:lp.ends[j]] }

func newExactLP(m *exactModel, level int, rng *rand.Rand) *exactLP {
	n := len(m.off) - 1
	lp := &exactLP{
		m: m, level: level, cost: make([]float64, len(m.pos)), whole: make([]int64, len(m.pos)), alive: make([]bool, len(m.pos)),
		keyValue: make([]float64, n), keyNorm: make([]float64, n), key: make([]int32, n), row: make([]int32, len(m.room)), hold: make([]int32, n),
		sum: make([]float64, len(m.room)+1), rhoSum: make([]float64, len(m.room)+1),
	}
	for q := range lp.cost {
		lp.whole[q] = m.cost(level, int32(q))
		lp.cost[q] = float64(lp.whole[q]) + 1e-4*rng.Float64()
		lp.alive[q] = true
	}
	lp.scaled = lp.scale()
	lp.live, lp.ends = make([]exactPlace, len(m.pos)), make([]int32, n)
	lp.prefix, lp.least = make([]int64, len(lp.row)+1), make([]int64, n)
	for c := range lp.row {
		lp.row[c] = -1
	}
	for k := range lp.sideRow {
		lp.sideRow[k] = -1
	}
	for j, never := range m.never {
		lp.alive[m.off[j]] = !never
		lp.key[j] = m.off[j]
	}
	return lp
}

// limit makes the aims before this one rows: an answer that is sought is no worse in them.
func (lp *exactLP) limit(c searchCost) {
	for k := range lp.level {
		lp.side[k] = lp.m.level(k, c)
		if c.out == 0 && k <= exactPriority {
			for j := range lp.key {
				lp.alive[lp.m.off[j+1]-1] = false
			}
			continue
		}
		if lp.sideRow[k] < 0 {
			lp.addRow(int32(-1 - k))
		}
	}
}

// entry is what column q takes in a row.
func (lp *exactLP) entry(q, row int32) float64 {
	if row >= 0 {
		if lp.m.a[q] <= row && row < lp.m.b[q] {
			return 1
		}
		return 0
	}
	return float64(lp.m.cost(int(-1-row), q))
}

func (lp *exactLP) rhs(row int32) float64 {
	if row >= 0 {
		return float64(lp.m.room[row])
	}
	return float64(lp.side[-1-row])
}

// addRow adds a row whose slack is basic.
func (lp *exactLP) addRow(row int32) {
	r := len(lp.rows)
	line := make([]float64, r+1, r+64)
	line[r] = 1
	slack := lp.rhs(row)
	for j, q := range lp.key {
		_ = j
		slack -= lp.entry(q, row)
	}
	for i, q := range lp.basic {
		lp.inv[i] = append(lp.inv[i], 0)
		if q < 0 {
			continue
		}
		w := lp.entry(q, row) - lp.entry(lp.key[lp.m.job[q]], row)
		if w == 0 {
			continue
		}
		slack -= w * lp.x[i]
		for k, v := range lp.inv[i][:r] {
			line[k] -= w * v
		}
		lp.work += int64(r)
	}
	lp.rows = append(lp.rows, row)
	if row >= 0 {
		lp.row[row] = int32(r)
	} else {
		lp.sideRow[-1-row] = int32(r)
	}
	lp.basic = append(lp.basic, int32(-1-r))
	lp.inv = append(lp.inv, line)
	lp.x = append(lp.x, slack)
	lp.price = append(lp.price, 0)
	norm := 0.0
	for _, v := range line {
		norm += v * v
	}
	lp.norm = append(lp.norm, norm)
	lp.eta = append(lp.eta, 0)
}

// weigh fills sums with the prefix sums of a row vector over the cells and returns its parts in the side rows.
func (lp *exactLP) weigh(v, sums []float64) (side [exactDistance]float64) {
	t := 0.0
	for c, r := range lp.row {
		sums[c] = t
		if r >= 0 {
			t += v[r]
		}
	}
	sums[len(lp.row)] = t
	for k, r := range lp.sideRow {
		if r >= 0 {
			side[k] = v[r]
		}
	}
	lp.work += int64(len(lp.row)) * 3
	return side
}

// sideOf is the part of a column in the side rows.
func (lp *exactLP) sideOf(q int32, side *[exactDistance]float64) float64 {
	switch pos := lp.m.pos[q]; {
	case pos == gridHome:
		return 0
	case pos >= 0:
		return side[exactMoved]
	}
	return side[exactOut] + side[exactPriority]*float64(lp.m.priority[lp.m.job[q]])
}

// column computes inv times what column q takes more than column k.
func (lp *exactLP) column(q, k int32) []float64 {
	eta := lp.eta
	clear(eta)
	add := func(r int32, v float64) {
		for i := range eta {
			eta[i] += v * lp.inv[i][r]
		}
		lp.work += int64(len(eta))*4 + 10
	}
	m := lp.m
	from, to := min(m.a[q], m.a[k]), max(m.b[q], m.b[k])
	if m.a[q] == m.b[q] {
		from, to = m.a[k], m.b[k]
	} else if m.a[k] == m.b[k] {
		from, to = m.a[q], m.b[q]
	}
	for c := from; c < to; c++ {
		if r := lp.row[c]; r >= 0 {
			if v := lp.entry(q, c) - lp.entry(k, c); v != 0 {
				add(r, v)
			}
		}
	}
	for s, r := range lp.sideRow {
		if r >= 0 {
			if v := lp.entry(q, int32(-1-s)) - lp.entry(k, int32(-1-s)); v != 0 {
				add(r, v)
			}
		}
	}
	return eta
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}
