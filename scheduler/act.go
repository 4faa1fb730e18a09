package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// Refresh makes a run and waits for it. The error is the run's, ErrIdle or ErrHeld.
func (s *Scheduler) Refresh(ctx context.Context) error {
	if _, why, text := s.idle(); why != "" {
		return fmt.Errorf("%w: %s", ErrIdle, text)
	}
	if held := s.job.Held(); !held.IsZero() {
		return fmt.Errorf("%w before %s", ErrHeld, held.UTC().Format(time.RFC3339))
	}
	before := s.started.Load()
	s.job.Trigger()
	for {
		changed := s.next()
		last := s.shown.Load().last
		if last.number > before {
			return last.err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// Propose makes a plan now and hands over what it proposes, whatever the mode, for a person to decide; in mode auto it is
// applied. It returns when the delivery system has taken or refused it. A proposal that is open already is returned if it
// is still the best. Errors: ErrIdle, ErrHeld, ErrNothing, mfpgate.ErrRefused, and those of the run.
func (s *Scheduler) Propose(ctx context.Context) (ProposalStatus, error) {
	if _, why, text := s.idle(); why != "" {
		return ProposalStatus{}, fmt.Errorf("%w: %s", ErrIdle, text)
	}
	if _, err := s.change(ctx, func(_ store.Tx, st *state) error { st.Requests++; return nil }); err != nil {
		return ProposalStatus{}, fmt.Errorf("propose: %w", err)
	}
	if err := s.Refresh(ctx); err != nil {
		return ProposalStatus{}, err
	}
	p := s.Status().Proposal
	if p.ID == "" || !p.Open && p.Refused == "" && p.Handed.IsZero() {
		return ProposalStatus{}, ErrNothing
	}
	if plan := s.plans.Load(); plan != nil && len(plan.plan.Proposal.Changes) == 0 && !p.Open {
		return ProposalStatus{}, ErrNothing
	}
	return s.handed(ctx, p.ID)
}

// Apply hands the present proposal over once more, this time to be applied now. It returns when the delivery system has
// taken or refused it; what became of each change follows in Status. Errors: ErrIdle, ErrNoProposal, ErrNotAllowed,
// mfpgate.ErrRefused, mfpgate.ErrStale.
func (s *Scheduler) Apply(ctx context.Context, id string) (ProposalStatus, error) {
	c, why, text := s.idle()
	if why != "" {
		return ProposalStatus{}, fmt.Errorf("%w: %s", ErrIdle, text)
	}
	if c.Mode != mfpgate.ScheduleAuto {
		return ProposalStatus{}, ErrNotAllowed
	}
	next, err := s.apply(ctx, id)
	if err != nil {
		return ProposalStatus{}, err
	}
	return s.handed(ctx, next)
}

// apply replaces a proposal by the same one that is to be applied, and returns its id.
func (s *Scheduler) apply(ctx context.Context, id string) (string, error) {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-s.busy }()
	st, err := s.state(ctx)
	if err != nil {
		return "", err
	}
	old := st.Proposal
	if old.ID != id || !old.open() {
		return "", fmt.Errorf("%w: %.12q; the present one is %.12q", ErrNoProposal, id, old.ID)
	}
	if old.Apply {
		return id, nil
	}
	var kept keptProposal
	if err := s.read(ctx, old.Body, &kept); err != nil {
		return "", err
	}
	kept.Proposal.Apply, kept.Proposal.ID = true, proposalID(old.Content, true, old.ID)
	next := proposed{ID: kept.Proposal.ID, Content: old.Content, Changes: old.Changes, Apply: true, Requested: true}
	if next.Body, err = s.write(ctx, kept, old.Body); err != nil {
		return "", err
	}
	_, err = s.change(ctx, func(tx store.Tx, st *state) error {
		if st.Proposal.ID != id || !st.Proposal.open() {
			return fmt.Errorf("%w: %.12q was decided meanwhile", ErrNoProposal, id)
		}
		st.Proposal = next
		_, err := s.journal.Cancel(tx, kindProposal+"/"+id)
		return errors.Join(err, s.journal.Intend(tx, s.intent(kindWithdraw, id, ref{})),
			s.journal.Intend(tx, s.intent(kindProposal, next.ID, next.Body)))
	})
	if err != nil {
		return "", fmt.Errorf("apply: %w", err)
	}
	s.show(ctx)
	return next.ID, nil
}

// handed waits until the delivery system has taken or refused a proposal.
func (s *Scheduler) handed(ctx context.Context, id string) (ProposalStatus, error) {
	for {
		changed := s.next()
		p := s.Status().Proposal
		switch {
		case p.ID != id:
			return p, fmt.Errorf("proposal %.12s: %w; another one has taken its place", id, mfpgate.ErrStale)
		case p.Refused != "":
			return p, fmt.Errorf("proposal %.12s: %w: %s", id, mfpgate.ErrRefused, p.Refused)
		case !p.Handed.IsZero():
			return p, nil
		}
		select {
		case <-ctx.Done():
			return p, ctx.Err()
		case <-changed:
		}
	}
}
