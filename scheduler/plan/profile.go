package plan

import (
	"cmp"
	"slices"
	"sort"

	"github.com/mfpgate/mfpgate/scheduler/load"
)

// profile is load and limit over time, in steps.
type profile []load.Point

// with adds one device in each span.
func (p profile) with(spans []span) profile {
	type edge struct {
		at int64
		by int
	}
	edges := make([]edge, 0, 2*len(spans))
	for _, s := range spans {
		edges = append(edges, edge{s.from, 1}, edge{s.to, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	out := make(profile, 0, len(p)+len(edges))
	more, i, e := 0, 0, 0
	var base load.Point
	for i < len(p) || e < len(edges) {
		var at int64
		if e == len(edges) || i < len(p) && p[i].At <= edges[e].at {
			at = p[i].At
		} else {
			at = edges[e].at
		}
		if i < len(p) && p[i].At == at {
			base = p[i]
			i++
		}
		for e < len(edges) && edges[e].at == at {
			more += edges[e].by
			e++
		}
		out = append(out, load.Point{At: at, Load: base.Load + more, Limit: base.Limit})
	}
	return out
}

// full returns the first step in a span at which one device more does not fit. The span own, if it has any length, is of a
// device that is in the profile and would go.
func (p profile) full(s, own span) (load.Point, bool) {
	i := sort.Search(len(p), func(i int) bool { return p[i].At > s.from }) - 1
	for i = max(i, 0); i < len(p) && p[i].At < s.to; i++ {
		from, to := max(p[i].At, s.from), s.to
		if i+1 < len(p) {
			to = min(to, p[i+1].At)
		}
		taken := p[i].Load
		if own.from <= from && to <= own.to {
			taken--
		}
		if taken+1 > p[i].Limit {
			return load.Point{At: from, Load: taken, Limit: p[i].Limit}, true
		}
	}
	return load.Point{}, false
}
