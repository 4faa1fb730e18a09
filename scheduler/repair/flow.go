package repair

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// flowMostSlots keeps the weights of the aims apart within 63 bits: see newFlow.
const flowMostSlots = 1 << 17

// flowRange is a piece of slots, inclusive.
type flowRange struct{ from, to int32 }

// flowPrice is what the price of a place depends on.
type flowPrice struct {
	home     int32
	proposed int32     // the slot that was proposed before; flowUnproposed; flowElsewhere: every slot is dearer
	closed   int32     // index in flow.closed
	window   flowRange // that of every class, when home is not in it
}

// flowGroup is the jobs that pay the same for the same slot, and what the search knows of them in its phase.
type flowGroup struct {
	flowPrice

	seen  int32 // the phase in which something was reached, from what price, and how widely
	base  int64
	reach flowRange

	listed      int32 // the phase of the list of slots, from what price, and of what reach
	from        int64
	listedReach flowRange
	tight       []int32
}

const (
	flowUnproposed = -1
	flowElsewhere  = -2
)

// flowClass is a pool of jobs that may stand in for one another.
type flowClass struct {
	group    int32
	window   flowRange
	priority int32
	jobs     []int32 // by index in the jobs that the flow was given
	left     int32   // how many remain unresolved
}

// flowHold is how many jobs of a class are in a cell.
type flowHold struct{ class, count int32 }

// flowCell is the jobs of one group that are now in one slot. Together they may go to every slot of reach that is not closed:
// a window either has the slot in it, so that windows of the same cell overlap, or is the same for the whole group.
type flowCell struct {
	group    int32
	slot     int32
	reach    flowRange
	priority int32 // the lowest
	hold     []flowHold
}

// flow solves the case in which every job fits into one slot and is planned at the start of one, exactly. It is a min-cost flow
// that carries jobs out of slots in overload, with a node for a slot and not for a job: from slot u to v there is an arc when
// some job now in u may go to v, and its price is the least that any of them would pay, so that the size of the graph does not
// grow with the jobs. A slot that is full passes on: a job comes in and another one leaves (a chain).
type flow struct {
	base    int64 // number of the first slot
	slots   int
	groups  []flowGroup
	closed  [][]flowRange
	classes []flowClass

	cells []flowCell
	at    [][]int32       // cells by slot
	find  map[int64]int32 // cell by slot and group

	room      []int32 // by slot, negative in overload
	move      int64   // price of a move
	priority  int64   // price of one priority left
	left      int64   // price of a job left
	potential []int64
	end       int64 // potential of where all paths end

	flowSearch
}

// flowFits tells whether the flow is exact for these jobs: their durations and starts fit into slots, and no slot's capacity changes where
// it would matter to a shorter job and not to a longer one. The room by slot comes with it.
func flowFits(p Problem, jobs []int32) (f *flow, ok bool) {
	shortest, longest := p.Slot, int64(0)
	first, last := int64(maxInstant), int64(0)
	for _, i := range jobs {
		job := &p.Jobs[i]
		if job.Duration > p.Slot || job.Start%p.Slot != 0 {
			return nil, false
		}
		shortest, longest = min(shortest, job.Duration), max(longest, job.Duration)
		first, last = min(first, job.Start/p.Slot), max(last, job.Start/p.Slot)
		if lo, hi := (job.First+p.Slot-1)/p.Slot, job.Last/p.Slot; lo <= hi {
			first, last = min(first, lo), max(last, hi)
		}
	}
	if last-first >= flowMostSlots-2 {
		return nil, false
	}
	f = &flow{base: first, slots: int(last - first + 1)}
	f.room = make([]int32, f.slots)
	step, free := 0, 0
	for v := range f.room {
		from := (f.base + int64(v)) * p.Slot
		for ; step < len(p.Capacity) && p.Capacity[step].At <= from; step++ {
			free = p.Capacity[step].Free
		}
		short, long := free, free
		for k := step; k < len(p.Capacity) && p.Capacity[k].At < from+longest; k++ {
			long = min(long, p.Capacity[k].Free)
			if p.Capacity[k].At < from+shortest {
				short = long
			}
		}
		if max(short, 0) != max(long, 0) {
			return nil, false
		}
		f.room[v] = int32(max(0, min(long, len(jobs))))
	}
	return f, true
}

// weigh makes the aims lexicographic. A cycle of the graph has an arc per slot at most: its displacement changes by less than
// slots^2, which a move outweighs; its moves change by one per arc; and it passes the unresolved once, so that one priority
// outweighs all moves and one job nine priorities. With 2^17 slots the largest is below 2^56.
func (f *flow) weigh() {
	n := int64(f.slots) + 2
	f.move = n * n
	f.priority = n * (f.move + n)
	f.left = 10*f.priority + n*(f.move+n)
}

// price is what a job of the group pays in a slot.
func (f *flow) price(g *flowGroup, slot int32) int64 {
	if slot == g.home {
		return 0
	}
	by := f.move + int64(max(slot-g.home, g.home-slot))
	if g.proposed != flowUnproposed && g.proposed != slot {
		by++
	}
	return by
}

type flowClassKey struct {
	home, lo, hi, proposed, closed, priority int32
}

func (a flowClassKey) compare(b flowClassKey) int {
	return cmp.Or(cmp.Compare(a.home, b.home), cmp.Compare(a.lo, b.lo), cmp.Compare(a.hi, b.hi),
		cmp.Compare(a.proposed, b.proposed), cmp.Compare(a.closed, b.closed), cmp.Compare(a.priority, b.priority))
}

// fill puts every job where it is planned.
func (f *flow) fill(p Problem, jobs []int32) {
	f.weigh()
	closed := flowClosed{flow: f, slot: p.Slot, seen: map[flowClosedKey]int32{}, known: map[string]int32{}}
	f.closed = [][]flowRange{nil}
	index := map[flowClassKey]int32{}
	var keys []flowClassKey
	var sizes []int32
	class := make([]int32, len(jobs))
	for k, i := range jobs {
		job := &p.Jobs[i]
		key := flowClassKey{home: int32(job.Start/p.Slot - f.base), hi: -1, proposed: flowUnproposed, priority: int32(job.Priority)}
		if lo, hi := (job.First+p.Slot-1)/p.Slot, job.Last/p.Slot; lo <= hi {
			key.lo, key.hi = int32(lo-f.base), int32(hi-f.base)
			if len(job.Closed) > 0 {
				key.closed = closed.index(job)
			}
			if job.Proposed != 0 {
				key.proposed = flowElsewhere
				if v := job.Proposed/p.Slot - f.base; job.Proposed%p.Slot == 0 && v >= 0 && v < int64(f.slots) {
					key.proposed = int32(v)
				}
			}
		}
		c, ok := index[key]
		if !ok {
			c = int32(len(keys))
			index[key] = c
			keys, sizes = append(keys, key), append(sizes, 0)
		}
		class[k] = c
		sizes[c]++
	}
	members := make([][]int32, len(keys))
	all := make([]int32, len(jobs))
	for c, size := range sizes {
		members[c], all = all[:0:size], all[size:]
	}
	for k, c := range class {
		members[c] = append(members[c], int32(k))
	}
	f.order(keys, members)
}

// order numbers the classes by their keys, so that the order of the jobs has no say in what is chosen, and opens the cells.
func (f *flow) order(keys []flowClassKey, members [][]int32) {
	sorted := make([]int32, len(keys))
	for c := range sorted {
		sorted[c] = int32(c)
	}
	slices.SortFunc(sorted, func(a, b int32) int { return keys[a].compare(keys[b]) })
	f.at = make([][]int32, f.slots)
	f.find = map[int64]int32{}
	groups := map[flowPrice]int32{}
	for _, c := range sorted {
		key := keys[c]
		group := flowPrice{home: key.home, proposed: key.proposed, closed: key.closed}
		if key.lo > key.home || key.hi < key.home {
			group.window = flowRange{key.lo, key.hi}
		} else {
			group.window = flowRange{-1, -1}
		}
		g, ok := groups[group]
		if !ok {
			g = int32(len(f.groups))
			groups[group] = g
			f.groups = append(f.groups, flowGroup{flowPrice: group})
		}
		f.classes = append(f.classes, flowClass{group: g, window: flowRange{key.lo, key.hi}, priority: key.priority, jobs: members[c]})
		f.open(g, int32(len(f.classes)-1))
	}
}

// open puts a class where it is planned, and opens the cell for the first of its group.
func (f *flow) open(group, class int32) {
	c := &f.classes[class]
	home, count := f.groups[group].home, int32(len(c.jobs))
	key := int64(home)<<32 | int64(group)
	id, ok := f.find[key]
	if !ok {
		id = int32(len(f.cells))
		f.find[key] = id
		f.cells = append(f.cells, flowCell{group: group, slot: home})
		f.at[home] = append(f.at[home], id)
	}
	f.room[home] -= count
	cell := &f.cells[id]
	cell.hold = append(cell.hold, flowHold{class, count})
	cell.widen(c, len(cell.hold) == 1)
}

// put adds jobs of a class to a slot.
func (f *flow) put(class, slot, count int32) {
	c := &f.classes[class]
	key := int64(slot)<<32 | int64(c.group)
	id, ok := f.find[key]
	if !ok {
		id = int32(len(f.cells))
		f.find[key] = id
		f.cells = append(f.cells, flowCell{group: c.group, slot: slot})
		f.at[slot] = append(f.at[slot], id)
	}
	f.room[slot] -= count
	cell := &f.cells[id]
	for i := range cell.hold {
		if cell.hold[i].class == class {
			cell.hold[i].count += count
			return
		}
	}
	cell.hold = append(cell.hold, flowHold{class, count})
	cell.widen(c, len(cell.hold) == 1)
}

func (cell *flowCell) widen(c *flowClass, first bool) {
	if first {
		cell.reach, cell.priority = c.window, c.priority
		return
	}
	cell.priority = min(cell.priority, c.priority)
	if c.window.from > c.window.to {
		return
	}
	if cell.reach.from > cell.reach.to {
		cell.reach = c.window
		return
	}
	cell.reach = flowRange{min(cell.reach.from, c.window.from), max(cell.reach.to, c.window.to)}
}

// take removes jobs from a cell.
func (f *flow) take(id int32, hold int, count int32) {
	cell := &f.cells[id]
	f.room[cell.slot] += count
	if cell.hold[hold].count -= count; cell.hold[hold].count > 0 {
		return
	}
	cell.hold = slices.Delete(cell.hold, hold, hold+1)
	for i, h := range cell.hold {
		cell.widen(&f.classes[h.class], i == 0)
	}
}

// spans yields the pieces of the cell's reach that are not closed. The cell's own slot and its home may be in them.
func (f *flow) spans(cell *flowCell, yield func(from, to int32)) {
	from := cell.reach.from
	for _, r := range f.closed[f.groups[cell.group].closed] {
		if r.from > cell.reach.to {
			break
		}
		if r.to < from {
			continue
		}
		if from < r.from {
			yield(from, r.from-1)
		}
		from = r.to + 1
	}
	if from <= cell.reach.to {
		yield(from, cell.reach.to)
	}
}

// flowClosed turns the closed spans of jobs into closed slots, once for each kind.
type flowClosed struct {
	flow  *flow
	slot  int64
	seen  map[flowClosedKey]int32
	known map[string]int32
}

type flowClosedKey struct {
	spans    *Span
	count    int
	duration int64
}

func (c *flowClosed) index(job *Job) int32 {
	key := flowClosedKey{&job.Closed[0], len(job.Closed), job.Duration}
	if id, ok := c.seen[key]; ok {
		return id
	}
	var ranges []flowRange
	for _, span := range job.Closed {
		// A start touches the span when it is before its end, and its own end after the span's start.
		from, to := int64(0), (span.To+c.slot-1)/c.slot-1
		if span.From >= job.Duration {
			from = (span.From-job.Duration)/c.slot + 1
		}
		from, to = max(from-c.flow.base, 0), min(to-c.flow.base, int64(c.flow.slots-1))
		if from > to {
			continue
		}
		if last := len(ranges) - 1; last >= 0 && int64(ranges[last].to) >= from-1 {
			ranges[last].to = max(ranges[last].to, int32(to))
		} else {
			ranges = append(ranges, flowRange{int32(from), int32(to)})
		}
	}
	var text []byte
	for _, r := range ranges {
		text = binary.LittleEndian.AppendUint32(text, uint32(r.from))
		text = binary.LittleEndian.AppendUint32(text, uint32(r.to))
	}
	id, ok := c.known[string(text)]
	if !ok {
		if id = 0; len(ranges) > 0 {
			id = int32(len(c.flow.closed))
			c.flow.closed = append(c.flow.closed, ranges)
		}
		c.known[string(text)] = id
	}
	c.seen[key] = id
	return id
}
