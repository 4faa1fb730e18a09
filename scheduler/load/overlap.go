package load

// run is a stretch during which one device is served by occurrences that overlap.
type run struct {
	start, end int64 // cut to the horizon
	device     int32
	movable    bool // all of its occurrences are
}

// overlaps knows the devices of which occurrences overlap. Most fleets have none.
type overlaps struct {
	marked  []bool // by device; nil if there are none
	planned []run
	likely  []run // of the p50 ends
	// What MustLeave is counted with: the runs that are movable as a whole, and of the others what cannot move. The rest of
	// those is left out, so that the count remains a lower bound.
	items []run
}

func (v *overlaps) has(device int32) bool { return v.marked != nil && device >= 0 && v.marked[device] }

// cut returns the occurrence's part in the horizon.
func (p *Problem) cut(o *Occurrence) (start, likely, end int64) {
	start = min(max(o.Start, p.From), p.To)
	likely = min(max(o.Start+int64(o.Likely), start), p.To)
	end = min(max(o.end(), start), p.To)
	return start, likely, end
}

// findOverlaps looks at each device's occurrences in the order of the problem: where each starts after the one before has
// ended, nothing overlaps, and that is all there is to pay. Devices whose occurrences stand in another order are taken for
// overlapping, which costs time only.
func (p *Problem) findOverlaps() overlaps {
	var v overlaps
	ended := make([]int64, p.Devices)
	for i := range ended {
		ended[i] = minInstant
	}
	found := 0
	for i := range p.Occurrences {
		o := &p.Occurrences[i]
		if o.Device < 0 {
			continue
		}
		if o.Start < ended[o.Device] && o.Duration > 0 {
			if v.marked == nil {
				v.marked = make([]bool, p.Devices)
			}
			v.marked[o.Device] = true
			found++
		}
		ended[o.Device] = max(ended[o.Device], o.end())
	}
	if found == 0 {
		return v
	}
	v.collect(p)
	if len(v.planned) == 0 {
		v.marked = nil
	}
	return v
}

// collect makes the runs of the marked devices, and takes the mark from devices of which nothing overlaps.
func (v *overlaps) collect(p *Problem) {
	var list []keyed
	for i := range p.Occurrences {
		if o := &p.Occurrences[i]; v.has(o.Device) {
			start, _, _ := p.cut(o)
			list = append(list, keyed{uint64(start - p.From), int32(i), o.Device})
		}
	}
	list = sortKeyed(list, uint64(p.To-p.From))
	for i := range list {
		list[i].key = uint64(list[i].b)
	}
	list = sortKeyed(list, uint64(p.Devices))
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].b == list[0].b {
			n++
		}
		v.device(p, list[:n])
		list = list[n:]
	}
	for _, r := range v.planned {
		if r.movable {
			v.items = append(v.items, r)
		}
	}
}

// device adds the runs of one device, of which the occurrences are given by start.
func (v *overlaps) device(p *Problem, list []keyed) {
	ended, overlap := p.From, false
	for _, k := range list {
		start, _, end := p.cut(&p.Occurrences[k.a])
		overlap = overlap || start < min(ended, end)
		ended = max(ended, end)
	}
	if !overlap {
		v.marked[list[0].b] = false
		return
	}
	for _, k := range list {
		o := &p.Occurrences[k.a]
		start, likely, end := p.cut(o)
		movable := p.Movable[o.Source]
		v.planned = join(v.planned, run{start, end, o.Device, movable})
		v.likely = join(v.likely, run{start, likely, o.Device, false})
		if !movable {
			v.items = join(v.items, run{start, end, o.Device, false})
		}
	}
}

// join adds a run to those of its device, or appends it.
func join(runs []run, r run) []run {
	if r.start == r.end {
		return runs
	}
	if n := len(runs); n > 0 && runs[n-1].device == r.device && r.start < runs[n-1].end {
		last := &runs[n-1]
		last.end, last.movable = max(last.end, r.end), last.movable && r.movable
		return runs
	}
	return append(runs, r)
}
