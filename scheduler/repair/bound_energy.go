package repair

import (
	"cmp"
	"slices"
	"sort"
)

const (
	boundMostPoints = 1024 // ends of the spans compared, on either side
	boundClasses    = 16   // of durations, whose longest stands for all
	boundPartly     = 8    // spans for which least overlaps are summed
)

// boundPlace is where a job can be, were it alone: where it is planned (home), and starts from lo to hi.
type boundPlace struct {
	job      int32
	duration int64
	home     bool
	start    int64 // planned
	movable  bool
	lo, hi   int64
	hull     Span // all of it
}

// boundPlaces sorts the places of the jobs by the starts of their hulls. Those that have none are returned apart.
func boundPlaces(p Problem, jobs []int32, room *boundRoom) (places []boundPlace, nowhere []int32) {
	for _, i := range jobs {
		job := &p.Jobs[i]
		place := boundPlace{job: i, duration: job.Duration, start: job.Start}
		place.home = room.holds(Span{job.Start, job.Start + job.Duration})
		if place.lo, place.movable = room.first(job, 0, p.Slot); place.movable {
			place.hi, _ = room.last(job, job.Last, p.Slot)
			place.hull = Span{place.lo, place.hi + job.Duration}
		}
		switch {
		case !place.home && !place.movable:
			nowhere = append(nowhere, i)
			continue
		case !place.movable:
			place.hull = Span{job.Start, job.Start + job.Duration}
		case place.home:
			place.hull = Span{min(place.hull.From, job.Start), max(place.hull.To, job.Start+job.Duration)}
		}
		places = append(places, place)
	}
	sorted := make([]boundPlace, len(places))
	for i, k := range boundOrder(len(places), func(k int) int64 { return places[k].hull.From }) {
		sorted[i] = places[k]
	}
	return sorted, nowhere
}

// overlap is what the job needs of the span at least, wherever it is put: over consecutive starts it grows, stays and shrinks, so that
// the least is at an end.
func (place *boundPlace) overlap(span Span) int64 {
	at := func(start int64) int64 { return max(0, min(start+place.duration, span.To)-max(start, span.From)) }
	least := place.duration
	if place.home {
		least = at(place.start)
	}
	if place.movable {
		least = min(least, at(place.lo), at(place.hi))
	}
	return least
}

// core is what the job covers wherever it is put; it is empty, false, for most.
func (place *boundPlace) core() (Span, bool) {
	core := Span{place.start, place.start + place.duration}
	if place.movable {
		from, to := place.hi, place.lo+place.duration
		if place.home {
			from, to = max(from, core.From), min(to, core.To)
		}
		core = Span{from, to}
	}
	return core, core.From < core.To
}

// boundEnergy is how many of the jobs must remain unresolved, at least, and why: jobs that have no place at all, and spans in which
// jobs must be that together need more than there is. Spans are chosen apart, so that no job counts twice. Certificates need
// not add up to the number, as one may be worth more than any set of them that may be added up.
func boundEnergy(p Problem, jobs []int32, room *boundRoom) (int, []Certificate) {
	places, nowhere := boundPlaces(p, jobs, room)
	var certificates []Certificate
	for _, i := range nowhere {
		certificates = append(certificates, boundAlone(p, i, room))
	}
	if len(places) == 0 {
		return len(nowhere), certificates
	}
	chosen, tightest := newBoundGrid(places, room).choose()
	var whole []Certificate
	sum := 0
	for _, span := range chosen {
		from := sort.Search(len(places), func(k int) bool { return places[k].hull.From >= span.From })
		c := boundCertify(places[from:], span, room, func(place *boundPlace) int64 {
			if place.hull.To > span.To {
				return 0
			}
			return place.duration
		})
		whole = append(whole, c)
		sum += c.AtLeast
	}
	// With what merely overlaps a span, a single one may prove more than all of those apart.
	for _, span := range tightest {
		c := boundCertify(places, span, room, func(place *boundPlace) int64 { return place.overlap(span) })
		if c.AtLeast > sum {
			whole, sum = []Certificate{c}, c.AtLeast
		}
	}
	if c, least := boundCores(p, places, room); least > sum {
		whole, sum = []Certificate{c}, least
	}
	certificates = append(certificates, whole...)
	slices.SortFunc(certificates, func(a, b Certificate) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), slices.Compare(a.Jobs, b.Jobs))
	})
	return len(nowhere) + sum, certificates
}

// boundAlone is about a job that has no place. Have is the most that one of its places has, in one piece.
func boundAlone(p Problem, i int32, room *boundRoom) Certificate {
	job := &p.Jobs[i]
	c := Certificate{Span: Span{job.Start, job.Start + job.Duration}, Need: job.Duration, AtLeast: 1, Jobs: []int{int(i)}}
	if lo, hi := (job.First+p.Slot-1)/p.Slot*p.Slot, job.Last/p.Slot*p.Slot; lo <= hi {
		c.Span = Span{min(c.From, lo), max(c.To, hi+job.Duration)}
	}
	gap := sort.Search(len(room.gaps), func(k int) bool { return room.gaps[k].To > c.From })
	for ; gap < len(room.gaps) && room.gaps[gap].From < c.To; gap++ {
		piece := min(c.To, room.gaps[gap].To) - max(c.From, room.gaps[gap].From)
		c.Have = max(c.Have, min(piece, job.Duration-1))
	}
	return c
}

// boundCertify says how many must go when jobs need that much of the span: if the largest needs go first, any others would not
// do with fewer.
func boundCertify(places []boundPlace, span Span, room *boundRoom, need func(*boundPlace) int64) Certificate {
	c := Certificate{Span: span, Have: room.within(span)}
	var needs []int64
	for k := range places {
		if places[k].hull.From >= span.To {
			break
		}
		if n := need(&places[k]); n > 0 {
			c.Need += n
			c.Jobs = append(c.Jobs, int(places[k].job))
			needs = append(needs, n)
		}
	}
	if c.Need > c.Have {
		slices.Sort(needs)
		for over := c.Need - c.Have; over > 0; c.AtLeast++ {
			over -= needs[len(needs)-1-c.AtLeast]
		}
	}
	slices.Sort(c.Jobs)
	return c
}

// boundCores counts what must go of what jobs cover wherever they are put. The certificate is of the worst instant.
func boundCores(p Problem, places []boundPlace, room *boundRoom) (Certificate, int) {
	var cores []Span
	var starts, ends []int64
	for k := range places {
		if core, ok := places[k].core(); ok {
			cores = append(cores, core)
			starts, ends = append(starts, core.From), append(ends, core.To)
		}
	}
	least := boundEvictions(cores, p.Capacity)
	if least == 0 {
		return Certificate{}, 0
	}
	instants := append(slices.Clone(starts), ends...)
	instants = append(instants, room.at...)
	slices.Sort(starts)
	slices.Sort(ends)
	slices.Sort(instants)
	instants = slices.Compact(instants)
	var worst Span
	most, begun, ended, step := int64(0), 0, 0, 0
	for k, at := range instants[:len(instants)-1] {
		for begun < len(starts) && starts[begun] <= at {
			begun++
		}
		for ended < len(ends) && ends[ended] <= at {
			ended++
		}
		for step < len(room.at) && room.at[step] <= at {
			step++
		}
		free := int64(0)
		if step > 0 {
			free = room.free[step-1]
		}
		if over := int64(begun-ended) - free; over > most {
			most, worst = over, Span{at, instants[k+1]}
		}
	}
	return boundCertify(places, worst, room, func(place *boundPlace) int64 {
		if core, ok := place.core(); ok && core.From <= worst.From && core.To >= worst.To {
			return worst.To - worst.From
		}
		return 0
	}), least
}
