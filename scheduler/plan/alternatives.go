package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/load"
)

// ErrDelivery is returned for a delivery that is not in the snapshot.
var ErrDelivery = fmt.Errorf("%w: there is no such delivery", ErrSnapshot)

// Alternatives returns up to limit starts of a delivery that overload nothing, the nearest to its own first. They obey its
// window and blackouts, the lead time and the longest move, and lie inside the horizon; that it is pinned does not matter,
// for a person may move it. One that does not count, runs, or recurs has none.
func Alternatives(s mfpgate.ScheduleSnapshot, delivery string, limit int) ([]time.Time, error) {
	c, err := newScene(s, time.Time{}, time.Time{})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.items, func(i item) bool { return i.d.ID == delivery })
	if i < 0 {
		if !slices.ContainsFunc(s.Deliveries, func(d mfpgate.Delivery) bool { return d.ID == delivery }) {
			return nil, fmt.Errorf("%w: %.64q", ErrDelivery, delivery)
		}
		return nil, nil
	}
	it := &c.items[i]
	if !it.when.once || it.d.State == mfpgate.DeliveryRunning {
		return nil, nil
	}
	p := c.problem
	p.Occurrences = slices.Clone(p.Occurrences)
	p.Occurrences[it.first].Duration, p.Occurrences[it.first].Likely = 0, 0
	line, err := load.NewTimeline(p)
	if err != nil {
		return nil, fmt.Errorf("lay the load out: %w", err)
	}
	var rest profile
	for s := range line.Steps() {
		rest = append(rest, s)
	}
	j := c.job(it, 0)
	var starts []time.Time
	for at := range nearest(it.start, c.slot, j.First, j.Last) {
		if len(starts) >= limit {
			break
		}
		if at == it.start || closed(&j, at) {
			continue
		}
		if _, full := rest.full(span{at, at + j.Duration}, span{}); !full {
			starts = append(starts, time.UnixMilli(at).UTC())
		}
	}
	return starts, nil
}

// Explain says of one delivery when it is planned, what is wrong there, what was decided and what was refused. The plan must
// be the snapshot's. Errors wrap ErrDelivery or ErrSnapshot.
func Explain(s mfpgate.ScheduleSnapshot, p mfpgate.SchedulePlan, delivery string) (string, error) {
	c, err := newScene(s, time.Time{}, time.Time{})
	if err != nil {
		return "", err
	}
	d := slices.IndexFunc(s.Deliveries, func(d mfpgate.Delivery) bool { return d.ID == delivery })
	if d < 0 {
		return "", fmt.Errorf("%w: %.64q", ErrDelivery, delivery)
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("delivery %s to %s", delivery, s.Deliveries[d].Device)
	if i := slices.IndexFunc(c.left, func(l mfpgate.LeftOut) bool { return l.Delivery == delivery }); i >= 0 {
		say("not counted: %s", c.left[i].Reason)
		return b.String(), nil
	}
	i := slices.IndexFunc(c.items, func(i item) bool { return i.d.ID == delivery })
	return b.String() + c.explain(&c.items[i], i, p), nil
}

func (c *scene) explain(it *item, index int, p mfpgate.SchedulePlan) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if it.when.once {
		e := Estimate(*it.d)
		say("planned: %s, for %s (half take no longer than %s; %s)", c.span(it.start, it.end()), short(it.p95), short(it.p50), basis(e))
	} else {
		say("planned: recurring, %s times in the horizon", fmt.Sprint(it.n))
	}
	found := false
	for _, band := range p.Bands {
		if c.touches(it, band) {
			say("overload: %s", band.Text)
			found = true
		}
	}
	if !found {
		say("overload: none")
	}
	if it.pinned != "" {
		say("decision: stays, for %s", it.pinned)
		return b.String()
	}
	if k := slices.IndexFunc(p.Proposal.Changes, func(x mfpgate.Change) bool { return x.Delivery == it.d.ID }); k >= 0 {
		say("decision: moves (%s). %s", p.Proposal.Changes[k].Code, p.Proposal.Changes[k].Text)
	} else if k := slices.IndexFunc(p.Proposal.Unresolved, func(x mfpgate.Unresolved) bool { return x.Delivery == it.d.ID }); k >= 0 {
		u := p.Proposal.Unresolved[k]
		say("decision: no place was found. %s", u.Text)
		say("what helps: %s", strings.Join(u.Options, ", "))
	} else {
		say("decision: stays")
	}
	b.WriteString(c.tried(it, index, p))
	return b.String()
}

func basis(e mfpgate.DurationEstimate) string {
	switch e.Basis {
	case mfpgate.DurationHistory:
		return count(e.Samples, "sample")
	case mfpgate.DurationSize:
		return "estimated by size"
	}
	return "assumed"
}

func short(ms int64) string {
	text := (time.Duration(ms) * time.Millisecond).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (c *scene) touches(it *item, b mfpgate.Band) bool {
	for _, o := range c.problem.Occurrences[it.first : it.first+it.n] {
		if o.Start < b.To.UnixMilli() && b.From.UnixMilli() < o.Start+int64(o.Duration) {
			return true
		}
	}
	return false
}

// tried lists the nearest starts of a delivery in the schedule as it is proposed, with what is in the way.
func (c *scene) tried(it *item, index int, p mfpgate.SchedulePlan) string {
	r, err := c.newRoom()
	if err != nil {
		return ""
	}
	problem, err := r.problem(1)
	if err != nil {
		return ""
	}
	moves := map[string]int64{}
	for _, x := range p.Proposal.Changes {
		moves[x.Delivery] = x.To.UnixMilli()
	}
	left := map[string]bool{}
	for _, u := range p.Proposal.Unresolved {
		left[u.Delivery] = true
	}
	starts := make([]int64, len(problem.Jobs))
	a := r.frame(problem.Jobs, starts, p.Bands)
	own := -1
	for k, i := range r.jobs {
		starts[k] = problem.Jobs[k].Start
		if to, ok := moves[c.items[i].d.ID]; ok {
			starts[k] = to
		}
		if left[c.items[i].d.ID] {
			a.unresolved = append(a.unresolved, k)
		}
		if i == index {
			own = k
		}
	}
	if own < 0 {
		return ""
	}
	a.lay()
	j := &problem.Jobs[own]
	if j.First > j.Last {
		return "other starts: its window, the lead time and the longest move leave none\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "other starts: between %s\n", c.between(j.First, j.Last))
	lines := 0
	for at := range nearest(j.Start, c.slot, j.First, j.Last) {
		if lines++; lines > 12 {
			break
		}
		full, is := a.kept.full(span{at, at + j.Duration}, a.placeKept(own))
		switch {
		case at == starts[own] && a.moved(own):
			fmt.Fprintf(&b, "  %s  chosen\n", c.hour(at))
			return b.String()
		case at == j.Start:
		case closed(j, at):
			fmt.Fprintf(&b, "  %s  in a blackout\n", c.hour(at))
		case is:
			fmt.Fprintf(&b, "  %s  no room: %d of %d at %s\n", c.hour(at), full.Load, full.Limit, c.hour(full.At))
		default:
			fmt.Fprintf(&b, "  %s  free\n", c.hour(at))
		}
	}
	return b.String()
}

// placeKept is where a job is in the profile, which has nothing of one that is unresolved.
func (a *answer) placeKept(k int) span {
	if _, gone := slices.BinarySearch(a.unresolved, k); gone {
		return span{}
	}
	return a.place(k)
}
