package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// problem asks for new starts of the deliveries that may move.
func (r *room) problem(work int64) (repair.Problem, error) {
	p := repair.Problem{Slot: r.c.slot, Capacity: r.steps(r.fixed), Work: work}
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
