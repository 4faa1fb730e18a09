package slots

import "container/heap"

// An alarm is a moment at which something of a device ends: its slot, or the place kept for it.
type alarm struct {
	at     int64 // nanoseconds of Admission's own time
	index  int   // in alarms; -1 when not set
	device *device
}

func (a *alarm) set() bool { return a.index >= 0 }

// alarms is a heap of them, the soonest first.
type alarms []*alarm

func (s *alarms) insert(a *alarm, at int64) { a.at = at; heap.Push(s, a) }

func (s *alarms) move(a *alarm, at int64) { a.at = at; heap.Fix(s, a.index) }

func (s *alarms) remove(a *alarm) {
	if a.set() {
		heap.Remove(s, a.index)
	}
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (s alarms) Len() int           { return len(s) }
func (s alarms) Less(i, j int) bool { return s[i].at < s[j].at }
func (s alarms) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *alarms) Push(x any) {
	a := x.(*alarm)
	a.index = len(*s)
	*s = append(*s, a)
}

func (s *alarms) Pop() any {
	old := *s
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	a.index = -1
	return a
}
