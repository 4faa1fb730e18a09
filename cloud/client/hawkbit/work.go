package hawkbit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	maxSteps  = 12 // of one move at a time; a whole one has six
	firstWait = 5 * time.Second
	lastWait  = 5 * time.Minute
	// keepFailed is how long a delivery that cannot be assigned is shown.
	keepFailed = 30 * 24 * time.Hour
	idleWait   = time.Hour
)

// Run makes moves until ctx ends, and returns nil then. What hawkBit does not answer is tried again with growing delays.
func (c *Client) Run(ctx context.Context) error {
	for failures := 0; ; {
		next, err := c.Work(ctx)
		if ctx.Err() != nil {
			return nil
		}
		now := c.o.Clock.Now()
		pause := idleWait
		if !next.IsZero() {
			pause = min(max(next.Sub(now), 0), idleWait)
		}
		if err != nil {
			pause = min(firstWait<<min(failures, 10), lastWait, max(pause, firstWait)) // the others' starts are kept
			pause = max(pause, mfpgate.RetryDelay(err))
			if failures++; failures == 1 { // and not each of the tries
				c.o.Logger.Warn().Err(err).Msg(event.HawkbitUnmoved)
			}
		} else {
			failures = 0
		}
		t := c.o.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C():
		case <-c.wake:
		}
		t.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Work takes every move as far as it goes now, and says when the first one goes further; zero: none does. An error of one move
// does not hinder the others. Run calls it; it is for callers that have a loop of their own.
func (c *Client) Work(ctx context.Context) (next time.Time, err error) {
	c.work.Lock()
	err = c.load(ctx)
	c.work.Unlock()
	if err != nil {
		return time.Time{}, fmt.Errorf("moves of deliveries: %w", err)
	}
	var moves []Intent
	for _, r := range c.snapshot() {
		if r.Move != nil {
			moves = append(moves, r)
		}
	}
	slices.SortFunc(moves, func(a, b Intent) int {
		return cmp.Or(a.Move.To.Compare(b.Move.To), cmp.Compare(a.Delivery, b.Delivery))
	})
	var errs []error
	for _, r := range moves {
		again, err := c.advance(ctx, r.Delivery)
		if err != nil {
			errs = append(errs, fmt.Errorf("move delivery %s of target %.70q: %w", r.Delivery, r.Move.Target, err))
			refused, ok := errors.AsType[*Error](err)
			if !ok && !errors.Is(err, ErrAnswer) || ok && refused.Status == http.StatusTooManyRequests || len(errs) >= 10 {
				break // nothing answers, or too much was asked
			}
			continue
		}
		if !again.IsZero() && (next.IsZero() || again.Before(next)) {
			next = again
		}
	}
	return next, errors.Join(errs...)
}

// advance takes one move as far as it goes now.
func (c *Client) advance(ctx context.Context, id string) (again time.Time, err error) {
	c.work.Lock()
	defer c.work.Unlock()
	if err := c.load(ctx); err != nil {
		return time.Time{}, err
	}
	for range maxSteps {
		row, ok := c.row(id)
		if !ok || row.Move == nil {
			return time.Time{}, nil
		}
		if again, err = c.step(ctx, row); err != nil || !again.IsZero() {
			return again, err
		}
	}
	return c.o.Clock.Now().Add(c.o.Poll), nil
}

// step does the next thing for a move. A zero time means that there is more to do now.
func (c *Client) step(ctx context.Context, row Intent) (again time.Time, err error) {
	m, now := row.Move, c.o.Clock.Now()
	switch m.Step {
	case StepCancel, StepCanceling:
		return c.cancel(ctx, row)
	case StepHeld:
		if due := m.To.Add(-c.o.Ahead); !m.Restore && now.Before(due) {
			return due, nil
		}
		m.Step = StepAssign
		return time.Time{}, c.put(ctx, row)
	case StepAssign:
		return time.Time{}, c.assign(ctx, row)
	case StepAssigned:
		return c.watch(ctx, row)
	case StepFailed:
		if gone := m.To.Add(keepFailed); now.Before(gone) {
			return gone, nil
		}
	}
	row.Move = nil // it failed long ago, or the log has a word that is not ours
	return time.Time{}, c.put(ctx, row)
}

// cancel brings the old action to its end.
func (c *Client) cancel(ctx context.Context, row Intent) (again time.Time, err error) {
	m := row.Move
	a, err := c.action(ctx, m.Target, m.Action)
	gone := false
	if refused, ok := errors.AsType[*Error](err); ok && refused.Status == http.StatusNotFound {
		gone = true // and a canceled one may be gone because hawkBit cleans up
	} else if err != nil {
		return time.Time{}, err
	}
	standing := statusCanceled
	if !gone {
		standing = a.standing()
	}
	switch {
	case m.Step == StepCancel && gone:
		return time.Time{}, c.decide(ctx, row, mfpgate.ChangeConflict, "hawkBit has no such action any more")
	case gone, !a.active() && standing == statusCanceled && m.Step == StepCanceling:
		m.Step, m.Accepted = StepHeld, false
		return time.Time{}, c.decide(ctx, row, mfpgate.ChangeApplied, "")
	case !a.active():
		return time.Time{}, c.decide(ctx, row, mfpgate.ChangeConflict, "it ended before it could be moved: "+clip(standing))
	case standing == statusCanceling && m.Step == StepCancel:
		return time.Time{}, c.decide(ctx, row, mfpgate.ChangeConflict, "somebody else cancels it")
	case standing == statusCanceling:
		return c.o.Clock.Now().Add(c.o.Poll), nil // the device has the word
	case m.Accepted:
		return time.Time{}, c.decide(ctx, row, mfpgate.ChangeRejected, "the device does not let go of it")
	case m.Restore && !m.Missed: // withdrawn before anything was sent
		return time.Time{}, c.decide(ctx, row, mfpgate.ChangeExpired, "withdrawn")
	case !m.Missed && (a.version() != m.Seen || standing != statusRunning && standing != statusRetrieved):
		row.Version = a.version()
		return time.Time{}, c.decide(ctx, row, mfpgate.ChangeConflict, "it has changed since: "+clip(standing))
	}
	if m.Step == StepCancel { // in the log before it is sent
		m.Step = StepCanceling
		if err := c.put(ctx, row); err != nil {
			return time.Time{}, err
		}
	}
	err = c.call(ctx, http.MethodDelete, actionPath(m.Target, m.Action), nil, nil, nil)
	if refused, ok := errors.AsType[*Error](err); ok && refused.Status == http.StatusMethodNotAllowed {
		return c.o.Clock.Now().Add(c.o.Poll), nil // it is being cancelled, or has ended: that is read next
	} else if err != nil {
		return time.Time{}, err
	}
	m.Accepted = true
	return time.Time{}, c.put(ctx, row)
}

// decide writes what became of a change, and ends its move unless it is applied.
func (c *Client) decide(ctx context.Context, row Intent, state mfpgate.ChangeState, why string) error {
	m := *row.Move
	if state != mfpgate.ChangeApplied {
		row.Move = m.back(row.Delivery)
		if state == mfpgate.ChangeConflict || m.Missed {
			row.Move = nil // it is not ours any more, or stays as it is
		}
	} else if !m.Restore {
		row.Version = m.version()
	}
	if row.Proposal == m.Proposal && row.State == mfpgate.ChangePending {
		row.State, row.Reason = state, why
	}
	if err := c.put(ctx, row); err != nil {
		return err
	}
	outcome := string(state)
	if state == mfpgate.ChangeApplied {
		outcome = "held"
	}
	c.o.Logger.Info().Str(field.Key, row.Delivery).Str(field.Device, string(m.Shown.Device)).Str(field.Outcome, outcome).Str(field.Reason, why).Msg(event.HawkbitMoved)
	signal(c.news)
	return nil
}

// watch looks after an assignment that was made: if its one-shot window passes unused, and what somebody had ordered comes again,
// that is put back.
func (c *Client) watch(ctx context.Context, row Intent) (again time.Time, err error) {
	m := row.Move
	if m.Restore || m.End.IsZero() || !recurs(m.Was.Window.Schedule) {
		return c.o.Clock.Now().Add(idleWait), nil // what Changes reads ends it
	}
	if over := m.End.Add(c.o.Poll); c.o.Clock.Now().Before(over) {
		return over, nil
	}
	a, err := c.action(ctx, m.Target, m.Action)
	refused, ok := errors.AsType[*Error](err)
	switch {
	case ok && refused.Status == http.StatusNotFound, err == nil && !a.active():
		row.Move = nil
	case err != nil:
		return time.Time{}, err
	case a.standing() != statusRunning && a.standing() != statusRetrieved:
		return c.o.Clock.Now().Add(idleWait), nil // the device has begun
	default:
		m.Step, m.Restore, m.Missed = StepCancel, true, true
	}
	return time.Time{}, c.put(ctx, row)
}

func (c *Client) action(ctx context.Context, target string, id int64) (action, error) {
	var a action
	if err := c.call(ctx, http.MethodGet, actionPath(target, id), nil, nil, &a); err != nil {
		return action{}, err
	}
	if err := a.check(false); err != nil {
		return action{}, err
	}
	if a.ID != id || a.target != target {
		return action{}, fmt.Errorf("%w: it speaks of action %d of target %.70q", ErrAnswer, a.ID, a.target)
	}
	return a, nil
}

func actionPath(target string, id int64) string {
	return "targets/" + url.PathEscape(target) + "/actions/" + strconv.FormatInt(id, 10)
}
