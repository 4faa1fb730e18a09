package repair

import (
	"cmp"
	"slices"
)

// flowPlaced is how many jobs of a class moved to a slot, and how far.
type flowPlaced struct{ class, slot, count, length int32 }

// solveFlow is the exact tier for jobs of one slot. It answers only for the jobs named, by their index in jobs. It does not answer,
// false, when the flow does not fit the jobs or takes more than the work.
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
			placed = append(placed, f.place(hold.class, cell.slot, hold.count))
		}
	}
	slices.SortFunc(placed, func(a, b flowPlaced) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.slot, b.slot)) })
	return placed
}

func (f *flow) place(class, slot, count int32) flowPlaced {
	home := f.groups[f.classes[class].group].home
	return flowPlaced{class, slot, count, max(slot-home, home-slot)}
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
const flowShortenWork = 1_000_000

// shorten lets the longest moves change places with others, as long as the sum stays and the longest of both gets shorter. It
// ends when one of the longest finds no partner: the longest move is then as short as exchanges of two make it.
func (f *flow) shorten(placed []flowPlaced) []flowPlaced {
	order := func(a, b flowPlaced) int {
		return cmp.Or(cmp.Compare(b.length, a.length), cmp.Compare(a.class, b.class), cmp.Compare(a.slot, b.slot))
	}
	insert := func(c flowPlaced) {
		k, found := slices.BinarySearchFunc(placed, c, order)
		if found {
			placed[k].count += c.count
			return
		}
		placed = slices.Insert(placed, k, c)
	}
	slices.SortFunc(placed, order)
	for work := 0; work < flowShortenWork && len(placed) > 1; work += len(placed) {
		top, count := placed[0], int32(0)
		var a, b flowPlaced
		best := top.length
		for _, other := range placed[1:] {
			// What comes from further on the same side, or from the other, does not fit between.
			if max(other.slot-top.slot, top.slot-other.slot) >= top.length || other.length >= top.length {
				continue
			}
			x, y := f.place(top.class, other.slot, 0), f.place(other.class, top.slot, 0)
			if max(x.length, y.length) < best && x.length+y.length == top.length+other.length &&
				f.allows(x.class, x.slot) && f.allows(y.class, y.slot) {
				a, b, best, count = x, y, max(x.length, y.length), min(top.count, other.count)
			}
		}
		if count == 0 {
			break
		}
		for _, gone := range [2]flowPlaced{top, f.place(b.class, a.slot, 0)} {
			k, _ := slices.BinarySearchFunc(placed, gone, order)
			if placed[k].count -= count; placed[k].count == 0 {
				placed = slices.Delete(placed, k, k+1)
			}
		}
		a.count, b.count = count, count
		insert(a)
		insert(b)
	}
	return placed
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
		least += int64(part.length) * int64(part.count)
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
