package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// The kinds of intent. All have one object: what follows from a report is not told before it.
const (
	kindReport   = "report"
	kindProposal = "proposal"
	kindWithdraw = "withdraw"
)

// call is the payload of an intent.
type call struct {
	ID   string `json:"id"`
	Body ref    `json:"body"`
}

func raw(c call) json.RawMessage {
	text, err := json.Marshal(c)
	if err != nil {
		panic("scheduler: " + err.Error()) // two strings and a number
	}
	return text
}

// handlers makes the calls that were decided. Their results are settled in the state; none of them leaves a dead intent.
func (s *Scheduler) handlers() {
	for kind, send := range map[string]func(context.Context, call) (func(*state), error){
		kindReport: s.sendReport, kindProposal: s.sendProposal, kindWithdraw: s.sendWithdrawal,
	} {
		s.journal.Handle(kind, func(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
			var c call
			if err := json.Unmarshal(in.Payload, &c); err != nil {
				return nil, journal.Permanent(err)
			}
			settle, err := send(ctx, c)
			if err != nil {
				return nil, later(fmt.Errorf("%s %.12s: %w", kind, c.ID, err))
			}
			return func(tx store.Tx) error {
				st, err := readState(tx)
				if err != nil {
					return err
				}
				settle(&st)
				return store.SetJSON(tx, stateKey, st)
			}, nil
		})
	}
}

// later keeps to the time that the delivery system names.
func later(err error) error {
	if named := mfpgate.RetryDelay(err); named > 0 {
		return journal.RetryAfter(err, named)
	}
	return err
}

// gone reports whether a body is not there any more: another report or proposal has taken its place.
func gone(err error) bool { return errors.Is(err, store.ErrNotFound) }

func (s *Scheduler) sendReport(ctx context.Context, c call) (func(*state), error) {
	var r mfpgate.OverloadReport
	if err := s.read(ctx, c.Body, &r); gone(err) {
		return func(*state) {}, nil
	} else if err != nil {
		return nil, err
	}
	err := s.Cloud.Report(ctx, r)
	now := s.Clock.Now().Round(0).UTC()
	ours := func(set func(*state)) func(*state) {
		return func(st *state) {
			if st.Report.ID == c.ID {
				set(st)
			}
		}
	}
	switch {
	case err == nil:
		s.Log.Info().Str(field.Key, c.ID).Int(field.Count, len(r.Bands)).Msg(event.SchedulerReported)
		return ours(func(st *state) { st.Report.Sent = now }), nil
	case errors.Is(err, mfpgate.ErrStale):
		return ours(func(st *state) {
			// Of other content than any: the next plan reports anew, even the same.
			st.Report.Content, st.Report.Refused, st.Stale = "", err.Error(), true
			st.Calls++
		}), nil
	case errors.Is(err, mfpgate.ErrRefused):
		s.Metrics.SchedulerRefused.WithLabelValues(kindReport).Inc()
		s.Log.Error().Err(err).Str(field.Key, c.ID).Msg(event.SchedulerRefused)
		return ours(func(st *state) { st.Report.Refused = err.Error() }), nil
	}
	return nil, err
}

func (s *Scheduler) sendProposal(ctx context.Context, c call) (func(*state), error) {
	var kept keptProposal
	if err := s.read(ctx, c.Body, &kept); gone(err) {
		return func(*state) {}, nil
	} else if err != nil {
		return nil, err
	}
	p := kept.Proposal
	outcome, err := s.Cloud.Propose(ctx, p)
	now := s.Clock.Now().Round(0).UTC()
	ours := func(set func(*state)) func(*state) {
		return func(st *state) {
			if st.Proposal.ID == c.ID {
				set(st)
			}
		}
	}
	switch {
	case err == nil:
		s.Metrics.SchedulerProposals.WithLabelValues("handed").Inc()
		s.Log.Info().Str(field.Key, c.ID).Int(field.Count, len(p.Changes)).Bool(field.State, p.Apply).Msg(event.SchedulerProposed)
		return ours(func(st *state) {
			st.Proposal.Handed = now
			if !outcome.Open() {
				st.Calls++ // for a run that reads what became of it
			}
		}), nil
	case errors.Is(err, mfpgate.ErrStale):
		s.Metrics.SchedulerProposals.WithLabelValues("stale").Inc()
		return ours(func(st *state) {
			st.Proposal.Closed, st.Proposal.Refused, st.Stale = true, err.Error(), true
			st.Calls++
			if st.Proposal.Requested {
				st.Requests++ // it is still wanted
			}
		}), nil
	case errors.Is(err, mfpgate.ErrRefused):
		s.Metrics.SchedulerProposals.WithLabelValues("refused").Inc()
		s.Metrics.SchedulerRefused.WithLabelValues(kindProposal).Inc()
		s.Log.Error().Err(err).Str(field.Key, c.ID).Msg(event.SchedulerRefused)
		// Not closed: the same would be refused again, and is not proposed again while nothing else is.
		return ours(func(st *state) { st.Proposal.Refused = err.Error() }), nil
	}
	return nil, err
}

func (s *Scheduler) sendWithdrawal(ctx context.Context, c call) (func(*state), error) {
	err := s.Cloud.Withdraw(ctx, c.ID)
	if err == nil || errors.Is(err, mfpgate.ErrRefused) || errors.Is(err, mfpgate.ErrStale) { // decided, or gone: as good
		s.Metrics.SchedulerProposals.WithLabelValues("withdrawn").Inc()
		return func(*state) {}, nil
	}
	return nil, err
}

// hear reads what became of the proposal that was handed over, and remembers what was rejected.
func (s *Scheduler) hear(ctx context.Context, st state, now time.Time) (state, error) {
	if !st.Proposal.open() || st.Proposal.Handed.IsZero() {
		return st, nil
	}
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o, err := s.Cloud.Outcome(callCtx, st.Proposal.ID)
	switch {
	case errors.Is(err, mfpgate.ErrRefused): // it is not there
		return s.change(ctx, func(_ store.Tx, next *state) error {
			if next.Proposal.ID == st.Proposal.ID {
				next.Proposal.Closed, next.Proposal.Refused = true, err.Error()
			}
			return nil
		})
	case err != nil:
		return st, fmt.Errorf("read what became of the proposal: %w", err)
	}
	if err := checkOutcome(o, st.Proposal); err != nil {
		return st, err
	}
	if err := s.remember(ctx, st, o, now); err != nil {
		return st, fmt.Errorf("keep what was rejected: %w", err)
	}
	body, err := s.write(ctx, o, st.Proposal.Outcome)
	if err != nil {
		return st, fmt.Errorf("keep what became of the proposal: %w", err)
	}
	closed := o.Withdrawn || !o.Open()
	next, err := s.change(ctx, func(_ store.Tx, next *state) error {
		if next.Proposal.ID == st.Proposal.ID {
			next.Proposal.Outcome, next.Proposal.Closed = body, closed
		}
		return nil
	})
	if err != nil || !closed {
		return next, err
	}
	counts := map[mfpgate.ChangeState]int{}
	for _, c := range o.Changes {
		counts[c.State]++
	}
	for state, n := range counts {
		s.Metrics.SchedulerChanges.WithLabelValues(string(state)).Add(float64(n))
	}
	if counts[mfpgate.ChangeApplied] < len(o.Changes)-counts[mfpgate.ChangeRejected] {
		s.replans++ // what came to nothing is planned again, in this run
	}
	s.Log.Info().Str(field.Key, o.ID).Int(field.Count, counts[mfpgate.ChangeApplied]).Int(field.Limit, len(o.Changes)).Msg(event.SchedulerDecided)
	return next, nil
}

func checkOutcome(o mfpgate.ProposalOutcome, p proposed) error {
	if !o.Withdrawn && len(o.Changes) == 0 || len(o.Changes) > p.Changes {
		return fmt.Errorf("%w: the outcome of %d changes where %d were proposed", ErrAnswer, len(o.Changes), p.Changes)
	}
	for _, c := range o.Changes {
		switch c.State {
		case mfpgate.ChangePending, mfpgate.ChangeApplied, mfpgate.ChangeRejected, mfpgate.ChangeConflict, mfpgate.ChangeExpired:
		default:
			return fmt.Errorf("%w: change %.70q has state %.20q", ErrAnswer, c.Change, c.State)
		}
		if err := word("a reason", c.Reason, 0, maxText); err != nil {
			return fmt.Errorf("%w: change %.70q: %w", ErrAnswer, c.Change, err)
		}
	}
	return nil
}

// remember writes down which changes were rejected, before the state says that the outcome was read.
func (s *Scheduler) remember(ctx context.Context, st state, o mfpgate.ProposalOutcome, now time.Time) error {
	var kept keptProposal
	if err := s.read(ctx, st.Proposal.Body, &kept); err != nil {
		return err
	}
	proposed := map[string]mfpgate.Change{}
	for _, c := range kept.Proposal.Changes {
		proposed[c.Delivery] = c
	}
	fresh := map[string]rejection{}
	for _, c := range o.Changes {
		change, ours := proposed[c.Delivery]
		if c.State != mfpgate.ChangeRejected || !ours {
			continue
		}
		b := kept.Bands[change.Band]
		version := change.Version
		if c.Version != "" {
			version = c.Version
		}
		r := rejection{Schema: schema, Version: version, Band: mfpgate.Interval{From: b.From, To: b.To}, Capacity: b.Capacity, Reason: c.Reason, At: now}
		if was, known := s.rejected[c.Delivery]; known {
			r.At = was.At
			if was == r {
				continue
			}
			r.At = now
		}
		fresh[c.Delivery] = r
	}
	ids := make([]string, 0, len(fresh))
	for id := range fresh {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for batch := range slices.Chunk(ids, perUpdate) {
		err := s.Store.Update(ctx, func(tx store.Tx) error {
			var errs []error
			for _, id := range batch {
				errs = append(errs, store.SetJSON(tx, rejectedPrefix+id, fresh[id]))
			}
			return errors.Join(errs...)
		})
		if err != nil {
			s.stale = true
			return err
		}
		for _, id := range batch {
			s.rejected[id] = fresh[id]
		}
	}
	return nil
}
