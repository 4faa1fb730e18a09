package load

import (
	"iter"
	"sort"
)

// Point says what holds from At on until the next point.
type Point struct {
	At          int64 // UTC milliseconds
	Load, Limit int   // devices: planned, and the capacity
}

// Slot sums up a stretch of a timeline.
type Slot struct {
	From, To int64
	Load     int  // the largest in it
	Limit    int  // the smallest in it
	Over     bool // whether the load exceeds the limit at any instant: the two figures above may be of different ones
}

// Timeline is the planned load and the capacity of a horizon, in steps. It is immutable and safe for any number of goroutines.
type Timeline struct {
	from, to int64
	points   []Point
}

// NewTimeline lays the problem's load out, or returns ErrProblem.
func NewTimeline(p Problem) (*Timeline, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	t := &Timeline{from: p.From, to: p.To}
	overlaps := p.findOverlaps()
	view{p: &p, v: &overlaps}.levels(func(l level) {
		next := Point{l.from, int(l.planned), int(l.room)}
		if n := len(t.points); n == 0 || t.points[n-1].Load != next.Load || t.points[n-1].Limit != next.Limit {
			t.points = append(t.points, next)
		}
	})
	return t, nil
}

// Steps gives the points of the horizon in order, the first at its start. Neighbours differ.
func (t *Timeline) Steps() iter.Seq[Point] {
	return func(yield func(Point) bool) {
		for _, p := range t.points {
			if !yield(p) {
				return
			}
		}
	}
}

// Series gives slots of the given length, more than 0, from from to to, cut to the horizon; the last may be shorter.
func (t *Timeline) Series(from, to, slot int64) iter.Seq[Slot] {
	return func(yield func(Slot) bool) {
		from, to := max(from, t.from), min(to, t.to)
		if slot <= 0 || from >= to {
			return
		}
		i := sort.Search(len(t.points), func(i int) bool { return t.points[i].At > from }) - 1
		for at := from; at < to; {
			s := Slot{From: at, To: to, Load: t.points[i].Load, Limit: t.points[i].Limit}
			if slot < to-at {
				s.To = at + slot
			}
			for {
				p := t.points[i]
				s.Load, s.Limit, s.Over = max(s.Load, p.Load), min(s.Limit, p.Limit), s.Over || p.Load > p.Limit
				if i+1 == len(t.points) || t.points[i+1].At >= s.To {
					break
				}
				i++
			}
			if !yield(s) {
				return
			}
			if at = s.To; i+1 < len(t.points) && t.points[i+1].At == at {
				i++
			}
		}
	}
}
