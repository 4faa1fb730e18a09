package region

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// Bounds of what a region sends, in bytes.
const (
	maxManagement = 48 << 10 // data of a device's management server
	maxReceipt    = 12 << 10
)

// take makes the calls of the present step. r is a copy, which learns what the answers have seen.
func (s *Saga) take(ctx context.Context, r *record) (result, error) {
	switch r.Step {
	case mfpgate.StepCheck:
		return nothing, s.check(ctx, r)
	case mfpgate.StepUnlink:
		_, err := s.source(ctx, r, mfpgate.HoldingActive)
		return nothing, err
	case mfpgate.StepCopy:
		return s.copy(ctx, r, mfpgate.HoldingActive)
	case mfpgate.StepVerify:
		return s.verify(ctx, r)
	case mfpgate.StepDrain:
		_, err := s.source(ctx, r, mfpgate.HoldingDraining)
		return nothing, err
	case mfpgate.StepDelta:
		got, err := s.copy(ctx, r, mfpgate.HoldingDraining)
		if err == nil {
			err = s.holds(ctx, r, mfpgate.HoldingPrepared, r.Digest)
		}
		return got, err
	case mfpgate.StepActivate:
		_, err := s.target(ctx, r, mfpgate.HoldingActive)
		if err == nil {
			err = s.holds(ctx, r, mfpgate.HoldingActive, "")
		}
		return nothing, err
	case mfpgate.StepCommit:
		return result{s.commit}, nil
	case mfpgate.StepNotify:
		_, err := s.manager(ctx, r)
		return nothing, err
	case mfpgate.StepRetire:
		return s.retire(ctx, r)
	case mfpgate.StepRedirect:
		return s.redirect(ctx, r)
	case mfpgate.StepConfirm:
		return s.confirm(ctx, r)
	case mfpgate.StepDelete:
		return nothing, s.forget(ctx, r)
	case mfpgate.StepAbort:
		return nothing, s.abort(ctx, r)
	case mfpgate.StepUndrain, mfpgate.StepRelink:
		a, err := s.source(ctx, r, mfpgate.HoldingActive)
		if errors.As(err, new(lie)) && !took(r, mfpgate.StepUnlink) && a.State != mfpgate.HoldingDraining {
			err = nil // nothing had been done there, and the device may have gone from there otherwise
		}
		return nothing, err
	}
	return result{}, fmt.Errorf("step %s is unknown to this version", r.Step)
}

func (s *Saga) request(r *record) mfpgate.MoveOrder {
	o := mfpgate.MoveOrder{Move: r.ID, Step: r.Step, Epoch: r.Epoch, MFP: r.MFP, From: r.From, To: r.To, Registration: r.NewRegistration, Seen: r.Seen}
	switch r.Step {
	case mfpgate.StepUnlink, mfpgate.StepRelink:
		o.Children = r.Unlinked
	case mfpgate.StepCopy, mfpgate.StepDelta, mfpgate.StepRetire:
		o.Data = r.Policies
	}
	return o
}

func (s *Saga) services(region string) (Services, error) {
	if p, ok := s.Regions.Services(region); ok {
		return p, nil
	}
	return nil, noPeer(region)
}

func (s *Saga) managers(region string) (Management, error) {
	if p, ok := s.Regions.Management(region); ok {
		return p, nil
	}
	return nil, noPeer(region)
}

func noPeer(region string) error {
	return refuse(NoPeer, "region %s is no peer of this one: accept its invitation, or give its URL", region)
}

// source and target have the services of a region take the present step, and want a state of them.
func (s *Saga) source(ctx context.Context, r *record, want mfpgate.HoldingState) (mfpgate.MoveAnswer, error) {
	return s.ordered(ctx, r, r.From, want)
}

func (s *Saga) target(ctx context.Context, r *record, want mfpgate.HoldingState) (mfpgate.MoveAnswer, error) {
	return s.ordered(ctx, r, r.To, want)
}

func (s *Saga) ordered(ctx context.Context, r *record, region string, want mfpgate.HoldingState) (mfpgate.MoveAnswer, error) {
	p, err := s.services(region)
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	a, err := p.Order(ctx, s.request(r))
	if err != nil {
		return a, fmt.Errorf("services of region %s, step %s: %w", region, r.Step, err)
	}
	s.learn(r, a.Seen)
	if a.State != want {
		return a, lied("the services of region %s say that step %s is done, and that the device is %s there; it would have to be %s", region, r.Step,
			state(a.State), state(want))
	}
	return a, nil
}

// state names a state for people. It may be a region's invention.
func state(s mfpgate.HoldingState) string {
	if s == mfpgate.HoldingAbsent {
		return "absent"
	}
	return fmt.Sprintf("%.20q", string(s))
}

// manager has the source's management server take the present step.
func (s *Saga) manager(ctx context.Context, r *record) (mfpgate.MoveAnswer, error) {
	p, err := s.managers(r.From)
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	a, err := p.Order(ctx, s.request(r))
	if err != nil {
		return a, fmt.Errorf("management server of region %s, step %s: %w", r.From, r.Step, err)
	}
	s.learn(r, a.Seen)
	return a, nil
}

// copy has the source send what it holds to the target, and stages what its management server knows of the device.
func (s *Saga) copy(ctx context.Context, r *record, want mfpgate.HoldingState) (result, error) {
	m, err := s.manager(ctx, r)
	if err != nil {
		return result{}, err
	}
	if len(m.Management) > maxManagement || len(m.Management) > 0 && !json.Valid(m.Management) {
		return result{}, lied("the management server of region %s sends %d bytes of the device's data that are no JSON, or more than %d", r.From,
			len(m.Management), maxManagement)
	}
	if s.Handed != nil {
		if err := s.Handed(ctx, r.Move, m.Management); err != nil {
			return result{}, lied("the management server of region %s hands over what is not of the device: %v", r.From, err)
		}
	}
	a, err := s.source(ctx, r, want)
	if err != nil {
		return result{}, err
	}
	if sum, err := hex.DecodeString(a.Digest); err != nil || len(sum) != 32 {
		return result{}, lied("the services of region %s name no digest of what they have copied", r.From)
	}
	r.Digest = a.Digest
	return result{func(tx store.Tx, now *record) (bool, error) {
		now.Digest = a.Digest
		if len(m.Management) == 0 {
			return true, nil
		}
		return true, tx.Set(stagedPrefix+string(now.ID), m.Management)
	}}, nil
}

// verify compares what the target has with what the source has sent. The gateway probes the target's certificates meanwhile; it is
// not waited for longer than Limits.Probe, as it may have none to probe.
func (s *Saga) verify(ctx context.Context, r *record) (result, error) {
	a, err := s.target(ctx, r, mfpgate.HoldingPrepared)
	if err != nil {
		return result{}, err
	}
	if a.Digest != r.Digest {
		return result{}, differs(r, a.Digest)
	}
	if err := s.holds(ctx, r, mfpgate.HoldingPrepared, r.Digest); err != nil {
		return result{}, err
	}
	return result{func(tx store.Tx, now *record) (bool, error) {
		left := s.Limits.Probe - s.now().Sub(now.Since)
		if now.Probed || left <= 0 {
			return true, nil
		}
		now.Verified = true
		return false, s.arm(tx, now, timerProbes, min(left, s.Limits.Probe))
	}}, nil
}

func differs(r *record, digest string) error {
	return lied("region %s has sent data with digest %.16s, and region %s holds data with digest %.16s: they are not the same", r.From, r.Digest, r.To, digest)
}

// holds makes sure that the target holds what it should. No digest is any.
func (s *Saga) holds(ctx context.Context, r *record, want mfpgate.HoldingState, digest string) error {
	p, err := s.services(r.To)
	if err != nil {
		return err
	}
	h, err := p.Holding(ctx, r.MFP)
	switch {
	case errors.Is(err, ErrNoHolding):
		return lied("the services of region %s hold nothing of the device, though step %s is done there", r.To, r.Step)
	case err != nil:
		return fmt.Errorf("what region %s holds: %w", r.To, err)
	case h.State != want:
		return lied("the device is %s in region %s, though step %s is done there; it would have to be %s", state(h.State), r.To, r.Step, want)
	case h.MFP != r.MFP || h.Region != r.To || h.Epoch != r.Epoch || h.Registration != r.NewRegistration || h.Move != r.ID:
		return lied("region %s holds device %.64q under registration %.64q in epoch %d of region %.8q, move %.40q; it would have to be %s, %s, %d, %s, %s", r.To,
			h.MFP, h.Registration, h.Epoch, h.Region, h.Move, r.MFP, r.NewRegistration, r.Epoch, r.To, r.ID)
	case digest != "" && h.Digest != digest:
		return differs(r, h.Digest)
	}
	return nil
}

// commit is the one moment that decides. It calls nobody.
func (s *Saga) commit(tx store.Tx, r *record) (bool, error) {
	data, err := tx.Get(stagedPrefix + string(r.ID))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if s.Adopt != nil {
		if err := s.Adopt(tx, r.Move, data); err != nil {
			return false, fmt.Errorf("take over device %s: %w", r.MFP, err)
		}
	}
	r.State, r.CommittedAt = mfpgate.MoveCommitted, s.now()
	return true, errors.Join(tx.Delete(stagedPrefix+string(r.ID)), s.disarm(tx, r, timerDeadline), s.disarm(tx, r, timerDraining))
}

// retire has the source purge what it holds. It answers with its word that it has.
func (s *Saga) retire(ctx context.Context, r *record) (result, error) {
	a, err := s.source(ctx, r, mfpgate.HoldingMoved)
	if err != nil {
		return result{}, err
	}
	switch d := a.Receipt; {
	case d == nil:
		return result{}, lied("the services of region %s give no deletion receipt", r.From)
	case d.ID == "" || d.Move != r.ID || d.MFP != r.MFP || d.Region != r.From || d.Signed == "":
		return result{}, lied("the deletion receipt of region %s is of region %.8q, device %.64q, move %.40q", r.From, d.Region, d.MFP, d.Move)
	}
	for _, d := range a.Receipt.Left {
		if policyOf(r, d.Class) != mfpgate.DataLeave {
			return result{}, lied("the deletion receipt of region %s says that data of class %.40q were left there; they were to be purged", r.From, d.Class)
		}
	}
	if text, err := json.Marshal(a.Receipt); err != nil || len(text) > maxReceipt {
		return result{}, lied("the deletion receipt of region %s has %d bytes, more than %d", r.From, len(text), maxReceipt)
	}
	if s.Receipt != nil {
		if err := s.Receipt(r.From, *a.Receipt); err != nil {
			return result{}, lied("the deletion receipt of region %s is not signed by it: %v", r.From, err)
		}
	}
	return done(func(now *record) { now.Receipt = a.Receipt }), nil
}

// policyOf is what was planned for a class of data, or for those that nobody named.
func policyOf(r *record, class string) mfpgate.DataPolicy {
	return cmp.Or(r.Policies[class], r.Policies[""], mfpgate.DataMove)
}

// redirect asks whether the device has acknowledged its directive. One that never asks for it is not waited for longer than the
// relay lets it reach the source's management server.
func (s *Saga) redirect(ctx context.Context, r *record) (result, error) {
	a, err := s.manager(ctx, r)
	if err != nil {
		return result{}, err
	}
	if a.AckedAt.IsZero() && s.now().Sub(r.Since) < s.Limits.Redirect {
		return result{}, notYet{AwaitsDevice, fmt.Sprintf("The device has not acknowledged yet that region %s is its own; it is waited for until %s.", r.To,
			r.Since.Add(s.Limits.Redirect).Format(time.RFC3339))}
	}
	return done(func(now *record) {
		if now.AckedAt = a.AckedAt; now.AckedAt.After(s.now()) {
			now.AckedAt = s.now()
		}
	}), nil
}

// confirm asks the target's services whether the device has come in the new epoch.
func (s *Saga) confirm(ctx context.Context, r *record) (result, error) {
	p, err := s.services(r.To)
	if err != nil {
		return result{}, err
	}
	h, err := p.Holding(ctx, r.MFP)
	switch {
	case err != nil:
		return result{}, fmt.Errorf("what region %s holds: %w", r.To, err)
	case h.MFP == r.MFP && (h.Epoch > r.Epoch || h.Epoch == r.Epoch && h.State == mfpgate.HoldingMoved):
		return nothing, nil // a later move has led it on, and sees to it that it comes
	case h.State != mfpgate.HoldingActive && h.State != mfpgate.HoldingDraining || h.Epoch != r.Epoch || h.MFP != r.MFP:
		return result{}, lied("the device is %s in epoch %d in region %s, though the move there was committed in epoch %d", state(h.State), h.Epoch, r.To, r.Epoch)
	case h.CheckedIn.IsZero():
		return result{}, notYet{AwaitsDevice, fmt.Sprintf("The device has not come to region %s yet.", r.To)}
	}
	return result{func(tx store.Tx, now *record) (bool, error) {
		now.ConfirmedAt, now.State = h.CheckedIn, mfpgate.MoveCommitted
		return true, s.disarm(tx, now, timerStuck)
	}}, nil
}

// forget has the source drop its tombstone. A device that has come back by another move stays.
func (s *Saga) forget(ctx context.Context, r *record) error {
	a, err := s.source(ctx, r, mfpgate.HoldingAbsent)
	if back := errors.As(err, new(lie)) && a.State != mfpgate.HoldingMoved; err != nil && !back && !errors.Is(err, ErrNoHolding) {
		return err
	}
	if _, err = s.manager(ctx, r); errors.Is(err, ErrNoHolding) {
		return nil
	}
	return err
}

// abort has the target forget what it prepared, and remember that it did, also if nothing was.
func (s *Saga) abort(ctx context.Context, r *record) error {
	p, err := s.services(r.To)
	if err != nil {
		return err
	}
	a, err := p.Order(ctx, s.request(r))
	if err != nil {
		return fmt.Errorf("services of region %s, step %s: %w", r.To, r.Step, err)
	}
	s.learn(r, a.Seen)
	held := a.State == mfpgate.HoldingActive || a.State == mfpgate.HoldingDraining // by a registration that was there before, if nothing was copied
	if a.State == mfpgate.HoldingPrepared || held && took(r, mfpgate.StepCopy) {
		return lied("the services of region %s say that what was prepared is taken back, and that the device is %s there", r.To, a.State)
	}
	return nil
}

// elsewhere tells whether a region refuses to take a step back because it takes part in another move, and never did in this one.
func elsewhere(r *record, err error) bool {
	if !errors.Is(err, ErrOutOfTurn) && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrNoHolding) {
		return false
	}
	if r.Step == mfpgate.StepAbort {
		return !took(r, mfpgate.StepCopy)
	}
	return !took(r, mfpgate.StepUnlink)
}

func took(r *record, step mfpgate.MoveStep) bool {
	return slices.ContainsFunc(r.Steps, func(t mfpgate.MoveStepTaken) bool { return t.Step == step })
}
