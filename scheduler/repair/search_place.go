package repair

// isChoice says whether point p, which may be out of any range, is one of job j's other starts.
func (g *grid) isChoice(j int32, p int64) bool {
	job := &g.jobs[j]
	for _, piece := range g.pieces[job.from:job.to] {
		if int64(piece.lo) <= p && p <= int64(piece.hi) {
			return true
		}
	}
	return false
}

// nearest is the cheapest position at which a job that is out fits: home, or the other start with the least distance, or gridOut.
func (s *search) nearest(j int32) int32 {
	if s.fits(j, gridHome) {
		return gridHome
	}
	return s.nearestMove(j)
}

// nearestMove is nearest without home.
func (s *search) nearestMove(j int32) int32 {
	g := s.g
	job := &g.jobs[j]
	best, bestDistance := gridOut, int64(1)<<62
	consider := func(p int32) {
		if d := g.distance(j, p); d < bestDistance {
			best, bestDistance = p, d
		}
	}
	if job.proposed != 0 && (job.proposed-job.base)%g.slot == 0 && job.proposed != job.start {
		p := (job.proposed - job.base) / g.slot
		if job.proposed >= job.base && g.isChoice(j, p) && s.fits(j, int32(p)) {
			consider(int32(p))
		}
	}
	middle := floorDiv(job.start-job.base, g.slot) // the last point that is not after home
	for k := job.from; k < job.to; k++ {
		piece := g.pieces[k]
		lo, hi := int64(piece.lo), int64(piece.hi)
		lo = max(lo, middle+1)
		// One that is nearer than the best so far is of interest.
		if bestDistance < int64(1)<<62 {
			hi = min(hi, floorDiv(job.start+bestDistance-job.base, g.slot))
		}
		if lo > hi {
			continue
		}
		if p := s.later(j, int32(lo), int32(hi)); p >= 0 {
			consider(p)
			break
		}
	}
	middle = ceilDiv(job.start-job.base, g.slot) - 1
	for k := job.to - 1; k >= job.from; k-- {
		piece := g.pieces[k]
		lo, hi := int64(piece.lo), int64(piece.hi)
		hi = min(hi, middle)
		if bestDistance < int64(1)<<62 {
			lo = max(lo, ceilDiv(job.start-bestDistance-job.base, g.slot))
		}
		if lo > hi {
			continue
		}
		if p := s.sooner(j, int32(hi), int32(lo)); p >= 0 {
			consider(p)
			break
		}
	}
	return best
}

// earliest is the first start at which a job that is out fits, home among them.
func (s *search) earliest(j int32) int32 {
	g := s.g
	job := &g.jobs[j]
	home := s.fits(j, gridHome)
	for _, piece := range g.pieces[job.from:job.to] {
		if home && g.instant(j, piece.lo) >= job.start {
			break
		}
		if p := s.later(j, piece.lo, piece.hi); p >= 0 {
			if home && g.instant(j, p) >= job.start {
				break
			}
			return s.plain(j, p)
		}
	}
	if home {
		return gridHome
	}
	return gridOut
}

// latest is the last start at which a job that is out fits, home among them.
func (s *search) latest(j int32) int32 {
	g := s.g
	job := &g.jobs[j]
	home := s.fits(j, gridHome)
	for k := job.to - 1; k >= job.from; k-- {
		piece := g.pieces[k]
		if home && g.instant(j, piece.hi) <= job.start {
			break
		}
		if p := s.sooner(j, piece.hi, piece.lo); p >= 0 {
			if home && g.instant(j, p) <= job.start {
				break
			}
			return s.plain(j, p)
		}
	}
	if home {
		return gridHome
	}
	return gridOut
}

// plain calls the point that is home by its name.
func (s *search) plain(j, p int32) int32 {
	if s.g.instant(j, p) == s.g.jobs[j].start {
		return gridHome
	}
	return p
}
