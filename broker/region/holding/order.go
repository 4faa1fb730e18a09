package holding

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// back is the lowest step of those that take a move back.
var back = mfpgate.StepAbort.Seq()

// errBusy is returned when another call has changed what this one looked at. It may be made again.
var errBusy = errors.New("another order for the device came at the same time")

// Order implements region.Services. Of this region as the source it takes unlink, copy, drain, delta, retire, delete, undrain and relink;
// as the target verify, activate and abort. region.ErrFenced, region.ErrOutOfTurn, ErrInvalid, and what Send returns.
func (b *Book) Order(ctx context.Context, o mfpgate.MoveOrder) (answer mfpgate.MoveAnswer, err error) {
	if err := checkOrder(o); err != nil {
		return answer, err
	}
	source, target := o.From == b.o.Region, o.To == b.o.Region
	switch {
	case source && (o.Step == mfpgate.StepCopy || o.Step == mfpgate.StepDelta):
		answer, err = b.send(ctx, o)
	case source && o.Step == mfpgate.StepRetire:
		answer, err = b.retire(ctx, o)
	case target && (o.Step == mfpgate.StepVerify || o.Step == mfpgate.StepActivate):
		answer, err = b.readBack(ctx, o)
	case target && o.Step == mfpgate.StepAbort:
		answer, err = b.take(ctx, o, b.abort)
	case source && o.Step == mfpgate.StepUnlink:
		answer, err = b.take(ctx, o, b.unlink)
	case source && o.Step == mfpgate.StepDrain:
		answer, err = b.take(ctx, o, b.drain)
	case source && o.Step == mfpgate.StepDelete:
		answer, err = b.take(ctx, o, b.forget)
	case source && o.Step == mfpgate.StepUndrain:
		answer, err = b.take(ctx, o, b.undrain)
	case source && o.Step == mfpgate.StepRelink:
		answer, err = b.take(ctx, o, b.relink)
	default:
		err = fmt.Errorf("region %s has no such step in a move from %s to %s: %w", b.o.Region, o.From, o.To, region.ErrOutOfTurn)
	}
	if err == nil { // also after an answer that was given before: the purge may have been cut short
		err = b.purge(ctx, o.MFP)
	}
	if err != nil {
		return mfpgate.MoveAnswer{}, fmt.Errorf("%s, move %s of device %s: %w", o.Step, o.Move, o.MFP, err)
	}
	return answer, nil
}

// turn is an order in its transaction.
type turn struct {
	b       *Book
	tx      store.Tx
	o       mfpgate.MoveOrder
	r       *record
	f       *fence
	digest  string                   // for the answer and the trace
	receipt *mfpgate.DeletionReceipt // for the answer
	pending bool                     // there is more to do before the answer
	gone    bool                     // the answer is that the device is absent, as far as the move goes
}

// take runs one step in one transaction, unless the fence says that it is over. The answer has no state while the step is pending.
func (b *Book) take(ctx context.Context, o mfpgate.MoveOrder, do func(*turn) error) (answer mfpgate.MoveAnswer, err error) {
	err = b.update(ctx, o.MFP, func(tx store.Tx) error {
		answer = mfpgate.MoveAnswer{}
		t, err := b.open(tx, o)
		if err != nil {
			return err
		}
		if t.f.Answer != nil && t.f.Seq == o.Step.Seq() {
			answer = *t.f.Answer
			answer.Seen = t.f.Seen.Merge(o.Seen)
			return nil
		}
		if err := do(t); err != nil {
			return err
		}
		t.f.Seq, t.f.Answer, t.f.Seen = o.Step.Seq(), nil, t.f.Seen.Merge(o.Seen)
		if err := b.trace(tx, t.r, t.f, mark{actor: o.To + "/management", move: o.Move, seq: t.f.Seq, digest: t.digest}); err != nil {
			return err
		}
		if !t.pending {
			t.f.Answer = &mfpgate.MoveAnswer{State: t.r.State, Digest: t.digest, Receipt: t.receipt}
			if t.gone {
				t.f.Answer.State = mfpgate.HoldingAbsent
			}
			answer = *t.f.Answer
		}
		answer.Seen = t.f.Seen
		return saveAll(tx, t.r, o.Move, t.f)
	})
	return answer, err
}

// open reads what an order is about, and holds it against the fence.
func (b *Book) open(tx store.Tx, o mfpgate.MoveOrder) (*turn, error) {
	r, err := loadRecord(tx, o.MFP)
	if err != nil {
		return nil, err
	}
	f, err := loadFence(tx, o.MFP, o.Move)
	if err != nil {
		return nil, err
	}
	t, seq := &turn{b: b, tx: tx, o: o, r: r, f: f}, o.Step.Seq()
	switch {
	case f.Seq > seq, f.Ended && f.Seq != seq && seq < back:
		return nil, fmt.Errorf("step %d after %d: %w", seq, f.Seq, region.ErrFenced)
	case r.Open && r.Move != o.Move && seq < back:
		return nil, t.refuse("move %s is open", r.Move)
	}
	return t, nil
}

// refuse says why what is held does not allow an order.
func (t *turn) refuse(why string, args ...any) error {
	state := t.r.State
	if state == mfpgate.HoldingAbsent {
		state = "absent"
	}
	return fmt.Errorf("%s: the device is %s here in epoch %d: %w", fmt.Sprintf(why, args...), state, t.r.Epoch, region.ErrOutOfTurn)
}

// needs returns an error unless the device is in a state.
func (t *turn) needs(state mfpgate.HoldingState) error {
	if t.r.State != state {
		return t.refuse("only a device that is %s can take this step", state)
	}
	return nil
}

// begin makes the order's move the one that the device takes part in.
func (t *turn) begin() {
	if t.r.Move != t.o.Move {
		t.r.Move, t.r.Before = t.o.Move, nil
	}
	t.r.Open = true
}

// leaving holds an order against a source that is active, and begins the move.
func (t *turn) leaving() error {
	if err := t.needs(mfpgate.HoldingActive); err != nil {
		return err
	}
	if t.o.Epoch != t.r.Epoch+1 {
		return t.refuse("epoch %d is not the next", t.o.Epoch)
	}
	t.begin()
	return nil
}

// own returns an error unless the order is of the move that the device takes part in, or did last.
func (t *turn) own() error {
	if t.r.Move != t.o.Move {
		return t.refuse("the move never began here")
	}
	return nil
}

func (t *turn) become(state mfpgate.HoldingState) {
	if t.r.State != state {
		t.r.State, t.r.Since = state, t.b.now()
	}
}

// end closes the move: another one may begin.
func (t *turn) end() {
	t.f.Ended = true
	if t.r.Move == t.o.Move {
		t.r.Open = false
	}
}

// mark says what an entry of the audit is about.
type mark struct {
	actor  string
	move   mfpgate.MoveID
	seq    int
	digest string
}

// trace writes an entry that says what a device is now, and adds it to what the move has seen.
func (b *Book) trace(tx store.Tx, r *record, f *fence, m mark) error {
	var seen mfpgate.Seen
	if f != nil {
		seen = f.Seen
	}
	after, err := json.Marshal(mfpgate.MoveTrace{
		Move: m.move, MFP: r.MFP, Region: b.o.Region, Epoch: r.Epoch, Seq: m.seq, State: string(r.State),
		Children: r.children(), Digest: m.digest, Seen: seen,
	})
	if err != nil {
		return err
	}
	n, err := b.journal.NextAudit(tx)
	if err != nil {
		return err
	}
	if f != nil {
		f.Seen = seen.Merge(mfpgate.Seen{b.o.Region + "/" + Room: n})
	}
	return b.journal.Audit(tx, journal.Entry{Actor: m.actor, Action: "holding.changed", Object: r.MFP, After: after})
}

func (b *Book) now() time.Time { return b.o.Clock.Now().Round(0).UTC() }
