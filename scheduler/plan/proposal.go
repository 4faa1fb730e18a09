package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// proposal writes the answer in the root's terms.
func (a *answer) proposal() mfpgate.Proposal {
	p := mfpgate.Proposal{DeltaToken: a.r.c.s.DeltaToken, Quality: a.quality}
	leavers := a.leavers()
	for _, k := range a.byStart {
		if a.moved(k) {
			p.Changes = append(p.Changes, a.change(k, leavers))
		}
	}
	slices.SortStableFunc(p.Changes, func(x, y mfpgate.Change) int {
		return cmp.Or(x.From.Compare(y.From), cmp.Compare(x.Delivery, y.Delivery))
	})
	proofs := a.certificates()
	for _, k := range a.unresolved {
		p.Unresolved = append(p.Unresolved, a.remains(k, proofs))
	}
	slices.SortFunc(p.Unresolved, func(x, y mfpgate.Unresolved) int { return cmp.Compare(x.Delivery, y.Delivery) })
	if len(p.Changes)+len(p.Unresolved) > 0 {
		parts := []any{p.DeltaToken}
		for _, c := range p.Changes {
			parts = append(parts, c.ID)
		}
		for _, u := range p.Unresolved {
			parts = append(parts, u.Delivery)
		}
		p.ID = digest("proposal", parts...)
	}
	return p
}

func (a *answer) change(k int, leavers []leaver) mfpgate.Change {
	it, w := a.item(k), a.why[k]
	c := mfpgate.Change{Delivery: it.d.ID, Version: it.d.Version, From: time.UnixMilli(a.jobs[k].Start).UTC(),
		To: time.UnixMilli(a.starts[k]).UTC(), Code: w.code, Band: a.bands[w.band].ID}
	if w.freedBy >= 0 {
		c.FreedBy = a.item(w.freedBy).d.ID
	}
	c.ID = digest("change", c.Delivery, c.Version, a.jobs[k].Start, a.starts[k])
	c.Text = clip(a.reason(k, leavers)+" "+a.instead(k), maxText)
	return c
}

// maxText is how long a text of a change or of an unresolved delivery may be on the wire.
const maxText = 1024

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// leaver is a band's deliveries that may move and run at its peak, by their ends, the latest first.
type leaver struct{ ends []int64 }

// leavers looks at the bands that something leaves.
func (a *answer) leavers() []leaver {
	list := make([]leaver, len(a.bands))
	for k := range a.jobs {
		if b := a.why[k].band; a.moved(k) && a.why[k].code == mfpgate.ChangeOverload && list[b].ends == nil {
			list[b].ends = a.activeAt(a.bands[b].PeakAt.UnixMilli())
		}
	}
	return list
}

// activeAt lists the planned ends of the jobs that run at an instant, the latest first.
func (a *answer) activeAt(at int64) []int64 {
	ends := []int64{}
	first, _ := slices.BinarySearchFunc(a.byStart, at-a.longest, func(k int, at int64) int { return cmp.Compare(a.jobs[k].Start, at) })
	for _, k := range a.byStart[first:] {
		s := a.planned(k)
		if s.from > at {
			break
		}
		if s.to > at {
			ends = append(ends, s.to)
		}
	}
	slices.SortFunc(ends, func(x, y int64) int { return cmp.Compare(y, x) })
	return ends
}

// reason says why this delivery was chosen.
func (a *answer) reason(k int, leavers []leaver) string {
	w := a.why[k]
	b := &a.bands[w.band]
	if w.code != mfpgate.ChangeOverload {
		other := a.item(w.freedBy).d.ID
		return fmt.Sprintf("It was in no overload itself; it makes room for delivery %s, which moves to %s.", other, a.r.c.clock(a.starts[w.freedBy]))
	}
	head := fmt.Sprintf("It is in the overload of %s: %s at once where %d can be served, and at least %d must leave;",
		a.r.c.span(b.From.UnixMilli(), b.To.UnixMilli()), devices(b.Peak), b.Capacity, b.MustMove)
	ends, end := leavers[w.band].ends, a.planned(k).to
	later, _ := slices.BinarySearchFunc(ends, end, func(e, end int64) int { return cmp.Compare(end, e) })
	at := b.PeakAt.UnixMilli()
	switch s := a.planned(k); {
	case at < s.from || at >= s.to:
		return head + " it runs beside the peak."
	case later == 0:
		return fmt.Sprintf("%s it ends last of %d active that may move.", head, len(ends))
	case later < b.MustMove:
		return fmt.Sprintf("%s only %d of the %d active that may move end later.", head, later, len(ends))
	}
	return fmt.Sprintf("%s it is one of %d active that may move.", head, len(ends))
}

// instead says from where to where, and which nearer starts had no room.
func (a *answer) instead(k int) string {
	c := a.r.c
	j, to := &a.jobs[k], a.starts[k]
	text := fmt.Sprintf("It starts at %s instead of %s", c.clock(to), c.clock(j.Start))
	if c.day(to) == c.day(j.Start) {
		text = fmt.Sprintf("It starts at %s instead of %s", c.hour(to), c.hour(j.Start))
	}
	if refused := a.refused(k, 3); len(refused) > 0 {
		text += "; nearer starts have no room: " + strings.Join(refused, ", ")
	}
	return text + "."
}

// refused lists the nearest starts that were not possible, and why, up to n of them.
func (a *answer) refused(k, n int) []string {
	c := a.r.c
	j, to := &a.jobs[k], a.starts[k]
	var list []string
	tried := 0
	for at := range nearest(j.Start, c.slot, j.First, j.Last) {
		tried++
		if len(list) == n || tried > 100 || distance(at, j.Start) >= distance(to, j.Start) {
			break
		}
		if closed(j, at) {
			continue
		}
		if p, full := a.kept.full(span{at, at + j.Duration}, a.place(k)); full {
			list = append(list, c.refusal(at, p.At, p.Load, p.Limit))
		}
	}
	return list
}

func (c *scene) refusal(start, at int64, load, limit int) string {
	if start == at {
		return fmt.Sprintf("%s (%d of %d)", c.hour(start), load, limit)
	}
	return fmt.Sprintf("%s (%d of %d at %s)", c.hour(start), load, limit, c.hour(at))
}

// closed reports whether a blackout lies in the way.
func closed(j *repair.Job, start int64) bool {
	return slices.ContainsFunc(j.Closed, func(s repair.Span) bool { return start < s.To && s.From < start+j.Duration })
}

// nearest gives the multiples of slot from first to last, the nearest to start first, of equal ones the later.
func nearest(start, slot, first, last int64) func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		down := min(start, last) / slot * slot
		up := down + slot
		if start < first {
			up = (first + slot - 1) / slot * slot
			down = up - slot
		}
		for down >= first || up <= last {
			at := up
			if up > last || down >= first && start-down < up-start {
				at = down
			}
			if at == down {
				down -= slot
			} else {
				up += slot
			}
			if !yield(at) {
				return
			}
		}
	}
}
