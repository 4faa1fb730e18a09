package region

import (
	"context"
	"errors"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// errFirst is returned inside of a transaction that only looks whether a key was used before.
var errFirst = errors.New("the key is new")

// Start begins a move as the plan whose hash r.Plan is says. The plan is made anew: one that differs is PlanChanged. key (""
// is none) makes it idempotent: with one that was used for the same request, the move of that time is returned, and true;
// with one that was used for another request it returns journal.ErrDiffers. Refusals are those of Plan, PlanChanged, MoveIsOpen and
// Blocked.
func (s *Saga) Start(ctx context.Context, gateway string, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Limits.Call)
	defer cancel()
	if r.To == "" {
		r.To = s.Region
	}
	if key != "" {
		m, err := s.replayed(ctx, gateway, r, key)
		if !errors.Is(err, errFirst) {
			return m, err == nil, err
		}
	}
	if r.Plan == "" {
		return mfpgate.Move{}, false, refuse(BadRequest, "name the hash of the plan that is to be carried out")
	}
	plan, err := s.plan(ctx, gateway, r)
	if err != nil {
		return mfpgate.Move{}, false, err
	}
	for _, b := range plan.Blockers {
		if b.Reason == MoveIsOpen {
			return mfpgate.Move{}, false, &Refusal{MoveIsOpen, b.Detail}
		}
	}
	if plan.Hash != r.Plan {
		return mfpgate.Move{}, false, refuse(PlanChanged, "what was planned is not true any more: look at the new plan, and start the move with its hash")
	}
	if len(plan.Blockers) > 0 {
		return mfpgate.Move{}, false, &Refusal{Blocked, plan.Blockers[0].Detail}
	}
	id := mfpgate.MoveID(mfpgate.NewID(s.Clock, "mov"))
	registration, err := s.Devices.Mint(plan.Epoch)
	if err != nil {
		return mfpgate.Move{}, false, err
	}
	made := s.made(id, gateway, actor, registration, plan, r.Data) // not to be changed: the transaction may run again
	var began mfpgate.Move
	replayed := false
	err = s.update(ctx, func(tx store.Tx) (err error) {
		begin := func() (mfpgate.MoveID, error) { return id, s.begin(tx, made) }
		at := id
		if key == "" {
			_, err = begin()
		} else {
			at, replayed, err = journal.Once(tx, startScope(gateway), key, r, begin)
		}
		if err != nil {
			return err
		}
		there, err := getRecord(tx, at)
		if err == nil {
			began = there.Move
		}
		return err
	})
	if err != nil {
		return mfpgate.Move{}, false, known(err)
	}
	return began, replayed && began.ID != id, nil
}

func startScope(gateway string) string { return "start/" + gateway }

// replayed returns the move that a key has started, or errFirst.
func (s *Saga) replayed(ctx context.Context, gateway string, r mfpgate.MoveRequest, key string) (m mfpgate.Move, err error) {
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		id, _, err := journal.Once(tx, startScope(gateway), key, r, func() (mfpgate.MoveID, error) { return "", errFirst })
		if err != nil {
			return err
		}
		there, err := getRecord(tx, id)
		if err == nil {
			m = there.Move
		}
		return err
	})
	return m, known(err)
}

// made is a move before its first step.
func (s *Saga) made(id mfpgate.MoveID, gateway, actor, registration string, p mfpgate.MovePlan, asked map[string]mfpgate.DataPolicy) *record {
	r := &record{Schema: schema, Policies: policies(p, asked), Unlinked: []string{}, Move: mfpgate.Move{ID: id, Gateway: gateway, Device: p.Device, MFP: p.MFP,
		From: p.From, To: p.To, Epoch: p.Epoch, State: mfpgate.MoveOpen, Plan: p, OldRegistration: p.Registration, NewRegistration: registration,
		RequestedBy: mfpgate.CleanText(actor, maxDetail), Steps: []mfpgate.MoveStepTaken{}, StartedAt: s.now()}}
	for _, c := range p.Children {
		if c.Action == actionUnlink {
			r.Unlinked = append(r.Unlinked, c.Service+"/"+c.ID)
		}
	}
	return r
}

// begin writes a move, unless the device has another open one. It does nothing if it was written before.
func (s *Saga) begin(tx store.Tx, made *record) error {
	if _, err := getRecord(tx, made.ID); !errors.Is(err, errNoMove) {
		return err
	}
	switch open, err := tx.Get(openKey(made.MFP)); {
	case err == nil:
		return refuse(MoveIsOpen, "the device is being moved already, by %s", open)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	r := *made
	if err := errors.Join(
		tx.Set(openKey(r.MFP), []byte(r.ID)),
		s.audit(tx, &r, mfpgate.StepCheck, r.RequestedBy, "planned", r.Plan.Hash),
		s.audit(tx, &r, mfpgate.StepCheck, r.RequestedBy, "started", ""),
		s.arm(tx, &r, timerDeadline, s.Limits.Open),
		s.enter(tx, &r, s.forward[0]),
	); err != nil {
		return err
	}
	return save(tx, &r)
}
