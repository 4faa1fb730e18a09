package regiontest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
)

// Who is in the world.
const (
	gatewayName  = "osaka-1"
	deviceName   = "the device"
	deviceID     = mfpgate.DeviceID("dev_1")
	deviceMFP    = "mfp_1"
	deviceModel  = "MFP-1"
	deviceSerial = "S1"
	targetName   = "jp" // and the site's region
	sourceName   = "us"
)

var regionNames = []string{targetName, sourceName}

// Offers is what the regions of the world offer. The device's child scan/ocr is not offered in jp.
var Offers = map[string][]mfpgate.ServiceOffer{
	"jp": {{ID: "document-cloud", Children: []string{"whiteboard"}}, {ID: "scan", Children: []string{"translate"}}},
	"us": {{ID: "document-cloud", Children: []string{"whiteboard"}}, {ID: "scan", Children: []string{"ocr", "translate"}}},
}

// RuleData: what was acknowledged to the device is there in the end. Play looks for it, since chains do not tell of items.
const RuleData Rule = "data"

// Config is a world in which a device is moved from us to jp.
type Config struct {
	Seed   uint64
	Faults Faults
	Kill   map[string]int64         // process ("jp", "us", "gateway"): before or after which commit it is killed, once
	Skew   map[string]time.Duration // of the processes' clocks
	Pinned bool                     // the device never asks for a directive, and is given up when the move is stuck
	Plain  bool                     // the device speaks plain HTTP to its services
	// Unnamed says that the certificates of a region's services do not have the names of the other's.
	Unnamed bool
	// Unprobed says that the gateway does not say anything of certificates: the move waits for it between copy and drain.
	Unprobed bool
	Busy     time.Duration // for so long the target's management server cannot take the device over: the commit is late
	Abort    time.Duration // after the start somebody aborts the move; 0: nobody
	Back     bool          // when it is done, the device is moved back
	Within   time.Duration // the moves end; 0 is 6 hours
	Limits   region.Limits
	Break    Break
}

// Break is what is broken on purpose.
type Break struct {
	Saga      func(*region.Saga)              // is given each one that is made
	Services  func() Wrap                     // is called once in a world
	Credulous bool                            // services take what they do not offer
	Deaf      bool                            // the relay does not hear that routes have changed
	Lax       bool                            // the relay enforces nothing
	Told      func(mfpgate.Move) mfpgate.Move // what the gateway believes of what it is told
}

// Result is what came of a world.
type Result struct {
	Chains   Chains
	Facts    Facts
	Broken   []Violation // of the rules
	Commits  map[string]int64
	Killed   bool // every process that was to be killed
	Finished bool // the moves ended in time
}

type world struct {
	c       Config
	ctx     context.Context
	clock   mfpgate.Clock
	net     *network
	regions map[string]*process
	gateway *process
	device  *device
	minted  atomic.Int64 // registrations
	promise promise
	wrap    Wrap
	adopt   func(store.Tx, mfpgate.Move, json.RawMessage) error
}

// Play runs a world to its end. It is to be called in a bubble of testing/synctest.
func Play(ctx context.Context, c Config) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &world{
		c: c, ctx: ctx, clock: mfpgate.SystemClock{}, regions: map[string]*process{},
		net:     &network{seed: c.Seed, faults: c.Faults, count: map[string]uint64{}},
		promise: promise{to: map[mfpgate.MoveID]string{}},
		adopt:   busy(c.Busy),
	}
	if c.Break.Services != nil {
		w.wrap = c.Break.Services()
	}
	for _, name := range regionNames {
		w.regions[name] = &process{w: w, name: name, disk: memory.New(), start: w.startRegion, kill: c.Kill[name]}
	}
	w.gateway = &process{w: w, name: "gateway", disk: memory.New(), start: w.startGateway, kill: c.Kill["gateway"]}
	w.device = &device{w: w, pinned: c.Pinned, plain: c.Plain, rand: rand.New(rand.NewPCG(c.Seed, 3)), region: sourceName, epoch: 1, may: map[string][]string{}}
	if err := w.enter(); err != nil {
		return Result{}, err
	}
	var tasks sync.WaitGroup
	errs := make(chan error, 3)
	processes := []*process{w.regions["jp"], w.regions["us"], w.gateway}
	for _, p := range processes {
		tasks.Go(func() {
			if err := p.live(); err != nil {
				errs <- fmt.Errorf("%s: %w", p.name, err)
			}
		})
	}
	tasks.Go(w.device.run)
	finished, err := w.administer()
	if err == nil { // what is on its way may still do harm
		err = mfpgate.Wait(ctx, w.clock, c.Faults.longest()+time.Minute)
	}
	cancel()
	tasks.Wait()
	w.net.tasks.Wait()
	select {
	case first := <-errs:
		err = errors.Join(err, first)
	default:
	}
	if err != nil {
		return Result{}, err
	}
	r := Result{Commits: map[string]int64{}, Killed: true, Finished: finished}
	for _, p := range processes {
		r.Commits[p.name] = p.commits.Load()
		r.Killed = r.Killed && p.commits.Load() >= p.kill
	}
	return r, w.judge(&r)
}

// enter registers the device in us, before anything can go wrong.
func (w *world) enter() error {
	b, err := w.book(sourceName)
	if err != nil {
		return err
	}
	services := []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"whiteboard"}}, {ID: "scan", Children: []string{"ocr", "translate"}}}
	if _, err := b.Register(w.ctx, deviceMFP, "r1.us.1.0", 1, services, ""); err != nil {
		return err
	}
	for n := range names {
		name := fmt.Sprint("n", n)
		if err := b.Put(w.ctx, deviceMFP, itemClass, name, []byte("v")); err != nil {
			return err
		}
		w.device.may[name] = []string{"v"}
	}
	return errors.Join(b.Put(w.ctx, deviceMFP, "log", "today", []byte("used")), b.Put(w.ctx, deviceMFP, "settings", "tray", []byte("A4")))
}

// book opens a region's holdings beside its processes.
func (w *world) book(name string) (*holding.Book, error) {
	return holding.New(holding.Options{
		Clock: w.clock, Store: store.Prefix(w.regions[name].disk, servicesView), Region: name,
		Send: func(context.Context, string, mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
			return mfpgate.MoveAnswer{}, errUnreached
		},
	})
}

// administer begins the moves, and does what people do. It reports whether they ended.
func (w *world) administer() (finished bool, err error) {
	until := w.clock.Now().Add(cmp.Or(w.c.Within, 6*time.Hour))
	for _, to := range w.targets() {
		m, err := w.begin(to, until)
		if err != nil || m.ID == "" {
			return false, err
		}
		end, err := w.attend(to, m, until)
		if err != nil || end == "" {
			return false, err
		}
		if end == mfpgate.MoveRolledBack { // there is nowhere to move back from
			break
		}
	}
	return true, nil
}

// begin has the gateway start a move. What was planned is asked for with the same key until it is refused; then it is planned anew.
func (w *world) begin(to string, until time.Time) (m mfpgate.Move, err error) {
	r := mfpgate.MoveRequest{Device: deviceID, To: to, Data: map[string]mfpgate.DataPolicy{"log": mfpgate.DataLeave, "settings": mfpgate.DataReset}}
	for try := 0; w.clock.Now().Before(until); {
		if l := w.gateway.alive(); l != nil {
			broker := l.relay.broker
			if m, there := begun(l.ctx, broker, to); there {
				return m, nil
			}
			if r.Plan == "" {
				if plan, err := broker.Plan(l.ctx, r); err == nil {
					r.Plan = plan.Hash
				}
			}
			if r.Plan != "" {
				if m, err = broker.Start(l.ctx, r, "anna", fmt.Sprint("key-", to, try)); err == nil {
					return m, nil
				}
				if errors.Is(err, mfpgate.ErrRefused) {
					r.Plan = ""
					try++
				}
			}
		}
		if err := mfpgate.Wait(w.ctx, w.clock, 5*time.Second); err != nil {
			return m, err
		}
	}
	return m, nil
}

// begun finds a move whose start was not heard of.
func begun(ctx context.Context, b *route.Broker, to string) (mfpgate.Move, bool) {
	moves, err := b.Moves(ctx)
	for _, m := range moves {
		if err == nil && m.To == to {
			return m, true
		}
	}
	return mfpgate.Move{}, false
}

// attend waits for a move's end; "" is that it has none. The end is seen in the region; what is to be done is asked of the gateway.
func (w *world) attend(to string, m mfpgate.Move, until time.Time) (mfpgate.MoveState, error) {
	abort := w.clock.Now().Add(w.c.Abort)
	for w.clock.Now().Before(until) {
		pause := 10 * time.Second
		if left := abort.Sub(w.clock.Now()); left > 0 {
			pause = min(pause, left)
		}
		if err := mfpgate.Wait(w.ctx, w.clock, pause); err != nil {
			return "", err
		}
		l, gateway := w.regions[to].alive(), w.gateway.alive()
		if l == nil || gateway == nil {
			continue
		}
		now, err := l.region.saga.Get(l.ctx, gatewayName, m.ID)
		switch broker := gateway.relay.broker; {
		case err != nil:
		case now.State.Ended():
			return now.State, nil
		case w.c.Abort > 0 && now.State == mfpgate.MoveOpen && !w.clock.Now().Before(abort):
			_, _ = broker.Abort(gateway.ctx, m.ID, "anna") // once more if it was not heard
		case now.State == mfpgate.MoveStuck && w.c.Pinned:
			_, _ = broker.ConfirmLost(gateway.ctx, m.ID, "anna")
		}
	}
	return "", nil
}

// judge reads what was written, and looks where the data are.
func (w *world) judge(r *Result) error {
	ctx := context.WithoutCancel(w.ctx)
	r.Chains, r.Facts = Chains{}, Facts{Offers: Offers}
	read := func(s store.Store, writer, room string) error {
		report, err := journal.VerifyAudit(ctx, s, "audit/")
		if err = errors.Join(err, report.Err()); err != nil {
			return err
		}
		j, err := journal.New(s, journal.Options{Clock: w.clock, Rand: rand.New(rand.NewPCG(1, 1)), Gateway: writer, Room: room})
		if err != nil {
			return err
		}
		entries, err := j.ListAudit(ctx, 0, 100000)
		slices.Reverse(entries)
		r.Chains[writer+"/"+room] = entries
		return err
	}
	home := sourceName
	for _, name := range regionNames {
		disk := w.regions[name].disk
		view := store.Prefix(disk, managementView)
		err := errors.Join(read(store.Prefix(disk, servicesView), name, holding.Room), read(view, name, "management"))
		if err != nil {
			return err
		}
		saga, err := region.New(ctx, region.Options{Clock: w.clock, Rand: rand.New(rand.NewPCG(1, 1)), Store: view, Region: name, Regions: peers{w, name}, Devices: devices{w, name}})
		if err != nil {
			return err
		}
		moves, err := saga.Page(ctx, "", region.MaxList)
		if err != nil {
			return err
		}
		r.Facts.Moves = append(r.Facts.Moves, moves...)
	}
	if err := read(w.gateway.disk, gatewayName, "route"); err != nil {
		return err
	}
	epoch := uint64(1)
	for _, m := range r.Facts.Moves {
		if m.State.Committed() && m.Epoch > epoch {
			home, epoch = m.To, m.Epoch
		}
	}
	if len(r.Facts.Moves) == 0 {
		return errNoMoves
	}
	r.Broken = append(Check(r.Chains, r.Facts), w.promise.broken...)
	b, err := w.book(home)
	if err != nil {
		return err
	}
	for _, text := range w.device.lost(ctx, b) {
		r.Broken = append(r.Broken, Violation{Rule: RuleData, Text: home + ": " + text})
	}
	return nil
}
