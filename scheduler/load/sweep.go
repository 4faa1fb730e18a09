package load

// level is a stretch of time in which nothing changes.
type level struct {
	from, to        int64
	planned, likely int64 // devices until their p95 and their p50 ends
	room            int64
}

// view is what a sweep looks at.
type view struct {
	p      *Problem
	v      *overlaps
	hits   []keyed // by index, negative ones aside; nil: all occurrences
	likely bool    // else the likely load is not worked out, and has no meaning
}

// levels gives the horizon's levels in order. Neighbours may be alike.
func (w view) levels(yield func(level)) {
	switch length := w.p.To - w.p.From; {
	case length == 0:
	case length < 1<<32-1:
		sweep[uint32](w, yield)
	default:
		sweep[uint64](w, yield)
	}
}

// edges are the instants at which the load changes, as offsets from the horizon's start.
type edges[K offset] struct {
	starts, ends, likelyEnds []K     // by one device
	heavy                    []keyed // by a planned and b likely devices
}

// gather sorts starts and ends separately: of single devices only keys have to be moved.
func gather[K offset](w view) edges[K] {
	p, n := w.p, len(w.p.Occurrences)
	if w.hits != nil {
		n = len(w.hits)
	}
	e := edges[K]{starts: make([]K, 0, n+1), ends: make([]K, 0, n+1)}
	if w.likely {
		e.likelyEnds = make([]K, 0, n+1)
	}
	add := func(o *Occurrence) {
		start, likely, end := p.cut(o)
		switch {
		case start == end || w.v.has(o.Device):
		case o.Device >= -1:
			e.starts = append(e.starts, K(start-p.From))
			e.ends = append(e.ends, K(end-p.From))
			if w.likely {
				e.likelyEnds = append(e.likelyEnds, K(likely-p.From))
			}
		default:
			e.weigh(start-p.From, -o.Device, -o.Device)
			e.weigh(likely-p.From, 0, o.Device)
			e.weigh(end-p.From, o.Device, 0)
		}
	}
	if w.hits == nil {
		for i := range p.Occurrences {
			add(&p.Occurrences[i])
		}
	}
	for _, k := range w.hits {
		if k.a >= 0 {
			add(&p.Occurrences[k.a])
		}
	}
	for _, r := range w.v.planned {
		e.weigh(r.start-p.From, 1, 0)
		e.weigh(r.end-p.From, -1, 0)
	}
	for _, r := range w.v.likely {
		e.weigh(r.start-p.From, 0, 1)
		e.weigh(r.end-p.From, 0, -1)
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

func (e *edges[K]) weigh(at int64, planned, likely int32) {
	e.heavy = append(e.heavy, keyed{uint64(at), planned, likely})
}

func sweep[K offset](w view, yield func(level)) {
	p, e := w.p, gather[K](w)
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
		at = min(starts[i], ends[j], likelyEnds[k], K(heavy[l].key), step)
		now.to = p.From + int64(at)
		yield(now)
		if at == length {
			return
		}
		now.from = now.to
	}
}
