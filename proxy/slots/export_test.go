package slots

// Trace has f called, under the lock, at every grant and every end of a slot.
func (a *Admission) Trace(f func(device Key, held bool)) { a.trace = f }

// Size counts the devices that are remembered.
func (a *Admission) Size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.devices)
}

// Line gives tests the queue's data structure by the names of its tickets.
type Line struct {
	line
	tickets map[int]*ticket
	names   map[*ticket]int
}

func NewLine() *Line { return &Line{tickets: map[int]*ticket{}, names: map[*ticket]int{}} }

func (l *Line) Join(name int) {
	t := &ticket{}
	l.tickets[name], l.names[t] = t, name
	l.join(t)
}

func (l *Line) Leave(name int)                    { l.leave(l.tickets[name]) }
func (l *Line) SetPresent(name int, present bool) { l.setPresent(l.tickets[name], present) }
func (l *Line) Before(name int) int               { return l.before(l.tickets[name]) }
func (l *Line) Places() int                       { return len(l.places) }

// Plan says whether the device of a ticket is in its planned slot.
func (l *Line) Plan(name int, is bool) {
	to := unplanned
	if is {
		to = planned
	}
	l.setKind(l.tickets[name], to)
}

// First returns the name of the first of a kind who is present, or -1.
func (l *Line) First(is bool) int {
	of := unplanned
	if is {
		of = planned
	}
	if t := l.first(of); t != nil {
		return l.names[t]
	}
	return -1
}
