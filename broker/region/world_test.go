package region_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
)

const gw, admin = "osaka-1", "it@example.com"

// world is two regions, and the saga of jp. Holdings are the least that a move needs; package holding has the real ones.
type world struct {
	*region.Saga
	t       testing.TB
	store   store.Store
	clouds  map[string]*cloud
	names   []string // of Regions
	device  map[mfpgate.DeviceID]mfpgate.Device
	limits  region.Limits
	clock   behind // of the saga
	adopt   func(tx store.Tx, m mfpgate.Move, data json.RawMessage) error
	receipt func(string, mfpgate.DeletionReceipt) error
	halt    func()

	mu     sync.Mutex
	minted int
	calls  []string // "us services copy"
	// before is asked at each call, after may change its answer. A call that before refuses has no effect.
	before, after, refuse func(at call) error // refuse is kept by who sets before
	hang                  func(ctx context.Context, at string)
}

// call is one exchange.
type call struct {
	world        *world
	region, role string // services or management
	step         mfpgate.MoveStep
	order        mfpgate.MoveOrder
	answer       *mfpgate.MoveAnswer
	holding      *mfpgate.Holding
	found        *mfpgate.Registrant
	offers       *[]mfpgate.ServiceOffer
}

func (c call) String() string { return c.region + " " + c.role + " " + string(c.step) }

// What is asked without an order.
const (
	askOffers  mfpgate.MoveStep = "offers"
	askHolding mfpgate.MoveStep = "holding"
	askFind    mfpgate.MoveStep = "find"
)

func newWorld(t testing.TB) *world {
	w := &world{t: t, store: memory.New(), clouds: map[string]*cloud{}, device: map[mfpgate.DeviceID]mfpgate.Device{}, names: []string{"jp", "us", "de"}, clock: behind{by: new(atomic.Int64)}}
	for _, name := range w.names {
		w.clouds[name] = &cloud{w: w, region: name, held: map[string]*mfpgate.Holding{}, models: map[string][2]string{}, fence: map[string]int{}}
	}
	w.clouds["jp"].offers = []mfpgate.ServiceOffer{{ID: "document-cloud", Children: []string{"translate"}}, {ID: "scan", Children: []string{}}}
	w.enter("dev_1", 1)
	return w
}

func mfpOf(n int) string { return fmt.Sprint("mfp-", n) }

// enter gives the gateway a device that us holds.
func (w *world) enter(id mfpgate.DeviceID, n int) {
	model, serial, mfp := "MFP 5", fmt.Sprint("SN", n), mfpOf(n)
	w.device[id] = mfpgate.Device{ID: id, Model: model, Serial: serial, Market: "us"}
	us := w.clouds["us"]
	us.models[mfp] = [2]string{model, serial}
	us.held[mfp] = &mfpgate.Holding{MFP: mfp, Region: "us", State: mfpgate.HoldingActive, Epoch: 1, Registration: fmt.Sprint("r1.us.1.", n),
		Services: []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"whiteboard", "translate"}}},
		Data:     []mfpgate.HeldData{{Class: "jobs", Items: 3, Bytes: 300}, {Class: "address-book", Items: 1, Bytes: 10}}}
}

func (w *world) pass(c call, fn func() error) error {
	w.mu.Lock()
	before, after := w.before, w.after
	if c.step != askOffers && c.step != askHolding && c.step != askFind {
		w.calls = append(w.calls, c.String())
	}
	w.mu.Unlock()
	if before != nil {
		if err := before(c); err != nil {
			return err
		}
	}
	w.mu.Lock()
	err := fn()
	w.mu.Unlock()
	if after != nil && err == nil {
		err = after(c)
	}
	return err
}

// Names, Services and Management are region.Regions.
func (w *world) Names() []string { return w.names }

func (w *world) Services(name string) (region.Services, bool) {
	return services{w.clouds[name]}, slices.Contains(w.names, name)
}

func (w *world) Management(name string) (region.Management, bool) {
	return manager{w.clouds[name]}, slices.Contains(w.names, name)
}

func (w *world) Device(_ context.Context, gateway string, id mfpgate.DeviceID) (mfpgate.Device, bool, error) {
	d, ok := w.device[id]
	return d, ok && gateway == gw, nil
}

func (w *world) Mint(epoch uint64) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.minted++
	return fmt.Sprintf("r1.jp.%d.%d", epoch, w.minted), nil
}

var errAway = errors.New("connection refused")

func (w *world) options(s store.Store) region.Options {
	return region.Options{Clock: w.clock, Rand: rand.New(rand.NewPCG(1, 2)), Store: s, Region: "jp", Regions: w, Devices: w, Log: telemetry.Discard(),
		Adopt: w.adopt, Receipt: w.receipt, Limits: w.limits}
}

// start runs a saga on what the store has.
func (w *world) start() {
	w.t.Helper()
	w.begin(w.store)
	synctest.Wait()
}

func (w *world) make(s store.Store) *region.Saga {
	w.t.Helper()
	saga, err := region.New(w.t.Context(), w.options(s))
	if err != nil {
		w.t.Fatal(err)
	}
	w.Saga = saga
	return saga
}

func (w *world) begin(s store.Store) {
	saga := w.make(s)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- saga.Run(ctx) }() // halt waits for it
	w.halt = func() {
		cancel()
		if err := <-ended; err != nil && s == w.store {
			w.t.Error(err)
		}
		w.halt = func() {}
	}
}

func (w *world) sleep(d time.Duration) {
	_ = mfpgate.Wait(w.t.Context(), mfpgate.SystemClock{}, d) // of the bubble
	synctest.Wait()
}

func (w *world) wants(id mfpgate.DeviceID) mfpgate.MoveRequest {
	return mfpgate.MoveRequest{Device: id, To: "jp"}
}

// moves plans and starts a move.
func (w *world) moves(id mfpgate.DeviceID) mfpgate.Move {
	w.t.Helper()
	r := w.wants(id)
	p, err := w.Plan(w.t.Context(), gw, r)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Plan = p.Hash
	m, replayed, err := w.Start(w.t.Context(), gw, r, admin, "")
	if err != nil || replayed {
		w.t.Fatal(replayed, err)
	}
	synctest.Wait()
	return m
}

func (w *world) get(id mfpgate.MoveID) mfpgate.Move {
	w.t.Helper()
	m, err := w.Get(w.t.Context(), gw, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// want checks where a move stands.
func (w *world) want(id mfpgate.MoveID, state mfpgate.MoveState, step mfpgate.MoveStep, why mfpgate.Reason) mfpgate.Move {
	w.t.Helper()
	synctest.Wait()
	m := w.get(id)
	if m.State != state || m.Step != step || m.Reason != why {
		w.t.Errorf("state %s, step %s, reason %q (%s); want %s, %s, %q", m.State, m.Step, m.Reason, m.Detail, state, step, why)
	}
	return m
}

func (w *world) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

// change is for what a test does to the regions while the saga runs.
func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// gateway does its part for a move, as far as it can be done now.
func (w *world) gateway(id mfpgate.MoveID) {
	m, err := w.Get(w.t.Context(), gw, id)
	if err != nil {
		return
	}
	if m.Step == mfpgate.StepVerify && m.State == mfpgate.MoveOpen {
		_ = w.Probed(w.t.Context(), gw, id, []mfpgate.NameProbe{{Name: "us.example", Host: "jp.example:443", Validated: true}}, nil)
	}
	if m.State == mfpgate.MoveCommitted && m.SwitchedAt.IsZero() {
		_ = w.Switched(w.t.Context(), gw, id, m.Epoch, mfpgate.Seen{gw + "/route": 1})
	}
}

// comes has the device acknowledge its directive, and check in where it is active.
func (w *world) comes(mfp string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clouds["us"].acked = now()
	if h := w.clouds["jp"].held[mfp]; h != nil && h.State == mfpgate.HoldingActive {
		next := *h
		next.CheckedIn = now()
		w.clouds["jp"].held[mfp] = &next
	}
}

// audits are the actions of the chain, which is verified.
func (w *world) audits() (actions []string) {
	w.t.Helper()
	report, err := journal.VerifyAudit(w.t.Context(), w.store, "audit/")
	if err := errors.Join(err, report.Err()); err != nil {
		w.t.Error(err)
	}
	list, err := w.Journal().ListAudit(w.t.Context(), 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range slices.Backward(list) {
		actions = append(actions, e.Action)
	}
	return actions
}

// bubble runs a test on a world whose time passes as fast as it can.
func bubble(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() {
			if w.halt != nil {
				w.halt()
			}
		}()
		fn(t, w)
	})
}

func now() time.Time { return mfpgate.SystemClock{}.Now() } // of the bubble
