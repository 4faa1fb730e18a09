package load

// level is a stretch of time in which nothing changes.
type level struct {
	from, to        int64
	planned, likely int64 // devices until their p95 and their p50 ends
	room            int64
}

// levels gives the horizon's levels in order. Neighbours may be alike.
func (p *Problem) levels(v *overlaps, yield func(level)) {
	if p.From == p.To {
		return
	}
	if length := p.To - p.From; length < 1<<32-1 {
		sweep[uint32](p, v, yield)
	} else {
		sweep[uint64](p, v, yield)
	}
}

// edges are the instants at which the load changes, as offsets from the horizon's start.
type edges[K offset] struct {
	starts, ends, likelyEnds []K     // by one device
	heavy                    []keyed // by a planned and b likely devices
}

// gather sorts starts and ends separately: of single devices only keys have to be moved.
func gather[K offset](p *Problem, v *overlaps) edges[K] {
	n := len(p.Occurrences)
	e := edges[K]{starts: make([]K, 0, n+1), ends: make([]K, 0, n+1), likelyEnds: make([]K, 0, n+1)}
	heavy := func(at int64, planned, likely int32) {
		e.heavy = append(e.heavy, keyed{uint64(at - p.From), planned, likely})
	}
	for i := range p.Occurrences {
		o := &p.Occurrences[i]
		start, likely, end := p.cut(o)
		switch {
		case start == end || v.has(o.Device):
		case o.Device >= -1:
			e.starts = append(e.starts, K(start-p.From))
			e.ends = append(e.ends, K(end-p.From))
			e.likelyEnds = append(e.likelyEnds, K(likely-p.From))
		default:
			n := -o.Device
			heavy(start, n, n)
			heavy(likely, 0, -n)
			heavy(end, -n, 0)
		}
	}
	for _, r := range v.planned {
		heavy(r.start, 1, 0)
		heavy(r.end, -1, 0)
	}
	for _, r := range v.likely {
		heavy(r.start, 0, 1)
		heavy(r.end, 0, -1)
	}
	largest := K(p.To - p.From)
	spare := make([]K, 0, n+1)
	sort := func(keys []K) []K {
		sorted := sortKeys(keys, spare[:cap(spare)], largest)
		if len(keys) > 0 && &sorted[0] != &keys[0] {
			spare = keys // the two changed places
		}
		return append(sorted[:len(keys)], largest+1) // a sentinel
	}
	e.starts, e.ends, e.likelyEnds = sort(e.starts), sort(e.ends), sort(e.likelyEnds)
	e.heavy = append(sortKeyed(e.heavy, uint64(largest)), keyed{key: uint64(largest) + 1})
	return e
}

func sweep[K offset](p *Problem, v *overlaps, yield func(level)) {
	e := gather[K](p, v)
	length := K(p.To - p.From)
	now := level{from: p.From}
	steps := p.Capacity
	for len(steps) > 0 && steps[0].At <= p.From {
		now.room = int64(steps[0].Devices)
		steps = steps[1:]
	}
	nextStep := func() K {
		if len(steps) == 0 || steps[0].At >= p.To {
			return length
		}
		return K(steps[0].At - p.From)
	}
	starts, ends, likelyEnds, heavy := e.starts, e.ends, e.likelyEnds, e.heavy
	var i, j, k, l int
	for at, step := K(0), nextStep(); ; {
		for ; starts[i] == at; i++ {
			now.planned++
			now.likely++
		}
		for ; ends[j] == at; j++ {
			now.planned--
		}
		for ; likelyEnds[k] == at; k++ {
			now.likely--
		}
		for ; heavy[l].key == uint64(at); l++ {
			now.planned += int64(heavy[l].a)
			now.likely += int64(heavy[l].b)
		}
		if step == at {
			now.room = int64(steps[0].Devices)
			steps = steps[1:]
			step = nextStep()
		}
		at = min(starts[i], ends[j], likelyEnds[k], K(min(heavy[l].key, uint64(length))), step)
		now.to = p.From + int64(at)
		yield(now)
		if at == length {
			return
		}
		now.from = now.to
	}
}
