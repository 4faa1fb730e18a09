package repair

import "slices"

// boundDisplacement is the least that jobs must be displaced when so many must leave their place and so many of all remain
// unresolved, however many move: the others move at least to their nearest other place. Those whose planned place has no
// room at all must leave for certain.
func boundDisplacement(p Problem, jobs []int32, room *boundRoom, evictions, unresolved int) int64 {
	var any, certain []int64
	for _, i := range jobs {
		job := &p.Jobs[i]
		near := int64(-1)
		if at, ok := room.first(job, job.Start+1, p.Slot); ok {
			near = at - job.Start
		}
		if at, ok := room.last(job, job.Start-1, p.Slot); ok && (near < 0 || job.Start-at < near) {
			near = job.Start - at
		}
		stays := room.holds(Span{job.Start, job.Start + job.Duration})
		if near < 0 {
			// It cannot move; where it cannot stay either, it is one of the unresolved.
			if !stays {
				unresolved--
				evictions--
			}
			continue
		}
		any = append(any, near)
		if !stays {
			certain = append(certain, near)
		}
	}
	least := func(of []int64, count int) (sum int64) {
		slices.Sort(of)
		for _, by := range of[:max(0, min(count, len(of)))] {
			sum += by
		}
		return sum
	}
	return max(least(any, evictions-unresolved), least(certain, len(certain)-unresolved))
}
