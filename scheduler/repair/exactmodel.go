package repair

// The aims of a problem in their order, of which one at a time is brought to its best.
const (
	exactOut      = iota // unresolved jobs
	exactPriority        // the sum of their priorities
	exactMoved           // moved jobs
	exactDistance        // the sum of their distances
	exactLevels
)

// exactModel is the time-indexed model of a problem: for each job a column for every place, of which it takes one. The first column of a
// job is home, the last is to be out.
type exactModel struct {
	g     *grid
	off   []int32 // by job, its first column; and one more
	job   []int32 // by column
	a, b  []int32 // by column, its cells
	pos   []int32 // by column
	never []bool  // by job, whether it cannot be at home
	unit  int64   // a divisor of all distances
}

func newExactModel(g *grid) *exactModel {
	m := &exactModel{g: g}
	add := func(j, pos, a, b int32) {
		m.job, m.pos, m.a, m.b = append(m.job, j), append(m.pos, pos), append(m.a, a), append(m.b, b)
	}
	for i := range g.jobs {
		j := int32(i)
		m.off = append(m.off, int32(len(m.pos)))
		// Where there is no room at all is no place.
		open := func(a, b int32) bool {
			for c := a; c < b; c++ {
				if g.room[c] == 0 {
					return false
				}
			}
			return true
		}
		a, b := g.cells(j, gridHome)
		m.never = append(m.never, !open(a, b))
		add(j, gridHome, a, b)
		g.choices(j, func(p int32) {
			if a, b := g.cells(j, p); open(a, b) {
				add(j, p, a, b)
				m.unit = divisor(m.unit, g.distance(j, p))
			}
		})
		add(j, gridOut, 0, 0)
	}
	m.off = append(m.off, int32(len(m.pos)))
	m.unit = max(m.unit, 1)
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
			return int64(m.g.jobs[m.job[q]].priority)
		}
	case exactMoved:
		if pos >= 0 {
			return 1
		}
	case exactDistance:
		if pos >= 0 {
			return m.g.distance(m.job[q], pos) / m.unit
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
