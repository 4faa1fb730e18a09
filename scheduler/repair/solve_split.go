package repair

import "math"

// splitJob is where a job is planned and where it may be moved, in slots from the first one, half-open. What it only touches counts
// as covered, so that all that follows holds for jobs that do not fit into slots, too.
type splitJob struct{ homeFrom, homeTo, from, to int32 }

// splitRounds bounds how often jobs that need not be considered are taken out; most go in the first.
const splitRounds = 8

// split finds the jobs that may have to be considered, in parts that do not depend on one another, ascending. All other jobs stay
// where they are planned, in every best answer.
//
// A slot is loose when it has room for every job that could ever be put there. A job whose planned place is all loose takes nothing
// from anyone by staying there, at no cost; with its other places out of the way more slots get loose. What remains interacts
// only where it is not loose.
func split(p Problem) [][]int32 {
	if len(p.Jobs) == 0 {
		return nil
	}
	base, slots := splitExtent(p)
	jobs := make([]splitJob, len(p.Jobs))
	active := make([]int32, len(p.Jobs))
	room := splitRoom(p, base, slots)
	load := make([]int32, slots+1) // by slot, the change of what could be put there
	home := make([]int32, slots+1) // the change of what is planned there
	for i := range p.Jobs {
		job := &p.Jobs[i]
		s := splitJob{homeFrom: int32(job.Start/p.Slot - base), homeTo: int32((job.Start+job.Duration+p.Slot-1)/p.Slot - base)}
		s.from, s.to = s.homeFrom, s.homeTo
		if lo, hi := (job.First+p.Slot-1)/p.Slot, job.Last/p.Slot; lo <= hi {
			s.from, s.to = int32(lo-base), int32((hi*p.Slot+job.Duration+p.Slot-1)/p.Slot-base)
		}
		jobs[i], active[i] = s, int32(i)
		home[s.homeFrom]++
		home[s.homeTo]--
		s.add(load, 1)
	}
	tight := make([]int32, slots+1) // slots before it that are not loose
	for range splitRounds {
		could := int32(0)
		for v := range slots {
			could += load[v]
			tight[v+1] = tight[v]
			if could > room[v] {
				tight[v+1]++
			}
		}
		kept := active[:0]
		for _, i := range active {
			s := jobs[i]
			if tight[s.homeFrom] < tight[s.homeTo] {
				kept = append(kept, i)
				continue
			}
			s.add(load, -1)
			load[s.homeFrom]++
			load[s.homeTo]--
		}
		if len(kept) == len(active) {
			break
		}
		active = kept
	}
	return splitParts(jobs, active, tight, room, home)
}

// add counts a job's places, each slot once.
func (s splitJob) add(load []int32, by int32) {
	if s.from <= s.homeTo && s.homeFrom <= s.to {
		load[min(s.from, s.homeFrom)] += by
		load[max(s.to, s.homeTo)] -= by
		return
	}
	load[s.homeFrom] += by
	load[s.homeTo] -= by
	load[s.from] += by
	load[s.to] -= by
}

// splitExtent is the first slot of any place, and the number of slots to the end of the last.
func splitExtent(p Problem) (base int64, slots int) {
	from, to := int64(math.MaxInt64), int64(0)
	for i := range p.Jobs {
		job := &p.Jobs[i]
		from, to = min(from, job.Start), max(to, job.Start+job.Duration)
		if job.First <= job.Last {
			from, to = min(from, job.First), max(to, job.Last+job.Duration)
		}
	}
	base = from / p.Slot
	return base, int((to+p.Slot-1)/p.Slot - base)
}

// splitRoom is the least room in each slot.
func splitRoom(p Problem, base int64, slots int) []int32 {
	room := make([]int32, slots)
	step, free := 0, 0
	for v := range room {
		from := (base + int64(v)) * p.Slot
		for ; step < len(p.Capacity) && p.Capacity[step].At <= from; step++ {
			free = p.Capacity[step].Free
		}
		least := free
		for ; step < len(p.Capacity) && p.Capacity[step].At < from+p.Slot; step++ {
			free = p.Capacity[step].Free
			least = min(least, free)
		}
		room[v] = int32(max(0, min(least, len(p.Jobs))))
	}
	return room
}

// splitParts puts jobs together whose places cover the same slot that is not loose, and leaves out the parts that are in no
// overload as they are planned.
func splitParts(jobs []splitJob, active, tight, room, home []int32) [][]int32 {
	count := tight[len(tight)-1]
	if count == 0 || len(active) == 0 {
		return nil
	}
	// A job joins the slots between its first and its last.
	join := make([]int32, count+1)
	for _, i := range active {
		s := jobs[i]
		from, to := tight[min(s.from, s.homeFrom)], tight[max(s.to, s.homeTo)]
		join[from]++
		join[to-1]--
	}
	part := make([]int32, count)
	parts, joined := int32(0), int32(0)
	for k := range part {
		part[k] = parts
		if joined += join[k]; joined == 0 {
			parts++
		}
	}
	over := make([]bool, parts)
	planned := int32(0)
	for v, free := range room {
		planned += home[v]
		if tight[v+1] > tight[v] && planned > free {
			over[part[tight[v]]] = true
		}
	}
	found := make([][]int32, parts)
	for _, i := range active {
		if k := part[tight[jobs[i].homeFrom]]; over[k] {
			found[k] = append(found[k], i)
		}
	}
	kept := found[:0]
	for _, part := range found {
		if len(part) > 0 {
			kept = append(kept, part)
		}
	}
	return kept
}
