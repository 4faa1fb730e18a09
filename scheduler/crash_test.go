package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
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

// TestEveryCrash ends the process at each step of its life, lets another one go on, and wants the same end each time.
func TestEveryCrash(t *testing.T) {
	for _, c := range []struct {
		mode mfpgate.ScheduleMode
		want string
	}{
		{mfpgate.ScheduleAuto, "report of 1; report of 0; proposal of 3 3 applied; "},
		{mfpgate.SchedulePropose, "report of 1; report of 0; proposal of 3 3 applied; "},
	} {
		steps := int64(0)
		for last := int64(1); ; last++ {
			alive := false
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t)
				defer func() { g.stop() }()
				g.policy.Mode = c.mode
				g.crowd(5)
				l := &life{last: last}
				g.lived(l)
				if alive = !l.dead.Load(); alive {
					steps = l.steps.Load()
				}
				g.start()
				g.pass(2 * time.Minute)
				if open := g.office.open(); c.mode == mfpgate.SchedulePropose && len(open) == 1 {
					g.office.rule(open[0], func(string) bool { return true })
					g.pass(2 * time.Minute)
				}
				g.told(fmt.Sprintf("%s, killed at step %d", c.mode, last), c.want)
				for id, n := range g.office.applied {
					if n != 1 {
						t.Errorf("%s, killed at step %d: %s was moved %d times", c.mode, last, id, n)
					}
				}
				if st := g.Status(); st.Error != "" || len(st.Bands) != 0 || st.Deliveries != 5 || st.Proposal.Open {
					t.Errorf("%s, killed at step %d: %+v", c.mode, last, st)
				}
				if list := g.keys(); len(list) > 5+1+4+4 {
					t.Errorf("%s, killed at step %d: what nobody needs is left: %q", c.mode, last, list)
				}
			})
			if alive || t.Failed() {
				break
			}
		}
		if !t.Failed() && steps < 30 {
			t.Errorf("%s: %d steps; the test misses most", c.mode, steps)
		}
		t.Logf("%s: %d steps", c.mode, steps)
	}
}

// lived runs a process until it dies, or for a minute, in which an operator decides.
func (g *gateway) lived(l *life) {
	g.office.fail = func(string) error { return l.pass() }
	g.office.after = func(string) error { return l.pass() }
	defer func() {
		g.office.mu.Lock()
		defer g.office.mu.Unlock()
		g.office.fail, g.office.after = nil, nil
	}()
	s, err := scheduler.New(g.t.Context(), scheduler.Options{Clock: g.clock, Rand: rand.New(rand.NewPCG(1, 2)), Store: mortal{g.store, l}, Cloud: g.office,
		Site: g.site, Planner: g.planner, Log: telemetry.Discard(), Metrics: g.metrics, Gateway: "osaka-1", Policy: g.policy})
	if err != nil {
		if !l.dead.Load() {
			g.t.Error(err)
		}
		return
	}
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx) // of a dead process nobody hears
	}()
	for range 4 {
		g.pass(10 * time.Second)
		if l.dead.Load() {
			break
		}
		if open := g.office.open(); len(open) == 1 && g.policy.Mode == mfpgate.SchedulePropose {
			g.office.rule(open[0], func(string) bool { return true })
		}
	}
	cancel()
	<-ended
}

// keys are all that the store holds.
func (g *gateway) keys() (list []string) {
	err := g.store.View(g.t.Context(), func(s store.Snapshot) error {
		for r, err := range store.All(s, "") {
			if err != nil {
				return err
			}
			list = append(list, r.Key)
		}
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return list
}
