package slots

// line is the queue: places in order of arrival, each taken by a ticket that is present or away. Joining, leaving,
// finding the first who is present and counting those before a place cost O(log n), amortised.
//
// Arrivals only ever append, so places is a slice with holes and tree a Fenwick tree over it (P. Fenwick, 1994) that
// counts the present. It is rebuilt without the holes once they are the larger part.
type line struct {
	places  []*ticket // nil where a ticket has left
	tree    []int32   // tree[i-1] counts the present in places[i-lowbit(i):i]
	present int
	holes   int
}

const smallLine = 64 // below this a rebuild saves nothing

// join gives t the last place, present.
func (l *line) join(t *ticket) {
	t.place = len(l.places)
	t.present = true
	l.places = append(l.places, t)
	l.present++
	l.grow(1)
}

// grow appends one place's count to the tree: itself and the sub-trees that its range covers.
func (l *line) grow(count int32) {
	i := len(l.tree) + 1
	for j := i - 1; j > i-i&-i; j -= j & -j {
		count += l.tree[j-1]
	}
	l.tree = append(l.tree, count)
}

// setPresent marks t, which keeps its place, as there or away.
func (l *line) setPresent(t *ticket, present bool) {
	if t.present == present {
		return
	}
	t.present = present
	delta := 1
	if !present {
		delta = -1
	}
	l.present += delta
	for i := t.place + 1; i <= len(l.tree); i += i & -i {
		l.tree[i-1] += int32(delta)
	}
}

// leave frees t's place.
func (l *line) leave(t *ticket) {
	l.setPresent(t, false)
	l.places[t.place] = nil
	l.holes++
	if l.holes > len(l.places)/2 && (len(l.places) > smallLine || l.holes == len(l.places)) {
		l.rebuild()
	}
}

func (l *line) rebuild() {
	old := l.places
	n := len(old) - l.holes
	l.places, l.tree, l.holes = make([]*ticket, 0, n), make([]int32, 0, n), 0
	for _, t := range old {
		if t == nil {
			continue
		}
		t.place = len(l.places)
		l.places = append(l.places, t)
		if t.present {
			l.grow(1)
		} else {
			l.grow(0)
		}
	}
}

// first returns the ticket that is present and stands before all others, or nil.
func (l *line) first() *ticket {
	if l.present == 0 {
		return nil
	}
	// Descend to the longest prefix without a present ticket; the next place is the first that has one.
	step := 1
	for step*2 <= len(l.tree) {
		step *= 2
	}
	i := 0
	for ; step > 0; step /= 2 {
		if i+step <= len(l.tree) && l.tree[i+step-1] == 0 {
			i += step
		}
	}
	return l.places[i]
}

// before counts the present who stand before t.
func (l *line) before(t *ticket) int {
	n := 0
	for i := t.place; i > 0; i -= i & -i {
		n += int(l.tree[i-1])
	}
	return n
}
