package repair

import "slices"

// flowDraw draws members of classes, so that the customers (Job.Group) bear alike. Which jobs of a class leave their place is the
// same to all other aims.
type flowDraw struct {
	group []int32 // by job, numbered in the order of Job.Group
	load  []int32 // drawn so far, by group
	count []int32 // by group, 0 between calls of open
	pools [][]flowPool
}

// flowPool is the jobs of a class that belong to one group and were not drawn yet.
type flowPool struct {
	group int32
	seen  int32 // the group's load when the pool was put in its place
	jobs  []int32
}

func (a *flowPool) before(b *flowPool) bool {
	return a.seen < b.seen || a.seen == b.seen && a.group < b.group
}

// members chooses who of a class remains and who moves, and enters the starts of those.
func (f *flow) members(p Problem, jobs []int32, placed []flowPlaced, starts []int64) (unresolved []int) {
	draw := newFlowDraw(p, jobs, len(f.classes))
	for c := range f.classes {
		class := &f.classes[c]
		for range class.left {
			unresolved = append(unresolved, int(draw.next(int32(c), class.jobs)))
		}
	}
	for _, part := range placed {
		at := (f.base + int64(part.slot)) * p.Slot
		for range part.count {
			starts[draw.next(part.class, f.classes[part.class].jobs)] = at
		}
	}
	slices.Sort(unresolved)
	return unresolved
}

func newFlowDraw(p Problem, jobs []int32, classes int) *flowDraw {
	index := map[int]int32{}
	var names []int
	for _, i := range jobs {
		if _, ok := index[p.Jobs[i].Group]; !ok {
			index[p.Jobs[i].Group] = 0
			names = append(names, p.Jobs[i].Group)
		}
	}
	slices.Sort(names)
	for k, name := range names {
		index[name] = int32(k)
	}
	d := &flowDraw{group: make([]int32, len(jobs)), load: make([]int32, len(names)), count: make([]int32, len(names)), pools: make([][]flowPool, classes)}
	if len(names) > 1 {
		for k, i := range jobs {
			d.group[k] = index[p.Jobs[i].Group]
		}
	}
	return d
}

func (d *flowDraw) next(class int32, jobs []int32) int32 {
	if d.pools[class] == nil {
		d.pools[class] = d.open(jobs)
	}
	pools := d.pools[class]
	// Loads only grow, so that a pool which is first with the load of now is the least burdened.
	for top := &pools[0]; top.seen != d.load[top.group]; {
		top.seen = d.load[top.group]
		flowSink(pools)
	}
	top := &pools[0]
	job := top.jobs[0]
	top.jobs = top.jobs[1:]
	d.load[top.group]++
	if len(top.jobs) == 0 {
		*top = pools[len(pools)-1]
		pools = pools[:len(pools)-1]
		d.pools[class] = pools
		flowSink(pools)
	}
	return job
}

// open parts the jobs of a class by group, in their order.
func (d *flowDraw) open(jobs []int32) []flowPool {
	var groups []int32
	for _, k := range jobs {
		if d.count[d.group[k]]++; d.count[d.group[k]] == 1 {
			groups = append(groups, d.group[k])
		}
	}
	if len(groups) == 1 {
		d.count[groups[0]] = 0
		return []flowPool{{group: groups[0], jobs: jobs}}
	}
	slices.Sort(groups)
	parted, pools := make([]int32, len(jobs)), make([]flowPool, len(groups))
	from := int32(0)
	for i, group := range groups {
		to := from + d.count[group]
		pools[i] = flowPool{group: group, jobs: parted[from:to:to]}
		d.count[group], from = from, to
	}
	for _, k := range jobs {
		parted[d.count[d.group[k]]] = k
		d.count[d.group[k]]++
	}
	for _, group := range groups {
		d.count[group] = 0
	}
	return pools // with nothing seen they are a heap already
}

func flowSink(h []flowPool) {
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].before(&h[least]) {
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
