package repair

import "math"

// flowArc leads from the slot of a cell to another slot, or, at flowNowhere, to the unresolved.
type flowArc struct{ cell, to int32 }

const flowNowhere = -1

// flowSearch is what the search for cheapest paths keeps between its phases.
type flowSearch struct {
	work    int64 // relaxations so far
	dist    []int64
	queue   flowQueue
	arcs    [][]flowArc // by slot, those on cheapest paths
	cursor  []int32
	listed  []int32 // phase in which arcs were listed
	walking []bool
	phase   int32
	path    []flowStep
}

type flowStep struct {
	flowArc
	hold int
}

// run moves jobs along cheapest paths until no slot is in overload. It gives up, false, when that takes more than the work allowed.
func (f *flow) run(work int64) bool {
	f.potential = make([]int64, f.slots)
	f.dist = make([]int64, f.slots)
	f.arcs = make([][]flowArc, f.slots)
	f.cursor = make([]int32, f.slots)
	f.listed = make([]int32, f.slots)
	f.walking = make([]bool, f.slots)
	for {
		var sources []int32
		for v, room := range f.room {
			if room < 0 {
				sources = append(sources, int32(v))
			}
		}
		if len(sources) == 0 {
			return true
		}
		if f.work > work {
			return false
		}
		f.distances(sources)
		for _, v := range sources {
			for f.room[v] < 0 && f.work <= work && f.walk(v) {
				f.push(v)
			}
		}
	}
}

// distances is Dijkstra's algorithm over reduced prices from all slots in overload at once; it ends at the distance of the
// nearest end, and so do the potentials that it leaves.
func (f *flow) distances(sources []int32) {
	for v := range f.dist {
		f.dist[v] = math.MaxInt64
	}
	f.queue = f.queue[:0]
	for _, v := range sources {
		f.dist[v] = 0
		f.queue.push(0, v)
	}
	best := int64(math.MaxInt64)
	for len(f.queue) > 0 {
		d, u := f.queue.pop()
		if d >= best {
			break
		}
		if d > f.dist[u] {
			continue
		}
		for _, id := range f.at[u] {
			cell := &f.cells[id]
			if len(cell.hold) == 0 {
				continue
			}
			group := &f.groups[cell.group]
			base := d + f.potential[u] - f.price(group, u)
			best = min(best, base+f.left+int64(cell.priority)*f.priority-f.end)
			best = f.relax(group.home, base, best)
			if p := group.proposed; p >= 0 && f.reaches(cell, p) {
				best = f.relax(p, base+f.price(group, p), best)
			}
			if group.covered(base, cell.reach, f.phase) {
				continue
			}
			dear := base + f.move
			if group.proposed != flowUnproposed {
				dear++
			}
			home := group.home
			f.spans(cell, func(from, to int32) {
				f.work += int64(to - from + 1)
				potential, dist := f.potential[from:to+1], f.dist[from:to+1]
				for k := range potential {
					by := from + int32(k) - home
					if next := dear + int64(max(by, -by)) - potential[k]; next < dist[k] && next < best {
						best = f.relax(from+int32(k), next+potential[k], best)
					}
				}
			})
		}
	}
	f.phase++
	for v := range f.potential {
		f.potential[v] += min(f.dist[v], best)
	}
	f.end += best
}

// covered tells whether what a cell could reach was already reached from another one of its group for no more, and else notes what
// it reaches.
func (g *flowGroup) covered(base int64, reach flowRange, phase int32) bool {
	if g.seen == phase+1 && base >= g.base && reach.from >= g.reach.from && reach.to <= g.reach.to {
		return true
	}
	if g.seen != phase+1 || base < g.base {
		g.seen, g.base, g.reach = phase+1, base, reach
	}
	return false
}

// relax takes a price to v, not reduced by v's potential, and returns the distance of the nearest end known by now.
func (f *flow) relax(v int32, price, best int64) int64 {
	next := price - f.potential[v]
	if next >= f.dist[v] || next >= best {
		return best
	}
	f.dist[v] = next
	if f.room[v] > 0 {
		best = min(best, price-f.end)
	}
	f.queue.push(next, v)
	return best
}

func (f *flow) reaches(cell *flowCell, v int32) bool {
	if v < cell.reach.from || v > cell.reach.to {
		return false
	}
	for _, r := range f.closed[f.groups[cell.group].closed] {
		if v >= r.from && v <= r.to {
			return false
		}
	}
	return true
}

// list finds the arcs out of u that cheapest paths use; those that end at once come first.
func (f *flow) list(u int32) {
	f.listed[u], f.cursor[u] = f.phase, 0
	arcs := f.arcs[u][:0]
	add := func(id, v int32, price int64) {
		if v == u || price != f.potential[v] {
			return
		}
		arcs = append(arcs, flowArc{id, v})
	}
	for _, id := range f.at[u] {
		cell := &f.cells[id]
		if len(cell.hold) == 0 {
			continue
		}
		group := &f.groups[cell.group]
		base := f.potential[u] - f.price(group, u)
		if base+f.left+int64(cell.priority)*f.priority == f.end {
			arcs = append(arcs, flowArc{id, flowNowhere})
		}
		add(id, group.home, base)
		if p := group.proposed; p >= 0 && f.reaches(cell, p) {
			add(id, p, base+f.price(group, p))
		}
		tight := f.tight(cell, group, base)
		f.work += int64(len(tight)) * 4
		for _, v := range tight {
			if v != u && v >= cell.reach.from && v <= cell.reach.to && (!f.dead(v) || f.ends(v)) {
				arcs = append(arcs, flowArc{id, v})
			}
		}
	}
	front := 0
	for i, arc := range arcs {
		if f.ends(arc.to) {
			arcs[i], arcs[front] = arcs[front], arcs[i]
			front++
		}
	}
	f.arcs[u] = arcs
	f.work += int64(len(arcs) + len(f.at[u]))
}

// tight lists slots that cheapest paths enter from the cell, and maybe some that its group enters from elsewhere for the same price:
// jobs of a group that pay alike on cheapest paths share the list. Home and what was proposed are not in it.
func (f *flow) tight(cell *flowCell, group *flowGroup, base int64) []int32 {
	if group.listed == f.phase && group.from == base && cell.reach.from >= group.listedReach.from && cell.reach.to <= group.listedReach.to {
		return group.tight
	}
	group.listed, group.from, group.listedReach, group.tight = f.phase, base, cell.reach, group.tight[:0]
	dear := base + f.move
	if group.proposed != flowUnproposed {
		dear++
	}
	f.spans(cell, func(from, to int32) {
		f.work += int64(to - from + 1)
		for k, potential := range f.potential[from : to+1] {
			v := from + int32(k)
			by := v - group.home
			if potential == dear+int64(max(by, -by)) && v != group.home && v != group.proposed {
				group.tight = append(group.tight, v)
			}
		}
	})
	return group.tight
}

func (f *flow) ends(v int32) bool {
	return v == flowNowhere || f.room[v] > 0 && f.potential[v] == f.end
}

// walk finds a path from a slot in overload to an end, depth first, and leaves it in f.path. A slot from which no end was found
// is not entered again in this phase.
func (f *flow) walk(from int32) bool {
	f.path = f.path[:0]
	u := from
	defer func() {
		for _, step := range f.path {
			f.walking[f.cells[step.cell].slot] = false
		}
	}()
	for {
		if f.listed[u] != f.phase {
			f.list(u)
		}
		f.walking[u] = true
		advanced := false
		for ; int(f.cursor[u]) < len(f.arcs[u]); f.cursor[u]++ {
			arc := f.arcs[u][f.cursor[u]]
			f.work += 4
			ends := f.ends(arc.to)
			if !ends && (f.walking[arc.to] || f.dead(arc.to)) {
				continue
			}
			hold := f.choose(arc)
			if hold < 0 {
				continue
			}
			f.path = append(f.path, flowStep{arc, hold})
			if ends {
				return true
			}
			u, advanced = arc.to, true
			break
		}
		if advanced {
			continue
		}
		f.walking[u] = false
		if len(f.path) == 0 {
			return false
		}
		u = f.cells[f.path[len(f.path)-1].cell].slot
		f.path = f.path[:len(f.path)-1]
		f.cursor[u]++
	}
}

// dead tells whether all arcs out of the slot were tried in this phase.
func (f *flow) dead(v int32) bool {
	return f.listed[v] == f.phase && int(f.cursor[v]) >= len(f.arcs[v])
}

// choose takes a class of the arc's cell that may go its way; any does, because the price is the group's.
func (f *flow) choose(arc flowArc) int {
	cell := &f.cells[arc.cell]
	group := &f.groups[cell.group]
	for i, hold := range cell.hold {
		class := &f.classes[hold.class]
		switch {
		case arc.to == flowNowhere:
			if f.potential[cell.slot]-f.price(group, cell.slot)+f.left+int64(class.priority)*f.priority == f.end {
				return i
			}
		case arc.to == group.home || arc.to >= class.window.from && arc.to <= class.window.to:
			return i
		}
	}
	return -1
}

// push moves as many jobs along f.path as all of it can take.
func (f *flow) push(from int32) {
	count := -f.room[from]
	for _, step := range f.path {
		count = min(count, f.cells[step.cell].hold[step.hold].count)
		if step.to != flowNowhere && f.room[step.to] > 0 {
			count = min(count, f.room[step.to])
		}
	}
	for _, step := range f.path {
		class := f.cells[step.cell].hold[step.hold].class
		f.take(step.cell, step.hold, count)
		if step.to == flowNowhere {
			f.classes[class].left += count
		} else {
			f.put(class, step.to, count)
		}
	}
}

type flowQueued struct {
	dist int64
	slot int32
}

// flowQueue is a binary heap; what has become dearer than known stays in it until it is popped.
type flowQueue []flowQueued

func (q *flowQueue) push(dist int64, slot int32) {
	h := append(*q, flowQueued{})
	i := len(h) - 1
	for i > 0 && h[(i-1)/2].dist > dist {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = flowQueued{dist, slot}
	*q = h
}

func (q *flowQueue) pop() (int64, int32) {
	h := *q
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	for i := 0; len(h) > 0; {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1].dist < h[child].dist {
			child++
		}
		if child >= len(h) || h[child].dist >= last.dist {
			h[i] = last
			break
		}
		h[i] = h[child]
		i = child
	}
	return top.dist, top.slot
}
