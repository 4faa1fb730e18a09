package scheduler_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler"
)

func TestPlannedSlots(t *testing.T) {
	within(t, func(g *gateway) {
		d := delivery(1, 0)
		d.Schedule = mfpgate.LocalSchedule{Local: "2000-01-01T20:00", TimeZone: "Asia/Tokyo", RRule: "FREQ=DAILY;COUNT=3", Start: epoch} // 11:00 UTC
		g.office.put(delivery(0, 0))
		g.office.put(d)
		done := delivery(2, 0)
		done.State = mfpgate.DeliveryDone
		g.office.put(done)
		g.site.devices[3].MonitoringMode = mfpgate.MonitoringPolling
		g.office.put(delivery(3, 0))
		g.start()
		g.pass(time.Minute)
		for _, c := range []struct {
			rule   string
			device int
			at     time.Duration
			until  time.Duration // 0: not planned
		}{
			{"before", 0, 10*time.Hour - 1, 0},
			{"its first moment", 0, 10 * time.Hour, 10*time.Hour + 10*time.Minute},
			{"its last", 0, 10*time.Hour + 10*time.Minute - 1, 10*time.Hour + 10*time.Minute},
			{"its end", 0, 10*time.Hour + 10*time.Minute, 0},
			{"a local time outranks an instant", 1, 11*time.Hour + time.Minute, 11*time.Hour + 10*time.Minute},
			{"the next day's", 1, 35*time.Hour + time.Minute, 35*time.Hour + 10*time.Minute},
			{"after the rule's end", 1, 83*time.Hour + time.Minute, 0},
			{"what is done", 2, 10 * time.Hour, 0},
			{"a device that is polled", 3, 10 * time.Hour, 0},
			{"one that nobody knows", 99, 10 * time.Hour, 0},
		} {
			until, ok := g.Planned(device(c.device), epoch.Add(c.at))
			if ok != (c.until > 0) || ok && !until.Equal(epoch.Add(c.until)) {
				g.t.Errorf("%s: until %v, %v", c.rule, until, ok)
			}
		}
		if n := testing.AllocsPerRun(100, func() { g.Planned(device0, epoch) }); n != 0 {
			g.t.Errorf("%v allocations for a question that each connection asks", n)
		}
		g.pass(10*time.Hour + 4*time.Minute)
		if n := g.metrics.Value("mfpgate_relay_planned_devices"); n != 1 {
			g.t.Errorf("%v devices are planned now", n)
		}
	})
}

var device0 = device(0)

func TestARestartWithoutTheCloud(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(5)
		g.office.background = []mfpgate.Background{{ID: "meter", Cron: "0 3 * * *", Duration: time.Minute, AllDevices: true}}
		g.start()
		g.pass(time.Minute)
		want := g.Status()
		g.stop()
		g.office.fail = func(string) error { return errors.New("no route") }
		g.start()
		got := g.Status()
		if diff := cmp.Diff(want.Bands, got.Bands); diff != "" || got.Deliveries != 5 || got.Background != 1 || got.Proposal.ID != want.Proposal.ID || len(got.Proposal.Changes) != 3 {
			g.t.Errorf("%d deliveries, %d background, proposal %q: %s", got.Deliveries, got.Background, got.Proposal.ID, diff)
		}
		if _, ok := g.Planned(device0, epoch.Add(10*time.Hour)); !ok {
			g.t.Error("the relay's question has no answer")
		}
		if slots, err := g.Timeline(epoch, epoch.Add(time.Hour), time.Hour); err != nil || len(slots) != 1 {
			g.t.Errorf("%v, %v", slots, err)
		}
		g.pass(24 * time.Hour)
		if st := g.Status(); !strings.Contains(st.Error, "no route") || st.Tried.IsZero() || !st.Fetched.Equal(want.Fetched) {
			g.t.Errorf("%q", st.Error)
		}
		if n := g.office.calls["changes"] + g.office.calls["outcome"]; n < 60 || n > 600 {
			g.t.Errorf("%d tries in a day", n)
		}
	})
}

func TestDowntimeIsOneRun(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(5)
		g.start()
		g.pass(2 * time.Hour)
		g.stop()
		g.pass(5 * time.Hour)
		g.office.reset()
		g.start()
		g.pass(time.Minute)
		if n := g.office.calls["changes"]; n != 1 {
			g.t.Errorf("%d fetches after five missed ones", n)
		}
		g.stop()
		g.office.reset()
		g.start()
		g.pass(time.Minute)
		if n := g.office.calls["changes"]; n != 0 {
			g.t.Errorf("%d fetches after none was missed", n)
		}
	})
}

func TestANewDeviceDoesNotEndThePlan(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(5)
		g.start()
		g.pass(time.Minute)
		g.site.set(func(p *premises) { p.untold = true })
		g.Wake()
		g.pass(2 * time.Hour)
		if _, ok := g.Planned(device0, epoch.Add(10*time.Hour)); !ok || g.Status().Idle != scheduler.ModesNotTold {
			g.t.Error("the plan is gone while a mode is being told")
		}
		g.site.set(func(p *premises) { c := *p.contract; c.Services = nil; p.contract = &c })
		g.Wake()
		g.pass(time.Minute)
		if _, ok := g.Planned(device0, epoch.Add(10*time.Hour)); ok {
			g.t.Error("a contract without deliveries leaves a plan")
		}
	})
}

type busy struct{ error }

func (busy) Delay() time.Duration { return 3 * time.Hour }

func TestTheServersDelayIsKept(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(5)
		g.office.fail = func(call string) error {
			if call == "changes" || call == "events" {
				return busy{errors.New("busy")}
			}
			return nil
		}
		g.start()
		for range 170 {
			g.Wake()
			g.pass(time.Minute)
		}
		if n, e := g.office.calls["changes"], g.office.calls["events"]; n != 1 || e != 1 {
			g.t.Errorf("%d fetches and %d polls before the named time", n, e)
		}
		if _, err := g.Propose(g.t.Context()); !errors.Is(err, scheduler.ErrHeld) || !g.Status().Next.After(epoch.Add(3*time.Hour-time.Second)) {
			g.t.Errorf("by hand: %v; next %v", err, g.Status().Next)
		}
		g.office.mu.Lock()
		g.office.fail = nil
		g.office.mu.Unlock()
		g.pass(15 * time.Minute)
		g.told("after it", "report of 1; proposal of 3 3 pending; ")
	})
}

func TestWhatIsTellableIsTold(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(5)
		g.office.fail = func(call string) error {
			if call == "report" {
				return fmt.Errorf("the report: %w", mfpgate.ErrRefused)
			}
			return nil
		}
		g.start()
		g.pass(3 * time.Hour)
		g.told("a refused report does not hold up the proposal, and is not sent again", "proposal of 3 3 pending; ")
		if st := g.Status(); g.office.calls["report"] != 1 || st.Report.Refused == "" || g.metrics.Value("mfpgate_scheduler_refusals_total", "of", "report") != 1 {
			g.t.Errorf("%d tries: %q", g.office.calls["report"], st.Report.Refused)
		}
	})
	within(t, func(g *gateway) {
		g.crowd(5)
		g.office.fail = func(call string) error {
			if call == "propose" {
				return fmt.Errorf("would overload: %w", mfpgate.ErrRefused)
			}
			return nil
		}
		g.start()
		g.pass(3 * time.Hour)
		if n := g.office.calls["propose"]; n != 1 || g.Status().Proposal.Refused == "" {
			g.t.Errorf("%d tries of what is refused", n)
		}
		if _, err := g.Propose(g.t.Context()); !errors.Is(err, mfpgate.ErrRefused) {
			g.t.Errorf("asked for by hand: %v", err)
		}
	})
}

func TestDeltas(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(3)
		g.start()
		g.pass(time.Minute)
		g.stop()
		g.office.remove("d0") // while nobody listens
		d := delivery(1, 60)
		g.office.put(d)
		g.office.put(delivery(7, 0))
		g.office.oldest = g.office.change + 1 // the token is forgotten meanwhile
		g.start()
		g.pass(time.Hour)
		ids := map[string]time.Time{}
		snap, _, _ := g.Snapshot()
		for _, d := range snap.Deliveries {
			ids[d.ID] = d.Schedule.Start
		}
		want := map[string]time.Time{"d1": d.Schedule.Start, "d2": delivery(2, 0).Schedule.Start, "d7": delivery(7, 0).Schedule.Start}
		if diff := cmp.Diff(want, ids); diff != "" {
			g.t.Errorf("-want +got\n%s", diff)
		}
		n := 0
		for _, key := range g.keys() {
			if strings.HasPrefix(key, "delivery/") {
				n++
			}
		}
		if n != 3 {
			g.t.Errorf("%d deliveries in the store", n)
		}
	})
}

func TestDeliveriesComeIntoTheWindow(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Horizon = 24 * time.Hour
		for i := range 3 {
			d := delivery(i, 0)
			d.Schedule.Start = d.Schedule.Start.AddDate(0, 0, 3)
			g.office.put(d)
		}
		g.start()
		g.pass(2 * time.Hour)
		if n := g.Status().Deliveries; n != 0 {
			g.t.Fatalf("%d deliveries", n)
		}
		g.pass(47 * time.Hour)
		if n := g.Status().Deliveries; n != 3 {
			g.t.Errorf("%d deliveries a day before: none of them has changed, and all must be known", n)
		}
	})
}

func TestAnotherDeliverySystem(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(5)
		g.start()
		g.pass(time.Minute)
		g.stop()
		before := g.office.story()
		g.office = newOffice(g.clock)
		g.office.put(delivery(6, 0))
		g.policy.System = "https://us"
		g.start()
		if snap, _, ok := g.Snapshot(); ok && len(snap.Deliveries) > 1 {
			g.t.Error("another system's deliveries are planned with")
		}
		g.pass(time.Minute)
		if st := g.Status(); st.Deliveries != 1 || g.office.calls["withdraw"] != 0 {
			g.t.Errorf("%d deliveries, %v; %s", st.Deliveries, g.office.calls, before)
		}
		g.told("it learns that nothing is wrong", "report of 0; ")
	})
}

func TestAPanicIsAnError(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(5)
		g.planner = broken{}
		g.start()
		g.pass(time.Hour)
		if st := g.Status(); !strings.Contains(st.Error, "boom") {
			g.t.Errorf("%+v", st)
		}
		g.stop()
		g.start() // it plans what is kept
		g.planner = simple{}
		g.stop()
		g.start()
		g.pass(2 * time.Hour)
		g.told("the next program does it", "report of 1; proposal of 3 3 pending; ")
	})
}

type broken struct{ simple }

func (broken) Make(mfpgate.ScheduleSnapshot) (mfpgate.SchedulePlan, error) { panic("boom") }

// The planner of package plan, through the whole room.
func TestWithTheRealPlanner(t *testing.T) {
	within(t, func(g *gateway) {
		g.planner = scheduler.Planning{}
		g.policy.Mode = mfpgate.ScheduleAuto
		g.site.contract.Slot = 10 * time.Minute
		for i := range 10 {
			d := delivery(i, 0)
			d.EarliestStart, d.LatestEnd = epoch.Add(8*time.Hour), epoch.Add(12*time.Hour)
			g.office.put(d)
		}
		g.start()
		g.pass(10 * time.Minute)
		st := g.Status()
		if st.Error != "" || len(st.Bands) != 0 || len(st.LeftOut) != 0 || len(g.office.proposals) != 1 {
			g.t.Errorf("%d bands, %d proposals, left out %v, error %q", len(st.Bands), len(g.office.proposals), st.LeftOut, st.Error)
		}
		slots, err := g.Timeline(epoch.Add(8*time.Hour), epoch.Add(12*time.Hour), time.Minute)
		if err != nil {
			g.t.Fatal(err)
		}
		total := 0
		for _, s := range slots {
			if total += s.Load; s.Over || s.Load > 2 {
				g.t.Errorf("%v: %d of %d", s.From, s.Load, s.Limit)
			}
		}
		if total != 100 {
			g.t.Errorf("%d minutes of load, want all ten deliveries'", total)
		}
	})
}

func TestProposalsDoNotFlap(t *testing.T) {
	within(t, func(g *gateway) {
		g.planner = scheduler.Planning{}
		g.site.contract.Slot = 10 * time.Minute
		for i := range 10 {
			g.office.put(delivery(i, 0))
		}
		g.start()
		g.pass(4 * time.Hour)
		g.told("many repairs are as good as the one that is proposed, and none takes its place", "report of 1; proposal of 8 8 pending; ")
	})
}
