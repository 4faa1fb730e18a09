package holding_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/holding"
)

func TestWhatIsHeldDecidesWhichOrderIsTaken(t *testing.T) {
	steps := append(forward[:len(forward):len(forward)], mfpgate.StepRetire)
	for _, c := range []struct {
		rule  string
		taken []mfpgate.MoveStep
		alter func(*mfpgate.MoveOrder)
		step  mfpgate.MoveStep
		want  error
	}{
		{"a lower step is fenced", steps[:4], nil, mfpgate.StepCopy, region.ErrFenced},
		{"a lower step of the target is fenced", steps[:6], nil, mfpgate.StepVerify, region.ErrFenced},
		{"an equal step is answered as before", steps[:4], nil, mfpgate.StepDrain, nil},
		{"delta needs a drained source", steps[:3], nil, mfpgate.StepDelta, region.ErrOutOfTurn},
		{"activate needs delta", steps[:4], nil, mfpgate.StepActivate, region.ErrOutOfTurn},
		{"activate needs something", nil, nil, mfpgate.StepActivate, region.ErrOutOfTurn},
		{"verify needs something", nil, nil, mfpgate.StepVerify, region.ErrOutOfTurn},
		{"retire needs a drained source", steps[:3], nil, mfpgate.StepRetire, region.ErrOutOfTurn},
		{"retire needs that delta was sent", steps[:4], nil, mfpgate.StepRetire, region.ErrOutOfTurn},
		{"delete needs a receipt", steps[:6], nil, mfpgate.StepDelete, region.ErrOutOfTurn},
		{"nothing is taken back after retire", steps[:7], nil, mfpgate.StepUndrain, region.ErrOutOfTurn},
		{"nothing is relinked after retire", steps[:7], nil, mfpgate.StepRelink, region.ErrOutOfTurn},
		{"the epoch is the next", nil, func(o *mfpgate.MoveOrder) { o.Epoch = 3 }, mfpgate.StepUnlink, region.ErrOutOfTurn},
		{"the epoch is the next, of drain too", nil, func(o *mfpgate.MoveOrder) { o.Epoch = 1 }, mfpgate.StepDrain, region.ErrOutOfTurn},
		{"one move at a time", steps[:2], func(o *mfpgate.MoveOrder) { o.Move = "mov_2" }, mfpgate.StepUnlink, region.ErrOutOfTurn},
		{"one move at a time, at the target", steps[:2], func(o *mfpgate.MoveOrder) { o.Move = "mov_2" }, mfpgate.StepActivate, region.ErrOutOfTurn},
		{"another move is not taken back", steps[:4], func(o *mfpgate.MoveOrder) { o.Move = "mov_2" }, mfpgate.StepUndrain, nil},
		{"another device is not here", steps[:4], func(o *mfpgate.MoveOrder) { o.MFP = "mfp_2" }, mfpgate.StepDrain, region.ErrOutOfTurn},
		{"of other regions", nil, func(o *mfpgate.MoveOrder) { o.From, o.To = "de", "fr" }, mfpgate.StepDrain, region.ErrOutOfTurn},
		{"the target does not drain", nil, func(o *mfpgate.MoveOrder) { o.From, o.To = "jp", "us" }, mfpgate.StepDrain, region.ErrOutOfTurn},
		{"no step", nil, func(o *mfpgate.MoveOrder) { o.Step = "format" }, mfpgate.StepDrain, holding.ErrInvalid},
		{"no move", nil, func(o *mfpgate.MoveOrder) { o.Move = "a/../b" }, mfpgate.StepDrain, holding.ErrInvalid},
		{"no device", nil, func(o *mfpgate.MoveOrder) { o.MFP = "a/b" }, mfpgate.StepDrain, holding.ErrInvalid},
		{"no policy", nil, func(o *mfpgate.MoveOrder) { o.Data = map[string]mfpgate.DataPolicy{"log": "burn"} }, mfpgate.StepCopy, holding.ErrInvalid},
	} {
		t.Run(c.rule, func(t *testing.T) {
			g := newRig(t)
			g.register()
			g.take(c.taken...)
			o := g.order(c.step)
			if c.alter != nil {
				c.alter(&o)
			}
			state := g.holding("us").State
			if _, err := g.books[where(c.step)].Order(t.Context(), o); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if got := g.holding("us").State; got != state {
				t.Errorf("the source became %s", got)
			}
		})
	}
}

func TestATransferIsHeldAgainstItself(t *testing.T) {
	good := func() mfpgate.HoldingTransfer {
		items := []mfpgate.HeldItem{{Class: "log", Name: "a", Value: []byte("1")}, {Class: "log", Name: "b"}}
		s := []mfpgate.HeldService{{ID: "scan", Children: []string{"ocr"}}}
		return mfpgate.HoldingTransfer{
			Order: mfpgate.MoveOrder{Move: move, Step: mfpgate.StepCopy, Epoch: 2, MFP: mfp, From: "us", To: "jp", Registration: "r1.jp.2.new",
				Seen: mfpgate.Seen{"us/services": 5}},
			Services: s, Items: items, Digest: holding.Digest(s, items),
		}
	}
	again := func(t *mfpgate.HoldingTransfer) { t.Digest = holding.Digest(t.Services, t.Items) }
	for _, c := range []struct {
		rule  string
		alter func(*mfpgate.HoldingTransfer)
		want  error
	}{
		{"a good one", func(*mfpgate.HoldingTransfer) {}, nil},
		{"another digest", func(t *mfpgate.HoldingTransfer) { t.Digest = strings.Repeat("0", 64) }, region.ErrOutOfTurn},
		{"an item is missing", func(t *mfpgate.HoldingTransfer) { t.Items = t.Items[:1] }, region.ErrOutOfTurn},
		{"an item twice", func(t *mfpgate.HoldingTransfer) { t.Items = append(t.Items, t.Items[0]); again(t) }, region.ErrOutOfTurn},
		{"an item that is to stay", func(t *mfpgate.HoldingTransfer) {
			t.Order.Data = map[string]mfpgate.DataPolicy{"log": mfpgate.DataLeave}
		}, region.ErrOutOfTurn},
		{"too large", func(t *mfpgate.HoldingTransfer) { t.Items[0].Value = make([]byte, holding.MaxItem+1); again(t) }, region.ErrOutOfTurn},
		{"too many", func(t *mfpgate.HoldingTransfer) {
			for n := range holding.MaxItems {
				t.Items = append(t.Items, mfpgate.HeldItem{Class: "many", Name: fmt.Sprint(n)})
			}
			again(t)
		}, region.ErrOutOfTurn},
		{"a child that is not offered", func(t *mfpgate.HoldingTransfer) { t.Services[0].Children = []string{"translate"}; again(t) }, region.ErrOutOfTurn},
		{"a service that is not offered", func(t *mfpgate.HoldingTransfer) { t.Services[0].ID = "fax"; again(t) }, region.ErrOutOfTurn},
		{"for another region", func(t *mfpgate.HoldingTransfer) { t.Order.To = "de" }, region.ErrOutOfTurn},
		{"delta before copy", func(t *mfpgate.HoldingTransfer) { t.Order.Step = mfpgate.StepDelta }, region.ErrOutOfTurn},
		{"a step that sends nothing", func(t *mfpgate.HoldingTransfer) { t.Order.Step = mfpgate.StepDrain }, region.ErrOutOfTurn},
		{"an item's name", func(t *mfpgate.HoldingTransfer) { t.Items[0].Name = "a/b"; again(t) }, holding.ErrInvalid},
		{"no registration", func(t *mfpgate.HoldingTransfer) { t.Order.Registration = "" }, holding.ErrInvalid},
	} {
		t.Run(c.rule, func(t *testing.T) {
			g := newRig(t)
			o := g.options("jp", g.stores["jp"])
			o.Offers = func() ([]mfpgate.ServiceOffer, error) {
				return []mfpgate.ServiceOffer{{ID: "scan", Children: []string{"ocr"}}}, nil
			}
			b, err := holding.New(o)
			if err != nil {
				t.Fatal(err)
			}
			in := good()
			c.alter(&in)
			if _, err := b.Receive(t.Context(), in); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want != nil && g.rows("jp") != 0 {
				t.Error("it left something")
			}
		})
	}
}

// TestATransferThatIsOvertaken has the first try of a copy arrive, with what was true then, after the second one.
func TestATransferThatIsOvertaken(t *testing.T) {
	g := newRig(t)
	g.register()
	deliver, lose := g.books["jp"].Receive, true
	o := g.options("us", g.stores["us"])
	var sent []mfpgate.HoldingTransfer
	o.Send = func(ctx context.Context, _ string, in mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
		sent = append(sent, in)
		if lose {
			return mfpgate.MoveAnswer{}, errors.New("no route to host")
		}
		return deliver(ctx, in)
	}
	us, err := holding.New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.books["us"] = us
	if _, err := us.Order(t.Context(), g.order(mfpgate.StepCopy)); err == nil {
		t.Fatal("a copy that did not arrive was a success")
	}
	g.put("us", "address-book", "carl", "3")
	lose = false
	want := g.take(mfpgate.StepCopy)
	if _, err := deliver(t.Context(), sent[0]); !errors.Is(err, region.ErrFenced) {
		t.Errorf("the first try: %v", err)
	}
	if got, err := deliver(t.Context(), sent[1]); err != nil || got.Digest != want.Digest {
		t.Errorf("the second try once more: %+v, %v", got, err)
	}
	if g.holding("jp").Digest != want.Digest || g.rows("jp") != 5 {
		t.Errorf("jp has %d rows", g.rows("jp"))
	}
}

// TestATargetThatDoesNotCopy says that it has, and has not.
func TestATargetThatDoesNotCopy(t *testing.T) {
	for _, answer := range []mfpgate.MoveAnswer{{}, {State: mfpgate.HoldingPrepared}, {State: mfpgate.HoldingPrepared, Digest: strings.Repeat("a", 64)}} {
		g := newRig(t)
		g.register()
		o := g.options("us", g.stores["us"])
		o.Send = func(context.Context, string, mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) { return answer, nil }
		us, err := holding.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := us.Order(t.Context(), g.order(mfpgate.StepCopy)); !errors.Is(err, region.ErrOutOfTurn) {
			t.Errorf("%+v: %v", answer, err)
		}
	}
}

// TestWhatIsAcknowledgedBeforeADrainIsMoved writes from several devices' connections while the source is drained.
func TestWhatIsAcknowledgedBeforeADrainIsMoved(t *testing.T) {
	for range 20 {
		g := newRig(t)
		g.register()
		g.take(mfpgate.StepCopy, mfpgate.StepVerify)
		var mu sync.Mutex
		acknowledged := map[string]bool{}
		var wait sync.WaitGroup
		for w := range 4 {
			wait.Go(func() {
				for n := range 100 {
					name := fmt.Sprintf("w%d-%d", w, n)
					switch err := g.books["us"].Put(t.Context(), mfp, "scan", name, []byte(name)); {
					case err == nil:
						mu.Lock()
						acknowledged[name] = true
						mu.Unlock()
					case errors.Is(err, holding.ErrDraining):
						return
					default:
						t.Error(err)
					}
				}
			})
		}
		g.take(mfpgate.StepDrain, mfpgate.StepDelta, mfpgate.StepActivate)
		wait.Wait()
		for name := range acknowledged {
			if _, err := g.books["jp"].Get(t.Context(), mfp, "scan", name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		names, _ := g.books["jp"].Items(t.Context(), mfp, "scan")
		if len(names) != len(acknowledged) {
			t.Errorf("%d items of %d that were acknowledged", len(names), len(acknowledged))
		}
	}
}
