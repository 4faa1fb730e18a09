package repair

import "math"

// exactScale is by how much prices are multiplied before they are rounded to whole numbers.
func (lp *exactLP) scale() float64 {
	most := int64(1)
	for _, c := range lp.whole {
		most = max(most, c)
	}
	scale := 1.0
	for scale < 1<<22 && float64(most)*scale < 1<<33 {
		scale *= 2
	}
	return scale
}

// exactBound is what the prices prove, in whole numbers that are scale times the units of the aim.
type exactBound struct {
	total int64
	scale int64
	sides [exactDistance]int64
}

// weighWhole computes the bound that the prices prove, whatever they are as long as they are not negative: what each job pays at its cheapest
// place, less what the room is worth. ok is false if a job has no place.
func (lp *exactLP) weighWhole() (b exactBound, ok bool) {
	m := lp.m
	b.scale = int64(lp.scaled)
	const most = 1 << 38
	whole := func(v float64) int64 { return int64(min(max(math.Round(v*lp.scaled), 0), most)) }
	t := int64(0)
	for c, r := range lp.row {
		lp.prefix[c] = t
		if r >= 0 {
			p := whole(lp.price[r])
			t += p
			b.total -= p * int64(m.room[c])
		}
	}
	lp.prefix[len(lp.row)] = t
	for k, r := range lp.sideRow {
		if r >= 0 {
			b.sides[k] = whole(lp.price[r])
			b.total -= b.sides[k] * lp.side[k]
		}
	}
	for j := range lp.key {
		least := int64(math.MaxInt64)
		add := [3]int64{0, b.sides[exactMoved], b.sides[exactOut] + b.sides[exactPriority]*m.priority[j]}
		places := lp.places(j)
		for n := range places {
			p := &places[n]
			least = min(least, p.whole*b.scale+lp.prefix[p.b]-lp.prefix[p.a]+add[p.kind])
		}
		lp.work += int64(len(places))*2 + 10
		if least == math.MaxInt64 {
			return b, false
		}
		lp.least[j] = least
		b.total += least
	}
	lp.work += int64(len(lp.row)) * 2
	return b, true
}

// pays is what column q costs at the prices.
func (lp *exactLP) pays(q int32, b *exactBound) int64 {
	m := lp.m
	v := lp.whole[q]*b.scale + lp.prefix[m.b[q]] - lp.prefix[m.a[q]]
	switch pos := m.pos[q]; {
	case pos >= 0:
		v += b.sides[exactMoved]
	case pos == gridOut:
		v += b.sides[exactOut] + b.sides[exactPriority]*m.priority[m.job[q]]
	}
	return v
}

// bound is what no answer of the columns left can be below, in units of the aim, rounded up. ok is false if there is no answer at all.
func (lp *exactLP) bound(best int64) (bound int64, ok bool) {
	b, ok := lp.weighWhole()
	if !ok {
		return best, false
	}
	return ceilDiv(b.total, b.scale), true
}

// fix excludes every column with which no answer can be less than best, and says how many that are; ok is false if no answer is left.
func (lp *exactLP) fix(best int64) (excluded int, ok bool) {
	b, ok := lp.weighWhole()
	room := (best-1)*b.scale - b.total
	if !ok || room < 0 {
		return 0, false
	}
	for j := range lp.key {
		before := excluded
		for _, p := range lp.places(j) {
			if lp.pays(p.q, &b)-lp.least[j] > room {
				lp.alive[p.q] = false
				excluded++
			}
		}
		lp.work += int64(lp.ends[j]-lp.m.off[j]) * 3
		if excluded > before {
			lp.list(int32(j))
		}
	}
	return excluded, true
}

// ray goes along the row at which pivot found nothing, as far as it takes to exceed best, and reports whether the whole numbers agree.
func (lp *exactLP) ray(i int, up bool, best int64) bool {
	old := append([]float64(nil), lp.price...)
	defer copy(lp.price, old)
	sign := 1.0
	if up {
		sign = -1
	}
	for step := 1.0; step < 1e9; step *= 8 {
		for r, v := range lp.inv[i] {
			lp.price[r] = old[r] + sign*step*v
		}
		if bound, ok := lp.bound(best); !ok || bound >= best {
			return true
		}
	}
	return false
}

// breakRows adds rows for the cells that take more than there is room for, and reports whether there were any.
func (lp *exactLP) breakRows() bool {
	load := lp.sum
	clear(load)
	m := lp.m
	values := lp.keyValues()
	use := func(q int32, x float64) {
		load[m.a[q]] += x
		load[m.b[q]] -= x
	}
	for j, q := range lp.key {
		use(q, values[j])
	}
	for i, q := range lp.basic {
		if q >= 0 {
			use(q, lp.x[i])
		}
	}
	found := false
	t, worst, over, length := 0.0, int32(-1), 0.0, 0
	flush := func() {
		if worst >= 0 {
			lp.addRow(worst)
			found = true
		}
		worst, over, length = -1, 0, 0
	}
	for c, room := range m.room {
		t += load[c]
		excess := t - float64(room)
		if excess <= 1e-6 || lp.row[c] >= 0 || length == 6 {
			flush()
		}
		if excess > 1e-6 && lp.row[c] < 0 {
			if length++; excess > over {
				worst, over = int32(c), excess
			}
		}
	}
	flush()
	lp.work += int64(len(lp.row)*2 + len(lp.rows))
	return found
}
