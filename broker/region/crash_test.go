package region_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
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

// mortal is the store of a life.
type mortal struct {
	store.Store
	*life
}

func (m mortal) View(ctx context.Context, fn func(store.Snapshot) error) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.View(ctx, fn)
}

func (m mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := m.pass(); err != nil {
		return err
	}
	if err := m.Store.Update(ctx, fn); err != nil {
		return err
	}
	return m.pass()
}

// TestEveryCrash ends the process at each step of a move, lets another one go on, and wants the same end each time, whether the move
// is carried out, refused at its last step or aborted.
func TestEveryCrash(t *testing.T) {
	for i, c := range []struct {
		name  string
		want  mfpgate.MoveState
		least int64
		hook  func(w *world)
		act   func(w *world, id mfpgate.MoveID)
	}{
		{name: "carried out", want: mfpgate.MoveDone, least: 60},
		{name: "refused", want: mfpgate.MoveRolledBack, least: 50, hook: func(w *world) {
			w.refuse = func(c call) error {
				if c.String() == "jp services activate" {
					return region.ErrOutOfTurn
				}
				return nil
			}
		}},
		{name: "aborted", want: mfpgate.MoveRolledBack, least: 40, act: func(w *world, id mfpgate.MoveID) {
			if m, err := w.Get(w.t.Context(), gw, id); err == nil && m.State == mfpgate.MoveOpen {
				_, _ = w.Abort(w.t.Context(), gw, id, admin)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first, stride := need.Points(uint64(3 * i))
			for last := first; ; last += stride {
				alive := false
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.adopt = func(tx store.Tx, m mfpgate.Move, data json.RawMessage) error { return tx.Set("adopted/"+m.MFP, data) }
					if c.hook != nil {
						c.hook(w)
					}
					l := &life{last: last}
					w.lived(l, c.act)
					alive = !l.dead.Load()
					w.begin(w.store)
					defer func() { w.halt() }()
					at := fmt.Sprintf("killed at step %d", last)
					m := w.found()
					w.carry(m.ID, c.act)
					m = w.get(m.ID)
					if m.State != c.want {
						t.Fatalf("%s: %s, step %s, %s (%s)", at, m.State, m.Step, m.Reason, m.Detail)
					}
					w.oneEnd(at, m)
				})
				if alive || t.Failed() {
					if last < c.least {
						t.Errorf("only %d steps", last)
					}
					t.Logf("%d steps", last)
					break
				}
			}
		})
	}
}

// oneEnd wants what is true after every move that has ended.
func (w *world) oneEnd(at string, m mfpgate.Move) {
	w.t.Helper()
	home, left := "us", "jp"
	if m.State == mfpgate.MoveDone {
		home, left = "jp", "us"
	}
	if h := w.clouds[home].held[m.MFP]; h == nil || h.State != mfpgate.HoldingActive {
		w.t.Errorf("%s: %s holds %+v", at, home, h)
	}
	if h := w.clouds[left].held[m.MFP]; h == nil || h.State != mfpgate.HoldingAbsent && h.State != mfpgate.HoldingAborted {
		w.t.Errorf("%s: %s holds %+v", at, left, h)
	}
	err := w.store.View(w.t.Context(), func(s store.Snapshot) error {
		_, err := s.Get("adopted/" + m.MFP)
		if (err == nil) != (m.State == mfpgate.MoveDone) {
			w.t.Errorf("%s: adopted: %v", at, err)
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
	actions := w.audits()
	for _, once := range []string{"move.planned", "move.started", "move.committed", "move.switched", "move.confirmed", "move.done", "move.aborted", "move.rolled-back"} {
		n := len(slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a != once }))
		done := slices.Contains([]string{"move.committed", "move.switched", "move.confirmed", "move.done"}, once)
		undone := slices.Contains([]string{"move.aborted", "move.rolled-back"}, once)
		if want := !done && !undone || done == (m.State == mfpgate.MoveDone); (n == 1) != want || n > 1 {
			w.t.Errorf("%s: %s %d times", at, once, n)
		}
	}
	w.leftovers(at, "journal/intent/"+string(m.ID)+"/timer-keep")
	list, _, err := w.Changes(w.t.Context(), gw, "", 0)
	if err != nil || len(list) != 1 || list[0].State != m.State {
		w.t.Errorf("%s: changes %+v, %v", at, list, err)
	}
}

// lived runs a process until it dies, or until a move has ended.
func (w *world) lived(l *life, act func(*world, mfpgate.MoveID)) {
	refuse := w.refuse
	w.before = func(c call) error {
		if err := l.pass(); err != nil {
			return err
		}
		if refuse != nil {
			return refuse(c)
		}
		return nil
	}
	w.after = func(call) error { return l.pass() }
	defer func() { w.before, w.after = refuse, nil }()
	s := mortal{w.store, l}
	w.begin(s)
	synctest.Wait()
	r := w.wants("dev_1")
	if p, err := w.Plan(w.t.Context(), gw, r); err == nil {
		r.Plan = p.Hash
		if m, _, err := w.Start(w.t.Context(), gw, r, admin, "key"); err == nil {
			synctest.Wait()
			w.carry(m.ID, act)
		}
	}
	w.halt()
}

// carry plays the gateway and the device until a move has ended, or for some time.
func (w *world) carry(id mfpgate.MoveID, act func(*world, mfpgate.MoveID)) {
	for range 40 {
		synctest.Wait()
		m, err := w.Get(w.t.Context(), gw, id)
		if err != nil || m.State.Ended() {
			return
		}
		if act != nil && m.Step == mfpgate.StepVerify {
			act(w, id)
		} else {
			w.gateway(id)
			w.comes(m.MFP)
		}
		w.sleep(10 * time.Second)
	}
}

// found is the move of the dead process, or one that its user has started again with the same key.
func (w *world) found() mfpgate.Move {
	list, err := w.Page(w.t.Context(), "", 2)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(list) > 1 {
		w.t.Fatalf("%d moves", len(list))
	}
	if len(list) == 1 {
		return list[0]
	}
	r := w.wants("dev_1")
	p, err := w.Plan(w.t.Context(), gw, r)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Plan = p.Hash
	m, _, err := w.Start(w.t.Context(), gw, r, admin, "key")
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}
