package load

import (
	"cmp"
	"slices"
)

// job is an occurrence in a band, or, for MustLeave only, the run of a device of which occurrences overlap.
type job struct {
	start, end int64 // cut to the horizon
	likely     int64 // the p50 end, cut as well
	weight     int64
	occurrence *Occurrence // nil in a run
	run        bool
	movable    bool
	shared     bool // its device has other occurrences, which may overlap
}

// scene explains bands one after the other, in order.
type scene struct {
	p    *Problem
	v    *overlaps
	live []job // those of the band, by start

	counts, shares []int   // by source
	touched        []int32 // sources with a count
	served         []int64 // by device: the turn in which it was seen last
	turn           int64

	leave  leaving
	chance chance
}

func newScene(p *Problem, v *overlaps) *scene {
	s := &scene{p: p, v: v, counts: make([]int, len(p.Movable)), shares: make([]int, len(p.Movable))}
	if v.marked != nil {
		s.served = make([]int64, p.Devices)
	}
	return s
}

func (s *scene) explain(bands []Band, hits []keyed) {
	for i := range bands {
		b := &bands[i]
		s.live = slices.DeleteFunc(s.live, func(j job) bool { return j.end <= b.From })
		for len(hits) > 0 && int64(hits[0].key) < b.To-s.p.From {
			if j := s.job(hits[0].a); j.end > b.From {
				s.live = append(s.live, j)
			}
			hits = hits[1:]
		}
		b.Contributors = s.contributors(b)
		b.MustLeave = s.leave.count(b, s.live)
		b.Probability = 1
		if b.Certainty == Risk {
			b.Probability = s.chance.of(s, b)
		}
	}
}

// hits lists what overlaps any of the bands, by start: occurrences by their index, items of the overlaps by its complement.
func (p *Problem) hits(v *overlaps, bands []Band) []keyed {
	// Where to look for the first band that ends after an instant: a table of equal pieces of the horizon, for a search
	// would cost more than all the rest.
	shift := 0
	for (p.To-p.From)>>shift >= 1<<15 {
		shift++
	}
	table := make([]int32, (p.To-p.From)>>shift+1)
	next := 0
	for i := range table {
		for next < len(bands) && bands[next].To-p.From <= int64(i)<<shift {
			next++
		}
		table[i] = int32(next)
	}
	list := []keyed{}
	add := func(start, end int64, index int32) {
		i := int(table[(start-p.From)>>shift])
		for i < len(bands) && bands[i].To <= start {
			i++
		}
		if i < len(bands) && bands[i].From < end && start < end {
			list = append(list, keyed{key: uint64(start - p.From), a: index})
		}
	}
	for i := range p.Occurrences {
		start, _, end := p.cut(&p.Occurrences[i])
		add(start, end, int32(i))
	}
	for i, r := range v.items {
		add(r.start, r.end, ^int32(i))
	}
	return sortKeyed(list, uint64(p.To-p.From))
}

func (s *scene) job(index int32) job {
	if index < 0 {
		r := s.v.items[^index]
		return job{start: r.start, end: r.end, weight: 1, run: true, movable: r.movable}
	}
	o := &s.p.Occurrences[index]
	start, likely, end := s.p.cut(o)
	return job{start: start, likely: likely, end: end, weight: o.weight(), occurrence: o, shared: s.v.has(o.Device),
		movable: o.Device >= 0 && s.p.Movable[o.Source]}
}

// first reports whether a device that has several occurrences is seen for the first time in this turn.
func (s *scene) first(device int32) bool {
	if s.served[device] == s.turn {
		return false
	}
	s.served[device] = s.turn
	return true
}

func (s *scene) contributors(b *Band) []Contributor {
	s.turn++
	for i := range s.live {
		j := &s.live[i]
		if j.run {
			continue
		}
		source := j.occurrence.Source
		if s.counts[source] == 0 {
			s.touched = append(s.touched, source)
		}
		s.counts[source]++
		if j.start <= b.PeakAt && b.PeakAt < j.end && (!j.shared || s.first(j.occurrence.Device)) {
			s.shares[source] += int(j.weight)
		}
	}
	list := make([]Contributor, len(s.touched))
	for i, source := range s.touched {
		list[i] = Contributor{Source: source, Count: s.counts[source], PeakShare: s.shares[source]}
		s.counts[source], s.shares[source] = 0, 0
	}
	s.touched = s.touched[:0]
	slices.SortFunc(list, func(a, b Contributor) int {
		return cmp.Or(cmp.Compare(b.PeakShare, a.PeakShare), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Source, b.Source))
	})
	return list
}
