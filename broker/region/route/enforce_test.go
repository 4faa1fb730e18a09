package route_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/telemetry"
)

func TestEnforcement(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(w *world, m *mfpgate.Move)
		after  time.Duration
		want   mfpgate.Enforcement
	}{
		{"nothing speaks against it", func(*world, *mfpgate.Move) {}, 3 * time.Hour, mfpgate.Enforced},
		{"the relay has seen it since", func(w *world, m *mfpgate.Move) {
			w.site.relayed[device(1)], m.ConfirmedAt, m.AckedAt = time.Now().Add(time.Second), time.Now(), time.Now()
		}, 3 * time.Hour, mfpgate.Enforced},
		{"the relay has seen it before only, and its region has", func(w *world, m *mfpgate.Move) {
			w.site.relayed[device(1)], m.ConfirmedAt = time.Now().Add(-time.Hour), time.Now()
		}, 3 * time.Hour, mfpgate.Unenforced},
		{"its region has seen it, and an hour is not over", func(_ *world, m *mfpgate.Move) { m.ConfirmedAt = time.Now() }, 50 * time.Minute, mfpgate.Enforced},
		{"its directive is acknowledged, and the relay has not seen it", func(_ *world, m *mfpgate.Move) { m.AckedAt = time.Now() }, time.Minute, mfpgate.Unenforced},
		{"it is polled", func(w *world, _ *mfpgate.Move) {
			d := w.site.devices[device(1)]
			d.MonitoringMode = mfpgate.MonitoringPolling
			w.site.devices[device(1)] = d
		}, time.Minute, mfpgate.Unenforced},
		{"it answers on the network, and never comes to the relay", func(w *world, _ *mfpgate.Move) {
			d := w.site.devices[device(1)]
			d.LastSeen = time.Now().Add(2 * time.Hour)
			w.site.devices[device(1)] = d
		}, 3 * time.Hour, mfpgate.Unenforced},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, l := newWorld(t, 1), &lines{}
				w.log = telemetry.NewLogger(l, mfpgate.SystemClock{}, new(telemetry.Level), false)
				w.cloud.say(committed(move(1, device(1), 2)))
				w.start()
				defer func() { w.stop() }()
				w.pass(time.Second)
				m := committed(move(1, device(1), 2))
				m.Step = mfpgate.StepConfirm
				w.site.mu.Lock()
				c.change(w, &m)
				w.site.mu.Unlock()
				w.cloud.say(m)
				w.pass(c.after + 2*time.Minute)
				for range 2 { // the second process has not seen the device itself
					r := w.residence(1)
					if r.Enforcement != c.want || (r.Bypassed != "") != (c.want == mfpgate.Unenforced) {
						t.Errorf("%q %q, want %q", r.Enforcement, r.Bypassed, c.want)
					}
					if n := l.count("move.unenforced"); n != map[bool]int{true: 1}[c.want == mfpgate.Unenforced] {
						t.Errorf("logged %d times", n)
					}
					w.stop()
					w.site.mu.Lock()
					delete(w.site.relayed, device(1))
					w.site.mu.Unlock()
					w.start()
					w.pass(2 * time.Minute)
				}
			})
		})
	}
}

// TestReached has connections of which one only is the device's first check-in.
func TestReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moved(t)
		defer func() { w.stop() }()
		w.Reached(device(1), host(t, "svc.us.example"), 443, 10)  // led, under the old name
		w.Reached(device(1), host(t, "svc.jp.example"), 443, 0)   // nothing came back
		w.Reached(device(1), host(t, "svc.jp.example"), 8443, 10) // no host of the region
		w.Reached(device(3), host(t, "svc.jp.example"), 443, 10)  // was not moved
		w.pass(2 * time.Minute)
		if got := w.cloud.checkedIn; len(got) != 0 {
			t.Fatalf("told of %v", got)
		}
		w.set(func(c *cloud) { c.down = errors.New("no route to host") })
		for range 10 {
			w.Reached(device(1), host(t, "svc.jp.example"), 443, 10)
		}
		w.pass(time.Minute)
		w.stop()
		w.set(func(c *cloud) { c.down = nil })
		w.start()
		w.Reached(device(1), host(t, "svc.jp.example"), 443, 10)
		w.pass(10 * time.Minute)
		if diff := cmp.Diff([]string{"mov_0001 2"}, w.cloud.checkedIn); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestBlockedIsAudited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moved(t)
		defer func() { w.stop() }()
		for range 5000 { // nobody waits
			w.Blocked(device(1), host(t, "svc.us.example"), "us", mfpgate.RegionName)
		}
		w.Blocked(device(2), host(t, "svc.us.example"), "us", mfpgate.RegionName)
		w.pass(time.Second)
		w.Blocked(device(2), host(t, "svc.us.example"), "us", mfpgate.RegionMoved)
		w.pass(time.Second)
		if n := len(w.audit("residency.blocked")); n != 2 {
			t.Fatalf("%d entries", n)
		}
		w.pass(time.Hour)
		w.Blocked(device(1), host(t, "svc.us.example"), "us", mfpgate.RegionName)
		w.pass(time.Second)
		a := w.audit("residency.blocked")
		if len(a) != 3 || a[0].Object != string(device(1)) || a[0].Detail != `svc.us.example, of region "us": region-name` {
			t.Errorf("%d entries: %+v", len(a), a[0])
		}
		w.sound()
	})
}

// TestActs has an administrator's acts written down, also those that are refused.
func TestActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.start()
		defer func() { w.stop() }()
		ctx := t.Context()
		plan, err := w.Plan(ctx, mfpgate.MoveRequest{Device: device(1)})
		if err != nil || plan.To != "jp" {
			t.Fatalf("a plan to the site's region: %+v, %v", plan, err)
		}
		r := mfpgate.MoveRequest{Device: device(1), Plan: plan.Hash}
		m, err := w.Start(ctx, r, "taro", "k1")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := w.Start(ctx, r, "taro", "k1"); err != nil || again.ID != m.ID {
			t.Errorf("the same key: %s, %v", again.ID, err)
		}
		if got, err := w.Move(ctx, m.ID); err != nil || got.RequestedBy != "taro" {
			t.Errorf("known at once: %+v, %v", got, err)
		}
		if _, err := w.Move(ctx, "mov_none"); !errors.Is(err, route.ErrNoMove) {
			t.Errorf("%v", err)
		}
		if _, err := w.Retry(ctx, "mov_none", "taro"); !errors.Is(err, route.ErrNoMove) {
			t.Errorf("%v", err)
		}
		if got, err := w.ConfirmLost(ctx, m.ID, "hana"); err != nil || !got.Lost {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := w.Enrol(ctx, device(1), "hana"); err != nil {
			t.Error(err)
		}
		w.set(func(c *cloud) { c.down = errors.New("away") })
		if _, err := w.Retry(ctx, m.ID, "hana"); err == nil {
			t.Error("retried without a region")
		}
		for action, n := range map[string]int{"move.requested": 2, "move.confirm-lost-requested": 1, "device.enrol-requested": 1, "move.retry-requested": 1} {
			if got := len(w.audit(action)); got != n {
				t.Errorf("%s: %d entries, want %d", action, got, n)
			}
		}
		heard := 0
		for id := range w.Changes(ctx) {
			if heard++; heard == 1 && id != "" || heard == 10 {
				t.Errorf("change %d: %q", heard, id)
			}
			if id == m.ID || heard == 10 {
				break
			}
			if heard > 1 {
				continue
			}
			m.Step, m.Since = mfpgate.StepVerify, time.Now()
			w.set(func(c *cloud) { c.down = nil })
			w.cloud.say(m)
			w.pass(2 * time.Minute)
		}
	})
}

// TestOldMovesAreForgotten 90 days after their end; where they have led is not.
func TestOldMovesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moved(t)
		defer func() { w.stop() }()
		m := committed(move(1, device(1), 2))
		m.State, m.Step, m.EndedAt = mfpgate.MoveDone, mfpgate.StepDelete, time.Now().Add(-route.KeepEnded+time.Hour)
		w.cloud.say(m)
		w.pass(50 * time.Minute)
		if _, err := w.Move(t.Context(), m.ID); err != nil {
			t.Errorf("before: %v", err)
		}
		w.pass(20 * time.Minute)
		if _, err := w.Move(t.Context(), m.ID); !errors.Is(err, route.ErrNoMove) {
			t.Errorf("after: %v", err)
		}
		if got := w.to(1); got.Epoch != 2 {
			t.Errorf("%+v", got)
		}
		if _, err := w.Move(t.Context(), "mov_0002"); err != nil {
			t.Errorf("one that has not ended: %v", err)
		}
	})
}
