package repair

import (
	"cmp"
	"slices"
)

// spreadWork bounds the pairs that spread compares, for either of its aims.
const spreadWork = 1 << 20

// spreader makes an answer fairer. It lets jobs change places in pairs that leave the load as it is at every instant, and with it
// all that the first three aims count.
type spreader struct {
	p   Problem
	r   *Result
	out []bool // by job
}

// spread shortens the longest moves among the jobs, and spreads over the groups who of those that are alike bears a move or remains
// unresolved. What the other jobs of the answer bear counts, but they do not change.
func spread(p Problem, r *Result, jobs []int32) {
	s := &spreader{p: p, r: r, out: make([]bool, len(p.Jobs))}
	for _, i := range r.Unresolved {
		s.out[i] = true
	}
	s.shorten(jobs)
	s.share(jobs)
	r.Unresolved = r.Unresolved[:0]
	for i, yes := range s.out {
		if yes {
			r.Unresolved = append(r.Unresolved, i)
		}
	}
	r.LongestMove = 0
	for i := range p.Jobs {
		r.LongestMove = max(r.LongestMove, s.far(int32(i), r.Starts[i]))
	}
}

// far is how long the move of a job to a start is.
func (s *spreader) far(i int32, start int64) int64 {
	return max(start-s.p.Jobs[i].Start, s.p.Jobs[i].Start-start)
}

// moves tells whether the job would be moved at the start, and may be.
func (s *spreader) moves(i int32, start int64) bool {
	job := &s.p.Jobs[i]
	return start != job.Start && job.allows(start, s.p.Slot)
}

// shorten exchanges the starts of two jobs of the same duration, as long as that shortens the longest move and keeps the sum. It
// ends when one of the longest finds no partner.
func (s *spreader) shorten(jobs []int32) {
	var moved []int32 // the longest first
	alike := map[int64][]int32{}
	for _, i := range jobs {
		if s.r.Starts[i] != s.p.Jobs[i].Start && s.p.Jobs[i].Proposed == 0 {
			moved = append(moved, i)
			alike[s.p.Jobs[i].Duration] = append(alike[s.p.Jobs[i].Duration], i)
		}
	}
	order := func(a, b int32) int {
		return cmp.Or(cmp.Compare(s.far(b, s.r.Starts[b]), s.far(a, s.r.Starts[a])), cmp.Compare(a, b))
	}
	slices.SortFunc(moved, order)
	for work := 0; work < spreadWork && len(moved) > 1; {
		top := moved[0]
		from := s.r.Starts[top]
		partners := alike[s.p.Jobs[top].Duration]
		work += len(partners) + 16
		partner, best := int32(-1), s.far(top, from)
		for _, k := range partners {
			to := s.r.Starts[k]
			x, y := s.far(top, to), s.far(k, from)
			if max(x, y) < best && x+y == s.far(top, from)+s.far(k, to) && s.moves(top, to) && s.moves(k, from) {
				partner, best = k, max(x, y)
			}
		}
		if partner < 0 {
			return
		}
		for _, k := range [2]int32{top, partner} {
			at, _ := slices.BinarySearchFunc(moved, k, order)
			moved = slices.Delete(moved, at, at+1)
		}
		s.r.Starts[top], s.r.Starts[partner] = s.r.Starts[partner], from
		for _, k := range [2]int32{top, partner} {
			at, _ := slices.BinarySearchFunc(moved, k, order)
			moved = slices.Insert(moved, at, k)
		}
	}
}

// share lets a job that stays change places with one that is planned at the same time for as long and has the same priority, but has to
// move or remains unresolved, when that one's group bears more.
func (s *spreader) share(jobs []int32) {
	load := map[int]int{}
	for i := range s.p.Jobs {
		if s.bears(int32(i)) {
			load[s.p.Jobs[i].Group]++
		}
	}
	order := slices.Clone(jobs)
	alike := func(a, b int32) int {
		x, y := &s.p.Jobs[a], &s.p.Jobs[b]
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.Duration, y.Duration), cmp.Compare(x.Priority, y.Priority))
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(alike(a, b), cmp.Compare(a, b)) })
	work := 0
	for again := true; again && work < spreadWork; {
		again = false
		for from, to := 0, 0; from < len(order); from = to {
			for to = from + 1; to < len(order) && alike(order[from], order[to]) == 0; to++ {
			}
			work += to - from
			again = s.shareAlike(order[from:to], load, &work) || again
		}
	}
}

// bears tells whether a job has to move or remains unresolved.
func (s *spreader) bears(i int32) bool { return s.out[i] || s.r.Starts[i] != s.p.Jobs[i].Start }

// shareAlike is share among jobs that are alike.
func (s *spreader) shareAlike(jobs []int32, load map[int]int, work *int) (changed bool) {
	var bear, stay []int32
	for _, i := range jobs {
		switch {
		case s.p.Jobs[i].Proposed != 0:
		case s.bears(i):
			bear = append(bear, i)
		default:
			stay = append(stay, i)
		}
	}
	for _, i := range bear {
		if *work += len(stay); *work >= spreadWork {
			return changed
		}
		group := s.p.Jobs[i].Group
		other, least := -1, load[group]-1
		for n, k := range stay {
			if l := load[s.p.Jobs[k].Group]; l < least && (s.out[i] || s.moves(k, s.r.Starts[i])) {
				other, least = n, l
			}
		}
		if other < 0 {
			continue
		}
		k := stay[other]
		load[group]--
		load[s.p.Jobs[k].Group]++
		s.out[i], s.out[k] = false, s.out[i]
		s.r.Starts[i], s.r.Starts[k] = s.p.Jobs[i].Start, s.r.Starts[i]
		stay[other] = i
		changed = true
	}
	return changed
}
