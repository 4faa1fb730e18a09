package holding

import (
	"context"
	"fmt"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
)

func (b *Book) unlink(t *turn) error {
	if err := t.leaving(); err != nil {
		return err
	}
	for _, child := range slices.Compact(slices.Sorted(slices.Values(t.o.Children))) {
		if t.r.unlink(child) {
			t.f.Unlinked = append(t.f.Unlinked, child)
		}
	}
	return nil
}

func (b *Book) drain(t *turn) error {
	if err := t.leaving(); err != nil {
		return err
	}
	t.become(mfpgate.HoldingDraining)
	return nil
}

// undrain comes to every source of a move that is taken back, also to one that was never drained or has never heard of the move.
func (b *Book) undrain(t *turn) error {
	if t.r.Move == t.o.Move {
		if t.r.State == mfpgate.HoldingMoved || t.r.State == mfpgate.HoldingAbsent && t.f.Seq >= mfpgate.StepRetire.Seq() {
			return t.refuse("what was purged cannot be taken back")
		}
		if t.r.State == mfpgate.HoldingDraining {
			t.become(mfpgate.HoldingActive)
		}
	}
	if len(t.f.Unlinked) == 0 {
		t.end()
	}
	return nil
}

// relink links what unlink has unlinked, whatever the order names.
func (b *Book) relink(t *turn) error {
	if t.r.Move == t.o.Move {
		if t.r.State == mfpgate.HoldingMoved || t.r.State == mfpgate.HoldingDraining {
			return t.refuse("it must be undrained first")
		}
		for _, child := range t.f.Unlinked {
			t.r.link(child)
		}
	}
	t.end()
	return nil
}

// send hands what is moved to the target. Its fence rises before anything is sent, so that no earlier step can change what is on its way;
// the number of that audit entry, which goes with the transfer, tells the target which try is the later one.
func (b *Book) send(ctx context.Context, o mfpgate.MoveOrder) (answer mfpgate.MoveAnswer, err error) {
	needs := mfpgate.HoldingActive
	if o.Step == mfpgate.StepDelta {
		needs = mfpgate.HoldingDraining
	}
	unlock := b.sending.lock(o.MFP) // a later try must not send what an earlier one has read
	defer func() { unlock() }()
	var at *record
	var items []mfpgate.HeldItem
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		if at, err = loadRecord(s, o.MFP); err != nil || at.State != needs {
			return err
		}
		items, err = readItems(s, at, func(class string) bool { return policy(o.Data, class) == mfpgate.DataMove })
		return err
	})
	if err != nil {
		return answer, err
	}
	digest := Digest(at.Services, items)
	var try uint64
	answer, err = b.take(ctx, o, func(t *turn) error {
		if err := t.needs(needs); err != nil {
			return err
		}
		if o.Step == mfpgate.StepCopy {
			if err := t.leaving(); err != nil {
				return err
			}
		} else if err := t.own(); err != nil {
			return err
		}
		if at.State != needs || !slices.Equal(at.children(), t.r.children()) {
			return errBusy
		}
		t.f.Try++
		try, t.digest, t.pending = t.f.Try, digest, true
		return nil
	})
	if err != nil || answer.State != "" {
		return answer, err
	}
	unlock()
	unlock = func() {}

	o.Seen = answer.Seen
	got, err := b.o.Send(ctx, o.To, mfpgate.HoldingTransfer{Order: o, Services: at.Services, Items: items, Digest: digest})
	switch {
	case err != nil:
		return mfpgate.MoveAnswer{}, fmt.Errorf("send to region %s: %w", o.To, err)
	case got.Digest != digest || got.State != mfpgate.HoldingPrepared:
		return mfpgate.MoveAnswer{}, fmt.Errorf("region %s says that it is %q with digest %.16q, and was sent %.16q: %w", o.To, got.State, got.Digest, digest, region.ErrOutOfTurn)
	case len(got.Seen) > maxWriters:
		return mfpgate.MoveAnswer{}, fmt.Errorf("answer of region %s: %w", o.To, ErrInvalid)
	}
	err = b.update(ctx, o.MFP, func(tx store.Tx) error {
		t, err := b.open(tx, o)
		if err != nil {
			return err
		}
		t.f.Seen = t.f.Seen.Merge(got.Seen)
		if t.f.Answer == nil {
			if t.f.Try != try {
				return errBusy
			}
			t.f.Answer = &mfpgate.MoveAnswer{State: t.r.State, Digest: digest}
			t.f.Sent = o.Step == mfpgate.StepDelta
		}
		answer = *t.f.Answer
		answer.Seen = t.f.Seen
		return store.SetJSON(tx, fenceKey(o.MFP, o.Move), t.f)
	})
	return answer, err
}

// retire says that the device has moved, purges what does not stay, and only then gives the receipt.
func (b *Book) retire(ctx context.Context, o mfpgate.MoveOrder) (answer mfpgate.MoveAnswer, err error) {
	var whole string
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		r, err := loadRecord(s, o.MFP)
		if err != nil || r.State != mfpgate.HoldingDraining { // only what is drained cannot change any more
			return err
		}
		items, err := readItems(s, r, nil)
		whole = Digest(r.Services, items)
		return err
	})
	if err != nil {
		return answer, err
	}
	var receipt mfpgate.DeletionReceipt
	answer, err = b.take(ctx, o, func(t *turn) error {
		t.pending = true
		if err := t.own(); err != nil {
			return err
		}
		if t.f.Seq == o.Step.Seq() { // it was cut short
			if t.r.Receipt == nil {
				return t.refuse("what it retired is gone")
			}
			receipt = *t.r.Receipt
			return nil
		}
		if err := t.needs(mfpgate.HoldingDraining); err != nil {
			return err
		}
		if !t.f.Sent {
			return t.refuse("what was not sent is not purged")
		}
		if whole == "" {
			return errBusy
		}
		receipt = t.leave(whole)
		return nil
	})
	if err != nil || answer.State != "" {
		return answer, err
	}
	if err := b.purge(ctx, o.MFP); err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	receipt.PurgedAt = b.now()
	if b.o.Sign != nil {
		if receipt.Signed, err = b.o.Sign(receipt); err != nil {
			return mfpgate.MoveAnswer{}, fmt.Errorf("sign the receipt: %w", err)
		}
	}
	err = b.update(ctx, o.MFP, func(tx store.Tx) error {
		t, err := b.open(tx, o)
		if err != nil {
			return err
		}
		if t.f.Answer == nil {
			t.f.Answer = &mfpgate.MoveAnswer{State: mfpgate.HoldingMoved, Receipt: &receipt}
			if t.r.Move == o.Move {
				t.r.Receipt = &receipt
			}
		}
		answer = *t.f.Answer
		answer.Seen = t.f.Seen
		return saveAll(tx, t.r, o.Move, t.f)
	})
	return answer, err
}

// leave makes a drained device, all of which has a digest, one that has moved. It returns the receipt of a purge that is to be made.
func (t *turn) leave(digest string) mfpgate.DeletionReceipt {
	stays := func(class string) bool { return policy(t.o.Data, class) == mfpgate.DataLeave }
	receipt := mfpgate.DeletionReceipt{
		ID: mfpgate.NewID(t.b.o.Clock, "rcp"), Region: t.b.o.Region, MFP: t.o.MFP, Move: t.o.Move, Digest: digest,
		Purged: t.r.held(func(class string) bool { return !stays(class) }), Left: t.r.held(stays),
	}
	gone := waste{Gen: t.r.Gen}
	if len(receipt.Left) > 0 {
		t.r.Left = append(t.r.Left, left{Gen: t.r.Gen, Move: t.o.Move, Data: receipt.Left})
		for _, d := range receipt.Left {
			gone.Keep = append(gone.Keep, d.Class)
		}
	}
	t.r.Waste, t.r.Gen, t.r.Data, t.r.Services = append(t.r.Waste, gone), 0, nil, nil
	t.r.To, t.r.Epoch, t.r.Receipt = t.o.To, t.o.Epoch, &receipt
	t.r.Open = false
	t.become(mfpgate.HoldingMoved)
	return receipt
}

// forget drops the tombstone. The fence stays, and so does what the law wants to stay.
func (b *Book) forget(t *turn) error {
	if t.f.Seq < mfpgate.StepRetire.Seq() || t.f.Answer == nil {
		return t.refuse("only what was retired can be deleted")
	}
	t.receipt = t.f.Answer.Receipt
	t.end()
	if t.r.Move != t.o.Move { // the device has come back meanwhile, and what there is now is not that move's
		t.gone = true
		return nil
	}
	t.r.standing = standing{State: mfpgate.HoldingAbsent, Epoch: t.r.Epoch, Since: t.b.now()}
	return t.tx.Delete(checkInKey(t.r.MFP))
}
