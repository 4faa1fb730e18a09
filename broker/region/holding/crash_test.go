package holding_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/storetest"
	"github.com/mfpgate/mfpgate/tests/need"
)

var errDead = errors.New("the process is dead")

// mortal is a store whose process ends before or after a commit.
type mortal struct {
	store.Store
	last  int64
	steps atomic.Int64
}

func (m *mortal) pass() error {
	if n := m.steps.Add(1); m.last > 0 && n >= m.last {
		return errDead
	}
	return nil
}

func (m *mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := m.pass(); err != nil {
		return err
	}
	if err := m.Store.Update(ctx, fn); err != nil {
		return err
	}
	return m.pass()
}

// until makes an order, and once more with a new process if that one dies.
func (g *rig) until(step mfpgate.MoveStep, m *mortal, dies string) {
	g.t.Helper()
	b := g.books[where(step)]
	_, err := b.Order(g.t.Context(), g.order(step))
	if errors.Is(err, errDead) {
		m.last = 0
		g.books[dies] = g.open(dies, g.stores[dies])
		_, err = g.books[where(step)].Order(g.t.Context(), g.order(step))
	}
	if err != nil {
		g.t.Fatalf("%s, %s killed at %d: %v", step, dies, m.last, err)
	}
}

// fill writes enough for several transactions.
func (g *rig) fill() {
	g.t.Helper()
	for n := range 70 {
		g.put("us", "address-book", fmt.Sprint("n", n), "x")
	}
	for n := range 14 {
		g.put("us", "scan", fmt.Sprint("n", n), string(make([]byte, holding.MaxItem)))
	}
}

// TestEveryCrash ends the source's or the target's process before and after each of its commits, and wants the same end each time.
func TestEveryCrash(t *testing.T) {
	for i, dies := range []string{"us", "jp"} {
		for j, end := range []string{"done", "taken back"} {
			t.Run(dies+" "+end, func(t *testing.T) {
				first, stride := need.Points(uint64(2*i + j))
				for last := first; ; last += stride {
					g := newRig(t)
					g.data = map[string]mfpgate.DataPolicy{"log": mfpgate.DataLeave}
					g.register()
					g.fill()
					m := &mortal{Store: g.stores[dies], last: last}
					g.books[dies] = g.open(dies, m)
					steps := append(forward[:len(forward):len(forward)], mfpgate.StepRetire)
					if end != "done" {
						steps = append(forward[:len(forward):len(forward)], mfpgate.StepAbort, mfpgate.StepUndrain, mfpgate.StepRelink)
					}
					for _, step := range steps {
						g.until(step, m, dies)
					}
					us, jp := g.holding("us"), g.holding("jp")
					switch end {
					case "done":
						if us.State != mfpgate.HoldingMoved || jp.State != mfpgate.HoldingActive || g.rows("us") != 1 || g.rows("jp") != 87 {
							t.Fatalf("killed at %d: us %s with %d rows, jp %s with %d", last, us.State, g.rows("us"), jp.State, g.rows("jp"))
						}
						if us.Receipt == nil || us.Receipt.Signed == "" || len(us.Receipt.Purged) != 3 {
							t.Fatalf("killed at %d: receipt %+v", last, us.Receipt)
						}
					default:
						if us.State != mfpgate.HoldingActive || jp.State != mfpgate.HoldingAborted || g.rows("us") != 88 || g.rows("jp") != 0 {
							t.Fatalf("killed at %d: us %s with %d rows, jp %s with %d", last, us.State, g.rows("us"), jp.State, g.rows("jp"))
						}
					}
					g.audit("us")
					g.audit("jp")
					if m.last != 0 { // it did not die
						if last < 10 {
							t.Errorf("only %d steps", last)
						}
						t.Logf("fewer than %d steps", last)
						return
					}
				}
			})
		}
	}
}

// TestCommitsThatAreNotSeen has every kind of order and change meet a store that cannot tell whether it committed.
func TestCommitsThatAreNotSeen(t *testing.T) {
	for _, fate := range []storetest.Fate{storetest.CommittedUnseen, storetest.LostUnseen} {
		g := newRig(t)
		unsure := map[string]*storetest.Unsure{}
		for _, name := range []string{"us", "jp"} {
			unsure[name] = &storetest.Unsure{Store: g.stores[name]}
			g.books[name] = g.open(name, unsure[name])
		}
		g.register()
		unsure["us"].Next(fate)
		g.put("us", "address-book", "emil", "5")
		if h := g.holding("us"); h.Data[0].Items != 3 || h.Data[0].Bytes != 3 {
			t.Errorf("counted %+v", h.Data)
		}
		for _, step := range append(forward[:len(forward):len(forward)], mfpgate.StepRetire, mfpgate.StepDelete) {
			for _, u := range unsure {
				u.Next(fate)
			}
			g.take(step)
		}
		if g.want("jp", mfpgate.HoldingActive); g.rows("us") != 0 || g.rows("jp") != 5 {
			t.Errorf("rows: us %d, jp %d", g.rows("us"), g.rows("jp"))
		}
		var states []string
		for _, trace := range g.audit("us") {
			states = append(states, trace.State)
		}
		diff(t, "the source's audit", slices.Compact(states), []string{"active", "draining", "moved", ""})
	}
}
