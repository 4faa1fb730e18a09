package region

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// The kinds of intent: a step of a move, and what happens if nothing else does.
const (
	kindStep  = "move-step"
	kindTimer = "move-timer"
)

// management is the actor of what nobody asked for.
const management = "management"

// work is the payload of an intent.
type work struct {
	Move  mfpgate.MoveID   `json:"moveId"`
	Step  mfpgate.MoveStep `json:"step,omitempty"`
	Timer string           `json:"timer,omitempty"`
}

func stepID(id mfpgate.MoveID, step mfpgate.MoveStep) string { return string(id) + "/" + string(step) }

// result is what came of a step's calls. take puts it into the record; it reports false if the step has to wait for something.
type result struct {
	take func(tx store.Tx, r *record) (ended bool, err error)
}

func done(fn func(r *record)) result {
	return result{take: func(_ store.Tx, r *record) (bool, error) {
		fn(r)
		return true, nil
	}}
}

var nothing = done(func(*record) {})

// waits tells whether a step has no effect of its own, but waits for the gateway.
func waits(step mfpgate.MoveStep) bool { return step == mfpgate.StepSwitch }

// next is the step that follows, "" behind the last.
func (s *Saga) next(step mfpgate.MoveStep) mfpgate.MoveStep {
	for _, way := range [][]mfpgate.MoveStep{s.forward, s.back} {
		if at := slices.Index(way, step); at >= 0 && at+1 < len(way) {
			return way[at+1]
		}
	}
	return ""
}

// enter begins a step.
func (s *Saga) enter(tx store.Tx, r *record, step mfpgate.MoveStep) error {
	for r.Lost && (step == mfpgate.StepRedirect || step == mfpgate.StepConfirm) {
		step = s.next(step)
	}
	if step == "" {
		return s.end(tx, r)
	}
	r.Step, r.Since, r.Attempts, r.NextTry = step, s.now(), 0, time.Time{}
	r.Reason, r.Detail = r.Why, r.Said
	switch {
	case step == mfpgate.StepDrain && r.State == mfpgate.MoveOpen:
		if err := s.arm(tx, r, timerDraining, s.Limits.Draining); err != nil {
			return err
		}
	case step == mfpgate.StepConfirm:
		if err := s.arm(tx, r, timerStuck, max(s.Limits.Stuck-s.now().Sub(r.CommittedAt), time.Second)); err != nil {
			return err
		}
	case waits(step):
		if !r.SwitchedAt.IsZero() {
			return s.advance(tx, r, management)
		}
		r.Reason, r.Detail = AwaitsGateway, fmt.Sprintf("Gateway %s has not led the device's connections to region %s yet; it does so once it is reached.", r.Gateway, r.To)
		return nil
	}
	return s.intend(tx, r.ID, step)
}

func (s *Saga) intend(tx store.Tx, id mfpgate.MoveID, step mfpgate.MoveStep) error {
	payload, err := json.Marshal(work{Move: id, Step: step})
	if err != nil {
		return err
	}
	in := journal.Intent{ID: stepID(id, step), Kind: kindStep, Object: string(id), Payload: payload}
	if hurried(step) {
		in.NotBefore = s.now().Add(-ahead)
	}
	return s.journal.Intend(tx, in)
}

// ahead is how long a hurried step is due already when it begins: the journal calls first what has been due for longest.
const ahead = 24 * time.Hour

// hurried tells of the steps in which the device's changes wait. They go before those of other moves that have not come so far, else all
// devices of a batch would be drained before the first of them is led on.
func hurried(step mfpgate.MoveStep) bool {
	switch step {
	case mfpgate.StepDelta, mfpgate.StepActivate, mfpgate.StepCommit, mfpgate.StepNotify, mfpgate.StepRetire, mfpgate.StepAbort, mfpgate.StepUndrain:
		return true
	}
	return false
}

// advance ends the present step, and begins the next.
func (s *Saga) advance(tx store.Tx, r *record, actor string) error {
	step := r.Step
	r.Steps = append(r.Steps, mfpgate.MoveStepTaken{Step: step, At: s.now(), Attempts: r.Attempts})
	next := s.next(step)
	action := "stepped"
	switch step {
	case mfpgate.StepCommit:
		action = "committed"
	case mfpgate.StepSwitch:
		action = "switched"
	case mfpgate.StepConfirm:
		if !r.ConfirmedAt.IsZero() {
			action = "confirmed"
		}
	}
	detail := ""
	if r.Lost && (step == mfpgate.StepRedirect || step == mfpgate.StepConfirm) {
		detail = "The device was given up."
	}
	if next != "" {
		if err := s.audit(tx, r, step, actor, action, detail); err != nil {
			return err
		}
	}
	return s.enter(tx, r, next)
}

// end is the last that happens to a move.
func (s *Saga) end(tx store.Tx, r *record) error {
	action := "done"
	if r.State == mfpgate.MoveCompensating {
		r.State, action = mfpgate.MoveRolledBack, "rolled-back"
	} else {
		r.State = mfpgate.MoveDone
	}
	r.Reason, r.Detail, r.EndedAt, r.Attempts, r.NextTry, r.Deadline = r.Why, r.Said, s.now(), 0, time.Time{}, time.Time{}
	for name := range r.Timers {
		if err := s.disarm(tx, r, name); err != nil {
			return err
		}
	}
	return errors.Join(tx.Delete(openKey(r.MFP)), tx.Delete(stagedPrefix+string(r.ID)), s.arm(tx, r, timerKeep, s.Limits.Keep),
		s.audit(tx, r, r.Step, management, action, r.Said))
}

// handleStep makes the calls of a step.
func (s *Saga) handleStep(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	var w work
	if err := json.Unmarshal(in.Payload, &w); err != nil {
		return nil, journal.Permanent(err)
	}
	r, err := s.read(ctx, w.Move)
	if errors.Is(err, errNoMove) || err == nil && (r.State.Ended() || r.Step != w.Step) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leave := s.gates.enter(ctx, s.Clock, r.From)
	if leave == nil {
		return nil, journal.Again(gateAgain)
	}
	defer leave()
	got, err := s.take(ctx, r)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, cmp.Or(err, ctx.Err()) // the process ends, or the move is taken back
	case err == nil && in.Attempts >= s.Limits.Tries && r.State == mfpgate.MoveOpen:
		err = &Refusal{AdoptFailed, fmt.Sprintf("what came of step %s could not be stored: %.300s", r.Step, in.LastErr)}
		return s.settled(r, func(tx store.Tx, now *record) error {
			return s.compensate(tx, now, AdoptFailed, err.Error(), management)
		}), nil
	case err == nil:
		return s.settled(r, func(tx store.Tx, now *record) error {
			ended, err := got.take(tx, now)
			if err != nil || !ended {
				return err
			}
			return s.advance(tx, now, management)
		}), nil
	}
	if again, ok := errors.AsType[notYet](err); ok {
		return s.unready(r, again)
	}
	return s.failed(r, in, err)
}

// failed makes what comes of calls that did not succeed: before the commit a move is taken back in the end, after it they are made again.
func (s *Saga) failed(r *record, in journal.Intent, err error) (func(store.Tx) error, error) {
	why, text := describe(err)
	if r.State == mfpgate.MoveOpen && (hopeless(err) || in.Attempts+1 >= s.Limits.Tries) {
		return s.settled(r, func(tx store.Tx, now *record) error { return s.compensate(tx, now, why, text, management) }), nil
	}
	if r.State == mfpgate.MoveCompensating && elsewhere(r, err) && in.Attempts+1 >= s.Limits.Tries {
		return s.settled(r, func(tx store.Tx, now *record) error { return s.advance(tx, now, management) }), nil
	}
	if delay := mfpgate.RetryDelay(err); delay > 0 {
		err = journal.RetryAfter(err, min(delay, s.Limits.MaxDelay))
	}
	return s.settled(r, func(tx store.Tx, now *record) error {
		now.Attempts = in.Attempts + 1
		if row, err := s.journal.Get(tx, in.ID); err == nil {
			now.NextTry = row.Due
		}
		now.Reason, now.Detail = why, text
		if now.Why != "" {
			now.Reason, now.Detail = now.Why, mfpgate.CleanText(now.Said+" Not taken back yet: "+text, maxDetail)
		}
		return nil
	}), err
}

// settled makes what comes of a step's calls: fn changes the move as it is then, if it is in the same step of the same state.
func (s *Saga) settled(seen *record, fn func(store.Tx, *record) error) func(store.Tx) error {
	return func(tx store.Tx) error {
		now, err := getRecord(tx, seen.ID)
		if errors.Is(err, errNoMove) {
			return nil
		}
		if err != nil {
			return err
		}
		if now.Step != seen.Step || now.State.Ended() {
			return nil
		}
		s.learn(now, seen.Seen)
		if err := fn(tx, now); err != nil {
			return err
		}
		return save(tx, now)
	}
}

// notYet is the answer that what a step waits for has not happened.
type notYet struct {
	reason mfpgate.Reason
	detail string
}

func (n notYet) Error() string { return n.detail }

// unready has a question asked again. It is stored only if that says something new.
func (s *Saga) unready(r *record, n notYet) (func(store.Tx) error, error) {
	delay := s.Limits.Poll
	for waited := s.now().Sub(r.Since); delay < s.Limits.MaxDelay && waited > 40*delay; { // seldom of what has not come for long
		delay *= 2
	}
	delay = min(delay, s.Limits.MaxDelay)
	if r.State == mfpgate.MoveStuck {
		n = notYet{NotSeen, lostText(r)}
	}
	if r.Attempts == 0 && r.Detail == n.detail {
		return nil, journal.Again(delay)
	}
	return s.settled(r, func(tx store.Tx, now *record) error {
		now.Attempts, now.NextTry = 0, time.Time{}
		now.Reason, now.Detail = n.reason, n.detail
		return s.reintend(tx, now, delay)
	}), nil
}

// reintend has the present step's calls made again, with attempts anew.
func (s *Saga) reintend(tx store.Tx, r *record, delay time.Duration) error {
	payload, err := json.Marshal(work{Move: r.ID, Step: r.Step})
	if err != nil {
		return err
	}
	return s.journal.Intend(tx, journal.Intent{ID: stepID(r.ID, r.Step), Kind: kindStep, Object: string(r.ID), Payload: payload, Delay: delay})
}

const maxDetail = 1000 // bytes

// describe says why a step did not succeed.
func describe(err error) (mfpgate.Reason, string) {
	why, text := RegionUnreached, "the region does not answer: "+err.Error()
	var named mfpgate.Refused
	switch refusal, ok := errors.AsType[*Refusal](err); {
	case ok:
		why, text = refusal.Reason, refusal.Text
	case errors.Is(err, ErrNoHolding), errors.Is(err, ErrFenced), errors.Is(err, ErrOutOfTurn):
		why, text = RegionRefused, err.Error()
	case errors.As(err, &named) && named.Why() != "":
		why, text = named.Why(), err.Error()
	case errors.Is(err, mfpgate.ErrRefused):
		why, text = RegionRefused, err.Error()
	}
	return why, mfpgate.CleanText(text, maxDetail)
}
