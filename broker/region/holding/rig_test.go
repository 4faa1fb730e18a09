package holding_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const (
	mfp  = "mfp_1"
	move = mfpgate.MoveID("mov_1")
)

var services = []mfpgate.HeldService{
	{ID: "scan", Children: []string{"ocr", "translate"}},
	{ID: "document-cloud", Children: []string{"whiteboard"}},
}

// rig is two regions whose services reach each other at once.
type rig struct {
	t      *testing.T
	clock  *fakeclock.Clock
	stores map[string]store.Store
	books  map[string]*holding.Book
	sent   []mfpgate.HoldingTransfer // by the services
	signed int
	data   map[string]mfpgate.DataPolicy
}

func newRig(t *testing.T) *rig {
	g := &rig{
		t: t, clock: fakeclock.New(time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)),
		stores: map[string]store.Store{"jp": memory.New(), "us": memory.New(), "de": memory.New()}, books: map[string]*holding.Book{},
	}
	for name := range g.stores {
		g.books[name] = g.open(name, g.stores[name])
	}
	return g
}

func (g *rig) options(region string, s store.Store) holding.Options {
	return holding.Options{
		Clock: g.clock, Store: s, Region: region,
		Send: func(ctx context.Context, to string, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
			g.sent = append(g.sent, t)
			return g.books[to].Receive(ctx, t)
		},
		Sign: func(r mfpgate.DeletionReceipt) (string, error) {
			g.signed++
			return fmt.Sprintf("signed %d", g.signed), nil
		},
	}
}

func (g *rig) open(region string, s store.Store) *holding.Book {
	g.t.Helper()
	b, err := holding.New(g.options(region, s))
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// order is one of the move of the device from us, in epoch 1, to jp.
func (g *rig) order(step mfpgate.MoveStep) mfpgate.MoveOrder {
	return mfpgate.MoveOrder{
		Move: move, Step: step, Epoch: 2, MFP: mfp, From: "us", To: "jp", Registration: "r1.jp.2.new", Children: []string{"scan/ocr", "scan/none"}, Data: g.data,
	}
}

// where is who takes a step of a move from us to jp.
func where(step mfpgate.MoveStep) string {
	switch step {
	case mfpgate.StepVerify, mfpgate.StepActivate, mfpgate.StepAbort:
		return "jp"
	}
	return "us"
}

func (g *rig) take(steps ...mfpgate.MoveStep) (answer mfpgate.MoveAnswer) {
	g.t.Helper()
	for _, step := range steps {
		var err error
		if answer, err = g.books[where(step)].Order(g.t.Context(), g.order(step)); err != nil {
			g.t.Fatalf("%s: %v", step, err)
		}
	}
	return answer
}

func (g *rig) register() {
	g.t.Helper()
	if _, err := g.books["us"].Register(g.t.Context(), mfp, "r1.us.1.old", 1, services, ""); err != nil {
		g.t.Fatal(err)
	}
	g.put("us", "address-book", "anna", "1")
	g.put("us", "address-book", "bert", "2")
	g.put("us", "log", "today", "used")
	g.put("us", "settings", "tray", "A4")
}

func (g *rig) put(region, class, name, value string) {
	g.t.Helper()
	if err := g.books[region].Put(g.t.Context(), mfp, class, name, []byte(value)); err != nil {
		g.t.Fatalf("put %s/%s: %v", class, name, err)
	}
}

func (g *rig) holding(region string) mfpgate.Holding {
	g.t.Helper()
	h, err := g.books[region].Holding(g.t.Context(), mfp)
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

func (g *rig) want(region string, state mfpgate.HoldingState) mfpgate.Holding {
	g.t.Helper()
	h := g.holding(region)
	if h.State != state {
		g.t.Fatalf("%s is %s, want %s", region, h.State, state)
	}
	return h
}

func (g *rig) wantErr(region string, step mfpgate.MoveStep, want error) {
	g.t.Helper()
	if _, err := g.books[region].Order(g.t.Context(), g.order(step)); !errors.Is(err, want) {
		g.t.Fatalf("%s at %s: %v, want %v", step, region, err, want)
	}
}

// rows counts the items in a store, by what is not seen from outside too.
func (g *rig) rows(region string) (n int) {
	g.t.Helper()
	err := g.stores[region].View(g.t.Context(), func(s store.Snapshot) error {
		for _, err := range store.All(s, "item/") {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

func (g *rig) audit(region string) (list []mfpgate.MoveTrace) {
	g.t.Helper()
	list = chain(g.t, g.stores[region], region)
	report, err := journal.VerifyAudit(g.t.Context(), g.stores[region], "audit/")
	if err := errors.Join(err, report.Err()); err != nil {
		g.t.Error(err)
	}
	return list
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
