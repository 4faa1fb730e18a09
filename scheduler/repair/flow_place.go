package repair

import (
	"cmp"
	"slices"
)

// flowPlaced is how many jobs of a class moved to a slot.
type flowPlaced struct{ class, slot, count int32 }

// solveFlow is the exact tier for jobs of one slot. It answers only for the jobs named, by their index in jobs. It does not answer, false, when the flow does not fit the jobs or takes more than the work.
func solveFlow(p Problem, jobs []int32, work int64) (starts []int64, unresolved []int, bound Bound, ok bool) {
	f, ok := flowFits(p, jobs)
	if !ok {
		return nil, nil, Bound{}, false
	}
	f.fill(p, jobs)
	if !f.run(work) {
		return nil, nil, Bound{}, false
	}
	placed := f.placed()
	placed = f.shorten(placed)
	starts = make([]int64, len(jobs))
	for k, i := range jobs {
		starts[k] = p.Jobs[i].Start
	}
	unresolved = f.members(p, jobs, placed, starts)
	return starts, unresolved, f.bound(p, placed, len(unresolved)), true
}

// placed lists what moved, in the order of the classes and then of the slots.
func (f *flow) placed() []flowPlaced {
	var placed []flowPlaced
	for i := range f.cells {
		cell := &f.cells[i]
		if cell.slot == f.groups[cell.group].home {
			continue
		}
		for _, hold := range cell.hold {
			placed = append(placed, flowPlaced{hold.class, cell.slot, hold.count})
		}
	}
	slices.SortFunc(placed, func(a, b flowPlaced) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.slot, b.slot)) })
	return placed
}

func (f *flow) length(c flowPlaced) int32 {
	home := f.groups[f.classes[c.class].group].home
	return max(c.slot-home, home-c.slot)
}

// allows tells whether jobs of the class may go to the slot and pay nothing for what was proposed.
func (f *flow) allows(class, slot int32) bool {
	c := &f.classes[class]
	g := &f.groups[c.group]
	if g.proposed != flowUnproposed || slot == g.home || slot < c.window.from || slot > c.window.to {
		return false
	}
	for _, r := range f.closed[g.closed] {
		if slot >= r.from && slot <= r.to {
			return false
		}
	}
	return true
}

// flowShortenWork bounds the pairs that shorten compares.
const flowShortenWork = 2_000_000

// shorten lets the longest moves change places with others, as long as the sum stays and the longest of both gets shorter. It
// ends when one of the longest finds no partner: the longest move is then as short as exchanges of two make it.
func (f *flow) shorten(placed []flowPlaced) []flowPlaced {
	order := func(a, b flowPlaced) int {
		return cmp.Or(cmp.Compare(f.length(b), f.length(a)), cmp.Compare(a.class, b.class), cmp.Compare(a.slot, b.slot))
	}
	slices.SortFunc(placed, order)
	for work := 0; work < flowShortenWork && len(placed) > 1; {
		top := placed[0]
		partner, best := -1, f.length(top)
		for k := 1; k < len(placed); k++ {
			work++
			other := placed[k]
			a, b := flowPlaced{class: top.class, slot: other.slot}, flowPlaced{class: other.class, slot: top.slot}
			longer := max(f.length(a), f.length(b))
			if longer < best && f.length(a)+f.length(b) == f.length(top)+f.length(other) &&
				f.allows(a.class, a.slot) && f.allows(b.class, b.slot) && f.groups[f.classes[b.class].group].proposed == flowUnproposed {
				partner, best = k, longer
			}
		}
		if partner < 0 {
			break
		}
		other, count := placed[partner], min(top.count, placed[partner].count)
		placed[0].count -= count
		placed[partner].count -= count
		placed = append(placed, flowPlaced{top.class, other.slot, count}, flowPlaced{other.class, top.slot, count})
		placed = slices.DeleteFunc(placed, func(c flowPlaced) bool { return c.count == 0 })
		slices.SortFunc(placed, order)
	}
	return placed
}

// members chooses who of a class moves or remains: those of the groups (customers) that bear least so far, which are the same
// to all other aims.
func (f *flow) members(p Problem, jobs []int32, placed []flowPlaced, starts []int64) (unresolved []int) {
	draw := flowDraw{p: p, all: jobs, load: map[int]int{}, pools: map[int32][]flowPool{}}
	for c := range f.classes {
		class := &f.classes[c]
		for range class.left {
			unresolved = append(unresolved, int(draw.next(int32(c), class.jobs)))
		}
	}
	for _, part := range placed {
		for range part.count {
			k := draw.next(part.class, f.classes[part.class].jobs)
			starts[k] = (f.base + int64(part.slot)) * p.Slot
		}
	}
	slices.Sort(unresolved)
	return unresolved
}

// flowDraw draws members of classes.
type flowDraw struct {
	p     Problem
	all   []int32
	load  map[int]int // drawn so far, by group
	pools map[int32][]flowPool
}

// flowPool is the jobs of a class that belong to one group and were not drawn yet.
type flowPool struct {
	group int
	seen  int // the group's load when the pool was put in its place
	jobs  []int32
}

func (a flowPool) before(b flowPool) bool {
	return a.seen < b.seen || a.seen == b.seen && a.group < b.group
}

func (d *flowDraw) next(class int32, jobs []int32) int32 {
	pools, ok := d.pools[class]
	if !ok {
		pools = d.open(jobs)
		d.pools[class] = pools
	}
	// Loads only grow, so that a pool which is first with the load of now is the least burdened.
	for pools[0].seen != d.load[pools[0].group] {
		pools[0].seen = d.load[pools[0].group]
		flowSink(pools)
	}
	group := pools[0].group
	job := pools[0].jobs[0]
	pools[0].jobs = pools[0].jobs[1:]
	d.load[group]++
	if len(pools[0].jobs) == 0 {
		pools[0] = pools[len(pools)-1]
		pools = pools[:len(pools)-1]
		d.pools[class] = pools
		flowSink(pools)
	}
	return job
}

func (d *flowDraw) open(jobs []int32) []flowPool {
	index := map[int]int{}
	var pools []flowPool
	for _, i := range jobs {
		group := d.p.Jobs[d.all[i]].Group
		k, ok := index[group]
		if !ok {
			k = len(pools)
			index[group] = k
			pools = append(pools, flowPool{group: group})
		}
		pools[k].jobs = append(pools[k].jobs, i)
	}
	slices.SortFunc(pools, func(a, b flowPool) int { return cmp.Compare(a.group, b.group) })
	return pools // all seen 0: a heap already
}

func flowSink(h []flowPool) {
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h) && h[child].before(h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// bound is the answer's own worth, but for what it costs to change what was proposed: an answer that changes more of it may
// have a smaller displacement.
func (f *flow) bound(p Problem, placed []flowPlaced, unresolved int) Bound {
	b := Bound{Unresolved: unresolved}
	proposed := 0
	for c := range f.classes {
		if f.groups[f.classes[c].group].proposed != flowUnproposed {
			proposed += len(f.classes[c].jobs)
		}
	}
	var paid, least int64
	for _, part := range placed {
		b.Moved += int(part.count)
		least += int64(f.length(part)) * int64(part.count)
		if g := &f.groups[f.classes[part.class].group]; g.proposed != flowUnproposed && g.proposed != part.slot {
			paid += int64(part.count)
		}
	}
	if proposed > 0 {
		// Without a single change of what was proposed, all could be paid to others.
		least = max(0, min(least, least+paid-int64(min(b.Moved, proposed))))
	}
	b.Displacement = least * p.Slot
	return b
}
