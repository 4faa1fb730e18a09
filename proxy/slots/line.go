package slots

// line is the queue: places in order of arrival, each taken by a ticket that is present or away, and of a device in its
// planned slot or not. Joining, leaving, finding the first of a kind who is present and counting those before a place cost
// O(log n), amortised.
//
// Arrivals only ever append, so places is a slice with holes, and for each kind there is a Fenwick tree over it (P. Fenwick,
// 1994) that counts the present. They are rebuilt without the holes once these are the larger part.
type line struct {
	places  []*ticket      // nil where a ticket has left
	tree    [kinds][]int32 // tree[k][i-1] counts the present of kind k in places[i-lowbit(i):i]
	of      [kinds]int     // the present, by kind
	present int
	holes   int
}

// kind says whether a ticket's device is in its planned slot.
type kind uint8

const (
	unplanned kind = iota
	planned
	kinds
)

const smallLine = 64 // below this a rebuild saves nothing

// join gives t the last place, present.
func (l *line) join(t *ticket) {
	t.place = len(l.places)
	t.present = true
	l.places = append(l.places, t)
	l.present++
	l.of[t.kind]++
	l.grow(t)
}

// grow appends one place's count to the trees: itself and the sub-trees that its range covers.
func (l *line) grow(t *ticket) {
	for k := range l.tree {
		var count int32
		if t.present && t.kind == kind(k) {
			count = 1
		}
		i := len(l.tree[k]) + 1
		for j := i - 1; j > i-i&-i; j -= j & -j {
			count += l.tree[k][j-1]
		}
		l.tree[k] = append(l.tree[k], count)
	}
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
	l.count(t, delta)
}

// setKind changes a ticket's kind. Its place stays: by arrival.
func (l *line) setKind(t *ticket, to kind) {
	if t.kind == to {
		return
	}
	if t.present {
		l.count(t, -1)
	}
	t.kind = to
	if t.present {
		l.count(t, 1)
	}
}

func (l *line) count(t *ticket, delta int) {
	l.present += delta
	l.of[t.kind] += delta
	tree := l.tree[t.kind]
	for i := t.place + 1; i <= len(tree); i += i & -i {
		tree[i-1] += int32(delta)
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
	l.places, l.holes = make([]*ticket, 0, n), 0
	for k := range l.tree {
		l.tree[k] = make([]int32, 0, n)
	}
	for _, t := range old {
		if t == nil {
			continue
		}
		t.place = len(l.places)
		l.places = append(l.places, t)
		l.grow(t)
	}
}

// first returns the ticket of a kind that is present and stands before all others of it, or nil.
func (l *line) first(of kind) *ticket {
	if l.of[of] == 0 {
		return nil
	}
	tree := l.tree[of]
	// Descend to the longest prefix without a present ticket; the next place is the first that has one.
	step := 1
	for step*2 <= len(tree) {
		step *= 2
	}
	i := 0
	for ; step > 0; step /= 2 {
		if i+step <= len(tree) && tree[i+step-1] == 0 {
			i += step
		}
	}
	return l.places[i]
}

// before counts the present of t's kind who stand before t.
func (l *line) before(t *ticket) int {
	n, tree := 0, l.tree[t.kind]
	for i := t.place; i > 0; i -= i & -i {
		n += int(tree[i-1])
	}
	return n
}
