package route_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/tests/need"
)

var errDead = errors.New("the process is dead")

// life ends at a step: before and after each commit, and before and after each call. After that nothing has an effect.
type life struct {
	last  int64
	dead  atomic.Bool
	steps atomic.Int64
}

func (l *life) pass() error {
	if l.dead.Load() {
		return errDead
	}
	if n := l.steps.Add(1); l.last > 0 && n >= l.last {
		l.dead.Store(true)
		return errDead
	}
	return nil
}

// mortal is the store of a life. With unsure a commit that was the last says that its outcome is not known, and life goes on.
type mortal struct {
	store.Store
	*life
	unsure bool
}

func (m mortal) View(ctx context.Context, fn func(store.Snapshot) error) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.View(ctx, fn)
}

func (m mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	if m.unsure {
		err := m.Store.Update(ctx, fn)
		if n := m.steps.Add(1); n >= m.last && n < m.last+5 && err == nil { // as often as it is tried again
			return store.ErrUnknown
		}
		return err
	}
	if err := m.pass(); err != nil {
		return err
	}
	if err := m.Store.Update(ctx, fn); err != nil {
		return err
	}
	return m.pass()
}

// order checks, whenever the region hears of a switch, that it is committed and in force, and that tunnels were looked at.
func (w *world) order(at string) {
	w.cloud.onSwitched = func(id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen) {
		if got := w.to(1); got.Action != forward || got.Epoch != epoch {
			w.t.Errorf("%s: the switch is acknowledged, and the table says %+v", at, got)
		}
		var row struct{ Epoch uint64 }
		if err := w.store.View(context.Background(), func(s store.Snapshot) error { return store.GetJSON(s, "route/"+string(device(1)), &row) }); err != nil || row.Epoch != epoch {
			w.t.Errorf("%s: the switch is acknowledged, and the store says %+v, %v", at, row, err)
		}
		if w.Broker != nil && w.site.reroutes.Load() == 0 {
			w.t.Errorf("%s: the switch is acknowledged, and nobody looked at the tunnels", at)
		}
		entries := w.audit("move.switched")
		if len(entries) != 1 || seen[gateway+"/route"] != entries[0].Seq || seen["jp/management"] != 7 {
			w.t.Errorf("%s: seen %v, audit %+v", at, seen, entries)
		}
	}
}

// finished lets a move be followed to its end: the device comes to its new region once its routes lead there.
func (w *world) finished(at string, id mfpgate.MoveID) {
	w.t.Helper()
	for range 60 {
		w.pass(5 * time.Second)
		if w.to(1).Epoch == 2 {
			w.Reached(device(1), host(w.t, "svc.jp.example"), 443, 100)
		}
	}
	w.cloud.mu.Lock()
	told, keys := w.cloud.now[id], len(w.cloud.keys)
	checkedIn := slices.Clone(w.cloud.checkedIn)
	w.cloud.mu.Unlock()
	if told.State != mfpgate.MoveDone || keys != 1 {
		w.t.Errorf("%s: the region's move: %s, %s; %d starts", at, told.State, told.Step, keys)
	}
	m, err := w.Move(w.t.Context(), id)
	if err != nil || m.State != mfpgate.MoveDone {
		w.t.Errorf("%s: the gateway's move: %s, %v", at, m.State, err)
	}
	if len(checkedIn) == 0 || len(checkedIn) > 2 {
		w.t.Errorf("%s: checked in: %v", at, checkedIn)
	}
	entries := w.audit("move.switched")
	if len(entries) != 1 {
		w.t.Fatalf("%s: %d switches in the audit", at, len(entries))
	}
	var trace mfpgate.MoveTrace
	if err := json.Unmarshal(entries[0].After, &trace); err != nil {
		w.t.Fatal(err)
	}
	want := mfpgate.MoveTrace{Move: id, MFP: "mfp_" + string(device(1)), Region: "jp", Epoch: 2, Seq: 8, State: "routed", Seen: mfpgate.Seen{"jp/management": 7}}
	if diff := cmp.Diff(want, trace); diff != "" {
		w.t.Errorf("%s: trace (-want +got):\n%s", at, diff)
	}
	w.sound()
	if err := w.store.View(w.t.Context(), func(s store.Snapshot) error {
		for r, err := range store.All(s, "journal/intent/") {
			if err != nil || !strings.Contains(r.Key, "/probe/") {
				return fmt.Errorf("left over: %s, %w", r.Key, err)
			}
		}
		return nil
	}); err != nil {
		w.t.Errorf("%s: %v", at, err)
	}
}

// TestEveryCrash ends the process at each step of a move that the policy begins, lets another one go on, and wants the same end.
func TestEveryCrash(t *testing.T) {
	for _, unsure := range []bool{false, true} {
		name := map[bool]string{false: "kill", true: "outcome unknown"}[unsure]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, stride := need.Points(uint64(len(name)))
			for last := first; ; last += stride {
				alive := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					w.policy.Mode = route.ModeAutomatic
					w.cloud.saga = true
					w.cloud.residences = []mfpgate.Residence{{Device: device(1), Home: "us", State: mfpgate.ResidenceAbroad}}
					at := fmt.Sprintf("at step %d", last)
					w.order(at)
					l := &life{last: last}
					if !unsure {
						w.cloud.hook = l.pass
					}
					b, err := route.New(t.Context(), w.options(mortal{w.store, l, unsure}), w.policy)
					if err != nil {
						t.Fatal(err)
					}
					b.SetTunnels(w.site)
					w.Broker = b
					ctx, cancel := context.WithCancel(context.Background())
					ended := make(chan struct{})
					go func() { _ = b.Run(ctx); close(ended) }()
					for range 60 {
						w.pass(5 * time.Second)
						if w.to(1).Epoch == 2 {
							b.Reached(device(1), host(t, "svc.jp.example"), 443, 100)
						}
						if l.dead.Load() {
							break
						}
					}
					if alive = l.steps.Load() < last; !unsure {
						alive = !l.dead.Load()
					}
					cancel()
					<-ended
					w.cloud.mu.Lock()
					w.cloud.hook = nil
					w.cloud.mu.Unlock()
					w.site.reroutes.Store(0)
					w.open()
					// What the dead process has committed is in force before anything runs, and with it what its region was told.
					w.cloud.mu.Lock()
					switched := len(w.cloud.switched) > 0
					w.cloud.mu.Unlock()
					if got := w.to(1); switched && got.Epoch != 2 {
						t.Errorf("%s: acknowledged, and after the restart %+v", at, got)
					}
					w.SetTunnels(w.site)
					w.site.reroutes.Store(1) // a new process has no old tunnels
					w.run()
					defer func() { w.stop() }()
					w.finished(at, "mov_0001")
				})
				if alive || t.Failed() {
					if last < 20 {
						t.Errorf("only %d steps", last)
					}
					t.Logf("%d steps", last)
					break
				}
			}
		})
	}
}
