package repair

// How solve ended.
type exactStatus int

const (
	exactDone   exactStatus = iota // the prices are the best
	exactCut                       // no answer that is better than the best known is left
	exactGiveUp                    // the work is spent, or the numbers are not sound
)

// solve pivots until no row is broken, at most so many times. best is the aim of the best known answer: only less is of interest.
func (lp *exactLP) solve(best, work int64, most int) exactStatus {
	for pivots := 0; ; pivots++ {
		if pivots == most {
			return exactGiveUp
		}
		if lp.work > work {
			return exactGiveUp
		}
		if lp.since > 60+len(lp.rows)/2 {
			if !lp.refactor() {
				return exactGiveUp
			}
		}
		if pivots%16 == 15 {
			if bound, ok := lp.bound(best); !ok || bound >= best {
				return exactCut
			}
		}
		i, key, up := lp.leaving()
		if i < 0 && key < 0 {
			if lp.breakRows() {
				continue
			}
			return exactDone
		}
		if key >= 0 {
			if lp.hold[key] == 0 {
				if !lp.rekey(key) {
					return exactCut
				}
				continue
			}
			i = lp.swapKey(key)
		}
		if !lp.pivot(i, up) {
			// The prices may rise without end along this row, which no answer can pay.
			if lp.ray(i, up, best) {
				return exactCut
			}
			if lp.since == 0 || !lp.refactor() {
				return exactGiveUp
			}
		}
	}
}

const exactFeasible = 1e-7

// leaving chooses the basic column that is farthest out of its bounds: by its index, or the job whose key it is. up says that it is too
// large, which only a column that is excluded can be.
func (lp *exactLP) leaving() (i int, key int32, up bool) {
	i, key = -1, -1
	most := 0.0
	sums := lp.keyValues()
	for k, x := range lp.x {
		q := lp.basic[k]
		over := -x
		above := false
		if q >= 0 && !lp.alive[q] && x > 0 {
			over, above = x, true
		}
		if over > exactFeasible {
			if score := over * over / lp.norm[k]; score > most {
				most, i, up = score, k, above
			}
		}
	}
	for j, q := range lp.key {
		y := sums[j]
		over := -y
		above := false
		if !lp.alive[q] && y > 0 {
			over, above = y, true
		}
		if over > exactFeasible {
			if score := over * over / lp.keyNorm[j]; score > most {
				most, i, key, up = score, -1, int32(j), above
			}
		}
	}
	lp.work += int64(len(lp.x)*4 + len(lp.key)*6)
	return i, key, up
}

// keyValues computes the values of the keys, and about what their norms are.
func (lp *exactLP) keyValues() []float64 {
	for j := range lp.key {
		lp.keyValue[j], lp.keyNorm[j] = 1, 1
	}
	for k, q := range lp.basic {
		if q >= 0 {
			j := lp.m.job[q]
			lp.keyValue[j] -= lp.x[k]
			lp.keyNorm[j] += lp.norm[k]
		}
	}
	return lp.keyValue
}

// rekey gives a job none of whose other columns is basic another key, the cheapest that is not excluded.
func (lp *exactLP) rekey(j int32) bool {
	side := lp.weigh(lp.price, lp.sum)
	best, least := int32(-1), 0.0
	for _, p := range lp.places(int(j)) {
		d := p.cost + lp.sum[p.b] - lp.sum[p.a] + lp.sideOf(p.q, &side)
		if best < 0 || d < least {
			best, least = p.q, d
		}
	}
	if best < 0 {
		return false
	}
	eta := lp.column(best, lp.key[j])
	for i := range lp.x {
		lp.x[i] -= eta[i]
	}
	lp.key[j] = best
	return true
}

// swapKey makes another basic column of the job its key and returns the index at which the old key is now.
func (lp *exactLP) swapKey(j int32) int {
	at, biggest := -1, 0.0
	for k, q := range lp.basic {
		if q >= 0 && lp.m.job[q] == j && lp.alive[q] && (at < 0 || lp.x[k] > biggest) {
			at, biggest = k, lp.x[k]
		}
	}
	if at < 0 {
		for k, q := range lp.basic {
			if q >= 0 && lp.m.job[q] == j {
				at = k
				break
			}
		}
	}
	line := lp.inv[at]
	x := 1.0
	for k, q := range lp.basic {
		if q >= 0 && lp.m.job[q] == j {
			x -= lp.x[k]
			if k != at {
				for r, v := range lp.inv[k] {
					line[r] += v
				}
			}
		}
	}
	norm := 0.0
	for r, v := range line {
		line[r] = -v
		norm += v * v
	}
	lp.norm[at] = norm
	lp.x[at] = x
	lp.basic[at], lp.key[j] = lp.key[j], lp.basic[at]
	lp.work += int64(len(line)) * 3
	return at
}

// pivot takes the basic column at index i out and brings the one in that becomes dear the last. It reports false if there is none.
func (lp *exactLP) pivot(i int, up bool) bool {
	m := lp.m
	rho := lp.inv[i]
	sign := -1.0 // the entering column must have a negative entry in the row if the value is to rise
	if up {
		sign = 1
	}
	side, rhoSide := lp.weigh(lp.price, lp.sum), lp.weigh(rho, lp.rhoSum)
	const least = 1e-7
	enter, slack, ratio, size := int32(-1), int32(-1), 1e300, 0.0
	consider := func(q, r int32, d, alpha float64) {
		t := max(d, 0) / alpha
		if t < ratio-exactTiny || (t <= ratio+exactTiny && alpha > size) {
			enter, slack, ratio, size = q, r, min(t, ratio), alpha
		}
	}
	for r := range lp.rows {
		if alpha := sign * rho[r]; alpha > least {
			consider(-1, int32(r), lp.price[r], alpha)
		}
	}
	for j, k := range lp.key {
		base := lp.cost[k] + lp.sum[m.b[k]] - lp.sum[m.a[k]] + lp.sideOf(k, &side)
		rhoBase := lp.rhoSum[m.b[k]] - lp.rhoSum[m.a[k]] + lp.sideOf(k, &rhoSide)
		priority := float64(m.priority[j])
		add := [3]float64{0, side[exactMoved], side[exactOut] + side[exactPriority]*priority}
		rhoAdd := [3]float64{-rhoBase, rhoSide[exactMoved] - rhoBase, rhoSide[exactOut] + rhoSide[exactPriority]*priority - rhoBase}
		places := lp.places(j)
		lp.work += int64(len(places))*4 + 20
		for n := range places {
			p := &places[n]
			alpha := sign * (lp.rhoSum[p.b] - lp.rhoSum[p.a] + rhoAdd[p.kind])
			if alpha <= least || p.q == k {
				continue
			}
			t := max(p.cost+lp.sum[p.b]-lp.sum[p.a]+add[p.kind]-base, 0)
			if t > (ratio+exactTiny)*alpha {
				continue
			}
			consider(p.q, -1, t, alpha)
		}
	}
	var eta []float64
	var code int32
	switch {
	case enter >= 0:
		eta, code = lp.column(enter, lp.key[m.job[enter]]), enter
	case slack >= 0:
		eta, code = lp.eta, -1-slack
		for k := range eta {
			eta[k] = lp.inv[k][slack]
		}
	default:
		return false
	}
	lp.replace(i, code, eta, ratio*-sign)
	return true
}

// replace does the pivot: code comes in at index i, the prices change by step along the row.
func (lp *exactLP) replace(i int, code int32, eta []float64, step float64) {
	rho := lp.inv[i]
	for r, v := range rho {
		if v != 0 {
			lp.price[r] += step * v
		}
	}
	if q := lp.basic[i]; q >= 0 {
		lp.hold[lp.m.job[q]]--
	}
	if code >= 0 {
		lp.hold[lp.m.job[code]]++
	}
	lp.basic[i] = code
	f := 1 / eta[i]
	lp.nonzero = lp.nonzero[:0]
	norm := 0.0
	for r, v := range rho {
		if abs(v) > 1e-13 {
			lp.nonzero = append(lp.nonzero, int32(r))
			rho[r] = v * f
			norm += rho[r] * rho[r]
		} else {
			rho[r] = 0
		}
	}
	t := lp.x[i] * f
	lp.norm[i], lp.x[i] = norm, t
	for k, e := range eta {
		if k == i || abs(e) < 1e-13 {
			continue
		}
		lp.x[k] -= e * t
		line := lp.inv[k]
		norm := lp.norm[k]
		for _, r := range lp.nonzero {
			v := line[r]
			w := v - e*rho[r]
			norm += w*w - v*v
			line[r] = w
		}
		lp.norm[k] = max(norm, 1e-6)
		lp.work += int64(len(lp.nonzero))*3 + 10
	}
	lp.since++
}
