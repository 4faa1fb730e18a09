package hawkbit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
)

const undecided = "hawkBit shows no proposals: apply it at the gateway, or set schedule.mode to auto"

// noBackground is the version of the background schedules that hawkBit does not have.
const noBackground = "none"

// Background returns nothing, once: hawkBit has no background schedules.
func (c *Client) Background(_ context.Context, version string) ([]mfpgate.Background, string, error) {
	if version == noBackground {
		return nil, version, mfpgate.ErrUnchanged
	}
	return nil, noBackground, nil
}

// Report does nothing: hawkBit has no place for it. The gateway's own log, metrics and pages tell of overloads.
func (c *Client) Report(context.Context, mfpgate.OverloadReport) error { return nil }

// Events waits for wait, or until a move of the adapter was decided, of which it tells. hawkBit has no events to ask for.
func (c *Client) Events(ctx context.Context, after uint64, wait time.Duration) ([]mfpgate.ScheduleEvent, uint64, bool, error) {
	t := c.o.Clock.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, after, false, ctx.Err()
	case <-t.C():
		return nil, after, false, nil
	case <-c.news:
		return []mfpgate.ScheduleEvent{{Seq: after + 1, Type: mfpgate.EventProposalDecided}}, after + 1, false, nil
	}
}

// Propose writes down what is to be moved, for Run to do. A change whose version is not the present one is a conflict, and one
// that hawkBit cannot carry out is rejected; nothing has been sent to hawkBit then. One that only moves what is held is applied
// at once. A proposal that is not to be applied stays pending.
func (c *Client) Propose(ctx context.Context, p mfpgate.Proposal) (mfpgate.ProposalOutcome, error) {
	c.work.Lock()
	defer c.work.Unlock()
	if err := c.propose(ctx, p); err != nil {
		return mfpgate.ProposalOutcome{}, fmt.Errorf("take proposal %.70q: %w", p.ID, err)
	}
	signal(c.wake)
	return c.outcome(p.ID), nil
}

func (c *Client) propose(ctx context.Context, p mfpgate.Proposal) error {
	if err := c.load(ctx); err != nil {
		return err
	}
	rows, missing := c.snapshot(), []mfpgate.Change(nil)
	for _, ch := range p.Changes {
		if rows[ch.Delivery].Proposal != p.ID {
			missing = append(missing, ch)
		}
	}
	if len(missing) == 0 && len(p.Changes) > 0 {
		return nil
	}
	for id, r := range rows { // what nobody asks for any more
		if r.Move == nil && r.Proposal != p.ID {
			if err := c.drop(ctx, id); err != nil {
				return err
			}
			delete(rows, id)
		}
	}
	if p.ID == "" || len(p.Changes) == 0 || len(rows)+len(missing) > MaxMoves {
		return fmt.Errorf("%w: %d changes, with %d under way; 1 to %d", mfpgate.ErrRefused, len(missing), len(rows), MaxMoves)
	}
	var there map[int64]found
	if p.Apply {
		var err error
		if there, err = c.survey(ctx); err != nil {
			return err
		}
	}
	byID := make(map[string]found, len(there))
	for _, f := range there {
		byID[f.delivery.ID] = f
	}
	now := c.o.Clock.Now()
	for _, ch := range missing {
		row := rows[ch.Delivery]
		row = Intent{Delivery: ch.Delivery, Proposal: p.ID, Change: ch.ID, State: mfpgate.ChangePending, Reason: undecided, Move: row.Move}
		if p.Apply {
			row.Reason = ""
			f, active := byID[ch.Delivery]
			if row.Move != nil {
				f, active = there[row.Move.Action]
			}
			c.begin(&row, ch, f, active, now)
		}
		if err := c.put(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

// begin decides what becomes of one change, and makes its move.
func (c *Client) begin(row *Intent, ch mfpgate.Change, f found, active bool, now time.Time) {
	refuse := func(state mfpgate.ChangeState, version, why string) {
		row.State, row.Version, row.Reason = state, version, why
	}
	m, d := row.Move, f.delivery
	if m != nil {
		d = m.delivery(row.Delivery, f, active)
	}
	switch {
	case m == nil && !active:
		refuse(mfpgate.ChangeConflict, "", "hawkBit has no active action of it")
		return
	case d.Version != ch.Version:
		refuse(mfpgate.ChangeConflict, d.Version, "hawkBit has another version of it")
		return
	case !d.Movable:
		refuse(mfpgate.ChangeRejected, d.Version, cmp.Or(d.PinnedReason, "it is "+string(d.State)))
		return
	case !ch.To.After(now.Add(c.o.Ahead)):
		refuse(mfpgate.ChangeRejected, d.Version, "its new start is too near")
		return
	}
	next := Move{
		Step: StepCancel, Proposal: row.Proposal, Target: f.action.target, Action: f.action.ID, Seen: f.action.version(),
		From: d.Schedule.Start, To: ch.To.UTC(), Set: f.action.set, Was: f.action.order(), Shown: d,
	}
	if m != nil && m.Step == StepHeld {
		next = *m
		next.Proposal, next.To = row.Proposal, ch.To.UTC()
	} else if m != nil { // assigned before: what somebody ordered is older than that
		next.Was, next.Shown = m.Was, m.Shown
	}
	if next.Was.Window != nil {
		next.End = end(&next)
		if _, err := OneShot(next.To, next.End, time.UTC); err != nil {
			refuse(mfpgate.ChangeRejected, d.Version, "its window ends before its new start")
			return
		}
	}
	row.Move = &next
	if next.Step == StepHeld {
		row.State, row.Version = mfpgate.ChangeApplied, next.version()
	}
}

// end is where the new window ends: where the old one did, if the new start is in that, and as long after the new start otherwise.
// It does not pass the end that was given for the delivery.
func end(m *Move) time.Time {
	length, _ := m.Was.Window.length() // checked when it was read
	first := at(m.Was.Window.NextStart)
	out := m.To.Add(length)
	if old := first.Add(length); !m.To.Before(first) && m.To.Before(old) {
		out = old
	}
	if latest := m.Shown.LatestEnd; !latest.IsZero() && latest.Before(out) {
		out = latest
	}
	return out
}

// back is the move as it stood before it was to be moved once more; nil if this is the first time.
func (m *Move) back(delivery string) *Move {
	if strconv.FormatInt(m.Action, 10) == delivery {
		return nil
	}
	before := *m
	before.Step, before.To, before.Accepted = StepAssigned, m.From, false
	if m.Was.Window != nil {
		before.End = end(&before)
	}
	return &before
}

// Outcome says what has become of a proposal, or wraps ErrRefused if it is unknown: only the last one is remembered whole.
func (c *Client) Outcome(ctx context.Context, proposal string) (mfpgate.ProposalOutcome, error) {
	c.work.Lock()
	defer c.work.Unlock()
	if err := c.load(ctx); err != nil {
		return mfpgate.ProposalOutcome{}, fmt.Errorf("outcome of proposal %.70q: %w", proposal, err)
	}
	o := c.outcome(proposal)
	if len(o.Changes) == 0 {
		return o, fmt.Errorf("%w: no proposal %.70q", mfpgate.ErrRefused, proposal)
	}
	return o, nil
}

func (c *Client) outcome(proposal string) mfpgate.ProposalOutcome {
	o := mfpgate.ProposalOutcome{ID: proposal}
	for _, r := range c.snapshot() {
		if r.Proposal == proposal {
			o.Withdrawn = o.Withdrawn || r.Withdrawn
			o.Changes = append(o.Changes, mfpgate.ChangeOutcome{Change: r.Change, Delivery: r.Delivery, State: r.State, Version: r.Version, Reason: r.Reason})
		}
	}
	slices.SortFunc(o.Changes, func(a, b mfpgate.ChangeOutcome) int { return cmp.Compare(a.Change, b.Change) })
	return o
}

// Withdraw takes back what is pending. A cancellation that was sent cannot be taken back: its delivery is assigned again as it
// was, once the device has confirmed.
func (c *Client) Withdraw(ctx context.Context, proposal string) error {
	c.work.Lock()
	defer c.work.Unlock()
	if err := c.load(ctx); err != nil {
		return fmt.Errorf("withdraw proposal %.70q: %w", proposal, err)
	}
	for _, r := range c.snapshot() {
		if r.Proposal != proposal || r.State != mfpgate.ChangePending {
			continue
		}
		r.State, r.Reason, r.Withdrawn = mfpgate.ChangeExpired, "withdrawn", true
		if m := r.Move; m != nil && m.Proposal == proposal {
			switch before := m.back(r.Delivery); {
			case m.Step == StepCancel:
				r.Move = before
			case before != nil: // it had been moved once: back to that start
				m.To, m.End = before.To, before.End
			default:
				m.Restore = true
			}
		}
		if err := c.put(ctx, r); err != nil {
			return fmt.Errorf("withdraw proposal %.70q: %w", proposal, err)
		}
	}
	signal(c.wake)
	return nil
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is set already
	}
}
