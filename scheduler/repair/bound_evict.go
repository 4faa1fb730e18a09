package repair

import (
	"cmp"
	"slices"
)

// boundEvictions is the least number of spans that must go so that those that stay have room. From left to right, whenever the
// load exceeds the room, the active span with the latest end goes: what it would need later includes what any other active one
// would. Of the places where jobs are planned, it is how many must move or remain unresolved. It is exact in O(n log n).
func boundEvictions(spans []Span, capacity []Step) int {
	byStart := boundOrder(len(spans), func(k int) int64 { return spans[k].From })
	byEnd := boundOrder(len(spans), func(k int) int64 { return spans[k].To })
	gone := make([]bool, len(spans))
	var active flowQueue // the latest end first: by end, negated
	evicted, load, free, begun, ended, step := 0, 0, 0, 0, 0, 0
	for begun < len(byStart) || load > 0 && step < len(capacity) {
		var at int64
		switch {
		case begun == len(byStart):
			at = capacity[step].At
		case step == len(capacity):
			at = spans[byStart[begun]].From
		default:
			at = min(spans[byStart[begun]].From, capacity[step].At)
		}
		for ; ended < len(byEnd) && spans[byEnd[ended]].To <= at; ended++ {
			if !gone[byEnd[ended]] {
				load--
			}
		}
		for ; step < len(capacity) && capacity[step].At <= at; step++ {
			free = max(0, capacity[step].Free)
		}
		for ; begun < len(byStart) && spans[byStart[begun]].From == at; begun++ {
			active.push(-spans[byStart[begun]].To, byStart[begun])
			load++
		}
		for load > free {
			_, k := active.pop()
			gone[k] = true
			load--
			evicted++
		}
	}
	return evicted
}

// boundOrder is the indices up to n in the order of their keys.
func boundOrder(n int, key func(k int) int64) []int32 {
	type keyed struct {
		key int64
		k   int32
	}
	sorted := make([]keyed, n)
	for k := range sorted {
		sorted[k] = keyed{key(k), int32(k)}
	}
	slices.SortFunc(sorted, func(a, b keyed) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		return int(a.k - b.k)
	})
	order := make([]int32, n)
	for i := range sorted {
		order[i] = sorted[i].k
	}
	return order
}

// boundHomes is where jobs are planned.
func boundHomes(p Problem, jobs []int32) []Span {
	spans := make([]Span, len(jobs))
	for k, i := range jobs {
		spans[k] = Span{p.Jobs[i].Start, p.Jobs[i].Start + p.Jobs[i].Duration}
	}
	return spans
}
