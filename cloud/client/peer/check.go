package peer

import (
	"encoding/hex"
	"fmt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
)

const (
	maxMFP  = 128 // bytes
	maxSeen = 64  // writers of audit entries that one move can have
)

func orderOf(o mfpgate.MoveOrder) string {
	return fmt.Sprintf("order %s of %s for %s", o.Step, o.Move, o.MFP)
}

// wrapped is failed, for an error that may be none.
func (p *Peer) wrapped(what string, err error) error {
	if err == nil {
		return nil
	}
	return p.failed(what, err)
}

// checkMFP takes what may stand alone in a path.
func checkMFP(mfp string) error {
	ok := mfp != "" && len(mfp) <= maxMFP && mfp[0] != '.'
	for _, c := range []byte(mfp) {
		ok = ok && ('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '.' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%q names no device: %w", clip(mfp), mfpgate.ErrRefused)
	}
	return nil
}

func checkOrder(o mfpgate.MoveOrder) error {
	if o.Step.Seq() < 0 {
		return fmt.Errorf("%q is no step: %w", clip(string(o.Step)), mfpgate.ErrRefused)
	}
	return checkMFP(o.MFP)
}

// known reports whether a state is one that there is.
func known(s mfpgate.HoldingState) bool {
	switch s {
	case mfpgate.HoldingAbsent, mfpgate.HoldingPrepared, mfpgate.HoldingActive, mfpgate.HoldingDraining, mfpgate.HoldingMoved, mfpgate.HoldingAborted,
		mfpgate.HoldingForeign:
		return true
	}
	return false
}

func digest(s string) bool {
	sum, err := hex.DecodeString(s)
	return s == "" || err == nil && len(sum) == 32
}

func (p *Peer) checkHolding(h mfpgate.Holding, mfp string) error {
	switch {
	case h.MFP != mfp:
		return answer("it is of device %q", clip(h.MFP))
	case h.Region != p.o.Region:
		return answer("it is of region %q", clip(h.Region))
	case !known(h.State) || !digest(h.Digest):
		return answer("state %q with digest %q is none", clip(string(h.State)), clip(h.Digest))
	case h.Receipt != nil:
		return p.checkReceipt(*h.Receipt, mfp, h.Receipt.Move) // which may be of an earlier move
	}
	return nil
}

// answered checks what came of an order.
func (p *Peer) answered(what string, o mfpgate.MoveOrder, out mfpgate.MoveAnswer, err error) (mfpgate.MoveAnswer, error) {
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	switch {
	case !known(out.State) || !digest(out.Digest):
		err = answer("state %q with digest %q is none", clip(string(out.State)), clip(out.Digest))
	case len(out.Seen) > maxSeen:
		err = answer("it has seen more than %d writers", maxSeen)
	case out.Receipt != nil:
		err = p.checkReceipt(*out.Receipt, o.MFP, o.Move)
	}
	if err != nil {
		return mfpgate.MoveAnswer{}, p.failed(what, err)
	}
	return out, nil
}

// checkReceipt holds a receipt against what was asked for and against its own signature, if the region's keys are known.
func (p *Peer) checkReceipt(r mfpgate.DeletionReceipt, mfp string, move mfpgate.MoveID) error {
	if r.Region != p.o.Region || r.MFP != mfp || r.Move != move {
		return answer("its receipt is of %q in region %q for %q", clip(r.MFP), clip(r.Region), clip(string(r.Move)))
	}
	if len(p.o.Keys) == 0 {
		return nil
	}
	if err := jws.CheckReceipt(p.o.Keys, r); err != nil {
		return answer("its receipt: %v", err)
	}
	return nil
}
