package approval_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
	"github.com/mfpgate/mfpgate/store"
)

// TestReconfigured changes the policy while a registration is open, each time in another state.
func TestReconfigured(t *testing.T) {
	renamed := func(p *approval.Policy) { p.Services[0].Name = "main" }
	removed := func(p *approval.Policy) { p.Services = nil }
	moved := func(p *approval.Policy) { p.Services[0].Hosts = []string{"other.example"} }
	none := func(*approval.Policy) {}
	for _, c := range []struct {
		rule         string
		first, later func(*approval.Policy) // an hour after
		certifying   bool                   // it is approved before
		during       mfpgate.Reason
		state        mfpgate.RegistrationState // at the end, approved after the second
		why          mfpgate.Reason
	}{
		{"a service that comes back is asked again", removed, none, false, approval.Unreached, mfpgate.RegistrationRegistered, ""},
		{"a service that is gone for good ends by the deadline", removed, removed, false, approval.Unreached, mfpgate.RegistrationFailed, approval.Timeout},
		{"a service that has another name is another one", renamed, renamed, false, approval.Unreached, mfpgate.RegistrationFailed, approval.Timeout},
		{"what was approved waits for its service", removed, none, true, approval.Unreached, mfpgate.RegistrationRegistered, ""},
		{"what was approved waits no longer than it may", removed, removed, true, approval.Unreached, mfpgate.RegistrationFailed, approval.Timeout},
		{"the next code's page must be on the new hosts", moved, moved, false, approval.HostChanged, mfpgate.RegistrationFailed, approval.HostChanged},
	} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.policy.Deadline, g.office.Lifetime = 3*time.Hour, 15*time.Minute
			if c.certifying {
				g.office.Slow = 1 << 30
			}
			writes := &counted{Store: g.store}
			g.begin(writes)
			change := func(fn func(*approval.Policy)) {
				p := g.policy
				p.Services = append([]approval.Service(nil), g.policy.Services...)
				fn(&p)
				g.Reconfigure(p)
			}
			r := g.ask("d1", user)
			g.pass(time.Second)
			if c.certifying {
				g.office.Decide(user, true)
				g.pass(20 * time.Second)
			}
			change(c.first)
			g.pass(time.Hour)
			if now := g.get(r.ID); now.Reason != c.during || now.Attempt > 1 {
				t.Errorf("%s: an hour later %s, %q, code %d", c.rule, now.State, now.Reason, now.Attempt)
			}
			g.office.Set(func(s *approvaltest.Service) { s.Slow = 0 })
			change(c.later)
			for range 60 {
				g.pass(5 * time.Minute)
				g.office.Decide(user, true)
			}
			if end := g.get(r.ID); end.State != c.state || end.Reason != c.why {
				t.Errorf("%s: %s, %q (%s)", c.rule, end.State, end.Reason, end.Detail)
			}
			g.leftovers(c.rule)
			if n := writes.n.Load(); n > 6000 { // a poll is due every 5 s for 3 hours at most
				t.Errorf("%s: %d writes in six hours", c.rule, n)
			}
		})
	}
}

// counted is a store that counts its writes.
type counted struct {
	store.Store
	n atomic.Int64
}

func (c *counted) Update(ctx context.Context, fn func(store.Tx) error) error {
	c.n.Add(1)
	return c.Store.Update(ctx, fn)
}

// TestEventsThatNeverStop has a service tell of changes all the time, or break each connection at once.
func TestEventsThatNeverStop(t *testing.T) {
	for _, c := range []struct {
		rule  string
		storm func() error
		polls int // in a quarter of an hour, of which 15 are due
	}{
		{"it always says that something changed", func() error { return nil }, 15 + 25},
		{"each connection breaks at once", func() error { return errors.New("connection reset") }, 16},
		{"it says that it sends none", func() error { return mfpgate.ErrNoEvents }, 16},
	} {
		bubble(t, func(t *testing.T, g *gateway) {
			waits := 0
			count := make(chan struct{}, 1)
			g.office.Pushes, g.office.Interval, g.office.Lifetime = true, time.Minute, time.Hour
			g.office.Storm = func() error {
				count <- struct{}{}
				waits++
				<-count
				return c.storm()
			}
			g.start()
			r := g.ask("d1", user)
			g.pass(15 * time.Minute)
			if n := len(g.office.Polls()); n < 14 || n > c.polls {
				t.Errorf("%s: %d polls", c.rule, n)
			}
			if waits > 40 {
				t.Errorf("%s: it was listened to %d times", c.rule, waits)
			}
			g.want(r.ID, mfpgate.RegistrationAwaitingAdmin, "", 1)
		})
	}
}

// TestEndedOnesAreBounded has a store in which more ended lately than are kept.
func TestEndedOnesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		const more = 3
		now := g.clock.Now().UTC()
		for from := 0; from < approval.MaxEnded+more; from += 60 {
			err := g.store.Update(t.Context(), func(tx store.Tx) error {
				for n := from; n < min(from+60, approval.MaxEnded+more); n++ {
					id := fmt.Sprintf("reg_%05d", n)
					if err := store.SetJSON(tx, "registration/"+id, map[string]any{"schema": 1, "registrationId": id, "state": "failed",
						"requestedAt": now, "since": now.Add(time.Duration(n) * time.Second / 10)}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		g.start()
		g.pass(time.Second)
		list, err := g.List(t.Context())
		if err != nil || len(list) != approval.MaxEnded {
			t.Fatalf("%d are kept, %v", len(list), err)
		}
		for n := range more {
			if _, err := g.Get(t.Context(), fmt.Sprintf("reg_%05d", n)); !errors.Is(err, approval.ErrNotFound) {
				t.Errorf("number %d of the oldest: %v", n, err)
			}
		}
	})
}
