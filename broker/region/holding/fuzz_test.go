package holding_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/tests/need"
)

var allSteps = []mfpgate.MoveStep{mfpgate.StepUnlink, mfpgate.StepCopy, mfpgate.StepVerify, mfpgate.StepDrain, mfpgate.StepDelta, mfpgate.StepActivate,
	mfpgate.StepRetire, mfpgate.StepDelete, mfpgate.StepAbort, mfpgate.StepUndrain, mfpgate.StepRelink, mfpgate.StepCheck}

// FuzzOrders has two regions take orders of two moves, one there and one back or both there, in any order and any number, with writes in
// between, and late copies. Nothing may be left over, no step be taken behind its fence, and what a region counts is what it has.
func FuzzOrders(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add([]byte{0, 1, 8, 9, 10, 48, 1})
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 19, 20, 21, 22, 7, 23})
	f.Add([]byte{0, 1, 2, 40, 3, 4, 8, 49, 9, 10, 32, 33, 34, 35, 36, 37})
	f.Fuzz(func(t *testing.T, orders []byte) {
		if len(orders) <= 64 {
			anyOrders(t, orders)
		}
	})
}

// TestOrdersInAnyOrder is FuzzOrders with some sequences.
func TestOrdersInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range need.Seeds(300) {
		orders := make([]byte, 10+r.IntN(50))
		for i := range orders {
			orders[i] = byte(r.Uint32())
			if i > 0 && r.IntN(3) > 0 { // as a rule the next step of the same move
				orders[i] = orders[i-1]&^15 | (orders[i-1]+1)&15
			}
		}
		anyOrders(t, orders)
		if t.Failed() {
			t.Fatal(orders)
		}
	}
}

func anyOrders(t *testing.T, orders []byte) {
	t.Helper()
	g := newRig(t)
	g.register()
	for n, b := range orders {
		step := allSteps[int(b&15)%len(allSteps)]
		o := g.order(step)
		at := where(step)
		switch b >> 4 & 3 {
		case 1: // the way back
			o.Move, o.From, o.To, o.Epoch, o.Registration = "mov_2", "jp", "us", 3, "r1.us.3.x"
			at = map[string]string{"us": "jp", "jp": "us"}[at]
		case 2: // the same way once more
			o.Move, o.Registration = "mov_3", "r1.jp.2.y"
		case 3:
			if b&15 == 0 && len(g.sent) > 0 {
				late := g.sent[n%len(g.sent)]
				_, _ = g.books[late.Order.To].Receive(t.Context(), late)
				continue
			}
			_ = g.books[[]string{"us", "jp"}[b&1]].Put(t.Context(), mfp, "scan", string('a'+rune(b&15)), []byte{b})
			continue
		}
		_, err := g.books[at].Order(t.Context(), o)
		if err != nil && !errors.Is(err, region.ErrFenced) && !errors.Is(err, region.ErrOutOfTurn) && !errors.Is(err, holding.ErrInvalid) {
			t.Fatalf("order %d, %s of %s: %v", n, step, o.Move, err)
		}
	}
	for _, name := range []string{"us", "jp"} {
		counted := 0
		h, err := g.books[name].Holding(t.Context(), mfp)
		if err == nil {
			for _, d := range h.Data {
				counted += d.Items
			}
		} else if !errors.Is(err, region.ErrNoHolding) {
			t.Fatal(err)
		}
		if rows := g.rows(name); rows != counted {
			t.Errorf("%s counts %d items, and has %d", name, counted, rows)
		}
		highest := map[mfpgate.MoveID]int{}
		for _, e := range g.audit(name) {
			if e.Move == "" {
				continue
			}
			if last, known := highest[e.Move]; known && e.Seq < last {
				t.Errorf("%s has taken step %d of %s after %d", name, e.Seq, e.Move, last)
			}
			highest[e.Move] = max(highest[e.Move], e.Seq)
		}
		if h.State == mfpgate.HoldingActive && name == "us" && h.Epoch == 1 && !slices.ContainsFunc(orders, func(b byte) bool { return b>>4&3 == 3 }) && rows(h) != 4 {
			t.Errorf("us is active as before, and has %d items", rows(h))
		}
	}
}

func rows(h mfpgate.Holding) (n int) {
	for _, d := range h.Data {
		n += d.Items
	}
	return n
}

// FuzzReceive takes transfers that are no more than JSON. What is refused leaves nothing.
func FuzzReceive(f *testing.F) {
	s := []mfpgate.HeldService{{ID: "scan", Children: []string{"ocr"}}}
	items := []mfpgate.HeldItem{{Class: "log", Name: "a", Value: []byte("1")}}
	good, _ := json.Marshal(mfpgate.HoldingTransfer{
		Order:    mfpgate.MoveOrder{Move: move, Step: mfpgate.StepCopy, Epoch: 2, MFP: mfp, From: "us", To: "jp", Registration: "r1.jp.2.new", Seen: mfpgate.Seen{"us/services": 5}},
		Services: s, Items: items, Digest: holding.Digest(s, items),
	})
	f.Add(good)
	f.Add([]byte(`{"order":{"moveId":"mov_1","step":"copy","epoch":18446744073709551615,"mfp":"mfp_1","from":"us","to":"jp","registration":"x"},"digest":"5c5b6ab4ac4e4a3b8c9d"}`))
	f.Add([]byte(`{"order":{"mfp":"..","seen":{"":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var in mfpgate.HoldingTransfer
		if json.Unmarshal(data, &in) != nil {
			return
		}
		g := newRig(t)
		answer, err := g.books["jp"].Receive(t.Context(), in)
		if err != nil {
			if g.rows("jp") != 0 {
				t.Errorf("%v, and it left something", err)
			}
			return
		}
		if answer.Digest != holding.Digest(in.Services, in.Items) || g.rows("jp") != len(in.Items) {
			t.Errorf("received %+v of %+v", answer, in)
		}
	})
}
