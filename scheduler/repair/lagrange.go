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
	most       float64 // of a price, so that no sum of them overflows, however far a step leads
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

// lagrangePrices are prices that were good, to come back to.
type lagrangePrices struct {
	bound           int64
	price           []float64
	perMove, perOut float64
}

func (l *lagrange) note(p *lagrangePrices, bound int64) {
	p.bound, p.perMove, p.perOut = bound, l.perMove, l.perOut
	p.price = append(p.price[:0], l.price...)
}

func (l *lagrange) back(p *lagrangePrices) {
	copy(l.price, p.price)
	l.perMove, l.perOut = p.perMove, p.perOut
}

// bound spends about as much work as it may on better prices and returns the best bound found. target is a known answer's distance.
func (l *lagrange) bound(target, work int64) int64 {
	if target == 0 {
		return 0
	}
	l.most = float64(int64(1) << 60 / int64(len(l.price)+1) / int64(len(l.g.jobs)+1))
	l.perOut = min(l.most, float64(target)/float64(1+l.out))
	var best lagrangePrices
	l.note(&best, 0)
	l.climb(&best, target, work/3, 12, true)
	// A move's price goes with those of the cells: if a move costs more, so must staying. Steps in that direction are long, and no single
	// price's slope shows it.
	step := float64(l.g.slot)
	for l.work < work && abs(step) > float64(l.g.slot)/32 && best.bound < target {
		before := best.bound
		from := best.perMove
		l.back(&best)
		l.perMove = min(l.most, max(0, l.perMove+step))
		// A job that moves pays that once, so of cells after each other only the dearest is to cost more.
		last := 0.0
		for c, price := range l.price {
			next := 0.0
			if c+1 < len(l.price) {
				next = l.price[c+1]
			}
			if price > float64(l.g.slot)/16 && price > last && price >= next {
				l.price[c] = min(l.most, max(0, price+l.perMove-from))
			}
			last = price
		}
		l.climb(&best, target, work, 4, false)
		if best.bound > before {
			step *= 2
		} else {
			step *= -0.4
		}
	}
	l.back(&best)
	l.climb(&best, target, work, 12, true)
	return best.bound
}

// climb takes subgradient steps until a few after each other have not helped, several times. moves says whether the price of a move changes,
// too.
func (l *lagrange) climb(best *lagrangePrices, target, work int64, patience int, moves bool) {
	g := l.g
	var here lagrangePrices
	l.note(&here, -1<<62)
	stale, theta := 0, 1.0
	along := make([]float64, len(l.price)) // the direction, smoothed over the steps
	alongMove, alongOut := 0.0, 0.0
	// A price's step is in proportion to how little what it rations changes with it: about one by as much as there is of it.
	const keep = 0.6
	for l.work < work && best.bound < target && theta > 1e-2/float64(patience) {
		bound, moved, out := l.evaluate()
		if bound > here.bound {
			stale = 0
			l.note(&here, bound)
			if bound > best.bound {
				l.note(best, bound)
			}
		} else if stale++; stale == patience {
			stale, theta = 0, theta*0.7
			l.back(&here)
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
		if moves {
			alongMove = keep*alongMove + (1-keep)*float64(moved-l.moved)
			if alongMove < 0 && l.perMove == 0 {
				alongMove = 0
			}
			norm += alongMove * alongMove / float64(1+l.moved)
		}
		alongOut = keep*alongOut + (1-keep)*float64(out-l.out)
		norm += alongOut * alongOut / float64(1+l.out)
		if norm < 1e-9 {
			return
		}
		step := theta * float64(target-bound) / norm
		for c := range l.price {
			if along[c] != 0 {
				l.price[c] = min(l.most, max(0, l.price[c]+step*along[c]/float64(1+g.room[c])))
			}
		}
		l.perMove = min(l.most, max(0, l.perMove+step*alongMove/float64(1+l.moved)))
		l.perOut = min(l.most, max(0, l.perOut+step*alongOut/float64(1+l.out)))
		l.work += int64(len(l.price)) * 4
	}
}

// lagrangeDisplacement is what no answer with at most as many unresolved and as many moved jobs as r can be displaced less than, in all.
func lagrangeDisplacement(p Problem, r Result, work int64) int64 {
	g := newGrid(p)
	if g == nil {
		return 0
	}
	return newLagrange(p, g, len(r.Unresolved), r.Moved).bound(r.Displacement, work)
}
