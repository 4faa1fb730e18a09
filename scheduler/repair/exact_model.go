package repair

// The aims of a problem in their order, of which one at a time is brought to its best.
const (
	exactOut      = iota // unresolved jobs
	exactPriority        // the sum of their priorities
	exactMoved           // moved jobs
	exactDistance        // the sum of their distances
	exactLevels
)

// exactModel is the time-indexed model of some jobs and of the room that the others leave: for each job a column for every place, of which
// it takes one. The first column of a job is home, the last is to be out.
type exactModel struct {
	g        *grid
	ids      []int32 // by job of the model, its number in the grid
	room     []int32 // by cell of the model
	priority []int64 // by job
	never    []bool  // by job, whether it cannot be at home
	off      []int32 // by job, its first column; and one more
	job      []int32 // by column
	a, b     []int32 // by column, its cells
	pos      []int32 // by column
	unit     int64   // a divisor of all distances
}

// newExactModel makes the model of the jobs ids, none of which room counts.
func newExactModel(g *grid, ids, room []int32) *exactModel {
	m := &exactModel{g: g, ids: ids}
	lo, hi := int32(len(room)), int32(0)
	add := func(i int, pos, a, b int32) {
		m.job, m.pos, m.a, m.b = append(m.job, int32(i)), append(m.pos, pos), append(m.a, a), append(m.b, b)
		if pos != gridOut {
			lo, hi = min(lo, a), max(hi, b)
		}
	}
	// Where there is no room at all is no place. Places are as many as a window has slots, and as long as a job has, so cells
	// without room are counted once and not for each place.
	shut := make([]int32, len(room)+1)
	for c, n := range room {
		shut[c+1] = shut[c]
		if n <= 0 {
			shut[c+1]++
		}
	}
	open := func(a, b int32) bool { return shut[a] == shut[b] }
	for i, j := range ids {
		m.off = append(m.off, int32(len(m.pos)))
		m.priority = append(m.priority, int64(g.jobs[j].priority))
		a, b := g.cells(j, gridHome)
		m.never = append(m.never, !open(a, b))
		add(i, gridHome, a, b)
		g.choices(j, func(p int32) {
			if a, b := g.cells(j, p); open(a, b) {
				add(i, p, a, b)
				m.unit = divisor(m.unit, g.distance(j, p))
			}
		})
		add(i, gridOut, lo, lo)
	}
	m.off = append(m.off, int32(len(m.pos)))
	m.unit = max(m.unit, 1)
	for q := range m.a {
		if m.pos[q] == gridOut {
			m.a[q], m.b[q] = lo, lo
		}
		m.a[q] -= lo
		m.b[q] -= lo
	}
	for _, some := range room[lo:hi] {
		m.room = append(m.room, min(some, int32(len(ids)))) // more is of no use, and so no product of room and prices overflows
	}
	return m
}

func divisor(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// cost is what column q adds to an aim.
func (m *exactModel) cost(level int, q int32) int64 {
	pos := m.pos[q]
	switch level {
	case exactOut:
		if pos == gridOut {
			return 1
		}
	case exactPriority:
		if pos == gridOut {
			return m.priority[m.job[q]]
		}
	case exactMoved:
		if pos >= 0 {
			return 1
		}
	case exactDistance:
		if pos >= 0 {
			return m.g.distance(m.ids[m.job[q]], pos) / m.unit
		}
	}
	return 0
}

// level is one aim of a cost, in units.
func (m *exactModel) level(level int, c searchCost) int64 {
	switch level {
	case exactOut:
		return c.out / searchOut
	case exactPriority:
		return c.out % searchOut
	case exactMoved:
		return c.moved
	}
	return c.distance / m.unit
}
