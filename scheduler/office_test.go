package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// office is a delivery system that keeps its word: versions, a log of changes, events, and idempotent calls.
type office struct {
	mu         sync.Mutex
	clock      mfpgate.Clock
	deliveries map[string]mfpgate.Delivery
	changed    map[string]uint64 // by delivery, also removed ones: the change that touched it last
	change     uint64
	oldest     uint64 // tokens before it are forgotten
	background []mfpgate.Background
	auto       bool // applies what is to be applied

	reports   []mfpgate.OverloadReport
	proposals []mfpgate.Proposal
	outcomes  map[string]mfpgate.ProposalOutcome
	applied   map[string]int // moves by delivery
	twice     []string       // ids that came again with other content

	events []mfpgate.ScheduleEvent
	news   chan struct{} // closed at each

	calls map[string]int
	fail  func(call string) error                                              // before it; nil is none
	after func(call string) error                                              // and the answer is lost
	bend  func(c *mfpgate.ScheduleChanges)                                     // what is answered
	meet  func(p mfpgate.Proposal) (outcome *mfpgate.ProposalOutcome, e error) // instead of the honest answer
}

func newOffice(clock mfpgate.Clock) *office {
	return &office{clock: clock, deliveries: map[string]mfpgate.Delivery{}, changed: map[string]uint64{}, outcomes: map[string]mfpgate.ProposalOutcome{},
		applied: map[string]int{}, news: make(chan struct{}), calls: map[string]int{}, auto: true}
}

func (o *office) begin(call string) error {
	o.mu.Lock()
	o.calls[call]++
	fail := o.fail
	o.mu.Unlock()
	if fail != nil {
		return fail(call)
	}
	return nil
}

func (o *office) end(call string) error {
	o.mu.Lock()
	after := o.after
	o.mu.Unlock()
	if after != nil {
		return after(call)
	}
	return nil
}

// put plans a delivery, or plans it anew.
func (o *office) put(d mfpgate.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.set(d)
	o.tell(mfpgate.EventDeliveryChanged, d.ID)
}

func (o *office) set(d mfpgate.Delivery) {
	o.change++
	d.Version = fmt.Sprint("v", o.change)
	o.deliveries[d.ID], o.changed[d.ID] = d, o.change
}

func (o *office) remove(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.change++
	delete(o.deliveries, id)
	o.changed[id] = o.change
	o.tell(mfpgate.EventDeliveryChanged, id)
}

func (o *office) tell(kind, object string) {
	o.events = append(o.events, mfpgate.ScheduleEvent{Seq: uint64(len(o.events) + 1), Type: kind, Object: object})
	close(o.news)
	o.news = make(chan struct{})
}

func (o *office) request() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tell(mfpgate.EventProposalRequest, "")
}

// rule ends the office's pending changes: accepted ones are applied, others rejected.
func (o *office) rule(proposal string, accept func(delivery string) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.proposals, func(p mfpgate.Proposal) bool { return p.ID == proposal })
	out := o.outcomes[proposal]
	for j, c := range o.proposals[i].Changes {
		if accept(c.Delivery) {
			out.Changes[j] = o.apply(c)
		} else {
			out.Changes[j].State, out.Changes[j].Reason = mfpgate.ChangeRejected, "not now"
		}
	}
	o.outcomes[proposal] = out
	o.tell(mfpgate.EventProposalDecided, proposal)
}

func (o *office) apply(c mfpgate.Change) mfpgate.ChangeOutcome {
	out := mfpgate.ChangeOutcome{Change: c.ID, Delivery: c.Delivery, State: mfpgate.ChangeConflict}
	d, there := o.deliveries[c.Delivery]
	if !there || d.Version != c.Version {
		out.Version = d.Version
		return out
	}
	d.Schedule = mfpgate.LocalSchedule{Start: c.To}
	o.set(d)
	o.applied[d.ID]++
	out.State, out.Version = mfpgate.ChangeApplied, o.deliveries[d.ID].Version
	return out
}

func (o *office) Changes(_ context.Context, w mfpgate.Interval, since string) (mfpgate.ScheduleChanges, error) {
	if err := o.begin("changes"); err != nil {
		return mfpgate.ScheduleChanges{}, err
	}
	o.mu.Lock()
	from, err := strconv.ParseUint(since, 10, 64)
	c := mfpgate.ScheduleChanges{Token: strconv.FormatUint(o.change, 10), Whole: since == "" || err != nil || from < o.oldest}
	for _, id := range slices.Sorted(maps.Keys(o.changed)) {
		d, there := o.deliveries[id]
		switch {
		case !c.Whole && o.changed[id] <= from:
		case there && d.Schedule.Start.Before(w.To) && !d.Schedule.Start.Before(w.From):
			c.Deliveries = append(c.Deliveries, d)
		case !c.Whole:
			c.Removed = append(c.Removed, id)
		}
	}
	if o.bend != nil {
		o.bend(&c)
	}
	o.mu.Unlock()
	return c, o.end("changes")
}

func (o *office) Background(_ context.Context, version string) ([]mfpgate.Background, string, error) {
	if err := o.begin("background"); err != nil {
		return nil, "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := fmt.Sprint("b", len(o.background))
	if version == now {
		return nil, "", mfpgate.ErrUnchanged
	}
	return slices.Clone(o.background), now, nil
}

func (o *office) Report(_ context.Context, r mfpgate.OverloadReport) error {
	if err := o.begin("report"); err != nil {
		return err
	}
	o.mu.Lock()
	i := slices.IndexFunc(o.reports, func(x mfpgate.OverloadReport) bool { return x.ID == r.ID })
	if i < 0 {
		o.reports = append(o.reports, r)
	} else if len(o.reports[i].Bands) != len(r.Bands) {
		o.twice = append(o.twice, r.ID)
	}
	o.mu.Unlock()
	return o.end("report")
}

func (o *office) Propose(_ context.Context, p mfpgate.Proposal) (mfpgate.ProposalOutcome, error) {
	if err := o.begin("propose"); err != nil {
		return mfpgate.ProposalOutcome{}, err
	}
	o.mu.Lock()
	out, known := o.outcomes[p.ID]
	if !known && o.meet != nil {
		bent, err := o.meet(p)
		if err != nil {
			o.mu.Unlock()
			return mfpgate.ProposalOutcome{}, err
		}
		if bent != nil {
			out, known = *bent, true
			o.outcomes[p.ID] = out
			o.proposals = append(o.proposals, p)
		}
	}
	if !known {
		out = mfpgate.ProposalOutcome{ID: p.ID}
		for _, c := range p.Changes {
			x := mfpgate.ChangeOutcome{Change: c.ID, Delivery: c.Delivery, State: mfpgate.ChangePending}
			if p.Apply && o.auto {
				x = o.apply(c)
			}
			out.Changes = append(out.Changes, x)
		}
		o.proposals, o.outcomes[p.ID] = append(o.proposals, p), out
		if p.Apply && o.auto {
			o.tell(mfpgate.EventProposalDecided, p.ID)
		}
	}
	o.mu.Unlock()
	return out, o.end("propose")
}

func (o *office) Outcome(_ context.Context, id string) (mfpgate.ProposalOutcome, error) {
	if err := o.begin("outcome"); err != nil {
		return mfpgate.ProposalOutcome{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	out, known := o.outcomes[id]
	if !known {
		return out, fmt.Errorf("proposal %s: %w", id, mfpgate.ErrRefused)
	}
	out.Changes = slices.Clone(out.Changes)
	return out, nil
}

func (o *office) Withdraw(_ context.Context, id string) error {
	if err := o.begin("withdraw"); err != nil {
		return err
	}
	o.mu.Lock()
	if out, known := o.outcomes[id]; known && out.Open() {
		out.Withdrawn = true
		o.outcomes[id] = out
	}
	o.mu.Unlock()
	return o.end("withdraw")
}

func (o *office) Events(ctx context.Context, after uint64, wait time.Duration) ([]mfpgate.ScheduleEvent, uint64, bool, error) {
	if err := o.begin("events"); err != nil {
		return nil, 0, false, err
	}
	o.mu.Lock()
	news := o.news
	o.mu.Unlock()
	read := func() ([]mfpgate.ScheduleEvent, uint64, bool, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		n := uint64(len(o.events))
		if after > n {
			return nil, n, true, nil
		}
		return slices.Clone(o.events[after:]), n, false, nil
	}
	if e, next, lost, err := read(); len(e) > 0 || lost {
		return e, next, lost, err
	}
	t := o.clock.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, 0, false, ctx.Err()
	case <-news:
	case <-t.C():
	}
	return read()
}

// open returns the proposals that wait for a decision.
func (o *office) open() (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.proposals {
		if out := o.outcomes[p.ID]; out.Open() && !out.Withdrawn {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// story is what was told, a line each.
func (o *office) story() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := ""
	for _, r := range o.reports {
		s += fmt.Sprintf("report of %d; ", len(r.Bands))
	}
	for _, p := range o.proposals {
		states := map[mfpgate.ChangeState]int{}
		for _, c := range o.outcomes[p.ID].Changes {
			states[c.State]++
		}
		s += fmt.Sprintf("proposal of %d", len(p.Changes))
		for _, state := range slices.Sorted(maps.Keys(states)) {
			s += fmt.Sprintf(" %d %s", states[state], state)
		}
		if o.outcomes[p.ID].Withdrawn {
			s += " withdrawn"
		}
		s += "; "
	}
	return s
}

// reset forgets the story, and not what it says.
func (o *office) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reports, o.calls = nil, map[string]int{}
}
