package region

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// compensate has all taken back that a move did before its commit.
func (s *Saga) compensate(tx store.Tx, r *record, why mfpgate.Reason, said, actor string) error {
	if _, err := s.journal.Cancel(tx, stepID(r.ID, r.Step)); err != nil {
		return err
	}
	for _, name := range []string{timerDeadline, timerDraining, timerProbes} {
		if err := s.disarm(tx, r, name); err != nil {
			return err
		}
	}
	from := r.Step
	r.State, r.Why, r.Said = mfpgate.MoveCompensating, why, mfpgate.CleanText(said, maxDetail)
	return errors.Join(tx.Delete(stagedPrefix+string(r.ID)), s.audit(tx, r, from, actor, "aborted", r.Said), s.enter(tx, r, s.back[0]))
}

// change runs fn on a move of the gateway ("": of any) and returns what it has become. fn reports false if nothing changed.
func (s *Saga) change(ctx context.Context, gateway string, id mfpgate.MoveID, fn func(tx store.Tx, r *record) (changed bool, err error)) (m mfpgate.Move, err error) {
	err = s.update(ctx, func(tx store.Tx) error {
		r, err := getRecord(tx, id)
		if err == nil && gateway != "" && r.Gateway != gateway {
			err = errNoMove
		}
		if err != nil {
			return err
		}
		changed, err := fn(tx, r)
		if err == nil && changed {
			err = save(tx, r)
		}
		m = r.Move
		return err
	})
	if err != nil {
		return mfpgate.Move{}, known(err)
	}
	return m, nil
}

// Abort has a move taken back for an administrator. It is idempotent. AfterCommit.
func (s *Saga) Abort(ctx context.Context, gateway string, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return s.change(ctx, gateway, id, func(tx store.Tx, r *record) (bool, error) {
		switch {
		case r.State.Committed():
			return false, refuse(AfterCommit, "the move is committed, and the device's home is region %s: to have it back, move it back", r.To)
		case r.State != mfpgate.MoveOpen:
			return false, nil
		}
		return true, s.compensate(tx, r, Aborted, fmt.Sprintf("Aborted by %s.", named(actor)), actor)
	})
}

func named(actor string) string {
	if actor == "" {
		return "an administrator"
	}
	return mfpgate.CleanText(actor, maxDetail)
}

// Retry has a step tried again at once that waits for its time, or was given up.
func (s *Saga) Retry(ctx context.Context, gateway string, id mfpgate.MoveID, _ string) (mfpgate.Move, error) {
	m, err := s.change(ctx, gateway, id, func(tx store.Tx, r *record) (bool, error) {
		if r.State.Ended() || waits(r.Step) || r.Step == mfpgate.StepVerify && r.Verified {
			return false, nil
		}
		err := s.journal.Reopen(tx, stepID(r.ID, r.Step))
		if errors.Is(err, store.ErrNotFound) { // cancelled by hand
			err = s.intend(tx, r.ID, r.Step)
		}
		return false, err
	})
	if err == nil {
		s.journal.Hasten(stepID(id, m.Step))
	}
	return m, err
}

// ConfirmLost gives up waiting for a device: its move ends without it. It is idempotent. BeforeCommit.
func (s *Saga) ConfirmLost(ctx context.Context, gateway string, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return s.change(ctx, gateway, id, func(tx store.Tx, r *record) (bool, error) {
		switch {
		case !r.State.Committed():
			return false, refuse(BeforeCommit, "the move is not committed: a device that is lost need not be moved; abort it instead")
		case r.Lost || r.State.Ended():
			return false, nil
		}
		r.Lost = true
		if r.Step != mfpgate.StepRedirect && r.Step != mfpgate.StepConfirm {
			return true, nil
		}
		_, err := s.journal.Cancel(tx, stepID(r.ID, r.Step))
		r.State = mfpgate.MoveCommitted
		return true, errors.Join(err, s.disarm(tx, r, timerStuck), s.advance(tx, r, actor))
	})
}

// Bounds of what a gateway tells of certificates.
const (
	maxProbes     = 32
	maxProbeText  = 200      // bytes of a detail
	maxProbeBytes = 12 << 10 // of all, as JSON
)

// Probed takes a gateway's word on the target's certificates. What comes after the commit is too late, and ignored.
func (s *Saga) Probed(ctx context.Context, gateway string, id mfpgate.MoveID, probes []mfpgate.NameProbe, seen mfpgate.Seen) error {
	if len(probes) > maxProbes {
		return refuse(BadRequest, "%d probes, at most %d", len(probes), maxProbes)
	}
	kept := slices.Clone(probes)
	for i, p := range kept {
		kept[i].Detail = strings.ToValidUTF8(p.Detail[:min(len(p.Detail), maxProbeText)], "")
	}
	if text, err := json.Marshal(kept); err != nil || len(text) > maxProbeBytes {
		return refuse(BadRequest, "probes of %d bytes, at most %d", len(text), maxProbeBytes)
	}
	_, err := s.change(ctx, gateway, id, func(tx store.Tx, r *record) (bool, error) {
		if r.State != mfpgate.MoveOpen {
			return false, nil
		}
		r.Probes, r.Probed = kept, true
		s.learn(r, seen)
		if r.Step != mfpgate.StepVerify || !r.Verified {
			return true, nil
		}
		return true, errors.Join(s.disarm(tx, r, timerProbes), s.advance(tx, r, r.Gateway))
	})
	return err
}

// Switched takes a gateway's word that the device's routes lead to the target. It is idempotent. BeforeCommit, WrongEpoch.
func (s *Saga) Switched(ctx context.Context, gateway string, id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen) error {
	_, err := s.change(ctx, gateway, id, func(tx store.Tx, r *record) (bool, error) {
		switch {
		case epoch != r.Epoch:
			return false, wrongEpoch(r, epoch)
		case !r.State.Committed():
			return false, refuse(BeforeCommit, "the move is not committed: the device's home is region %s still", r.From)
		case !r.SwitchedAt.IsZero():
			return false, nil
		}
		r.SwitchedAt = s.now()
		s.learn(r, seen)
		if waits(r.Step) {
			return true, s.advance(tx, r, r.Gateway)
		}
		return true, s.audit(tx, r, mfpgate.StepSwitch, r.Gateway, "switched", "")
	})
	return err
}

// CheckedIn takes a gateway's word that the device has come through its relay to the target. The source's management server is asked
// then whether the device goes by its directive, and the target's services whether it has come; nothing else follows of it. WrongEpoch.
func (s *Saga) CheckedIn(ctx context.Context, gateway string, id mfpgate.MoveID, epoch uint64, _ time.Time, seen mfpgate.Seen) error {
	m, err := s.change(ctx, gateway, id, func(tx store.Tx, r *record) (bool, error) {
		if epoch != r.Epoch {
			return false, wrongEpoch(r, epoch)
		}
		if r.State.Ended() {
			return false, nil
		}
		s.learn(r, seen)
		return false, keep(tx, r)
	})
	if err == nil && (m.Step == mfpgate.StepRedirect || m.Step == mfpgate.StepConfirm) {
		s.journal.Hasten(stepID(id, m.Step))
	}
	return err
}

func wrongEpoch(r *record, epoch uint64) error {
	return refuse(WrongEpoch, "the move leads to epoch %d, not to %d", r.Epoch, epoch)
}
