package load

import (
	"cmp"
	"slices"
)

// run is a stretch during which one device is served by occurrences that overlap.
type run struct {
	start, end int64 // cut to the horizon
	device     int32
	movable    bool // at least one of its occurrences is
}

// overlaps knows the devices of which occurrences overlap. Most fleets have none.
type overlaps struct {
	marked  []bool // by device; nil if there are none
	planned []run
	likely  []run // of the p50 ends
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
	var list []int32
	for i := range p.Occurrences {
		if v.has(p.Occurrences[i].Device) {
			list = append(list, int32(i))
		}
	}
	slices.SortFunc(list, func(a, b int32) int {
		x, y := &p.Occurrences[a], &p.Occurrences[b]
		return cmp.Or(cmp.Compare(x.Device, y.Device), cmp.Compare(x.Start, y.Start))
	})
	for _, i := range list {
		o := &p.Occurrences[i]
		start, likely, end := p.cut(o)
		v.planned = join(v.planned, run{start, end, o.Device, p.Movable[o.Source]})
		v.likely = join(v.likely, run{start, likely, o.Device, false})
	}
	return v
}

// join adds a run to those of its device, or appends it.
func join(runs []run, r run) []run {
	if r.start == r.end {
		return runs
	}
	if n := len(runs); n > 0 && runs[n-1].device == r.device && r.start < runs[n-1].end {
		last := &runs[n-1]
		last.end, last.movable = max(last.end, r.end), last.movable || r.movable
		return runs
	}
	return append(runs, r)
}
