package plan

import (
	"fmt"

	"github.com/mfpgate/mfpgate/scheduler/load"
	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// room is what there is for deliveries that may move.
type room struct {
	c    *scene
	jobs []int // items that may move
	// What cannot move, and how many may be served at once: the capacity, or more where that is tolerated.
	fixed []load.Point
	// Some job's device may be served by something that cannot move, or by another job (twins), at the same time. It counts
	// once then, but a repair counts each job besides all else.
	overlap, twins bool
	// Where a device is served by something fixed while its job could run, only what else is fixed, and how many may be served at
	// once by that and by jobs. This room is at least what there is. It is exact where the devices of the jobs that run are all
	// those that are left out.
	alone []load.Point
}

func (c *scene) newRoom() (*room, error) {
	r := &room{c: c}
	for i := range c.items {
		if c.items[i].pinned == "" {
			r.jobs = append(r.jobs, i)
		}
	}
	tolerated, err := c.tolerated()
	if err != nil {
		return nil, err
	}
	r.fixed, err = c.layout(func(*load.Occurrence) bool { return true })
	if err != nil {
		return nil, err
	}
	r.fixed = raise(r.fixed, tolerated)
	for r.fixed[len(r.fixed)-1].At >= c.problem.To { // a band lasts until there
		r.fixed = r.fixed[:len(r.fixed)-1]
	}
	return r, nil
}

// layout lays out what cannot move, as far as it is chosen.
func (c *scene) layout(chosen func(*load.Occurrence) bool) ([]load.Point, error) {
	p := c.problem
	p.Occurrences = nil
	for i := range c.problem.Occurrences {
		if o := &c.problem.Occurrences[i]; !c.problem.Movable[o.Source] && chosen(o) {
			p.Occurrences = append(p.Occurrences, *o)
		}
	}
	line, err := load.NewTimeline(p)
	if err != nil {
		return nil, fmt.Errorf("lay out what cannot move: %w", err)
	}
	var points []load.Point
	for p := range line.Steps() {
		points = append(points, p)
	}
	return points, nil
}

// steps is the room in a layout.
func (r *room) steps(points []load.Point) []repair.Step {
	var free []repair.Step
	for _, p := range points {
		if n := len(free); n == 0 || free[n-1].Free != p.Limit-p.Load {
			free = append(free, repair.Step{At: p.At, Free: p.Limit - p.Load})
		}
	}
	// A problem that names no time at which it was made has the same answer a minute later.
	free[0].At = 0
	for _, i := range r.jobs {
		if r.c.items[i].end() > r.c.problem.To {
			// Nothing is known of the load after the horizon. Only what is planned there anyway lasts until then.
			return append(free, repair.Step{At: r.c.problem.To, Free: Unlimited})
		}
	}
	return free
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
