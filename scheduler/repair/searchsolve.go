package repair

// solveSearch gives an answer that fits for jobs of any durations, the better the more work it may spend.
func solveSearch(p Problem) Result {
	g := newGrid(p)
	s := newSearch(g, digest(p))
	s.fill(p.Work / 2)
	s.settle(p.Work / 2)
	s.ruin(p.Work)
	r := g.result(s.pos, "search")
	l := newLagrange(p, g, len(r.Unresolved), r.Moved)
	r.Bound.Displacement = l.bound(r.Displacement, p.Work/5)
	return r
}
