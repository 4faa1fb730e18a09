package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Status is how the delivery schedules stand.
type Status struct {
	Mode      mfpgate.ScheduleMode // configured
	Effective mfpgate.ScheduleMode // in force; "" while idle
	Why       string               // it is less than configured; for people
	Idle      mfpgate.Reason       // "" if there is something to do
	IdleText  string

	Tried     time.Time      // the last run; zero: none since the start
	Succeeded time.Time      // the last run that planned, also before the start
	Fetched   time.Time      // the deliveries' state
	Error     string         // of the last run, "" if it was good
	Reason    mfpgate.Reason // AnswerRefused, or ""
	Next      time.Time      // scheduled run; zero: none

	Deliveries int // that are kept, whatever their state
	Background int
	Rejected   int // deliveries whose new start was rejected, and that are not moved therefore
	Bands      []mfpgate.Band
	BandsLeft  []mfpgate.Band // after the proposal
	LeftOut    []mfpgate.LeftOut
	Unresolved []mfpgate.Unresolved
	Quality    mfpgate.Quality

	Report   ReportStatus
	Proposal ProposalStatus

	last ran
}

// ReportStatus is what became of the last report. Its ID is empty if there was none.
type ReportStatus struct {
	ID      string
	Bands   int
	Sent    time.Time // zero: not yet
	Refused string    // why the delivery system did not take it
}

// ProposalStatus is what became of the last proposal. Its ID is empty if there was none.
type ProposalStatus struct {
	ID      string
	Changes []mfpgate.Change
	Apply   bool
	Handed  time.Time // zero: not yet
	Open    bool      // a change waits
	Refused string    // why the delivery system did not take it
	Outcome mfpgate.ProposalOutcome
}

// Status returns how things stand. The lists are shared and must not be changed.
func (s *Scheduler) Status() Status {
	st := *s.shown.Load()
	_, st.Idle, st.IdleText = s.idle()
	if st.Idle != "" {
		st.Effective, st.Why = "", ""
	}
	st.Next = s.job.Next()
	if held := s.job.Held(); held.After(st.Next) {
		st.Next = held
	}
	return st
}

// show makes the status anew. One at a time: an older one must not take a newer one's place.
func (s *Scheduler) show(ctx context.Context) {
	s.showing.Lock()
	defer s.showing.Unlock()
	next := Status{Mode: s.policy().Mode}
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	st, err := s.state(ctx)
	if err == nil {
		next.Succeeded, next.Fetched = st.Ran, st.Fetched
		next.Report = ReportStatus{ID: st.Report.ID, Bands: st.Report.Bands, Sent: st.Report.Sent, Refused: st.Report.Refused}
		next.Proposal = ProposalStatus{ID: st.Proposal.ID, Apply: st.Proposal.Apply, Handed: st.Proposal.Handed, Open: st.Proposal.open(),
			Refused: st.Proposal.Refused}
		var kept keptProposal
		if s.read(ctx, st.Proposal.Body, &kept) == nil { // one that was replaced meanwhile is shown at the next change
			next.Proposal.Changes = kept.Proposal.Changes
		}
		_ = s.read(ctx, st.Proposal.Outcome, &next.Proposal.Outcome) // as above
	}
	next.Tried, next.last = last.at, last
	if last.err != nil {
		next.Error = last.err.Error()
		if errors.Is(last.err, ErrAnswer) {
			next.Reason = AnswerRefused
		}
	}
	if p := s.plans.Load(); p != nil {
		next.Effective, next.Why = p.mode, p.why
		next.Deliveries, next.Background, next.Rejected = len(p.snap.Deliveries), len(p.snap.Background), p.rejected
		next.Bands, next.BandsLeft, next.LeftOut = p.plan.Bands, p.plan.BandsLeft, p.plan.LeftOut
		next.Unresolved, next.Quality = p.plan.Proposal.Unresolved, p.plan.Proposal.Quality
	}
	s.mu.Lock()
	s.shown.Store(&next)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if s.Changed != nil {
		s.Changed()
	}
}

// gauge sets the metrics of what is now.
func (s *Scheduler) gauge() {
	m, p := s.Metrics, s.plans.Load()
	if p == nil {
		p = &planning{}
	}
	m.SchedulerDeliveries.Set(float64(len(p.snap.Deliveries)))
	m.SchedulerLeftOut.Set(float64(len(p.plan.LeftOut)))
	bands := map[mfpgate.Certainty]int{mfpgate.OverloadCertain: 0, mfpgate.OverloadRisk: 0}
	for _, b := range p.plan.Bands {
		bands[b.Certainty]++
	}
	for certainty, n := range bands {
		m.SchedulerBands.WithLabelValues(string(certainty)).Set(float64(n))
	}
	now, n := s.Clock.Now(), 0
	for device := range p.slots {
		if _, ok := p.slots.at(device, now); ok {
			n++
		}
	}
	m.SchedulerPlanned.Set(float64(n))
}

// Planned reports whether t is in a slot that is planned for a delivery of the device, and until when. It takes no lock.
func (s *Scheduler) Planned(device mfpgate.DeviceID, t time.Time) (until time.Time, ok bool) {
	p := s.plans.Load()
	if p == nil {
		return time.Time{}, false
	}
	return p.slots.at(device, t)
}

// Timeline returns the planned load from from to to in pieces of slot, or nothing while there is no plan.
func (s *Scheduler) Timeline(from, to time.Time, slot time.Duration) ([]Slot, error) {
	p := s.plans.Load()
	if p == nil {
		return nil, nil
	}
	return s.Planner.Timeline(p.snap, from, to, slot)
}

// Snapshot returns what the present plan was made of, for who wants to look into it, or false if there is none. It is shared
// and must not be changed.
func (s *Scheduler) Snapshot() (mfpgate.ScheduleSnapshot, mfpgate.SchedulePlan, bool) {
	p := s.plans.Load()
	if p == nil {
		return mfpgate.ScheduleSnapshot{}, mfpgate.SchedulePlan{}, false
	}
	return p.snap, p.plan, true
}

// next returns a channel that is closed at the next change of status.
func (s *Scheduler) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
