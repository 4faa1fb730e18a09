package calendar

import (
	"iter"
	"time"
)

// Interval is the time from From up to, but without, To.
type Interval struct {
	From, To time.Time
}

// Window is open between two local times of some days in one zone: it is open at an instant exactly when the local clock
// shows a time inside. So it ends at the local time it names however long the night is, a window inside a gap does not open,
// and one that ends inside a fold opens again when the clock comes back to it. It is immutable and safe for any number of
// goroutines.
type Window struct {
	figures *Capacity // two while open, one while closed
}

// NewWindow makes a window. To <= From runs over midnight and belongs to the day it starts on; From == To lasts a whole day.
func NewWindow(days Days, from, to TimeOfDay, loc *time.Location) (Window, error) {
	if err := checkSpan(days, from, to); err != nil {
		return Window{}, err
	}
	figures, err := newCapacity(1, []CapacityStep{{Days: days, From: from, To: to, Devices: 2}}, loc)
	return Window{figures}, err
}

// At reports whether the window is open at t, and the first instant after t at which that changes; zero means never.
func (w Window) At(t time.Time) (open bool, until time.Time) {
	figure, until := w.figures.At(t)
	return figure == 2, until
}

// Between gives the intervals during which the window is open from from to to, cut to these bounds, ascending, in UTC. Those
// that touch are one: a window open all day on each day is a single interval.
func (w Window) Between(from, to time.Time) iter.Seq[Interval] {
	return func(yield func(Interval) bool) {
		for at := from.UTC(); at.Before(to); {
			open, until := w.At(at)
			if until.IsZero() || until.After(to) {
				until = to.UTC()
			}
			if open && !yield(Interval{at, until}) {
				return
			}
			at = until
		}
	}
}
