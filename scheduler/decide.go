package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// decide writes, in one transaction, what is to be sent and that it is.
func (s *Scheduler) decide(ctx context.Context, st state, mode mfpgate.ScheduleMode, c mfpgate.Contract, snap mfpgate.ScheduleSnapshot, made mfpgate.SchedulePlan, now time.Time) error {
	if st.Stale {
		s.replans++
	}
	if s.replans > MaxReplans {
		// Something changes faster than it can be planned. The next scheduled run begins anew.
		_, err := s.change(ctx, func(_ store.Tx, next *state) error { next.seen(st, now); return nil })
		return err
	}
	report, err := s.report(ctx, st, snap, made, now)
	if err != nil {
		return err
	}
	proposal, withdraw, err := s.propose(ctx, st, report, mode, snap, made)
	if err != nil {
		return err
	}
	next, err := s.change(ctx, func(tx store.Tx, next *state) error {
		next.seen(st, now)
		if report.ID != st.Report.ID {
			if err := s.replace(tx, kindReport, st.Report.ID, report.ID, report.Body); err != nil {
				return err
			}
			next.Report = report
		}
		if withdraw {
			if _, err := s.journal.Cancel(tx, kindProposal+"/"+st.Proposal.ID); err != nil {
				return err
			}
			if err := s.journal.Intend(tx, s.intent(kindWithdraw, st.Proposal.ID, ref{})); err != nil {
				return err
			}
			next.Proposal.Closed = true
		}
		if proposal.ID != "" {
			next.Proposal = proposal
			return s.journal.Intend(tx, s.intent(kindProposal, proposal.ID, proposal.Body))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("decide: %w", err)
	}
	return s.sweep(ctx, next)
}

// seen notes a good run, and what called for it.
func (st *state) seen(before state, now time.Time) {
	st.Ran, st.CallsSeen, st.RequestsSeen = now, before.Calls, before.Requests
	if st.Calls == before.Calls {
		st.Stale = false
	}
}

// report returns what is to be reported, or what was if that is the same.
func (s *Scheduler) report(ctx context.Context, st state, snap mfpgate.ScheduleSnapshot, made mfpgate.SchedulePlan, now time.Time) (reported, error) {
	bands := slices.Clone(made.Bands)
	if len(bands) > maxBands {
		bands = bands[:maxBands] // the earliest
	}
	same := slices.Clone(bands)
	for i := range same {
		b := &same[i]
		unresolved := 0
		if b.Certificate != nil {
			unresolved = b.Certificate.AtLeastUnresolved
		}
		// Words, and the bounds of a proof, move with the clock, and what is left of a band that has begun shrinks: no news.
		b.ID, b.Text, b.Certificate = "", "", &mfpgate.Certificate{AtLeastUnresolved: unresolved}
		if !b.From.After(now) {
			*b = mfpgate.Band{To: b.To, Capacity: b.Capacity, Certainty: b.Certainty}
		}
	}
	content := digestOf(same)
	if content == st.Report.Content {
		return st.Report, nil
	}
	today := now.Truncate(day)
	r := mfpgate.OverloadReport{
		ComputedAt: now, Bands: bands, Supersedes: st.Report.ID,
		Horizon: mfpgate.Interval{From: today, To: today.Add(snap.Horizon)},
		Inputs: mfpgate.ReportInputs{Contract: snap.Contract.Version, DeltaToken: snap.DeltaToken, Background: st.BackgroundVersion,
			TZData: calendar.TZData()},
	}
	// Durations learned, the relay's capacity and the site's own background are inputs too: the content stands for them.
	r.ID = digestOf([]any{r.Inputs, r.Horizon, made.Proposal.Quality.Solver, content, st.Report.ID})
	body, err := s.write(ctx, r, st.Report.Body)
	return reported{ID: r.ID, Content: content, Body: body, Bands: len(bands)}, err
}

// maxBands is what a report can carry.
const maxBands = 1000

// propose returns the proposal that is to be handed over, if any, and whether the one before is to be withdrawn.
func (s *Scheduler) propose(ctx context.Context, st state, report reported, mode mfpgate.ScheduleMode, snap mfpgate.ScheduleSnapshot, made mfpgate.SchedulePlan) (next proposed, withdraw bool, err error) {
	old := st.Proposal
	p := made.Proposal
	if mode == mfpgate.ScheduleNotify && !st.requested() || len(p.Changes) == 0 {
		return next, old.undecided(), nil
	}
	p.Report, p.DeltaToken, p.Apply = report.ID, snap.DeltaToken, mode == mfpgate.ScheduleAuto
	content := contentOf(p)
	if old.open() && old.Content == content && (old.Apply || !p.Apply) {
		return next, false, nil
	}
	p.ID = proposalID(content, p.Apply, old.ID)
	next = proposed{ID: p.ID, Content: content, Changes: len(p.Changes), Apply: p.Apply, Requested: st.requested()}
	next.Body, err = s.write(ctx, keptProposal{p, bandsOf(made.Bands)}, old.Body)
	return next, old.undecided(), err
}

func bandsOf(list []mfpgate.Band) map[string]mfpgate.Band {
	of := make(map[string]mfpgate.Band, len(list))
	for _, b := range list {
		b.Contributors, b.Certificate, b.Text = nil, nil, ""
		of[b.ID] = b
	}
	return of
}

// contentOf is the digest of what a proposal would change.
func contentOf(p mfpgate.Proposal) string {
	type change struct {
		Delivery, Version string
		To                time.Time
	}
	var list []change
	for _, c := range p.Changes {
		list = append(list, change{c.Delivery, c.Version, c.To})
	}
	slices.SortFunc(list, func(a, b change) int { return cmp.Or(strings.Compare(a.Delivery, b.Delivery), a.To.Compare(b.To)) })
	return digestOf(list)
}

// proposalID tells a proposal from the one before it, which may have changed the same and have come to nothing.
func proposalID(content string, apply bool, before string) string {
	return digestOf([]any{content, apply, before})
}

// replace takes an intent back that nobody has called yet, and writes another one.
func (s *Scheduler) replace(tx store.Tx, kind, old, id string, body ref) error {
	if old != "" {
		if _, err := s.journal.Cancel(tx, kind+"/"+old); err != nil {
			return err
		}
	}
	return s.journal.Intend(tx, s.intent(kind, id, body))
}

func (s *Scheduler) intent(kind, id string, body ref) journal.Intent {
	return journal.Intent{ID: kind + "/" + id, Kind: kind, Object: "schedule", Payload: raw(call{id, body})}
}
