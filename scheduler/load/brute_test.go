package load_test

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/mfpgate/mfpgate/scheduler/load"
)

// brute works out by counting, millisecond for millisecond, what Detect must give. It shares no code with it.
type brute struct {
	p load.Problem
}

func (b brute) active(i int, t int64) bool {
	o := b.p.Occurrences[i]
	return o.Start <= t && t < o.Start+int64(o.Duration)
}

func (b brute) likely(i int, t int64) bool {
	o := b.p.Occurrences[i]
	return o.Start <= t && t < o.Start+int64(o.Likely)
}

// count counts devices served by those occurrences at t of which the function says so.
func (b brute) count(t int64, running func(i int, t int64) bool) int {
	known, n := map[int32]bool{}, 0
	for i, o := range b.p.Occurrences {
		switch {
		case !running(i, t):
		case o.Device < 0:
			n -= int(o.Device)
		case !known[o.Device]:
			known[o.Device] = true
			n++
		}
	}
	return n
}

func (b brute) room(t int64) int {
	room := 0
	for _, s := range b.p.Capacity {
		if s.At <= t {
			room = s.Devices
		}
	}
	return room
}

// bands leaves MustLeave and Probability out.
func (b brute) bands() []load.Band {
	var list []load.Band
	var last load.Certainty
	for t := b.p.From; t < b.p.To; t++ {
		planned, room := b.count(t, b.active), b.room(t)
		var now load.Certainty
		switch {
		case b.count(t, b.likely) > room:
			now = load.Certain
		case planned > room:
			now = load.Risk
		}
		if now != 0 && (now != last || list[len(list)-1].Capacity != room) {
			list = append(list, load.Band{From: t, Capacity: room, Peak: planned, PeakAt: t, Certainty: now})
		}
		if last = now; now == 0 {
			continue
		}
		band := &list[len(list)-1]
		band.To = t + 1
		band.Excess += int64(planned - room)
		if planned > band.Peak {
			band.Peak, band.PeakAt = planned, t
		}
	}
	list = slices.DeleteFunc(list, func(band load.Band) bool { return band.Peak-band.Capacity < b.p.MinExcess })
	for i := range list {
		list[i].Contributors = b.contributors(list[i])
	}
	return list
}

func (b brute) contributors(band load.Band) []load.Contributor {
	sources := map[int32]load.Contributor{}
	owner := map[int32]int{}
	for i, o := range b.p.Occurrences {
		for t := band.From; t < band.To; t++ {
			if b.active(i, t) {
				c := sources[o.Source]
				c.Source = o.Source
				c.Count++
				sources[o.Source] = c
				break
			}
		}
		if !b.active(i, band.PeakAt) {
			continue
		}
		if o.Device < 0 {
			c := sources[o.Source]
			c.PeakShare -= int(o.Device)
			sources[o.Source] = c
			continue
		}
		first, ok := owner[o.Device]
		if !ok || max(o.Start, b.p.From) < max(b.p.Occurrences[first].Start, b.p.From) {
			owner[o.Device] = i
		}
	}
	for _, i := range owner {
		c := sources[b.p.Occurrences[i].Source]
		c.PeakShare++
		sources[b.p.Occurrences[i].Source] = c
	}
	var list []load.Contributor
	for _, c := range sources {
		list = append(list, c)
	}
	slices.SortFunc(list, func(x, y load.Contributor) int {
		return cmp.Or(y.PeakShare-x.PeakShare, y.Count-x.Count, int(x.Source-y.Source))
	})
	return list
}

// mustLeave tries all sets of deliveries in the band and returns the size of the smallest whose absence leaves at each
// instant no more than there is room for, or only what cannot move. It gives up, false, where there are too many.
func (b brute) mustLeave(band load.Band) (int, bool) {
	var movable []int
	for i, o := range b.p.Occurrences {
		touches := max(o.Start, band.From) < min(o.Start+int64(o.Duration), band.To)
		if touches && o.Device >= 0 && b.p.Movable[o.Source] {
			movable = append(movable, i)
		}
	}
	if len(movable) > 9 {
		return 0, false
	}
	least := len(movable)
	for set := range 1 << len(movable) {
		if bits.OnesCount(uint(set)) >= least {
			continue
		}
		fits := true
		for t := band.From; t < band.To && fits; t++ {
			fixed := b.count(t, func(i int, t int64) bool { return b.active(i, t) && !slices.Contains(movable, i) })
			kept := b.count(t, func(i int, t int64) bool {
				k := slices.Index(movable, i)
				return b.active(i, t) && (k < 0 || set>>k&1 == 0)
			})
			fits = kept <= max(band.Capacity, fixed)
		}
		if fits {
			least = bits.OnesCount(uint(set))
		}
	}
	return least, true
}

// probability returns the largest of all the band's milliseconds, each with its exact Poisson-binomial distribution.
func (b brute) probability(band load.Band) float64 {
	worst := 0.0
	for t := band.From; t < band.To; t++ {
		devices := map[int32]float64{} // not served
		sums := map[int]float64{0: 1}
		add := func(weight int, p float64) {
			next := map[int]float64{}
			for n, q := range sums {
				next[n] += q * (1 - p)
				next[n+weight] += q * p
			}
			sums = next
		}
		for i, o := range b.p.Occurrences {
			if !b.active(i, t) {
				continue
			}
			p := 1.0
			if age := float64(t - o.Start); age >= float64(o.Likely) {
				// Phi(x) at ln(age), of the distribution with these quantiles.
				median, p95 := math.Log(math.Max(1, float64(o.Likely))), math.Log(math.Max(2, float64(o.Duration)))
				x := (math.Log(math.Max(1, age)) - median) / ((p95 - median) / (math.Sqrt2 * math.Erfinv(0.9)))
				p = 0.5 - 0.5*math.Erf(x/math.Sqrt2)
			}
			if o.Device < 0 {
				add(-int(o.Device), p)
			} else if q, ok := devices[o.Device]; ok {
				devices[o.Device] = q * (1 - p)
			} else {
				devices[o.Device] = 1 - p
			}
		}
		for _, q := range devices {
			add(1, 1-q)
		}
		above := 0.0
		for n, q := range sums {
			if n > band.Capacity {
				above += q
			}
		}
		worst = max(worst, above)
	}
	return worst
}
