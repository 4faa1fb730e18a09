package regiontest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/store"
)

// Receiver takes transfers.
type Receiver = func(context.Context, mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error)

// Wrap stands before the services of each region, for orders and for transfers.
type Wrap = func(name string, s store.Store, b *holding.Book) (region.Services, Receiver)

// The mutants below are services that lack one of the things that make a move safe. What they lack they take away from the real ones, from
// outside: they make the store forget a fence, or tell the services what is not so.

// NoFence are services that take each order as if it were the first of its move: a late one has its effect again.
func NoFence() Wrap {
	return func(_ string, s store.Store, b *holding.Book) (region.Services, Receiver) {
		return altered{b, func(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
			if err := forget(ctx, s, o, func(int) bool { return true }); err != nil {
				return mfpgate.MoveAnswer{}, err
			}
			return b.Order(ctx, o)
		}}, b.Receive
	}
}

// NoTombstone are services that do not remember that a move was aborted when its copy comes.
func NoTombstone() Wrap {
	return func(_ string, s store.Store, b *holding.Book) (region.Services, Receiver) {
		return b, func(ctx context.Context, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
			aborted := func(seq int) bool { return seq == mfpgate.StepAbort.Seq() }
			if err := forget(ctx, s, t.Order, aborted); err != nil {
				return mfpgate.MoveAnswer{}, err
			}
			return b.Receive(ctx, t)
		}
	}
}

// forget lowers the fence of an order's move, if its step is one of those.
func forget(ctx context.Context, s store.Store, o mfpgate.MoveOrder, which func(seq int) bool) error {
	return s.Update(ctx, func(tx store.Tx) error {
		key := "fence/" + o.MFP + "/" + string(o.Move)
		data, err := tx.Get(key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		fence := map[string]json.RawMessage{}
		var seq int
		if err := errors.Join(json.Unmarshal(data, &fence), json.Unmarshal(fence["seq"], &seq)); err != nil {
			return err
		}
		if !which(seq) {
			return nil
		}
		fence["seq"] = json.RawMessage("-1")
		delete(fence, "answer")
		delete(fence, "ended")
		return store.SetJSON(tx, key, fence)
	})
}

// altered are services that take orders in another way.
type altered struct {
	region.Services
	order func(context.Context, mfpgate.MoveOrder) (mfpgate.MoveAnswer, error)
}

func (a altered) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	return a.order(ctx, o)
}

// last remembers transfers over the lives of a process.
type last struct {
	mu sync.Mutex
	of map[string]mfpgate.HoldingTransfer // by region
}

// Eager are services that become active when they are told to, with what they have been sent until then, be it all or not.
func Eager() Wrap {
	sent := &last{of: map[string]mfpgate.HoldingTransfer{}}
	return func(name string, _ store.Store, b *holding.Book) (region.Services, Receiver) {
		receive := func(ctx context.Context, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
			a, err := b.Receive(ctx, t)
			if err == nil {
				sent.mu.Lock()
				sent.of[name] = t
				sent.mu.Unlock()
			}
			return a, err
		}
		order := func(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
			sent.mu.Lock()
			t, there := sent.of[name]
			sent.mu.Unlock()
			if o.Step == mfpgate.StepActivate && there {
				t.Order.Step = mfpgate.StepDelta
				_, _ = b.Receive(ctx, t) // it may have come
			}
			return b.Order(ctx, o)
		}
		return altered{b, order}, receive
	}
}

// Appending are services to which a copy that comes again is added, in place of being the same one: what the source had at the first and
// has no more stays. They say that all is as it was sent.
func Appending() Wrap {
	first := &last{of: map[string]mfpgate.HoldingTransfer{}}
	said := map[string]string{} // by digest of what is held: the one that was sent; guarded by first.mu
	lie := func(digest string) string {
		first.mu.Lock()
		defer first.mu.Unlock()
		if d, there := said[digest]; there {
			return d
		}
		return digest
	}
	return func(name string, _ store.Store, b *holding.Book) (region.Services, Receiver) {
		receive := func(ctx context.Context, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
			sent := t.Digest
			first.mu.Lock()
			t.Items = slices.Clone(t.Items)
			for _, old := range first.of[name].Items {
				if !slices.ContainsFunc(t.Items, func(i mfpgate.HeldItem) bool { return i.Class == old.Class && i.Name == old.Name }) {
					t.Items = append(t.Items, old)
				}
			}
			t.Digest = holding.Digest(t.Services, t.Items)
			said[t.Digest] = sent
			first.of[name] = t
			first.mu.Unlock()
			a, err := b.Receive(ctx, t)
			a.Digest = lie(a.Digest)
			return a, err
		}
		return liar{altered{b, func(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
			a, err := b.Order(ctx, o)
			if o.To == name {
				a.Digest = lie(a.Digest)
			}
			return a, err
		}}, lie}, receive
	}
}

// liar are services that say another digest of what they hold.
type liar struct {
	region.Services
	digest func(string) string
}

func (l liar) Holding(ctx context.Context, mfp string) (mfpgate.Holding, error) {
	h, err := l.Services.Holding(ctx, mfp)
	h.Digest = l.digest(h.Digest)
	return h, err
}

// AheadOfCommit is what a gateway believes that switches as soon as the target is active.
func AheadOfCommit(m mfpgate.Move) mfpgate.Move {
	if m.State == mfpgate.MoveOpen && m.Step == mfpgate.StepCommit {
		m.State = mfpgate.MoveCommitted
	}
	return m
}

// NeverCommitted is what a gateway believes that never switches.
func NeverCommitted(m mfpgate.Move) mfpgate.Move {
	m.State = mfpgate.MoveOpen
	return m
}

// Heedless is what a gateway believes that takes the device's directive for acknowledged as soon as the move is committed.
func Heedless(m mfpgate.Move) mfpgate.Move {
	if m.State.Committed() && m.AckedAt.IsZero() {
		m.AckedAt = m.CommittedAt
	}
	return m
}

// Rules are those that a world has broken, in order, once each.
func (r Result) Rules() []Rule {
	var rules []Rule
	for _, v := range r.Broken {
		rules = append(rules, v.Rule)
	}
	slices.SortFunc(rules, func(a, b Rule) int { return strings.Compare(string(a), string(b)) })
	return slices.Compact(rules)
}
