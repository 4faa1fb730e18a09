package repair

import (
	"slices"
	"sort"
)

// grid is a problem cut into cells, at whose beginnings alone the load can rise or the room fall: every start that may be
// proposed, every planned start and every capacity step. A job takes the cells that begin while it runs. Within a cell the load only
// falls, so what fits on cells fits exactly, however little durations and steps are aligned with the slots.
//
// The starts of a job are not listed: they are stretches of points, which are the multiples of the slot that any job can use.
type grid struct {
	slot    int64
	at      []int64 // the instant at which each cell begins, ascending
	room    []int32 // for how many jobs each cell has room
	point   []int32 // the cell that begins at each point
	after   []int32 // by cell, and one more: the first point that begins there or later
	aligned bool    // cells and points are the same
	jobs    []gridJob
	pieces  []gridPiece
}

// gridJob is a job in terms of cells and points.
type gridJob struct {
	start, duration int64
	proposed        int64
	base            int64 // point p is at the instant base + p*slot; holds for the points of this job only
	homeA, homeB    int32 // the cells that it takes where it is planned, half-open
	from, to        int32 // its pieces
	slots           int32 // whole slots in its duration, rounded down
	priority        int32
}

// gridPiece is a stretch of points, inclusive.
type gridPiece struct{ lo, hi int32 }

// Where a job is: at a point, which is not negative, or one of these.
const (
	gridHome int32 = -1
	gridOut  int32 = -2
)

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func ceilDiv(a, b int64) int64 { return -floorDiv(-a, b) }

// gridRun is a stretch of consecutive multiples of the slot.
type gridRun struct {
	lo, hi int64 // in slots, inclusive
	point  int32 // of lo
}

// gridPoints is how many points a grid may have.
const gridPoints = 1 << 21

// newGrid is nil if the grid would have too many points.
func newGrid(p Problem) *grid {
	g := &grid{slot: p.Slot, jobs: make([]gridJob, len(p.Jobs))}
	runs := gridRuns(p)
	points := int64(0)
	for i := range runs {
		runs[i].point = int32(points)
		points += runs[i].hi - runs[i].lo + 1
		if points > gridPoints {
			return nil
		}
	}
	g.cut(p, runs, int(points))
	g.fill(p)
	for i, job := range p.Jobs {
		g.place(p, i, job, runs)
	}
	return g
}

// gridStarts is the range of a job's other starts, in slots; the first is beyond the last if there are none. Before the first step
// there is no room, so no start there is of use.
func gridStarts(p Problem, job Job) (first, last int64) {
	from := job.First
	if len(p.Capacity) == 0 {
		return 1, 0
	}
	from = max(from, p.Capacity[0].At)
	return ceilDiv(from, p.Slot), floorDiv(job.Last, p.Slot)
}

// gridRuns joins what the jobs can reach, so that every job's starts and ends lie in one run.
func gridRuns(p Problem) []gridRun {
	reach := make([]gridRun, 0, 2*len(p.Jobs))
	for _, job := range p.Jobs {
		reach = append(reach, gridRun{lo: floorDiv(job.Start, p.Slot), hi: ceilDiv(job.Start+job.Duration, p.Slot)})
		if first, last := gridStarts(p, job); first <= last {
			reach = append(reach, gridRun{lo: first, hi: last + ceilDiv(job.Duration, p.Slot)})
		}
	}
	slices.SortFunc(reach, func(a, b gridRun) int {
		switch {
		case a.lo < b.lo:
			return -1
		case a.lo > b.lo:
			return 1
		}
		return 0
	})
	runs := reach[:0]
	for _, r := range reach {
		if k := len(runs); k > 0 && r.lo <= runs[k-1].hi {
			runs[k-1].hi = max(runs[k-1].hi, r.hi)
			continue
		}
		runs = append(runs, r)
	}
	return runs
}

// cut lays out points and cells.
func (g *grid) cut(p Problem, runs []gridRun, points int) {
	var odd []int64 // what begins between points
	for _, job := range p.Jobs {
		if job.Start%p.Slot != 0 {
			odd = append(odd, job.Start)
		}
	}
	for _, step := range p.Capacity {
		if step.At%p.Slot != 0 {
			k := sort.Search(len(runs), func(i int) bool { return runs[i].hi*p.Slot > step.At })
			if k < len(runs) && runs[k].lo*p.Slot < step.At {
				odd = append(odd, step.At)
			}
		}
	}
	slices.Sort(odd)
	odd = slices.Compact(odd)
	g.aligned = len(odd) == 0
	g.at = make([]int64, 0, points+len(odd))
	g.point = make([]int32, 0, points)
	for _, r := range runs {
		for s := r.lo; s <= r.hi; s++ {
			for len(odd) > 0 && odd[0] < s*p.Slot {
				g.at = append(g.at, odd[0])
				odd = odd[1:]
			}
			g.point = append(g.point, int32(len(g.at)))
			g.at = append(g.at, s*p.Slot)
		}
	}
	g.after = make([]int32, len(g.at)+1)
	next := len(g.point)
	for c := len(g.at); c >= 0; c-- {
		if next > 0 && c < len(g.at) && int(g.point[next-1]) == c {
			next--
		}
		g.after[c] = int32(next)
	}
}

// fill says how much room each cell has. More than there are jobs is never of use.
func (g *grid) fill(p Problem) {
	g.room = make([]int32, len(g.at))
	step := -1
	for c, at := range g.at {
		for step+1 < len(p.Capacity) && p.Capacity[step+1].At <= at {
			step++
		}
		if step >= 0 {
			g.room[c] = int32(min(max(p.Capacity[step].Free, 0), len(p.Jobs)))
		}
	}
}

// place finds a job's home and its other starts.
func (g *grid) place(p Problem, i int, job Job, runs []gridRun) {
	find := func(slot int64) gridRun {
		return runs[sort.Search(len(runs), func(k int) bool { return runs[k].hi >= slot })]
	}
	j := &g.jobs[i]
	*j = gridJob{
		start: job.Start, duration: job.Duration, proposed: job.Proposed, priority: int32(job.Priority),
		slots: int32(job.Duration / g.slot), from: int32(len(g.pieces)), to: int32(len(g.pieces)),
	}
	home := find(floorDiv(job.Start, g.slot))
	cell := func(t int64) int32 { // the first that begins at t or later
		s := floorDiv(t, g.slot)
		c := g.point[home.point+int32(s-home.lo)]
		for g.at[c] < t {
			c++
		}
		return c
	}
	if g.aligned {
		j.homeA, j.homeB = cell(job.Start), cell(job.Start+job.Duration)
	} else {
		j.homeA = int32(sort.Search(len(g.at), func(c int) bool { return g.at[c] >= job.Start }))
		j.homeB = int32(sort.Search(len(g.at), func(c int) bool { return g.at[c] >= job.Start+job.Duration }))
	}
	first, last := gridStarts(p, job)
	if first > last {
		return
	}
	run := find(first)
	j.base = (run.lo - int64(run.point)) * g.slot
	keep := func(lo, hi int64) {
		if lo <= hi {
			g.pieces = append(g.pieces, gridPiece{run.point + int32(lo-run.lo), run.point + int32(hi-run.lo)})
		}
	}
	for _, closed := range job.Closed {
		// The starts at which it would touch the closed time are those after its beginning less the duration, before its end.
		lo, hi := floorDiv(closed.From-job.Duration, g.slot)+1, ceilDiv(closed.To, g.slot)-1
		if lo > hi || hi < first {
			continue
		}
		keep(first, min(lo-1, last))
		first = max(first, hi+1)
	}
	keep(first, last)
	j.to = int32(len(g.pieces))
}

// cells are what job j takes at a position other than gridOut, half-open.
func (g *grid) cells(j, pos int32) (a, b int32) {
	job := &g.jobs[j]
	if pos < 0 {
		return job.homeA, job.homeB
	}
	if g.aligned {
		a = pos
		b = pos + job.slots
		if int64(job.slots)*g.slot < job.duration {
			b++
		}
		return a, b
	}
	a = g.point[pos]
	end := job.base + int64(pos)*g.slot + job.duration
	b = g.point[pos+job.slots]
	if g.at[b] >= end {
		return a, b
	}
	top := g.point[pos+job.slots+1]
	for b+1 < top { // at[b] < end <= at[top]
		if m := (b + top) / 2; g.at[m] < end {
			b = m
		} else {
			top = m
		}
	}
	return a, top
}

// instant is the start that a position means.
func (g *grid) instant(j, pos int32) int64 {
	if pos < 0 {
		return g.jobs[j].start
	}
	return g.jobs[j].base + int64(pos)*g.slot
}

// far is how far a position is from home.
func (g *grid) far(j, pos int32) int64 {
	if pos < 0 {
		return 0
	}
	d := g.jobs[j].base + int64(pos)*g.slot - g.jobs[j].start
	return max(d, -d)
}

// distance is what a position adds to the third aim: how far it is, and a slot if it was proposed to be elsewhere.
func (g *grid) distance(j, pos int32) int64 {
	d := g.far(j, pos)
	if job := &g.jobs[j]; pos >= 0 && job.proposed != 0 && job.proposed != g.instant(j, pos) {
		d += g.slot
	}
	return d
}

// choices calls yield for every start of job j other than its planned one, ascending.
func (g *grid) choices(j int32, yield func(pos int32)) {
	job := &g.jobs[j]
	for _, piece := range g.pieces[job.from:job.to] {
		for p := piece.lo; p <= piece.hi; p++ {
			if job.base+int64(p)*g.slot != job.start {
				yield(p)
			}
		}
	}
}

// result says an assignment in the problem's terms.
func (g *grid) result(pos []int32, solver string) Result {
	r := Result{Starts: make([]int64, len(pos)), Solver: solver}
	for i, at := range pos {
		j := int32(i)
		r.Starts[i] = g.instant(j, at)
		switch {
		case at == gridOut:
			r.Unresolved = append(r.Unresolved, i)
		case at >= 0:
			r.Moved++
			d := r.Starts[i] - g.jobs[i].start
			d = max(d, -d)
			r.Displacement += d
			r.LongestMove = max(r.LongestMove, d)
		}
	}
	return r
}
