package load

// leaving counts evictions. From left to right, whenever the load exceeds the capacity, the movable job that ends last goes:
// no other choice frees more, so the number that goes is the smallest (the largest k-colourable part of an interval graph;
// Carlisle and Lloyd, "On the k-coloring of intervals", 1995).
type leaving struct {
	endings ends // earliest first
	latest  ends // movable ones, latest first
	gone    []bool
}

func (v *leaving) count(b *Band, live []job) int {
	v.endings, v.latest = v.endings[:0], v.latest[:0]
	v.gone = append(v.gone[:0], make([]bool, len(live))...)
	load, evicted := int64(0), 0
	room := int64(b.Capacity)
	for i := range live {
		j := &live[i]
		if j.shared {
			continue // its device's run stands for it
		}
		at := j.start // before the band nothing ends, for all that is live outlasts b.From
		for len(v.endings) > 0 && v.endings[0].at <= at {
			if k := v.endings.pop(); !v.gone[k] {
				load -= live[k].weight
			}
		}
		load += j.weight
		v.endings.push(ending{j.end, int32(i)})
		if j.movable {
			v.latest.push(ending{-j.end, int32(i)})
		}
		for load > room && len(v.latest) > 0 && -v.latest[0].at > at {
			v.gone[v.latest.pop()] = true
			load--
			evicted++
		}
	}
	return evicted
}

type ending struct {
	at  int64
	job int32
}

// ends is a heap, smallest first. That of container/heap costs three times as much.
type ends []ending

func (h *ends) push(e ending) {
	*h = append(*h, e)
	list := *h
	i := len(list) - 1
	for i > 0 {
		up := (i - 1) / 2
		if list[up].at <= e.at {
			break
		}
		list[i] = list[up]
		i = up
	}
	list[i] = e
}

func (h *ends) pop() (job int32) {
	list := *h
	job = list[0].job
	e := list[len(list)-1]
	list = list[:len(list)-1]
	*h = list
	if len(list) == 0 {
		return job
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= len(list) {
			break
		}
		if down+1 < len(list) && list[down+1].at < list[down].at {
			down++
		}
		if e.at <= list[down].at {
			break
		}
		list[i] = list[down]
		i = down
	}
	list[i] = e
	return job
}
