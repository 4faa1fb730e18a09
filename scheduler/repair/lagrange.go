package repair

// lagrangeClass are the jobs that can be at the same places at the same prices; in a fleet, those of one batch.
type lagrangeClass struct {
	job   int32 // one of them
	count int64
}

// lagrange bounds the third aim from below with prices for room: each job pays for the cells that it takes, besides its distance, and
// what the room is worth is subtracted. Whatever the prices, the sum of what each job pays at its cheapest place is no more than any
// answer's distances, because an answer takes no more room than there is. The same is done for the number of moves and of unresolved
// jobs, so the bound is one for answers with at most out unresolved and at most moved moves. All of it is in whole milliseconds: no
// rounding can make it wrong. Good prices are approached by subgradient steps.
type lagrange struct {
	g          *grid
	classes    []lagrangeClass
	out, moved int64
	price      []float64 // by cell
	perMove    float64
	perOut     float64
	sum        []int64 // of the prices before each cell
	load       []int64 // differences of the cells' loads at the cheapest places
	work       int64
}

// lagrangeKey is what makes jobs alike.
type lagrangeKey struct{ start, duration, first, last int64 }

func newLagrange(p Problem, g *grid, out, moved int) *lagrange {
	l := &lagrange{
		g: g, out: int64(out), moved: int64(moved), price: make([]float64, len(g.at)),
		sum: make([]int64, len(g.at)+1), load: make([]int64, len(g.at)+1),
	}
	known := make(map[lagrangeKey]int)
	for i, job := range p.Jobs {
		if len(job.Closed) == 0 {
			key := lagrangeKey{job.Start, job.Duration, job.First, job.Last}
			if k, ok := known[key]; ok {
				l.classes[k].count++
				continue
			}
			known[key] = len(l.classes)
		}
		l.classes = append(l.classes, lagrangeClass{int32(i), 1})
	}
	l.work = int64(len(p.Jobs)) * 100
	return l
}

// evaluate puts every class at its cheapest place and returns the bound, the moves and the unresolved of that.
func (l *lagrange) evaluate() (bound, moved, out int64) {
	g := l.g
	for c, price := range l.price {
		l.sum[c+1] = l.sum[c] + int64(price)
		bound -= int64(price) * int64(g.room[c])
		l.load[c] = 0
	}
	l.load[len(g.at)] = 0
	perMove, perOut := int64(l.perMove), int64(l.perOut)
	bound -= perMove*l.moved + perOut*l.out
	l.work += int64(len(l.price)) * 4
	for _, class := range l.classes {
		job := &g.jobs[class.job]
		best, at := l.sum[job.homeB]-l.sum[job.homeA], gridHome
		l.work += 8
		if best > perMove {
			if p, cost := l.cheapest(class.job, best); p >= 0 {
				best, at = cost, p
			}
		}
		if best > perOut {
			best, at = perOut, gridOut
		}
		bound += best * class.count
		switch {
		case at == gridOut:
			out += class.count
			continue
		case at >= 0:
			moved += class.count
		}
		a, b := g.cells(class.job, at)
		l.load[a] += class.count
		l.load[b] -= class.count
	}
	return bound, moved, out
}

// cheapest is the other start of job j at which it pays the least, if that is less than limit. Prices are not negative, so only those are
// looked at whose distance alone is less.
func (l *lagrange) cheapest(j int32, limit int64) (int32, int64) {
	g := l.g
	job := &g.jobs[j]
	best := int32(-1)
	perMove := int64(l.perMove)
	consider := func(p int32) {
		a, b := g.cells(j, p)
		if cost := g.far(j, p) + perMove + l.sum[b] - l.sum[a]; cost < limit {
			best, limit = p, cost
		}
	}
	right := floorDiv(job.start-job.base, g.slot) + 1
	left := ceilDiv(job.start-job.base, g.slot) - 1
	for k := job.from; k < job.to; k++ {
		piece := g.pieces[k]
		for p := max(int64(piece.lo), right); p <= int64(piece.hi); p++ {
			l.work += 5
			if job.base+p*g.slot-job.start+perMove >= limit {
				break
			}
			consider(int32(p))
		}
		for p := min(int64(piece.hi), left); p >= int64(piece.lo); p-- {
			l.work += 5
			if job.start-job.base-p*g.slot+perMove >= limit {
				break
			}
			consider(int32(p))
		}
	}
	return best, limit
}

// bound spends about as much work as it may on better prices and returns the best bound found. target is a known answer's distance.
func (l *lagrange) bound(target, work int64) int64 {
	if target == 0 {
		return 0
	}
	g := l.g
	best, stale, theta := int64(0), 0, 1.0
	along := make([]float64, len(l.price)) // the direction, smoothed over the steps
	alongMove, alongOut := 0.0, 0.0
	// No sum of prices may overflow, however far a step leads.
	most := float64(int64(1) << 60 / int64(len(l.price)+1) / int64(len(g.jobs)+1))
	l.perOut = min(most, float64(target)/float64(1+l.out))
	bestPrice, bestMove, bestOut := append([]float64(nil), l.price...), 0.0, l.perOut
	// A price's step is in proportion to how little what it rations changes with it: about one by as much as there is of it.
	const keep = 0.6
	for l.work < work && best < target && theta > 1e-3 {
		bound, moved, out := l.evaluate()
		if bound > best {
			best, stale = bound, 0
			copy(bestPrice, l.price)
			bestMove, bestOut = l.perMove, l.perOut
		} else if stale++; stale == 12 {
			stale, theta = 0, theta*0.75
			copy(l.price, bestPrice)
			l.perMove, l.perOut = bestMove, bestOut
			clear(along)
			alongMove, alongOut = 0, 0
			bound, moved, out = l.evaluate()
		}
		norm, load := 0.0, int64(0)
		for c := range l.price {
			load += l.load[c]
			over := float64(load - int64(g.room[c]))
			along[c] = keep*along[c] + (1-keep)*over
			if along[c] < 0 && l.price[c] == 0 {
				along[c] = 0
				continue
			}
			norm += along[c] * along[c] / float64(1+g.room[c])
		}
		alongMove = keep*alongMove + (1-keep)*float64(moved-l.moved)
		if alongMove < 0 && l.perMove == 0 {
			alongMove = 0
		}
		alongOut = keep*alongOut + (1-keep)*float64(out-l.out)
		norm += alongMove*alongMove/float64(1+l.moved) + alongOut*alongOut/float64(1+l.out)
		if norm < 1e-9 {
			break
		}
		step := theta * float64(target-bound) / norm
		for c := range l.price {
			if along[c] != 0 {
				l.price[c] = min(most, max(0, l.price[c]+step*along[c]/float64(1+g.room[c])))
			}
		}
		l.perMove = min(most, max(0, l.perMove+step*alongMove/float64(1+l.moved)))
		l.perOut = min(most, max(0, l.perOut+step*alongOut/float64(1+l.out)))
		l.work += int64(len(l.price)) * 4
	}
	return best
}
