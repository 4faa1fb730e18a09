package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/load"
	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// solve asks for a repair. One in which every job counts besides what is fixed is always right. Where devices of jobs are served
// by something fixed as well, such as a service that comes to all, it asks for too much: there a repair in the larger room is
// tried first, and taken if the load, counted by devices, allows it. Its bounds hold in any case.
func (r *room) solve(work int64, bands []mfpgate.Band) (*answer, error) {
	p, err := r.problem(work)
	if err != nil {
		return nil, err
	}
	if err := r.look(p.Jobs); err != nil {
		return nil, err
	}
	var most repair.Result // of the larger room
	if r.overlap && !r.twins {
		larger := p
		larger.Capacity = r.steps(r.alone)
		if err := larger.Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		most = repair.Solve(larger)
		if repair.Feasible(larger, most) == nil {
			if a := r.answer(larger, most, bands, r.alone); a.guard() == nil {
				return a, nil
			}
		}
	}
	result := repair.Solve(p)
	if err := repair.Feasible(p, result); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	switch {
	case r.twins:
		result.Bound, result.Optimal, result.Certificates = repair.Bound{}, false, nil
	case r.overlap:
		result = bounded(result, most)
	}
	a := r.answer(p, result, bands, r.fixed)
	return a, a.guard()
}

// bounded gives an answer the bounds of a larger room: those on moves hold for as many unresolved, that on displacement for as
// many moves.
func bounded(result, larger repair.Result) repair.Result {
	bound := repair.Bound{Unresolved: min(larger.Bound.Unresolved, len(result.Unresolved))}
	if len(result.Unresolved)+len(larger.Unresolved) == 0 {
		bound.Moved = min(larger.Bound.Moved, result.Moved)
		if larger.Moved == result.Moved {
			bound.Displacement = min(larger.Bound.Displacement, result.Displacement)
		}
	}
	result.Optimal = larger.Optimal && len(result.Unresolved)+len(larger.Unresolved) == 0 && larger.Moved == result.Moved &&
		larger.Displacement == result.Displacement
	result.Bound, result.Certificates = bound, larger.Certificates
	return result
}

// hull is all the time at which a device may be served by something.
type hull struct {
	device   int32
	from, to int64
}

// look finds devices that may be served twice at a time, and lays out the larger room if there are any.
func (r *room) look(jobs []repair.Job) error {
	var hulls []hull
	for k, i := range r.jobs {
		j := &jobs[k]
		h := hull{r.c.items[i].device, j.Start, j.Start + j.Duration}
		if j.First <= j.Last {
			h.from, h.to = min(h.from, j.First), max(h.to, j.Last+j.Duration)
		}
		hulls = append(hulls, h)
	}
	slices.SortFunc(hulls, func(a, b hull) int { return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.from, b.from)) })
	for k := 1; k < len(hulls); k++ {
		if hulls[k].device == hulls[k-1].device && hulls[k].from < hulls[k-1].to {
			r.twins = true
			return nil
		}
	}
	apart := func(o *load.Occurrence) bool {
		if o.Device < 0 {
			return true
		}
		// Hulls of one device do not overlap: that which ends first after the occurrence begins tells.
		k, _ := slices.BinarySearchFunc(hulls, hull{device: o.Device, to: o.Start + 1}, func(a, b hull) int {
			return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.to, b.to))
		})
		return k == len(hulls) || hulls[k].device != o.Device || hulls[k].from >= o.Start+int64(o.Duration)
	}
	alone, err := r.c.layout(func(o *load.Occurrence) bool {
		is := apart(o)
		r.overlap = r.overlap || !is
		return is
	})
	if err != nil {
		return err
	}
	r.alone = larger(alone, r.fixed)
	return nil
}

// larger takes what is fixed from one layout, and the limit from the other, or its load where that is above the limit.
func larger(alone, fixed []load.Point) []load.Point {
	var out []load.Point
	i, k := 0, 0
	for i < len(alone) || k < len(fixed) {
		at := int64(1<<63 - 1)
		if i < len(alone) {
			at = alone[i].At
		}
		if k < len(fixed) {
			at = min(at, fixed[k].At)
		}
		for i < len(alone) && alone[i].At == at {
			i++
		}
		for k < len(fixed) && fixed[k].At == at {
			k++
		}
		f := fixed[max(0, k-1)]
		out = append(out, load.Point{At: at, Load: alone[max(0, i-1)].Load, Limit: max(f.Limit, f.Load)})
	}
	return out
}
