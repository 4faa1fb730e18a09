package repair

import "sort"

// boundRoom is the capacity as the bounds need it: never negative, and summed up.
type boundRoom struct {
	at   []int64
	free []int64
	sum  []int64 // device-milliseconds before at
	gaps []Span  // where there is any room, ascending and apart
}

// newBoundRoom takes the steps that matter in [from, to). Room for more than most jobs is as good as room for most.
func newBoundRoom(capacity []Step, from, to int64, most int) *boundRoom {
	room := &boundRoom{at: []int64{from}, free: []int64{0}}
	i := sort.Search(len(capacity), func(i int) bool { return capacity[i].At > from })
	for i = max(i-1, 0); i < len(capacity) && capacity[i].At < to; i++ {
		at, free := max(from, capacity[i].At), int64(max(0, min(capacity[i].Free, most)))
		if last := len(room.at) - 1; room.at[last] == at {
			room.free[last] = free
		} else if room.free[last] != free {
			room.at, room.free = append(room.at, at), append(room.free, free)
		}
	}
	room.at, room.free = append(room.at, to), append(room.free, 0)
	room.sum = make([]int64, len(room.at))
	for i := 1; i < len(room.at); i++ {
		room.sum[i] = room.sum[i-1] + (room.at[i]-room.at[i-1])*room.free[i-1]
		if room.free[i-1] == 0 {
			continue
		}
		if last := len(room.gaps) - 1; last >= 0 && room.gaps[last].To == room.at[i-1] {
			room.gaps[last].To = room.at[i]
		} else {
			room.gaps = append(room.gaps, Span{room.at[i-1], room.at[i]})
		}
	}
	return room
}

// until is the room before an instant, in device-milliseconds.
func (room *boundRoom) until(at int64) int64 {
	i := sort.Search(len(room.at), func(i int) bool { return room.at[i] > at }) - 1
	if i < 0 {
		return 0
	}
	return room.sum[i] + (at-room.at[i])*room.free[i]
}

func (room *boundRoom) within(span Span) int64 { return room.until(span.To) - room.until(span.From) }

// holds tells whether there is any room at every instant of the span.
func (room *boundRoom) holds(span Span) bool {
	i := sort.Search(len(room.gaps), func(i int) bool { return room.gaps[i].To > span.From })
	return i < len(room.gaps) && room.gaps[i].From <= span.From && span.To <= room.gaps[i].To
}

// first is the earliest start from at on that is allowed and that would have room if the job were alone.
func (room *boundRoom) first(job *Job, at, slot int64) (int64, bool) {
	up := func(at int64) int64 { return (at + slot - 1) / slot * slot }
	at = up(max(at, job.First))
	closed := sort.Search(len(job.Closed), func(i int) bool { return job.Closed[i].To > at })
	gap := sort.Search(len(room.gaps), func(i int) bool { return room.gaps[i].To > at })
	for at <= job.Last {
		for closed < len(job.Closed) && job.Closed[closed].To <= at {
			closed++
		}
		if closed < len(job.Closed) && job.Closed[closed].From < at+job.Duration {
			at = up(job.Closed[closed].To)
			continue
		}
		for gap < len(room.gaps) && room.gaps[gap].To < at+job.Duration {
			gap++
		}
		if gap == len(room.gaps) {
			return 0, false
		}
		if room.gaps[gap].From <= at {
			return at, true
		}
		at = up(room.gaps[gap].From)
	}
	return 0, false
}

// last is the latest start up to at that is allowed and that would have room if the job were alone.
func (room *boundRoom) last(job *Job, at, slot int64) (int64, bool) {
	at = min(at, job.Last)
	closed := sort.Search(len(job.Closed), func(i int) bool { return job.Closed[i].From >= at+job.Duration }) - 1
	gap := sort.Search(len(room.gaps), func(i int) bool { return room.gaps[i].From > at }) - 1
	for at >= job.First && at >= 0 {
		at -= at % slot
		if at < job.First {
			break
		}
		for closed >= 0 && job.Closed[closed].From >= at+job.Duration {
			closed--
		}
		if closed >= 0 && job.Closed[closed].To > at {
			at = job.Closed[closed].From - job.Duration
			continue
		}
		for gap >= 0 && room.gaps[gap].From > at {
			gap--
		}
		if gap < 0 {
			return 0, false
		}
		if room.gaps[gap].To >= at+job.Duration {
			return at, true
		}
		at = room.gaps[gap].To - job.Duration
	}
	return 0, false
}
