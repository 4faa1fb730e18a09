package region

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// findDevice answers another region's management server (figures 7 and 8).
func (m *Management) findDevice(ctx context.Context, in *struct {
	Model  string `query:"model" maxLength:"256" required:"true"`
	Serial string `query:"serial" maxLength:"256" required:"true"`
}) (*struct{ Body mfpgate.Registrant }, error) {
	r, err := m.find(ctx, in.Model, in.Serial)
	if err != nil {
		return nil, answer(err)
	}
	return &struct{ Body mfpgate.Registrant }{r}, nil
}

// obey takes an order of another region's management server.
func (m *Management) obey(ctx context.Context, in *struct{ Body mfpgate.MoveOrder }) (*struct{ Body mfpgate.MoveAnswer }, error) {
	o := in.Body
	if caller := m.Caller(ctx); o.To != caller.ID || o.From != m.Region {
		return nil, refuse(http.StatusForbidden, ReasonNotYours, "region %s orders of %s only moves from %[2]s to %[1]s", caller.ID, m.Region)
	}
	a, err := m.order(ctx, o)
	if err != nil {
		return nil, answer(err)
	}
	return &struct{ Body mfpgate.MoveAnswer }{a}, nil
}

// order takes a step: copy and delta hand over what this management server knows of the device, notify has it redirect the device,
// redirect asks whether the device has acknowledged that, delete forgets the device.
func (m *Management) order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	if o.Move == "" || len(o.Move) > 64 || len(o.Seen) > api.MaxSeen {
		return mfpgate.MoveAnswer{}, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "an order names its move")
	}
	switch o.Step {
	case mfpgate.StepCopy, mfpgate.StepDelta:
		return m.handOver(ctx, o)
	case mfpgate.StepNotify:
		return m.leave(ctx, o)
	case mfpgate.StepRedirect:
		return m.redirected(ctx, o)
	case mfpgate.StepDelete:
		return m.forget(ctx, o)
	}
	return mfpgate.MoveAnswer{}, fmt.Errorf("a management server takes no step %.16q: %w", o.Step, broker.ErrOutOfTurn)
}

func (m *Management) handOver(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	r, there, err := m.read(ctx, o.MFP)
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	if err := leaves(r, there, o); err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	h := handover{MFP: r.MFP, Model: r.Model, Serial: r.Serial, Name: r.Name, Registration: r.Registration, Epoch: r.Epoch, Record: r.Record}
	if record, err := m.Record(ctx, o.MFP); err != nil {
		return mfpgate.MoveAnswer{}, err
	} else if record != nil {
		h.Record = record
	}
	data, err := json.Marshal(h)
	return mfpgate.MoveAnswer{State: r.State, Management: data, Seen: o.Seen}, err
}

// leaves tells whether the device may leave by this order.
func leaves(r registrant, there bool, o mfpgate.MoveOrder) error {
	switch {
	case !there || r.State == mfpgate.HoldingAbsent:
		return fmt.Errorf("device %.64s: %w", o.MFP, broker.ErrNoHolding)
	case r.Left != nil && r.Left.Move == o.Move && o.Step.Seq() < r.Left.Seq:
		return fmt.Errorf("step %s of %s: step %d was executed: %w", o.Step, o.Move, r.Left.Seq, broker.ErrFenced)
	case r.State != mfpgate.HoldingActive || o.Epoch != r.Epoch+1:
		return fmt.Errorf("device %.64s is %s in epoch %d: %w", o.MFP, r.State, r.Epoch, broker.ErrOutOfTurn)
	}
	return nil
}

// leave takes note of a move's success: from now on the device is redirected.
func (m *Management) leave(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	managementURL, servicesURL, known := m.urls(o.To)
	if !known {
		return mfpgate.MoveAnswer{}, refuse(http.StatusServiceUnavailable, ReasonUnreached,
			"%s does not know yet where devices reach region %s; it asks %[2]s for it all the time", m.Region, o.To).retry(peerRetry)
	}
	return m.step(ctx, o, func(tx store.Tx, r *registrant) (bool, error) {
		if r.Left != nil && r.Left.Move == o.Move && r.State == mfpgate.HoldingMoved {
			return false, nil
		}
		if err := leaves(*r, true, o); err != nil {
			return false, err
		}
		r.Left = &left{Move: o.Move, Directive: mfpgate.Directive{
			MFP: r.MFP, Move: o.Move, Epoch: o.Epoch, Region: o.To, Management: managementURL, Services: servicesURL, NotBefore: m.now(),
		}}
		r.State, r.Region, r.Epoch, r.Since = mfpgate.HoldingMoved, o.To, o.Epoch, m.now()
		return true, nil
	})
}

func (m *Management) redirected(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	return m.step(ctx, o, func(_ store.Tx, r *registrant) (bool, error) {
		if r.Left == nil || r.Left.Move != o.Move {
			return false, fmt.Errorf("device %s is not redirected by %s: %w", r.MFP, o.Move, broker.ErrOutOfTurn)
		}
		return false, nil
	})
}

// step changes the registrant of an order under the fence of its move. change tells whether there is anything to trace.
func (m *Management) step(ctx context.Context, o mfpgate.MoveOrder, change func(store.Tx, *registrant) (bool, error)) (a mfpgate.MoveAnswer, err error) {
	err = m.update(ctx, func(tx store.Tx) error {
		r, there, err := store.FindJSON[registrant](tx, registrantKey(o.MFP))
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("device %.64s: %w", o.MFP, broker.ErrNoHolding)
		}
		if r.Left != nil && r.Left.Move == o.Move && o.Step.Seq() < r.Left.Seq {
			return fmt.Errorf("step %s of %s: step %d was executed: %w", o.Step, o.Move, r.Left.Seq, broker.ErrFenced)
		}
		trace, err := change(tx, &r)
		if err != nil {
			return err
		}
		r.Left.Seq = max(r.Left.Seq, o.Step.Seq())
		r.Left.Seen = r.Left.Seen.Merge(o.Seen)
		if trace {
			if err := m.trace(tx, &r, "region "+o.To, o.Step.Seq(), string(r.State)); err != nil {
				return err
			}
		}
		a = mfpgate.MoveAnswer{State: r.State, AckedAt: r.Left.AckedAt, Seen: r.Left.Seen}
		return store.SetJSON(tx, registrantKey(r.MFP), r)
	})
	if err == nil {
		m.asked.forget()
	}
	return a, err
}

// trace writes the audit's entry of what happened to a device that left, and remembers it as seen.
func (m *Management) trace(tx store.Tx, r *registrant, actor string, seq int, state string) error {
	after, err := json.Marshal(mfpgate.MoveTrace{
		Move: r.Left.Move, MFP: r.MFP, Region: m.Region, Epoch: r.Epoch, Seq: seq, State: state, Seen: r.Left.Seen,
	})
	if err != nil {
		return err
	}
	n, err := m.journal.NextAudit(tx)
	if err != nil {
		return err
	}
	r.Left.Seen = r.Left.Seen.Merge(mfpgate.Seen{m.Region + "/" + RoomManagement: n})
	return m.journal.Audit(tx, journal.Entry{Actor: actor, Action: "device.redirected", Object: string(r.Left.Move), After: after})
}

// forget removes a device that has come to its new region. What is not there is forgotten.
func (m *Management) forget(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	r, there, err := m.read(ctx, o.MFP)
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	a := mfpgate.MoveAnswer{State: mfpgate.HoldingAbsent, Seen: o.Seen}
	switch {
	case !there:
		return a, nil
	case r.State != mfpgate.HoldingMoved || r.Left == nil || r.Left.Move != o.Move:
		if r.Epoch > o.Epoch || r.State == mfpgate.HoldingForeign { // it was forgotten, and came back
			return a, nil
		}
		return mfpgate.MoveAnswer{}, fmt.Errorf("device %s is %s: %w", r.MFP, r.State, broker.ErrOutOfTurn)
	}
	// The order comes again until both are done.
	if err := m.Forget(ctx, o.MFP); err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	err = m.update(ctx, func(tx store.Tx) error {
		now, there, err := store.FindJSON[registrant](tx, registrantKey(o.MFP))
		if err != nil || !there || now.Left == nil || now.Left.Move != o.Move {
			return err
		}
		now.Left.Seen = now.Left.Seen.Merge(o.Seen)
		if err := m.trace(tx, &now, "region "+o.To, o.Step.Seq(), string(mfpgate.HoldingAbsent)); err != nil {
			return err
		}
		a.Seen = now.Left.Seen
		if key := serialKey(now.Model, now.Serial); key != "" {
			if n, there, err := store.FindJSON[named](tx, key); err != nil {
				return err
			} else if there && n.MFP == now.MFP {
				if err := tx.Delete(key); err != nil {
					return err
				}
			}
		}
		return tx.Delete(registrantKey(now.MFP))
	})
	m.asked.forget()
	return a, err
}

// directive tells a device that left where it belongs.
func (m *Management) directive(ctx context.Context, _ *struct{}) (*struct{ Body api.SignedDirective }, error) {
	r, there, err := m.read(ctx, m.Caller(ctx).ID)
	if err != nil {
		return nil, answer(err)
	}
	if !there || r.Left == nil || r.State != mfpgate.HoldingMoved {
		return nil, refuse(http.StatusNotFound, ReasonNoDirective, "there is no directive: the device stays with the servers that it knows")
	}
	d := r.Left.Directive
	if managementURL, servicesURL, known := m.urls(d.Region); known { // they may have moved since
		d.Management, d.Services = managementURL, servicesURL
	}
	signed, err := jws.Sign(m.Key, api.PurposeDirective, d)
	if err != nil {
		return nil, answer(err)
	}
	return &struct{ Body api.SignedDirective }{api.SignedDirective{Signed: signed}}, nil
}

// acknowledge takes note that a device goes by its directive.
func (m *Management) acknowledge(ctx context.Context, in *struct{ Body api.DirectiveAck }) (*struct{}, error) {
	mfp := m.Caller(ctx).ID
	err := m.update(ctx, func(tx store.Tx) error {
		r, there, err := store.FindJSON[registrant](tx, registrantKey(mfp))
		if err != nil {
			return err
		}
		if !there || r.Left == nil || r.Left.Move != in.Body.Move || r.Left.Directive.Epoch != in.Body.Epoch {
			return refuse(http.StatusConflict, api.OutOfTurn, "that is not the directive of this device; ask for it again")
		}
		if !r.Left.AckedAt.IsZero() {
			return nil
		}
		r.Left.AckedAt = m.now()
		if err := m.trace(tx, &r, "device "+mfp, mfpgate.StepRedirect.Seq(), "acknowledged"); err != nil {
			return err
		}
		return store.SetJSON(tx, registrantKey(mfp), r)
	})
	if err != nil {
		return nil, answer(err)
	}
	return nil, nil
}
