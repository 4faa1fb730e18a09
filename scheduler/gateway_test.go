package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
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
