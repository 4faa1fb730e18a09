package repair

// solveSearch gives an answer that fits for jobs of any durations, the better the more work it may spend. It stops before if that has
// not helped for a while.
func solveSearch(p Problem) (r Result, spent int64) {
	g := newGrid(p)
	coarse := p
	for ; g == nil; g = newGrid(coarse) {
		coarse.Slot *= 2 // of slots beyond number, some: a start on a coarser grid is one on the finer, too
	}
	s := newSearch(g, digest(p))
	s.fill(p.Work / 4)
	s.settle(p.Work / 3)
	if s.cost.out > 0 {
		s.gather(p.Work * 6 / 10)
	}
	s.polish(p.Work * 17 / 20)
	r, spent = g.result(s.pos, "search"), s.work
	if coarse.Slot == p.Slot {
		l := newLagrange(p, g, len(r.Unresolved), r.Moved)
		r.Bound.Displacement = l.bound(r.Displacement, p.Work*3/20)
		spent += l.work
	}
	return r, spent
}

// gather finds places for jobs that are out, whatever else it costs, until there are none or it has long not found any.
func (s *search) gather(until int64) {
	// Rounds of ruin are cheap and find the easy ones.
	for before := s.cost.out; ; before = s.cost.out {
		s.wander(min(until, s.work+until/40))
		if s.cost.out >= before-before/200 {
			break
		}
	}
	r := newRefiner(s, exactOut)
	out, last := s.cost.out, s.work
	for patience := until / 5; s.cost.out > 0 && s.work < until && s.work-last < patience; {
		r.step(until)
		if s.cost.out < out {
			out, last = s.cost.out, s.work
		}
	}
}

// polish improves all aims, by turns with ruin and with pieces, until neither gains much any more.
func (s *search) polish(until int64) {
	r := newRefiner(s, exactDistance)
	for part := until / 16; s.work < until && (s.cost.out > 0 || s.cost.moved > 0); {
		start := s.cost
		s.ruin(min(until, s.work+part))
		middle := s.cost
		for end := min(until, s.work+part); s.work < end; {
			r.step(end)
		}
		// What gains nothing is not tried again; what gains is.
		ruined, refined := gains(start, middle), gains(middle, s.cost)
		if !ruined && !refined {
			return
		}
		for ruined && !refined && s.work < until {
			before := s.cost
			s.ruin(min(until, s.work+part))
			ruined = gains(before, s.cost)
		}
		for refined && !ruined && s.work < until {
			before := s.cost
			for end := min(until, s.work+part); s.work < end; {
				r.step(end)
			}
			refined = gains(before, s.cost)
		}
	}
}

// gains says whether an answer is better than another by more than a trifle.
func gains(from, to searchCost) bool {
	return to.out < from.out || to.moved < from.moved || to.distance < from.distance-from.distance/2000
}
