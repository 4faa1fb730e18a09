package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/load"
	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// Options bound a plan.
type Options struct {
	// Work bounds the search for new starts, in units of about a nanosecond of one core; 0 is DefaultWork. It is counted, not
	// timed: the answer does not depend on the machine.
	Work int64
}

// DefaultWork is about a second.
const DefaultWork = 1_000_000_000

// ErrBroken is returned where a repair would break a rule or leave an overload that nothing explains. That is a defect of this
// program; the plan before stays in force.
var ErrBroken = errors.New("the repair breaks its own rules")

// Make returns the overloads of a snapshot and, if the contract's mode is propose or auto, the proposal that removes them. In
// mode notify, and without overloads, the proposal is empty and has no id. Errors wrap ErrSnapshot or ErrBroken.
func Make(s mfpgate.ScheduleSnapshot, o Options) (mfpgate.SchedulePlan, error) {
	c, err := newScene(s, time.Time{}, time.Time{})
	if err != nil {
		return mfpgate.SchedulePlan{}, err
	}
	bands, err := c.bands()
	if err != nil {
		return mfpgate.SchedulePlan{}, err
	}
	p := mfpgate.SchedulePlan{Bands: bands, BandsLeft: bands, LeftOut: c.left}
	mode := s.Contract.Mode
	if len(bands) == 0 || mode != mfpgate.SchedulePropose && mode != mfpgate.ScheduleAuto {
		return p, nil
	}
	r, err := c.newRoom()
	if err != nil {
		return p, err
	}
	work := o.Work
	if work <= 0 {
		work = DefaultWork
	}
	problem, err := r.problem(work)
	if err != nil {
		return p, err
	}
	result := repair.Solve(problem)
	if err := repair.Feasible(problem, result); err != nil {
		return p, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	a := r.answer(problem, result, bands)
	if err := a.guard(); err != nil {
		return p, err
	}
	p.Proposal = a.proposal()
	p.Proposal.Apply = mode == mfpgate.ScheduleAuto
	a.certify(p.Bands)
	after, err := newScene(With(s, p.Proposal.Changes), time.Time{}, time.Time{})
	if err != nil {
		return p, err
	}
	if p.BandsLeft, err = after.bands(); err != nil {
		return p, err
	}
	a.certify(p.BandsLeft)
	return p, nil
}

// With returns the snapshot as it is once the changes are applied. Changes of deliveries that it has not are ignored.
func With(s mfpgate.ScheduleSnapshot, changes []mfpgate.Change) mfpgate.ScheduleSnapshot {
	to := make(map[string]time.Time, len(changes))
	for _, c := range changes {
		to[c.Delivery] = c.To
	}
	deliveries := make([]mfpgate.Delivery, len(s.Deliveries))
	copy(deliveries, s.Deliveries)
	for i := range deliveries {
		if at, ok := to[deliveries[i].ID]; ok {
			deliveries[i].Schedule = mfpgate.LocalSchedule{Start: at}
		}
	}
	s.Deliveries = deliveries
	return s
}

// room is what there is for deliveries that may move.
type room struct {
	c       *scene
	jobs    []int         // items that may move
	fixed   []load.Point  // what cannot move, and what may be served at once: the capacity, or more where that is tolerated
	free    []repair.Step // the difference
	overlap bool          // some job's device may be served by something else at the same time
}

func (c *scene) newRoom() (*room, error) {
	r := &room{c: c}
	for i := range c.items {
		if c.items[i].pinned == "" {
			r.jobs = append(r.jobs, i)
		}
	}
	p := c.problem
	p.Occurrences = nil
	for _, o := range c.problem.Occurrences {
		if !c.problem.Movable[o.Source] {
			p.Occurrences = append(p.Occurrences, o)
		}
	}
	tolerated, err := c.tolerated()
	if err != nil {
		return nil, err
	}
	line, err := load.NewTimeline(p)
	if err != nil {
		return nil, fmt.Errorf("lay out what cannot move: %w", err)
	}
	for p := range line.Steps() {
		r.fixed = append(r.fixed, p)
	}
	r.fixed = raise(r.fixed, tolerated)
	for r.fixed[len(r.fixed)-1].At >= c.problem.To { // a band lasts until there
		r.fixed = r.fixed[:len(r.fixed)-1]
	}
	for _, p := range r.fixed {
		if n := len(r.free); n == 0 || r.free[n-1].Free != p.Limit-p.Load {
			r.free = append(r.free, repair.Step{At: p.At, Free: p.Limit - p.Load})
		}
	}
	// A problem that names no time at which it was made has the same answer a minute later.
	r.free[0].At = 0
	for _, i := range r.jobs {
		if c.items[i].end() > c.problem.To {
			// Nothing is known of the load after the horizon. Only what is planned there anyway lasts until then.
			r.free = append(r.free, repair.Step{At: c.problem.To, Free: Unlimited})
			break
		}
	}
	return r, nil
}

// tolerated lists the overloads that are too small to be told of.
func (c *scene) tolerated() ([]load.Band, error) {
	if c.problem.MinExcess <= 1 {
		return nil, nil
	}
	all, err := c.whole(1)
	if err != nil {
		return nil, err
	}
	var small []load.Band
	for _, b := range all {
		if b.Peak-b.Capacity < c.problem.MinExcess {
			small = append(small, b)
		}
	}
	return small, nil
}

// raise lifts the limit to the peak inside each band.
func raise(points []load.Point, bands []load.Band) []load.Point {
	if len(bands) == 0 {
		return points
	}
	var out []load.Point
	add := func(p load.Point) {
		if n := len(out); n > 0 && out[n-1].At == p.At {
			out[n-1] = p
			return
		}
		out = append(out, p)
	}
	now, inside := points[0], -1
	lifted := func(at int64) load.Point {
		p := now
		p.At = at
		if inside >= 0 {
			p.Limit = max(p.Limit, bands[inside].Peak)
		}
		return p
	}
	for i, b := 0, 0; i < len(points) || b < len(bands); {
		at := int64(1<<63 - 1)
		if i < len(points) {
			at = points[i].At
		}
		if b < len(bands) {
			edge := bands[b].From
			if inside >= 0 {
				edge = bands[b].To
			}
			if edge < at {
				at = edge
			}
		}
		if i < len(points) && points[i].At == at {
			now = points[i]
			i++
		}
		if inside >= 0 && bands[b].To == at {
			inside = -1
			b++
		}
		if inside < 0 && b < len(bands) && bands[b].From == at {
			inside = b
		}
		add(lifted(at))
	}
	return out
}
