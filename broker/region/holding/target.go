package holding

import (
	"context"
	"fmt"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
)

// What one transaction stages or purges: below the store's bounds, with room for the records and for keys.
const (
	stageKeys  = 56
	stageBytes = 384 << 10
)

// Receive takes what the services of another region send at copy and delta, and prepares the device. It comes again without a further
// effect; a try that is older than one that was received is refused. region.ErrFenced, region.ErrOutOfTurn, ErrInvalid.
func (b *Book) Receive(ctx context.Context, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
	answer, err := b.receive(ctx, t)
	if err == nil {
		err = b.purge(ctx, t.Order.MFP)
	}
	if err != nil {
		return mfpgate.MoveAnswer{}, fmt.Errorf("receive %s, move %.80s of device %.80s: %w", t.Order.Step, t.Order.Move, t.Order.MFP, err)
	}
	return answer, nil
}

func (b *Book) receive(ctx context.Context, in mfpgate.HoldingTransfer) (answer mfpgate.MoveAnswer, err error) {
	o := in.Order
	services, data, err := b.checkTransfer(in)
	if err != nil {
		return answer, err
	}
	// First transaction: the fence rises, and the items have a generation to go to.
	var gen uint64
	sent := o.Seen[o.From+"/"+Room]
	err = b.update(ctx, o.MFP, func(tx store.Tx) error {
		answer, gen = mfpgate.MoveAnswer{}, 0
		t, err := b.open(tx, o)
		if err != nil {
			return err
		}
		same := t.f.Seq == o.Step.Seq()
		switch {
		case same && t.f.Answer != nil && t.f.Digest == in.Digest:
			answer = *t.f.Answer
			answer.Seen = t.f.Seen.Merge(o.Seen)
			return nil
		case same && sent < t.f.Source:
			return fmt.Errorf("the source has sent again since: %w", region.ErrFenced)
		}
		if err := t.arriving(); err != nil {
			return err
		}
		t.drop()
		t.r.LastGen++
		gen = t.r.LastGen
		t.f.Staging, t.f.Source, t.f.Seq, t.f.Answer = gen, sent, o.Step.Seq(), nil
		t.f.Seen = t.f.Seen.Merge(o.Seen)
		return saveAll(tx, t.r, o.Move, t.f)
	})
	if err != nil || gen == 0 {
		return answer, err
	}
	if err := b.stage(ctx, o, gen, in.Items); err != nil {
		return answer, err
	}
	var read []mfpgate.HeldItem
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		read, err = readGeneration(s, o.MFP, gen, nil)
		return err
	})
	if err != nil {
		return answer, err
	}
	digest := Digest(services, read)
	if digest != in.Digest {
		return answer, errBusy // another try has taken the generation away
	}
	// Last transaction: the generation is in use.
	err = b.update(ctx, o.MFP, func(tx store.Tx) error {
		t, err := b.staging(tx, o, gen)
		if err != nil {
			return err
		}
		if t.f.Answer != nil { // the commit was not seen
			answer = *t.f.Answer
			answer.Seen = t.f.Seen
			return nil
		}
		if t.r.State != mfpgate.HoldingPrepared {
			before := t.r.standing
			t.r.Before = &before
		}
		t.r.discard()
		t.r.Gen, t.r.Data = gen, data
		t.r.standing = standing{State: mfpgate.HoldingPrepared, Epoch: o.Epoch, Registration: o.Registration, Since: b.now(), Services: services}
		t.f.Digest, t.f.Got = digest, o.Step
		if err := b.trace(tx, t.r, t.f, mark{actor: o.From + "/" + Room, move: o.Move, seq: o.Step.Seq(), digest: digest}); err != nil {
			return err
		}
		t.f.Answer = &mfpgate.MoveAnswer{State: t.r.State, Digest: digest}
		answer = *t.f.Answer
		answer.Seen = t.f.Seen
		return saveAll(tx, t.r, o.Move, t.f)
	})
	return answer, err
}

// arriving holds a transfer against what the device is here, and begins the move.
func (t *turn) arriving() error {
	switch t.r.State {
	case mfpgate.HoldingPrepared:
		if err := t.own(); err != nil {
			return err
		}
		if t.o.Epoch != t.r.Epoch {
			return t.refuse("epoch %d is not that of the copy", t.o.Epoch)
		}
	case mfpgate.HoldingAbsent, mfpgate.HoldingAborted, mfpgate.HoldingMoved, mfpgate.HoldingForeign:
		if t.o.Step != mfpgate.StepCopy {
			return t.refuse("nothing was copied before")
		}
		if t.r.State != mfpgate.HoldingForeign && t.o.Epoch <= t.r.Epoch || t.o.Epoch < t.r.Epoch {
			return t.refuse("epoch %d is over", t.o.Epoch)
		}
	default:
		return t.refuse("nothing can be copied to it")
	}
	t.begin()
	return nil
}

// drop makes waste of what a try has staged that was not finished.
func (t *turn) drop() {
	if t.f.Staging != 0 && t.f.Staging != t.r.Gen {
		t.r.Waste = append(t.r.Waste, waste{Gen: t.f.Staging})
	}
	t.f.Staging = 0
}

// checkTransfer holds a transfer against itself, the bounds, and what this region offers.
func (b *Book) checkTransfer(in mfpgate.HoldingTransfer) ([]mfpgate.HeldService, map[string]amount, error) {
	o := in.Order
	if err := checkOrder(o); err != nil {
		return nil, nil, err
	}
	if o.Step != mfpgate.StepCopy && o.Step != mfpgate.StepDelta || o.To != b.o.Region {
		return nil, nil, fmt.Errorf("region %s does not take it: %w", b.o.Region, region.ErrOutOfTurn)
	}
	if !registrationID.MatchString(o.Registration) {
		return nil, nil, fmt.Errorf("registration %.40q: %w", o.Registration, ErrInvalid)
	}
	services, err := checkServices(in.Services)
	if err != nil {
		return nil, nil, err
	}
	var sum record
	seen := make(map[[2]string]bool, len(in.Items))
	for _, i := range in.Items {
		name := [2]string{i.Class, i.Name}
		if err := checkItem(i.Class, i.Name); err != nil {
			return nil, nil, err
		}
		if seen[name] || len(i.Value) > MaxItem || policy(o.Data, i.Class) != mfpgate.DataMove {
			return nil, nil, fmt.Errorf("item %s/%s comes twice, is too large or is not to be moved: %w", i.Class, i.Name, region.ErrOutOfTurn)
		}
		seen[name] = true
		sum.count(i.Class, 1, int64(len(i.Value)))
	}
	if all := sum.total(); all.Items > MaxItems || all.Bytes > MaxBytes || len(sum.Data) > MaxClasses {
		return nil, nil, fmt.Errorf("%d items of %d bytes: %w", all.Items, all.Bytes, region.ErrOutOfTurn)
	}
	if Digest(services, in.Items) != in.Digest {
		return nil, nil, fmt.Errorf("what was sent does not have the digest that was sent: %w", region.ErrOutOfTurn)
	}
	return services, sum.Data, b.offered(services)
}

func (b *Book) offered(services []mfpgate.HeldService) error {
	if b.o.Offers == nil {
		return nil
	}
	offers, err := b.o.Offers()
	if err != nil {
		return fmt.Errorf("what the region offers: %w", err)
	}
	for _, s := range services {
		at := slices.IndexFunc(offers, func(o mfpgate.ServiceOffer) bool { return o.ID == s.ID })
		if at < 0 {
			return fmt.Errorf("region %s does not offer %s: %w", b.o.Region, s.ID, region.ErrOutOfTurn)
		}
		for _, c := range s.Children {
			if !slices.Contains(offers[at].Children, c) {
				return fmt.Errorf("region %s does not offer %s of %s: %w", b.o.Region, c, s.ID, region.ErrOutOfTurn)
			}
		}
	}
	return nil
}

// staging opens a transaction of a try, unless another one, or an abort, has come.
func (b *Book) staging(tx store.Tx, o mfpgate.MoveOrder, gen uint64) (*turn, error) {
	t, err := b.open(tx, o)
	if err == nil && (t.f.Staging != gen || t.r.Move != o.Move) {
		err = errBusy
	}
	return t, err
}

// stage writes items to a generation that nobody sees.
func (b *Book) stage(ctx context.Context, o mfpgate.MoveOrder, gen uint64, items []mfpgate.HeldItem) error {
	for len(items) > 0 {
		n, size := 0, 0
		for n < len(items) && n < stageKeys && (n == 0 || size+len(items[n].Value) <= stageBytes) {
			size += len(items[n].Value)
			n++
		}
		err := store.UpdateUntilKnown(ctx, b.o.Store, func(tx store.Tx) error {
			if _, err := b.staging(tx, o, gen); err != nil {
				return err
			}
			for _, i := range items[:n] {
				if err := tx.Set(itemKey(o.MFP, gen, i.Class, i.Name), i.Value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// readBack takes the steps that look at what was prepared: verify and activate.
func (b *Book) readBack(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	var gen uint64
	var digest string
	err := b.o.Store.View(ctx, func(s store.Snapshot) error {
		r, err := loadRecord(s, o.MFP)
		if err != nil || r.State != mfpgate.HoldingPrepared {
			return err
		}
		gen = r.Gen
		items, err := readItems(s, r, nil)
		digest = Digest(r.Services, items)
		return err
	})
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	return b.take(ctx, o, func(t *turn) error {
		if err := t.needs(mfpgate.HoldingPrepared); err != nil {
			return err
		}
		if err := t.own(); err != nil {
			return err
		}
		if gen != t.r.Gen {
			return errBusy
		}
		if t.f.Answer == nil {
			return t.refuse("what is sent has not arrived whole")
		}
		t.digest = digest
		if o.Step == mfpgate.StepVerify {
			return nil
		}
		if t.f.Got != mfpgate.StepDelta || t.f.Digest != digest {
			return t.refuse("what is here is not what delta sent")
		}
		t.r.Open = false
		t.become(mfpgate.HoldingActive)
		return nil
	})
}

// abort forgets what was prepared, and remembers that it was aborted, also when it has never heard of the move.
func (b *Book) abort(t *turn) error {
	if t.r.Move != t.o.Move && t.f.Seq >= mfpgate.StepActivate.Seq() {
		return t.refuse("it has begun another move since")
	}
	t.drop()
	if t.r.Move == t.o.Move && t.r.Before != nil {
		t.r.discard()
		t.r.standing, t.r.Before = *t.r.Before, nil
	}
	if t.r.State == mfpgate.HoldingAbsent {
		t.become(mfpgate.HoldingAborted)
		if t.r.Move == "" {
			t.r.Move = t.o.Move
		}
	}
	t.end()
	return nil
}
