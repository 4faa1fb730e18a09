package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// problem asks for new starts of the deliveries that may move.
func (r *room) problem(work int64) (repair.Problem, error) {
	p := repair.Problem{Slot: r.c.slot, Capacity: r.free, Work: work}
	groups := map[string]int{}
	for _, i := range r.jobs {
		it := &r.c.items[i]
		group, ok := groups[it.d.Batch]
		if !ok {
			group = len(groups)
			groups[it.d.Batch] = group
		}
		p.Jobs = append(p.Jobs, r.c.job(it, group))
	}
	if err := p.Check(); err != nil {
		return p, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	r.overlap = r.overlaps(p.Jobs)
	return p, nil
}

// job says where a delivery may go.
func (c *scene) job(it *item, group int) repair.Job {
	j := repair.Job{Start: it.start, Duration: it.p95, Priority: min(9, max(0, it.d.Priority)), Group: group,
		First: c.freeze, Last: c.problem.To - it.p95}
	if !it.d.EarliestStart.IsZero() {
		j.First = max(j.First, ceilMillis(it.d.EarliestStart))
	}
	if !it.d.LatestEnd.IsZero() {
		j.Last = min(j.Last, it.d.LatestEnd.UnixMilli()-it.p95)
	}
	if far := c.s.Contract.MaxMove.Milliseconds(); far > 0 {
		j.First, j.Last = max(j.First, it.start-far), min(j.Last, it.start+far)
	}
	j.First = (j.First + c.slot - 1) / c.slot * c.slot
	if j.Last -= max(0, j.Last) % c.slot; j.First > j.Last {
		j.First, j.Last = 1, 0
	}
	for _, b := range it.d.Blackouts {
		if s := (repair.Span{From: b.From.UnixMilli(), To: ceilMillis(b.To)}); s.From < s.To && s.To > c.problem.From {
			s.From = max(s.From, c.problem.From)
			j.Closed = append(j.Closed, repair.Span{From: s.From, To: min(s.To, c.problem.To)})
		}
	}
	j.Closed = disjoint(j.Closed)
	if at, ok := c.s.Proposed[it.d.ID]; ok && at.UnixMilli() > 0 && at.UnixMilli() < c.problem.To {
		j.Proposed = at.UnixMilli()
	}
	return j
}

// disjoint sorts spans and joins those that touch.
func disjoint(list []repair.Span) []repair.Span {
	list = slices.DeleteFunc(list, func(s repair.Span) bool { return s.From >= s.To })
	slices.SortFunc(list, func(a, b repair.Span) int { return cmp.Compare(a.From, b.From) })
	var out []repair.Span
	for _, s := range list {
		if n := len(out); n > 0 && s.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, s.To)
			continue
		}
		out = append(out, s)
	}
	return out
}

// overlaps reports whether the device of a job may be served by something else as well at a time when the job could run. The
// device counts once then, but the repair counts the job besides: its answers are right, and its bounds are none.
func (r *room) overlaps(jobs []repair.Job) bool {
	type hull struct {
		device   int32
		from, to int64
		job      bool
	}
	movable := map[int32]bool{}
	var list []hull
	for k, i := range r.jobs {
		j := &jobs[k]
		h := hull{r.c.items[i].device, j.Start, j.Start + j.Duration, true}
		if j.First <= j.Last {
			h.from, h.to = min(h.from, j.First), max(h.to, j.Last+j.Duration)
		}
		movable[h.device] = true
		list = append(list, h)
	}
	for _, o := range r.c.problem.Occurrences {
		if !r.c.problem.Movable[o.Source] && o.Device >= 0 && movable[o.Device] {
			list = append(list, hull{o.Device, o.Start, o.Start + int64(o.Duration), false})
		}
	}
	slices.SortFunc(list, func(a, b hull) int { return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.from, b.from)) })
	var last, lastJob hull
	for i, h := range list {
		if i == 0 || h.device != last.device {
			last, lastJob = h, hull{device: -1}
		} else {
			if h.job && h.from < last.to || !h.job && lastJob.device == h.device && h.from < lastJob.to {
				return true
			}
			if h.to > last.to {
				last = h
			}
		}
		if h.job && (lastJob.device != h.device || h.to > lastJob.to) {
			lastJob = h
		}
	}
	return false
}
