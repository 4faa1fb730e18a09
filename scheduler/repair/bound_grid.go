package repair

import (
	"cmp"
	"slices"
	"sort"
)

// boundGrid holds the needs of jobs by the ends of their hulls, so that the need of all that must be within any of many spans
// is a sum. Where there are too many ends some stand for others: a hull is then taken as wider than it is, and the bound stays true.
type boundGrid struct {
	froms, tos []int64
	haveFrom   []int64 // room before froms
	haveTo     []int64
	at         [][]boundEntry // by index in froms
	durations  []int64        // the longest of each class, ascending
}

type boundEntry struct {
	to, class int32
	duration  int64
}

// boundThin leaves at most boundMostPoints of the values, ascending, with the first and the last.
func boundThin(values []int64) []int64 {
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) <= boundMostPoints {
		return values
	}
	thin := make([]int64, boundMostPoints)
	for k := range thin {
		thin[k] = values[k*(len(values)-1)/(boundMostPoints-1)]
	}
	return thin
}

func newBoundGrid(places []boundPlace, room *boundRoom) *boundGrid {
	froms, tos, durations := make([]int64, len(places)), make([]int64, len(places)), make([]int64, len(places))
	for k := range places {
		froms[k], tos[k], durations[k] = places[k].hull.From, places[k].hull.To, places[k].duration
	}
	g := &boundGrid{froms: boundThin(froms), tos: boundThin(tos)}
	slices.Sort(durations)
	durations = slices.Compact(durations)
	for c := range min(boundClasses, len(durations)) {
		g.durations = append(g.durations, durations[(c+1)*len(durations)/min(boundClasses, len(durations))-1])
	}
	for _, at := range g.froms {
		g.haveFrom = append(g.haveFrom, room.until(at))
	}
	for _, at := range g.tos {
		g.haveTo = append(g.haveTo, room.until(at))
	}
	g.at = make([][]boundEntry, len(g.froms))
	for k := range places {
		from := sort.Search(len(g.froms), func(i int) bool { return g.froms[i] > places[k].hull.From }) - 1
		to, _ := slices.BinarySearch(g.tos, places[k].hull.To)
		class, _ := slices.BinarySearch(g.durations, places[k].duration)
		g.at[from] = append(g.at[from], boundEntry{int32(to), int32(class), places[k].duration})
	}
	return g
}

// choose finds the set of spans, apart from one another, that prove the most, by dynamic programming from right to left; and the
// spans that come nearest to proving something.
func (g *boundGrid) choose() (chosen, tightest []Span) {
	type choice struct {
		sum, to int // to: index in tos, or -1 when no span starts here
	}
	type margin struct {
		over int64
		span Span
	}
	best := make([]choice, len(g.froms)+1)
	next := make([]int, len(g.tos)) // the first from that is not before
	for b, to := range g.tos {
		next[b], _ = slices.BinarySearch(g.froms, to)
	}
	needs := make([]int64, len(g.tos))
	counts := make([][boundClasses]int32, len(g.tos))
	var margins []margin
	for a := len(g.froms) - 1; a >= 0; a-- {
		for _, entry := range g.at[a] {
			needs[entry.to] += entry.duration
			counts[entry.to][entry.class]++
		}
		best[a] = choice{best[a+1].sum, -1}
		nearest := margin{over: -1 << 62}
		var need int64
		var count [boundClasses]int32
		first := sort.Search(len(g.tos), func(b int) bool { return g.tos[b] > g.froms[a] })
		for b := first; b < len(g.tos); b++ {
			need += needs[b]
			for c := range g.durations {
				count[c] += counts[b][c]
			}
			over := need - (g.haveTo[b] - g.haveFrom[a])
			if need > 0 && over > nearest.over {
				nearest = margin{over, Span{g.froms[a], g.tos[b]}}
			}
			if over > 0 {
				if s := g.least(over, &count) + best[next[b]].sum; s > best[a].sum {
					best[a] = choice{s, b}
				}
			}
		}
		if nearest.over > -1<<62 {
			margins = append(margins, nearest)
		}
	}
	for a := 0; a < len(g.froms); {
		if b := best[a].to; b >= 0 {
			chosen = append(chosen, Span{g.froms[a], g.tos[b]})
			a = next[b]
		} else {
			a++
		}
	}
	slices.SortStableFunc(margins, func(a, b margin) int { return cmp.Compare(b.over, a.over) })
	for _, m := range margins[:min(len(margins), boundPartly)] {
		tightest = append(tightest, m.span)
	}
	return chosen, tightest
}

// least is how many must go to free that much, when they are as long as the longest of their class.
func (g *boundGrid) least(over int64, count *[boundClasses]int32) int {
	least := 0
	for c := len(g.durations) - 1; c >= 0 && over > 0; c-- {
		some := min(int64(count[c]), (over+g.durations[c]-1)/g.durations[c])
		over -= some * g.durations[c]
		least += int(some)
	}
	return least
}
