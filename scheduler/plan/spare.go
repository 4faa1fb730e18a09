package plan

import (
	"slices"
	"sort"

	"github.com/mfpgate/mfpgate/scheduler/load"
)

// spareWork bounds what spare does, in occurrences and steps that are looked at.
const spareWork = 50_000_000

// spare takes moves back that make nothing better, where a device may be served by several things at once. A repair counts each job
// besides all else; but a device counts once, whatever it does. So a job may be moved out of an overload to which it adds nothing. It
// reports how many remain unresolved for that.
func (a *answer) spare() (added int) {
	if !a.r.overlap && !a.r.twins {
		return 0
	}
	p := a.r.c.problem
	p.Occurrences = slices.Clone(p.Occurrences)
	of := map[int32][]int{} // occurrences by device
	for i := range p.Occurrences {
		if d := p.Occurrences[i].Device; d >= 0 {
			of[d] = append(of[d], i)
		}
	}
	jobOf := map[int]int{}
	for k := range a.jobs {
		p.Occurrences[a.item(k).first].Start = a.starts[k]
		jobOf[a.item(k).first] = k
	}
	stays := func(occurrence int) bool { // although it is unresolved
		k, is := jobOf[occurrence]
		if is {
			_, is = slices.BinarySearch(a.unresolved, k)
		}
		return is
	}
	for work := 0; ; {
		now, err := a.crowd(p)
		if work += 16 * (len(p.Occurrences) + len(now)); err != nil || work > spareWork {
			return added
		}
		var touched []span // where the load is not that of now any more
		changed := func(s span) bool {
			work += len(touched)
			return slices.ContainsFunc(touched, func(t span) bool { return t.from < s.to && s.from < t.to })
		}
		for _, k := range a.byStart {
			if !a.moved(k) || changed(a.place(k)) || changed(a.planned(k)) {
				continue
			}
			var others []span // of the same device
			covered := false  // by one that is unresolved
			for _, i := range of[a.item(k).device] {
				if o := (span{p.Occurrences[i].Start, p.Occurrences[i].Start + int64(p.Occurrences[i].Duration)}); i != a.item(k).first {
					others = append(others, o)
					covered = covered || stays(i) && o.from < a.planned(k).to && a.planned(k).from < o.to
				}
			}
			there, n := now.above(a.place(k), others, span{})
			home, m := now.above(a.planned(k), others, a.place(k))
			if work += n + m; work > spareWork {
				return added
			}
			fresh := int64(0)
			for _, s := range a.beside(k) {
				sum, n := now.above(s, others, span{})
				fresh, work = fresh+sum, work+n
			}
			if home <= there || fresh > 0 {
				if home > 0 || covered {
					added++
					at, _ := slices.BinarySearch(a.unresolved, k)
					a.unresolved = slices.Insert(slices.Clone(a.unresolved), at, k)
				}
				touched = append(touched, a.place(k), a.planned(k))
				a.starts[k] = a.jobs[k].Start
				p.Occurrences[a.item(k).first].Start = a.starts[k]
			}
		}
		if len(touched) == 0 {
			return added
		}
	}
}

// beside are the parts of a job's new place that are not in the overload that it is in. In that it may leave less behind than there was;
// elsewhere what it adds to the place of one that stays is an overload that its start would make, which delivery systems refuse.
func (a *answer) beside(k int) []span {
	place := a.place(k)
	b := bandOf(a.bands, a.planned(k))
	if b < 0 {
		return []span{place}
	}
	from, to := a.bands[b].From.UnixMilli(), a.bands[b].To.UnixMilli()
	return []span{{place.from, min(place.to, from)}, {max(place.from, to), place.to}}
}

// crowd is the load of all occurrences, and the limit as far as it matters.
func (a *answer) crowd(p load.Problem) (profile, error) {
	line, err := load.NewTimeline(p)
	if err != nil {
		return nil, err
	}
	var now profile
	i := 0
	add := func(at int64, devices int) {
		for i+1 < len(a.r.fixed) && a.r.fixed[i+1].At <= at {
			i++
		}
		now = append(now, load.Point{At: at, Load: devices, Limit: a.r.fixed[i].Limit})
	}
	last := 0
	for s := range line.Steps() {
		for i+1 < len(a.r.fixed) && a.r.fixed[i+1].At < s.At { // a limit may change beside the load's steps
			add(a.r.fixed[i+1].At, last)
		}
		last = s.Load
		add(s.At, last)
	}
	return now, nil
}

// above is how long one device is above the limit in a span, besides what its other occurrences cover, and how many steps were
// looked at. In counted it is in the profile already.
func (p profile) above(s span, others []span, counted span) (sum int64, steps int) {
	whole := counted == (span{})
	cuts := []int64{s.from, s.to, counted.from, counted.to}
	for _, o := range others {
		cuts = append(cuts, o.from, o.to)
	}
	slices.Sort(cuts)
	for c := 1; c < len(cuts); c++ {
		from, to := max(cuts[c-1], s.from), min(cuts[c], s.to)
		if from >= to || slices.ContainsFunc(others, func(o span) bool { return o.from <= from && to <= o.to }) {
			continue
		}
		more := 1
		if whole || counted.from <= from && to <= counted.to {
			more = 0
		}
		i := max(0, sort.Search(len(p), func(i int) bool { return p[i].At > from })-1)
		for ; i < len(p) && p[i].At < to; i++ {
			steps++
			end := to
			if i+1 < len(p) {
				end = min(end, p[i+1].At)
			}
			if p[i].Load+more > p[i].Limit {
				sum += end - max(from, p[i].At)
			}
		}
	}
	return sum, steps + len(cuts)*(len(others)+1)
}
