package approval_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
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

// TestEveryCrash ends the process at each step of the registration of one device for two users, lets another one go on, and wants
// the same end each time: one printer, both users, and one letter too many at most.
func TestEveryCrash(t *testing.T) {
	for _, c := range []struct {
		name   string
		replay bool // whether the service grants a granted code again
	}{{"replay", true}, {"single use", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lost := 0
			for last := int64(1); ; last++ {
				alive := false
				synctest.Test(t, func(t *testing.T) {
					g := newGateway(t)
					g.office.Replay, g.office.Slow = c.replay, 1
					l := &life{last: last}
					before := len(g.lived(l))
					alive = !l.dead.Load()
					g.start()
					defer func() { g.halt() }()
					// What was refused by the dying process, its users ask for again.
					a, b := g.found(user), g.found("sato@example.com")
					for range 20 {
						g.pass(30 * time.Second)
						g.office.Decide(user, true)
						g.office.Decide("sato@example.com", true)
					}
					at := fmt.Sprintf("killed at step %d", last)
					for _, r := range []mfpgate.Registration{a, b} {
						r = g.get(r.ID)
						if r.State != mfpgate.RegistrationRegistered {
							t.Fatalf("%s: %s, %s (%s)", at, r.State, r.Reason, r.Detail)
						}
					}
					p := g.office.Printers()
					if len(p) != 1 || len(p[0].Users) != 2 {
						t.Errorf("%s: printers %+v", at, p)
					}
					codes := len(g.office.Codes())
					if n := len(g.mailer.Letters(admin)); n > codes+1 || codes > 3 || n > 2+1 {
						t.Errorf("%s: %d codes, %d letters (%d before)", at, codes, n, before)
					} else if codes > 2 {
						lost++
					}
					ids := map[string]int{}
					for _, l := range g.mailer.Letters("") {
						ids[l.ID]++
					}
					for id, n := range ids {
						if n > 2 {
							t.Errorf("%s: letter %s went out %d times", at, id, n)
						}
					}
					report, err := journal.VerifyAudit(t.Context(), g.store, "audit/")
					if err := errors.Join(err, report.Err()); err != nil {
						t.Errorf("%s: %v", at, err)
					}
					g.leftovers(at)
				})
				if alive || t.Failed() {
					if last < 40 {
						t.Errorf("only %d steps", last)
					}
					t.Logf("%d steps; at %d of them a third code was needed", last, lost)
					break
				}
			}
		})
	}
}

// lived runs a process until it dies, or until both users are registered, and returns the letters of that time.
func (g *gateway) lived(l *life) []mfpgate.Letter {
	hook := func(approvaltest.Call, string) error { return l.pass() }
	g.office.Set(func(s *approvaltest.Service) { s.Before, s.After = hook, hook })
	g.mailer.Set(func(m *approvaltest.Mailer) { m.Before, m.After = hook, hook })
	defer func() {
		g.office.Set(func(s *approvaltest.Service) { s.Before, s.After = nil, nil })
		g.mailer.Set(func(m *approvaltest.Mailer) { m.Before, m.After = nil, nil })
	}()
	s := mortal{g.store, l}
	b, err := approval.New(g.t.Context(), g.options(s), g.policy)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(ctx) // of a dead process nobody hears
	}()
	for _, who := range []string{user, "sato@example.com"} {
		_, _, err := b.Request(ctx, mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: who, From: "10.0.0.7"}, who, "")
		if err != nil && !l.dead.Load() {
			g.t.Error(err)
		}
	}
	for range 8 {
		g.pass(10 * time.Second)
		if l.dead.Load() {
			break
		}
		g.office.Decide(user, true)
		g.office.Decide("sato@example.com", true)
	}
	cancel()
	<-ended
	return g.mailer.Letters(admin)
}

// found is the registration of a user, who asks again if there is none.
func (g *gateway) found(user string) mfpgate.Registration {
	list, err := g.List(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, r := range list {
		if r.User == user {
			return r
		}
	}
	return g.ask("d1", user)
}

// leftovers wants nothing in the store that nobody needs after the end.
func (g *gateway) leftovers(at string) {
	g.t.Helper()
	err := g.store.View(g.t.Context(), func(s store.Snapshot) error {
		for _, prefix := range []string{"journal/intent/", "open/", "turn/", "device/", "digest/"} {
			for r, err := range store.All(s, prefix) {
				if err != nil {
					return err
				}
				g.t.Errorf("%s: %s is left: %s", at, r.Key, r.Value)
			}
		}
		return nil
	})
	if err != nil {
		g.t.Error(err)
	}
}
