package repair

// refactor drops the rows whose slacks are basic and computes everything else anew. It reports whether the basis is sound.
func (lp *exactLP) refactor() bool {
	lp.since = 0
	keep := make([]bool, len(lp.rows))
	for r := range keep {
		keep[r] = true
	}
	var basic []int32
	for _, q := range lp.basic {
		if q < 0 && lp.rows[-1-q] >= 0 {
			keep[-1-q] = false
		} else {
			basic = append(basic, q)
		}
	}
	index := make([]int32, len(lp.rows))
	var rows []int32
	for r, row := range lp.rows {
		if keep[r] {
			index[r] = int32(len(rows))
			rows = append(rows, row)
		}
	}
	for i, q := range basic {
		if q < 0 {
			basic[i] = -1 - index[-1-q]
		}
	}
	return lp.set(lp.key, rows, basic)
}

// set makes a basis the current one.
func (lp *exactLP) set(key, rows, basic []int32) bool {
	copy(lp.key, key)
	for _, row := range lp.rows {
		if row >= 0 {
			lp.row[row] = -1
		} else {
			lp.sideRow[-1-row] = -1
		}
	}
	lp.rows = append(lp.rows[:0], rows...)
	lp.basic = append(lp.basic[:0], basic...)
	for r, row := range rows {
		if row >= 0 {
			lp.row[row] = int32(r)
		} else {
			lp.sideRow[-1-row] = int32(r)
		}
	}
	n := len(rows)
	clear(lp.hold)
	// [W | 1] becomes [1 | inv] by Gauss and Jordan.
	w := make([][]float64, n)
	lp.inv = make([][]float64, n)
	for r := range w {
		w[r] = make([]float64, n)
		lp.inv[r] = make([]float64, n, n+64)
		lp.inv[r][r] = 1
	}
	for i, q := range basic {
		if q < 0 {
			w[-1-q][i] = 1
			continue
		}
		lp.hold[lp.m.job[q]]++
		k := lp.key[lp.m.job[q]]
		for r, row := range rows {
			w[r][i] = lp.entry(q, row) - lp.entry(k, row)
		}
	}
	for i := range n {
		best := i
		for r := i + 1; r < n; r++ {
			if abs(w[r][i]) > abs(w[best][i]) {
				best = r
			}
		}
		if abs(w[best][i]) < 1e-8 {
			return false
		}
		w[i], w[best] = w[best], w[i]
		lp.inv[i], lp.inv[best] = lp.inv[best], lp.inv[i]
		f := 1 / w[i][i]
		for k := i; k < n; k++ {
			w[i][k] *= f
		}
		for k := range lp.inv[i] {
			lp.inv[i][k] *= f
		}
		for r := range n {
			if f := w[r][i]; r != i && f != 0 {
				for k := i; k < n; k++ {
					w[r][k] -= f * w[i][k]
				}
				to, from := lp.inv[r], lp.inv[i]
				for k, v := range from {
					to[k] -= f * v
				}
				lp.work += int64(4*n - i)
			}
		}
	}
	lp.x = append(lp.x[:0], make([]float64, n)...)
	lp.norm = append(lp.norm[:0], make([]float64, n)...)
	lp.price = append(lp.price[:0], make([]float64, n)...)
	lp.eta = append(lp.eta[:0], make([]float64, n)...)
	lp.values()
	return true
}

// values computes the basic values, norms and prices from the inverse.
func (lp *exactLP) values() {
	left := make([]float64, len(lp.rows))
	for r, row := range lp.rows {
		left[r] = lp.rhs(row)
		for _, q := range lp.key {
			left[r] -= lp.entry(q, row)
		}
	}
	clear(lp.price)
	for i, line := range lp.inv {
		x, norm := 0.0, 0.0
		for r, v := range line {
			x += v * left[r]
			norm += v * v
		}
		lp.x[i], lp.norm[i] = x, norm
		if q := lp.basic[i]; q >= 0 {
			if c := lp.cost[q] - lp.cost[lp.key[lp.m.job[q]]]; c != 0 {
				for r, v := range line {
					lp.price[r] -= c * v
				}
			}
		}
	}
	lp.work += int64(len(lp.rows)) * int64(len(lp.rows)+len(lp.key)) * 2
}

// reset makes the cheapest column of every job its key, and nothing else basic.
func (lp *exactLP) reset() {
	key := make([]int32, len(lp.key))
	for j := range key {
		from, to := lp.m.off[j], lp.m.off[j+1]
		key[j] = to - 1
		for q := from; q < to; q++ {
			if lp.alive[q] && (!lp.alive[key[j]] || lp.cost[q] < lp.cost[key[j]]) {
				key[j] = q
			}
		}
	}
	var rows, basic []int32
	for k, r := range lp.sideRow {
		if r >= 0 {
			basic = append(basic, int32(-1-len(rows)))
			rows = append(rows, int32(-1-k))
		}
	}
	lp.set(key, rows, basic)
}
