package approval_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
)

// stepped is the bubble's clock with a wall time that a test sets.
type stepped struct {
	mfpgate.SystemClock
	mu  sync.Mutex
	off time.Duration
}

func (c *stepped) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.SystemClock.Now().Round(0).Add(c.off)
}

func (c *stepped) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// gateway is a broker with what surrounds it, in a bubble of synctest.
type gateway struct {
	*approval.Broker
	t       testing.TB
	clock   *stepped
	store   store.Store
	office  *approvaltest.Service
	mailer  *approvaltest.Mailer
	policy  approval.Policy
	devices map[mfpgate.DeviceID]mfpgate.PrintCandidate
	metrics *telemetry.Metrics
	regions approval.Regions
	noMail  bool
	halt    func()
}

func (g *gateway) Candidate(id mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	c, ok := g.devices[id]
	return c, ok
}

const admin, user = "it@example.com", "tanaka@example.com"

func newGateway(t testing.TB) *gateway {
	clock := &stepped{}
	g := &gateway{t: t, clock: clock, store: memory.New(), mailer: &approvaltest.Mailer{}, devices: map[mfpgate.DeviceID]mfpgate.PrintCandidate{},
		office: &approvaltest.Service{Clock: &mfpgate.SystemClock{}, Key: mfpgate.PrintKeyP256, Interval: 5 * time.Second}}
	g.policy = approval.Policy{SiteName: "osaka-branch", Region: "jp", AdminDomains: []string{"example.com"}, Portal: "https://gateway.example:8443",
		Services: []approval.Service{{Name: "office", Kind: "reference", Client: g.office, Hosts: []string{"print.example"}, Push: true}}}
	g.device("d1")
	return g
}

func (g *gateway) device(id mfpgate.DeviceID) {
	n := len(g.devices) + 1
	g.devices[id] = mfpgate.PrintCandidate{PrintDevice: mfpgate.PrintDevice{ID: id, Name: fmt.Sprint("2F copier ", n), Make: "Example", Model: "MFP 5",
		Serial: fmt.Sprint("SN", n), UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Location: "Osaka 2F", Address: "10.1.0.9"}, Market: "jp", Admin: admin}
}

var sealer = func() *seal.Sealer {
	s, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		panic(err)
	}
	return s
}()

func (g *gateway) options(s store.Store) approval.Options {
	g.metrics = telemetry.NewMetrics()
	o := approval.Options{Clock: g.clock, Rand: rand.New(rand.NewPCG(1, 2)), Store: s, Sealer: sealer, Site: g, Regions: g.regions, Mailer: g.mailer, Log: telemetry.Discard(),
		Metrics: g.metrics, Gateway: "osaka-1"}
	if g.noMail {
		o.Mailer = nil
	}
	return o
}

// start runs a broker on what the store has.
func (g *gateway) start() { g.begin(g.store) }

func (g *gateway) begin(s store.Store) {
	g.t.Helper()
	g.run(s)
	synctest.Wait()
}

// run is begin outside of a bubble.
func (g *gateway) run(s store.Store) {
	g.t.Helper()
	b, err := approval.New(g.t.Context(), g.options(s), g.policy)
	if err != nil {
		g.t.Fatal(err)
	}
	g.Broker = b
	ctx, cancel := context.WithCancel(g.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }() // halt waits for it
	g.halt = func() {
		cancel()
		if err := <-ended; err != nil && s == g.store {
			g.t.Error(err)
		}
		g.halt = func() {}
	}
}

func (g *gateway) pass(d time.Duration) {
	_ = mfpgate.Wait(g.t.Context(), mfpgate.SystemClock{}, d) // of the bubble
	synctest.Wait()
}

func (g *gateway) ask(device mfpgate.DeviceID, user string) mfpgate.Registration {
	g.t.Helper()
	r, _, err := g.Request(g.t.Context(), mfpgate.RegistrationRequest{Device: device, Service: "office", User: user, From: "10.0.0.7"}, user, "")
	if err != nil {
		g.t.Fatal(err)
	}
	synctest.Wait()
	return r
}

func (g *gateway) get(id string) mfpgate.Registration {
	g.t.Helper()
	r, err := g.Get(g.t.Context(), id)
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

// want checks where a registration stands.
func (g *gateway) want(id string, state mfpgate.RegistrationState, why mfpgate.Reason, attempt int) mfpgate.Registration {
	g.t.Helper()
	r := g.get(id)
	if r.State != state || r.Reason != why || r.Attempt != attempt {
		g.t.Errorf("state %s, reason %q, attempt %d (%s); want %s, %q, %d", r.State, r.Reason, r.Attempt, r.Detail, state, why, attempt)
	}
	return r
}

// bubble runs a test on a gateway whose time passes as fast as it can.
func bubble(t *testing.T, fn func(t *testing.T, g *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		defer func() {
			if g.halt != nil {
				g.halt()
			}
		}()
		fn(t, g)
	})
}
