package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/scheduler"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
)

// epoch is when a bubble's clock begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// premises are a gateway's site.
type premises struct {
	mu       sync.Mutex
	contract *mfpgate.Contract
	devices  []mfpgate.ScheduledDevice
	untold   bool
	capacity int
}

func (p *premises) Contract() (mfpgate.Contract, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.contract == nil {
		return mfpgate.Contract{}, false
	}
	return *p.contract, true
}

func (p *premises) Devices() []mfpgate.ScheduledDevice {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.devices
}

func (p *premises) Told() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.untold
}

func (p *premises) Capacity(time.Time) (int, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.capacity, time.Time{}
}

func (p *premises) set(change func(*premises)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// gateway is a scheduler with everything around it, in a bubble.
type gateway struct {
	t       *testing.T
	clock   mfpgate.SystemClock
	store   store.Store
	site    *premises
	office  *office
	policy  scheduler.Policy
	planner scheduler.Planner
	metrics *telemetry.Metrics
	*scheduler.Scheduler
	stop func()
}

// newGateway has room for two devices of ten, and an hourly fetch.
func newGateway(t *testing.T) *gateway {
	g := &gateway{t: t, store: memory.New(), metrics: telemetry.NewMetrics(), planner: simple{}, stop: func() {}}
	g.office = newOffice(g.clock)
	fetch, err := calendar.ParseCron("17 * * * *", time.UTC, calendar.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	g.policy = scheduler.Policy{System: "https://jp", Mode: mfpgate.SchedulePropose, Fetch: fetch, Horizon: 7 * 24 * time.Hour}
	g.site = &premises{capacity: 2, contract: &mfpgate.Contract{ID: "c", Version: "c1", Mode: mfpgate.ScheduleAuto, LeadTime: time.Hour, Slot: time.Minute,
		TimeZone: "UTC", Services: []string{mfpgate.ServiceDelivery}}}
	for i := range 10 {
		g.site.devices = append(g.site.devices, mfpgate.ScheduledDevice{ID: device(i), Model: "C2570", MonitoringMode: mfpgate.MonitoringProxy})
	}
	t.Cleanup(func() { _ = g.store.Close() })
	return g
}

func device(i int) mfpgate.DeviceID { return mfpgate.DeviceID(fmt.Sprint("dev_", i)) }

// delivery is ten minutes long, to device i, at 10:00 of the bubble's first day and minutes later.
func delivery(i int, minutes int) mfpgate.Delivery {
	return mfpgate.Delivery{ID: fmt.Sprint("d", i), Device: device(i), Kind: "firmware", Model: "C2570", Package: "fw", State: mfpgate.DeliveryPlanned, Version: "?",
		Schedule: mfpgate.LocalSchedule{Start: epoch.Add(10*time.Hour + time.Duration(minutes)*time.Minute)}, Movable: true, Bytes: 1e6,
		Duration: mfpgate.DurationEstimate{P50: 10 * time.Minute, P95: 10 * time.Minute, Basis: mfpgate.DurationHistory, Samples: 50}}
}

// crowd plans n deliveries at the same time.
func (g *gateway) crowd(n int) {
	for i := range n {
		g.office.put(delivery(i, 0))
	}
}

// start begins a scheduler on the gateway's store, as a new process would.
func (g *gateway) start() {
	g.t.Helper()
	s, err := scheduler.New(g.t.Context(), scheduler.Options{Clock: g.clock, Rand: rand.New(rand.NewPCG(1, 2)), Store: g.store, Cloud: g.office, Site: g.site,
		Planner: g.planner, Log: telemetry.Discard(), Metrics: g.metrics, Gateway: "osaka-1", Policy: g.policy})
	if err != nil {
		g.t.Fatal(err)
	}
	g.Scheduler = s
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	g.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Error(err)
		}
		g.stop = func() {}
	}
	synctest.Wait()
}

func (g *gateway) pass(d time.Duration) {
	g.t.Helper()
	if err := mfpgate.Wait(g.t.Context(), g.clock, d); err != nil {
		g.t.Fatal(err)
	}
	synctest.Wait()
}

func (g *gateway) told(rule, want string) {
	g.t.Helper()
	if diff := cmp.Diff(want, g.office.story()); diff != "" {
		g.t.Errorf("%s: -want +got\n%s", rule, diff)
	}
	if len(g.office.twice) > 0 {
		g.t.Errorf("%s: ids that were used for something else: %v", rule, g.office.twice)
	}
}

// within runs a test in a bubble.
func within(t *testing.T, f func(g *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		defer func() { g.stop() }()
		f(g)
	})
}

func TestModes(t *testing.T) {
	for _, c := range []struct {
		rule                 string
		configured, contract mfpgate.ScheduleMode
		effective            mfpgate.ScheduleMode
		want                 string
	}{
		{"notify reports", mfpgate.ScheduleNotify, mfpgate.ScheduleAuto, mfpgate.ScheduleNotify, "report of 1; "},
		{"propose waits for a person", mfpgate.SchedulePropose, mfpgate.ScheduleAuto, mfpgate.SchedulePropose, "report of 1; proposal of 3 3 pending; "},
		{"auto applies, and closes the warning", mfpgate.ScheduleAuto, mfpgate.ScheduleAuto, mfpgate.ScheduleAuto, "report of 1; report of 0; proposal of 3 3 applied; "},
		{"the contract narrows", mfpgate.ScheduleAuto, mfpgate.ScheduleNotify, mfpgate.ScheduleNotify, "report of 1; "},
		{"a mode that nobody knows allows the least", mfpgate.ScheduleAuto, "magic", mfpgate.ScheduleNotify, "report of 1; "},
	} {
		within(t, func(g *gateway) {
			g.policy.Mode, g.site.contract.Mode = c.configured, c.contract
			g.crowd(5)
			g.start()
			g.pass(9 * time.Hour)
			g.told(c.rule, c.want)
			st := g.Status()
			if st.Effective != c.effective || (st.Why != "") != (c.effective != c.configured) || st.Error != "" {
				g.t.Errorf("%s: %q because %q, error %q", c.rule, st.Effective, st.Why, st.Error)
			}
		})
	}
}

func TestNothingNewIsSaidOnce(t *testing.T) {
	within(t, func(g *gateway) {
		for i := range 5 {
			d := delivery(i, 0)
			d.Schedule.Start = d.Schedule.Start.AddDate(0, 0, 5)
			g.office.put(d)
		}
		g.start()
		g.pass(4 * 24 * time.Hour)
		g.told("four days of hourly fetches", "report of 1; proposal of 3 3 pending; ")
		if n := g.office.calls["changes"]; n < 96 || n > 99 {
			g.t.Errorf("%d fetches in four days", n)
		}
		if got := g.metrics.Value("mfpgate_scheduler_overload_bands", "certainty", "certain"); got != 1 {
			g.t.Errorf("%v bands in the metrics", got)
		}
		g.stop()
		g.start()
		g.pass(3 * time.Hour)
		g.told("and a restart", "report of 1; proposal of 3 3 pending; ")
	})
}

func TestIdle(t *testing.T) {
	for _, c := range []struct {
		why  mfpgate.Reason
		make func(*premises)
		mend func(*premises)
	}{
		{scheduler.NoContract, func(p *premises) { p.contract = nil }, func(p *premises) {
			p.contract = &mfpgate.Contract{Version: "c1", Services: []string{mfpgate.ServiceDelivery}}
		}},
		{scheduler.NotInContract, func(p *premises) { p.contract.Services = []string{"other"} }, func(p *premises) {
			c := *p.contract
			c.Services = []string{mfpgate.ServiceDelivery}
			p.contract = &c
		}},
		{scheduler.NoProxyDevices, func(p *premises) { p.devices = p.devices[:0:0] }, func(p *premises) {
			p.devices = []mfpgate.ScheduledDevice{{ID: device(1), MonitoringMode: mfpgate.MonitoringProxy}}
		}},
		{scheduler.ModesNotTold, func(p *premises) { p.untold = true }, func(p *premises) { p.untold = false }},
	} {
		within(t, func(g *gateway) {
			c.make(g.site)
			g.start()
			g.pass(5 * time.Hour)
			if st := g.Status(); st.Idle != c.why || st.IdleText == "" || len(g.office.calls) != 0 {
				g.t.Errorf("%q (%s), want %q and no call: %v", st.Idle, st.IdleText, c.why, g.office.calls)
			}
			if err := g.Refresh(g.t.Context()); !errors.Is(err, scheduler.ErrIdle) {
				g.t.Errorf("refresh: %v", err)
			}
			g.site.set(c.mend)
			g.Wake()
			g.pass(time.Second)
			if st := g.Status(); st.Idle != "" || g.office.calls["changes"] != 1 {
				g.t.Errorf("after %q ended: %q, %v", c.why, st.Idle, g.office.calls)
			}
		})
	}
}

func TestEventsWake(t *testing.T) {
	within(t, func(g *gateway) {
		g.start()
		g.pass(30 * time.Minute)
		g.told("no overload is reported once, so that what an earlier gateway reported is closed", "report of 0; ")
		g.crowd(5)
		g.pass(15 * time.Second)
		g.told("an event is heard within seconds", "report of 0; report of 1; proposal of 3 3 pending; ")
		g.office.remove("d0")
		g.office.remove("d1")
		g.office.remove("d2")
		g.pass(15 * time.Second)
		g.told("what is removed closes", "report of 0; report of 1; report of 0; proposal of 3 3 pending withdrawn; ")
	})
}

func TestAnOperatorAsks(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleNotify
		g.crowd(5)
		g.start()
		g.pass(30 * time.Minute)
		g.told("notify", "report of 1; ")
		g.office.request()
		g.pass(4 * time.Hour)
		g.told("what is asked for is proposed, not applied, and stays", "report of 1; proposal of 3 3 pending; ")
		g.office.rule(g.office.open()[0], func(string) bool { return true })
		g.pass(3 * time.Hour)
		g.told("and no more than once", "report of 1; report of 0; proposal of 3 3 applied; ")
	})
}

func TestRejectedStartsAreNotProposedAgain(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(4)
		g.start()
		g.pass(30 * time.Minute)
		g.told("two must leave", "report of 1; proposal of 2 2 pending; ")
		g.office.rule(g.office.open()[0], func(id string) bool { return false })
		g.pass(2 * time.Hour)
		g.told("others are proposed in their place", "report of 1; proposal of 2 2 rejected; proposal of 2 2 pending; ")
		if st := g.Status(); st.Rejected != 2 || st.Proposal.Changes[0].Delivery != "d2" {
			g.t.Errorf("%d rejected, then %v", st.Rejected, st.Proposal.Changes)
		}
		g.office.rule(g.office.open()[0], func(id string) bool { return false })
		g.stop()
		g.start()
		g.pass(2 * time.Hour)
		g.told("nobody may be moved, across a restart", "report of 1; proposal of 2 2 rejected; proposal of 2 2 rejected; ")
		d := delivery(1, 0)
		d.Priority = 3
		g.office.put(d)
		g.pass(time.Minute)
		g.told("a new version may", "report of 1; proposal of 2 2 rejected; proposal of 2 2 rejected; proposal of 1 1 pending; ")
		if got := g.metrics.Value("mfpgate_scheduler_changes_total", "state", "rejected"); got != 4 {
			g.t.Errorf("%v rejected changes in the metrics", got)
		}
	})
}

func TestAnotherOverloadMayMoveWhatWasRejected(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(3)
		g.start()
		g.pass(30 * time.Minute)
		g.office.rule(g.office.open()[0], func(id string) bool { return false })
		g.pass(time.Minute)
		g.site.set(func(p *premises) { p.capacity = 1 })
		g.pass(2 * time.Hour)
		if p := g.Status().Proposal; !p.Open || p.Changes[0].Delivery != "d0" {
			g.t.Errorf("got %v, want the rejected delivery's move: the room is smaller", p)
		}
	})
}

func TestConflictsAreReplanned(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleAuto
		g.crowd(5)
		once := false
		g.office.fail = func(call string) error { // between the fetch and the proposal
			if call == "propose" && !once {
				once = true
				g.office.mu.Lock()
				d := g.office.deliveries["d1"]
				d.Priority = 7
				g.office.set(d)
				g.office.mu.Unlock()
			}
			return nil
		}
		g.start()
		g.pass(10 * time.Minute)
		g.told("what conflicts is planned from its new version", "report of 1; report of 1; report of 0; proposal of 3 2 applied 1 conflict; proposal of 1 1 applied; ")
	})
}

func TestStaleProposalsAreBounded(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleAuto
		g.crowd(5)
		g.office.meet = func(mfpgate.Proposal) (*mfpgate.ProposalOutcome, error) {
			return nil, fmt.Errorf("snapshot: %w", mfpgate.ErrStale)
		}
		g.start()
		g.pass(10 * time.Minute)
		if n := g.office.calls["propose"]; n != 1+scheduler.MaxReplans {
			g.t.Errorf("%d proposals of stale versions, want %d", n, 1+scheduler.MaxReplans)
		}
		g.office.mu.Lock()
		g.office.meet = nil
		g.office.mu.Unlock()
		g.pass(time.Hour)
		g.told("the next scheduled run begins anew", "report of 1; report of 0; proposal of 3 3 applied; ")
	})
}

func TestConflictsWithoutEndAreBounded(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleAuto
		g.crowd(5)
		g.office.meet = func(p mfpgate.Proposal) (*mfpgate.ProposalOutcome, error) {
			out := &mfpgate.ProposalOutcome{ID: p.ID}
			for _, c := range p.Changes {
				out.Changes = append(out.Changes, mfpgate.ChangeOutcome{Change: c.ID, Delivery: c.Delivery, State: mfpgate.ChangeExpired})
			}
			g.office.tell(mfpgate.EventProposalDecided, p.ID)
			return out, nil
		}
		g.start()
		g.pass(8 * time.Hour)
		if n := g.office.calls["propose"]; n < 8 || n > 9*(1+scheduler.MaxReplans) {
			g.t.Errorf("%d proposals in eight hours", n)
		}
	})
}

func TestANewerProposalTakesTheOldOnesPlace(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(4)
		g.start()
		g.pass(time.Minute)
		g.office.put(delivery(4, 0))
		g.pass(time.Minute)
		g.told("withdrawn first", "report of 1; report of 1; proposal of 2 2 pending withdrawn; proposal of 3 3 pending; ")
		g.policy.Mode = mfpgate.ScheduleNotify
		g.Reconfigure(g.policy)
		g.pass(time.Minute)
		g.told("in mode notify none is left", "report of 1; report of 1; proposal of 2 2 pending withdrawn; proposal of 3 3 pending withdrawn; ")
	})
}

func TestByHand(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleNotify
		g.start()
		g.pass(time.Minute)
		if _, err := g.Propose(g.t.Context()); !errors.Is(err, scheduler.ErrNothing) {
			g.t.Errorf("without an overload: %v", err)
		}
		g.crowd(5)
		p, err := g.Propose(g.t.Context())
		if err != nil || len(p.Changes) != 3 || !p.Open {
			g.t.Fatalf("%v, %v", p, err)
		}
		again, err := g.Propose(g.t.Context())
		if err != nil || again.ID != p.ID {
			g.t.Errorf("asked twice: %v, %v", again, err)
		}
		if _, err := g.Apply(g.t.Context(), "other"); !errors.Is(err, scheduler.ErrNoProposal) {
			g.t.Errorf("another id: %v", err)
		}
		g.site.set(func(s *premises) { c := *s.contract; c.Mode = mfpgate.SchedulePropose; s.contract = &c })
		if _, err := g.Apply(g.t.Context(), p.ID); !errors.Is(err, scheduler.ErrNotAllowed) {
			g.t.Errorf("a contract that does not allow it: %v", err)
		}
		g.site.set(func(s *premises) { c := *s.contract; c.Mode = mfpgate.ScheduleAuto; s.contract = &c })
		if _, err := g.Apply(g.t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		g.pass(time.Minute)
		if st := g.Status(); st.Proposal.Open || len(st.Proposal.Outcome.Changes) != 3 || st.Proposal.Outcome.Changes[2].State != mfpgate.ChangeApplied || len(st.Bands) != 0 {
			g.t.Errorf("%+v", st.Proposal)
		}
		g.pass(3 * time.Hour)
		g.told("applied once, the offer withdrawn", "report of 0; report of 1; report of 0; proposal of 3 3 pending withdrawn; proposal of 3 3 applied; ")
		if _, err := g.Apply(g.t.Context(), g.Status().Proposal.ID); !errors.Is(err, scheduler.ErrNoProposal) {
			g.t.Errorf("one that is decided: %v", err)
		}
	})
}

func TestBadAnswersKeepThePlan(t *testing.T) {
	long := strings.Repeat("x", 65)
	for rule, bend := range map[string]func(*mfpgate.ScheduleChanges){
		"no token":         func(c *mfpgate.ScheduleChanges) { c.Token = "" },
		"an endless token": func(c *mfpgate.ScheduleChanges) { c.Token = strings.Repeat("t", 300) },
		"twice":            func(c *mfpgate.ScheduleChanges) { c.Deliveries = []mfpgate.Delivery{delivery(7, 0), delivery(7, 1)} },
		"there and removed": func(c *mfpgate.ScheduleChanges) {
			c.Deliveries, c.Removed = []mfpgate.Delivery{delivery(7, 0)}, []string{"d7"}
		},
		"too many": func(c *mfpgate.ScheduleChanges) {
			c.Deliveries = make([]mfpgate.Delivery, scheduler.MaxDeliveries+1)
		},
		"a removed id too long":  func(c *mfpgate.ScheduleChanges) { c.Removed = []string{long} },
		"an id too long":         one(func(d *mfpgate.Delivery) { d.ID = long }),
		"no id":                  one(func(d *mfpgate.Delivery) { d.ID = "" }),
		"control characters":     one(func(d *mfpgate.Delivery) { d.Batch = "a\x00b" }),
		"not UTF-8":              one(func(d *mfpgate.Delivery) { d.Model = "\xff" }),
		"no version":             one(func(d *mfpgate.Delivery) { d.Version = "" }),
		"a state of its own":     one(func(d *mfpgate.Delivery) { d.State = "lost" }),
		"no start":               one(func(d *mfpgate.Delivery) { d.Schedule = mfpgate.LocalSchedule{} }),
		"the year 1":             one(func(d *mfpgate.Delivery) { d.Schedule.Start = time.Date(1, 2, 3, 4, 5, 6, 0, time.UTC) }),
		"the year 10000":         one(func(d *mfpgate.Delivery) { d.LatestEnd = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"a backward window":      one(func(d *mfpgate.Delivery) { d.EarliestStart, d.LatestEnd = epoch.Add(time.Hour), epoch }),
		"a negative duration":    one(func(d *mfpgate.Delivery) { d.Duration.P50 = -1 }),
		"a month's duration":     one(func(d *mfpgate.Delivery) { d.Duration.P95 = 31 * 24 * time.Hour }),
		"negative bytes":         one(func(d *mfpgate.Delivery) { d.Bytes = -1 }),
		"priority 10":            one(func(d *mfpgate.Delivery) { d.Priority = 10 }),
		"a backward blackout":    one(func(d *mfpgate.Delivery) { d.Blackouts = []mfpgate.Interval{{From: epoch.Add(1), To: epoch}} }),
		"too many blackouts":     one(func(d *mfpgate.Delivery) { d.Blackouts = make([]mfpgate.Interval, 65) }),
		"what cannot be planned": one(func(d *mfpgate.Delivery) { d.ID, d.Package = "a", "unplannable" }),
	} {
		within(t, func(g *gateway) {
			g.crowd(5)
			g.start()
			g.pass(time.Minute)
			before := g.Status()
			g.office.mu.Lock()
			g.office.bend = bend
			g.office.mu.Unlock()
			g.pass(2 * time.Hour)
			st := g.Status()
			if st.Error == "" || len(st.Bands) != 1 || st.Deliveries != 5 || !st.Succeeded.Equal(before.Succeeded) {
				g.t.Errorf("%s: error %q, %d bands, %d deliveries", rule, st.Error, len(st.Bands), st.Deliveries)
			}
			if rule != "what cannot be planned" && (st.Reason != scheduler.AnswerRefused || g.metrics.Value("mfpgate_scheduler_refusals_total", "of", "answer") < 2) {
				g.t.Errorf("%s: reason %q", rule, st.Reason)
			}
			g.told(rule, "report of 1; proposal of 3 3 pending; ")
			g.office.mu.Lock()
			g.office.bend = func(c *mfpgate.ScheduleChanges) {}
			g.office.mu.Unlock()
			g.office.remove("a")
			g.pass(time.Hour)
			if st := g.Status(); st.Error != "" || st.Deliveries != 5 {
				g.t.Errorf("%s: a good answer after it: %q, %d deliveries", rule, st.Error, st.Deliveries)
			}
		})
	}
}

func one(change func(*mfpgate.Delivery)) func(*mfpgate.ScheduleChanges) {
	return func(c *mfpgate.ScheduleChanges) {
		d := delivery(7, 0)
		change(&d)
		c.Deliveries = append(c.Deliveries, d)
	}
}
