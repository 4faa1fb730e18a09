package route_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
)

const gateway = "osaka-1"

var hosts = []mfpgate.RegionHosts{
	{Region: "jp", Management: []string{"mgmt.jp.example:443"}, Services: []string{"svc.jp.example:443", "svc.jp.example:80", "10.0.1.1:443"}},
	{Region: "us", Management: []string{"mgmt.us.example:443", "mgmt.us.example:80"}, Services: []string{"svc.us.example:443", "svc.us.example:80", "10.0.2.1:443", "old.us.example:443"}},
	{Region: "de", Management: []string{"mgmt.de.example"}, Services: []string{"svc.de.example"}},
}

func device(n int) mfpgate.DeviceID { return mfpgate.DeviceID(fmt.Sprintf("dev_%04d", n)) }

// cloud is a region whose moves are made by hand, or with saga set by the gateway's own words.
type cloud struct {
	mu         sync.Mutex
	feed       []mfpgate.Move // every change, in order
	now        map[mfpgate.MoveID]mfpgate.Move
	keys       map[string]mfpgate.MoveID
	hosts      []mfpgate.RegionHosts
	residences []mfpgate.Residence
	blockers   map[mfpgate.DeviceID][]mfpgate.MoveBlocker
	switched   []string
	checkedIn  []string
	plans      int
	down       error
	mute       bool // it answers no question for residences
	saga       bool
	refuse     error                                                            // of Start
	onSwitched func(id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen)         // looks before the region takes it
	page       func(cursor string) (moves []mfpgate.Move, next string, ok bool) // in place of the feed
	hook       func() error                                                     // before and after each call but Changes
}

func newCloud() *cloud {
	return &cloud{now: map[mfpgate.MoveID]mfpgate.Move{}, keys: map[string]mfpgate.MoveID{}, hosts: hosts, blockers: map[mfpgate.DeviceID][]mfpgate.MoveBlocker{}}
}

// call makes a call's effect between two points where the process may die.
func (c *cloud) call(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	hook, down := c.hook, c.down
	c.mu.Unlock()
	if hook == nil {
		hook = func() error { return nil }
	}
	if err := hook(); err != nil {
		return err
	}
	if down != nil {
		return down
	}
	c.mu.Lock()
	err := do()
	c.mu.Unlock()
	return errors.Join(err, hook())
}

// tell has the region say something of a move. It is called with mu.
func (c *cloud) tell(m mfpgate.Move) {
	c.now[m.ID] = m
	c.feed = append(c.feed, m)
}

func (c *cloud) say(moves ...mfpgate.Move) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range moves {
		c.tell(m)
	}
}

func (c *cloud) Plan(ctx context.Context, r mfpgate.MoveRequest) (p mfpgate.MovePlan, err error) {
	err = c.call(ctx, func() error {
		c.plans++
		p = mfpgate.MovePlan{Device: r.Device, From: "us", To: r.To, Epoch: 2, Hash: "hash-" + string(r.Device), Blockers: c.blockers[r.Device]}
		return nil
	})
	return p, err
}

func (c *cloud) Start(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (m mfpgate.Move, err error) {
	err = c.call(ctx, func() error {
		if c.refuse != nil {
			return c.refuse
		}
		if id, again := c.keys[key]; again {
			m = c.now[id]
			return nil
		}
		m = move(len(c.keys)+1, r.Device, 2)
		m.RequestedBy, m.StartedAt = actor, time.Now()
		c.keys[key] = m.ID
		if c.saga {
			m.Step = mfpgate.StepVerify
		}
		c.tell(m)
		return nil
	})
	return m, err
}

func (c *cloud) Changes(ctx context.Context, cursor string) ([]mfpgate.Move, string, error) {
	c.mu.Lock()
	page, down := c.page, c.down
	c.mu.Unlock()
	if down != nil {
		return nil, "", down
	}
	if page != nil {
		if moves, next, ok := page(cursor); ok {
			return moves, next, nil
		}
	}
	for range 10 {
		c.mu.Lock()
		n, _ := strconv.Atoi(cursor)
		moves := slices.Clone(c.feed[min(n, len(c.feed)):min(n+5, len(c.feed))])
		c.mu.Unlock()
		if len(moves) > 0 {
			return moves, strconv.Itoa(n + len(moves)), nil
		}
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, time.Second); err != nil {
			return nil, "", err
		}
	}
	return nil, cursor, nil
}

func (c *cloud) act(ctx context.Context, id mfpgate.MoveID, change func(*mfpgate.Move)) (m mfpgate.Move, err error) {
	err = c.call(ctx, func() error {
		m = c.now[id]
		change(&m)
		m.Since = time.Now()
		c.tell(m)
		return nil
	})
	return m, err
}

func (c *cloud) Abort(ctx context.Context, id mfpgate.MoveID, _ string) (mfpgate.Move, error) {
	return c.act(ctx, id, func(m *mfpgate.Move) {
		m.State, m.Step, m.Reason = mfpgate.MoveCompensating, mfpgate.StepAbort, "taken-back"
	})
}

func (c *cloud) Retry(ctx context.Context, id mfpgate.MoveID, _ string) (mfpgate.Move, error) {
	return c.act(ctx, id, func(m *mfpgate.Move) { m.Attempts = 0 })
}

func (c *cloud) ConfirmLost(ctx context.Context, id mfpgate.MoveID, _ string) (mfpgate.Move, error) {
	return c.act(ctx, id, func(m *mfpgate.Move) { m.Lost = true })
}

func (c *cloud) Probed(ctx context.Context, id mfpgate.MoveID, probes []mfpgate.NameProbe, _ mfpgate.Seen) error {
	return c.call(ctx, func() error {
		if m := c.now[id]; c.saga && m.State == mfpgate.MoveOpen {
			m.Probes = probes
			c.tell(m)
			m.State, m.Step, m.CommittedAt, m.Seen = mfpgate.MoveCommitted, mfpgate.StepSwitch, time.Now(), mfpgate.Seen{"jp/management": 7}
			c.tell(m)
		}
		return nil
	})
}

func (c *cloud) Switched(ctx context.Context, id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen) error {
	if c.onSwitched != nil {
		c.onSwitched(id, epoch, seen)
	}
	return c.call(ctx, func() error {
		c.switched = append(c.switched, fmt.Sprintf("%s %d", id, epoch))
		if m := c.now[id]; c.saga && m.SwitchedAt.IsZero() {
			m.SwitchedAt, m.Step = time.Now(), mfpgate.StepConfirm
			c.tell(m)
		}
		return nil
	})
}

func (c *cloud) CheckedIn(ctx context.Context, id mfpgate.MoveID, epoch uint64, at time.Time, _ mfpgate.Seen) error {
	return c.call(ctx, func() error {
		c.checkedIn = append(c.checkedIn, fmt.Sprintf("%s %d", id, epoch))
		if m := c.now[id]; c.saga && m.State == mfpgate.MoveCommitted {
			m.State, m.Step, m.ConfirmedAt, m.EndedAt = mfpgate.MoveDone, mfpgate.StepDelete, at, time.Now()
			c.tell(m)
		}
		return nil
	})
}

func (c *cloud) Hosts(ctx context.Context) (list []mfpgate.RegionHosts, err error) {
	err = c.call(ctx, func() error { list = c.hosts; return nil })
	return list, err
}

func (c *cloud) Residences(ctx context.Context) (list []mfpgate.Residence, err error) {
	c.mu.Lock()
	mute := c.mute
	c.mu.Unlock()
	if mute {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	err = c.call(ctx, func() error { list = c.residences; return nil })
	return list, err
}

func (c *cloud) Enrol(ctx context.Context, d mfpgate.DeviceID, _ string) (r mfpgate.Residence, err error) {
	err = c.call(ctx, func() error { r = mfpgate.Residence{Device: d, State: mfpgate.ResidenceForeign}; return nil })
	return r, err
}

// site is the gateway's devices, its relay, and who asks for certificates.
type site struct {
	mu       sync.Mutex
	devices  map[mfpgate.DeviceID]mfpgate.Device
	relayed  map[mfpgate.DeviceID]time.Time
	good     map[string]bool // name + " " + host
	probes   int
	reroutes atomic.Int64
}

func (s *site) Devices() []mfpgate.Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.devices))
}

func (s *site) Relayed(id mfpgate.DeviceID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.relayed[id]
}

func (s *site) Probe(_ context.Context, host, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probes++; s.good[name+" "+host] {
		return nil
	}
	return errors.New("x509: certificate is not valid for the name")
}

func (s *site) Reroute(time.Duration) { s.reroutes.Add(1) }

// world is a gateway with what surrounds it.
type world struct {
	t      testing.TB
	store  store.Store
	cloud  *cloud
	site   *site
	policy route.Policy
	log    telemetry.Logger
	*route.Broker
	stop func()
}

func newWorld(t testing.TB, devices int) *world {
	w := &world{t: t, store: memory.New(), cloud: newCloud(), log: telemetry.Discard(), stop: func() {},
		site:   &site{devices: map[mfpgate.DeviceID]mfpgate.Device{}, relayed: map[mfpgate.DeviceID]time.Time{}, good: map[string]bool{"svc.us.example svc.jp.example:443": true}},
		policy: route.Policy{Region: "jp", Enforce: true, Mode: route.ModeAsk, RedirectModels: []string{"MX 3"}}}
	for n := 1; n <= devices; n++ {
		w.site.devices[device(n)] = mfpgate.Device{ID: device(n), Name: fmt.Sprintf("mfp %04d", n), Market: "us", Model: "MX 2", MonitoringMode: mfpgate.MonitoringProxy}
	}
	return w
}

func (w *world) options(s store.Store) route.Options {
	return route.Options{Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Store: s, Gateway: gateway, Cloud: w.cloud, Devices: w.site, Prober: w.site,
		Log: w.log, Metrics: telemetry.NewMetrics()}
}

// open makes the broker on what is stored, without running it.
func (w *world) open() {
	w.t.Helper()
	b, err := route.New(w.t.Context(), w.options(w.store), w.policy)
	if err != nil {
		w.t.Fatal(err)
	}
	b.SetTunnels(w.site)
	w.Broker = b
}

// set changes the region.
func (w *world) set(fn func(*cloud)) {
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	fn(w.cloud)
}

// start runs it, until stop.
func (w *world) start() {
	w.t.Helper()
	w.open()
	w.run()
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	b := w.Broker
	go func() { ended <- b.Run(ctx) }() // stop waits for it
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("run: %v", err)
		}
		w.stop = func() {}
	}
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	_ = mfpgate.Wait(context.Background(), mfpgate.SystemClock{}, d)
	synctest.Wait()
}

func move(n int, d mfpgate.DeviceID, epoch uint64) mfpgate.Move {
	return mfpgate.Move{ID: mfpgate.MoveID(fmt.Sprintf("mov_%04d", n)), Gateway: gateway, Device: d, MFP: "mfp_" + string(d), From: "us", To: "jp", Epoch: epoch,
		State: mfpgate.MoveOpen, Step: mfpgate.StepCopy, StartedAt: time.Now(), Since: time.Now()}
}

func committed(m mfpgate.Move) mfpgate.Move {
	m.State, m.Step, m.CommittedAt, m.Since = mfpgate.MoveCommitted, mfpgate.StepSwitch, time.Now(), time.Now()
	return m
}

func host(t testing.TB, s string) mfpgate.Host {
	t.Helper()
	h, err := mfpgate.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// to is where a device's plain request for the old region's services goes.
func (w *world) to(n int) mfpgate.Route {
	return w.Route(device(n), host(w.t, "svc.us.example"), 80, false)
}

func (w *world) audit(action string) (list []journal.Entry) {
	w.t.Helper()
	j, err := journal.New(w.store, journal.Options{Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(3, 4)), Gateway: gateway, Room: "route"})
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := j.ListAudit(w.t.Context(), 0, store.MaxScan)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range all {
		if e.Action == action {
			list = append(list, e)
		}
	}
	return list
}

func (w *world) sound() {
	w.t.Helper()
	report, err := journal.VerifyAudit(w.t.Context(), w.store, "audit/")
	if err := errors.Join(err, report.Err()); err != nil {
		w.t.Error(err)
	}
}

func (w *world) residence(n int) mfpgate.Residence {
	w.t.Helper()
	list, err := w.Residences(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range list {
		if r.Device == device(n) {
			return r
		}
	}
	w.t.Fatalf("no residence of %s among %d", device(n), len(list))
	return mfpgate.Residence{}
}
