package route

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	callTimeout  = 30 * time.Second
	probeTimeout = 10 * time.Second // of one certificate
	waitTimeout  = 2 * time.Minute  // of a call that the server may hold back
	parallel     = 16
)

// Broker is the room. Its methods may be called from any goroutine; what they change is durable when they return.
type Broker struct {
	Options
	writer  string // of the audit chain, in Seen
	journal *journal.Journal
	policy  atomic.Pointer[Policy]
	tunnels atomic.Pointer[Tunnels]
	table   atomic.Pointer[table]

	// change is held from before a commit of routes, moves or hosts until the table is swapped and tunnels were looked at. mu guards the
	// copies in memory below, which are written with both held.
	change     sync.Mutex
	mu         sync.Mutex
	routes     map[mfpgate.DeviceID]*route
	damaged    map[mfpgate.DeviceID]bool // whose route cannot be read
	moves      map[mfpgate.MoveID]*kept
	highest    map[mfpgate.DeviceID]uint64 // epoch of a committed move
	regions    *regions
	models     map[mfpgate.DeviceID]string // as of the last sweep; guarded by change alone
	residences map[mfpgate.DeviceID]*told
	askedAt    time.Time // residences, with an answer
	silentAt   time.Time // without one
	candidates map[mfpgate.DeviceID]*candidate
	current    bool // the feed has been read to its end since New
	again      bool // the feed is to be read from its beginning: something of it was lost here

	randMu  sync.Mutex // guards Rand
	asking  chan struct{}
	reached chan struct{}
	due     chan struct{} // residences are to be asked for soon
	stale   chan struct{} // hosts
	blocks  chan block
	blocked map[block]struct{} // in the present hour; tend's alone
	hour    time.Time
	swept   time.Time // tend's alone

	outages outages
	readers readers
}

// New makes a broker. When it returns, all routes that are kept are in force. It calls nobody; Run resumes what is there.
func New(ctx context.Context, o Options, p Policy) (*Broker, error) {
	if o.Clock == nil || o.Rand == nil || o.Store == nil || o.Cloud == nil || o.Devices == nil || o.Prober == nil || o.Metrics == nil || o.Gateway == "" {
		return nil, errors.New("route: a clock, randomness, a store, a cloud, devices, a prober, metrics and the gateway's id are needed")
	}
	if o.Changed == nil {
		o.Changed = func(mfpgate.MoveID) {}
	}
	b := &Broker{Options: o, writer: o.Gateway + "/route",
		routes: map[mfpgate.DeviceID]*route{}, damaged: map[mfpgate.DeviceID]bool{}, moves: map[mfpgate.MoveID]*kept{}, highest: map[mfpgate.DeviceID]uint64{}, regions: &regions{},
		residences: map[mfpgate.DeviceID]*told{}, candidates: map[mfpgate.DeviceID]*candidate{},
		asking: make(chan struct{}, 1), reached: make(chan struct{}, 1), due: make(chan struct{}, 1), stale: make(chan struct{}, 1),
		blocks: make(chan block, maxBlocks), blocked: map[block]struct{}{}, readers: newReaders()}
	b.policy.Store(&p)
	var err error
	b.journal, err = journal.New(o.Store, journal.Options{Clock: o.Clock, Rand: rand.New(rand.NewPCG(o.Rand.Uint64(), o.Rand.Uint64())),
		Gateway: o.Gateway, Room: "route", Parallel: parallel, Timeout: 4 * time.Minute, Observe: b.observe})
	if err != nil {
		return nil, err
	}
	for kind, h := range map[string]journal.Handler{kindProbe: b.handleProbe, kindSwitched: b.handleSwitched, kindCheckedIn: b.handleCheckedIn} {
		b.journal.Handle(kind, h)
	}
	if err := b.load(ctx); err != nil {
		return nil, fmt.Errorf("load routes: %w", err)
	}
	b.lookAtModels()
	b.publish()
	b.measure()
	return b, nil
}

// load reads all that is kept.
func (b *Broker) load(ctx context.Context) error {
	return b.Store.View(ctx, func(s store.Snapshot) error {
		lost := func(key string, err error) {
			b.again = true
			b.Log.Error().Err(err).Str(field.Key, key).Msg(event.MoveUnstored)
		}
		for rec, err := range store.All(s, routePrefix) {
			if err != nil {
				return err
			}
			device := mfpgate.DeviceID(strings.TrimPrefix(rec.Key, routePrefix))
			r, err := decode(rec.Key, rec.Value, routeSchema)
			if err != nil || r.Device != device {
				lost(rec.Key, err)
				b.damaged[device] = true
				continue
			}
			b.routes[device] = r
		}
		for rec, err := range store.All(s, movePrefix) {
			if err != nil {
				return err
			}
			k, err := decode(rec.Key, rec.Value, keptSchema)
			if err != nil {
				lost(rec.Key, err)
				continue
			}
			b.put(k)
		}
		for rec, err := range store.All(s, residencePrefix) {
			if err != nil {
				return err
			}
			if t, err := decode(rec.Key, rec.Value, toldSchema); err == nil { // the region will tell again
				b.residences[t.Device] = t
			}
		}
		for rec, err := range store.All(s, candidatePrefix) {
			if err != nil {
				return err
			}
			if c, err := decode(rec.Key, rec.Value, candidateSchema); err == nil {
				b.candidates[c.Device] = c
			}
		}
		switch r, err := find(s, hostsKey, regionsSchema); {
		case unreadable(err):
			lost(hostsKey, err)
		case err != nil:
			return err
		case r != nil:
			b.regions = r
		}
		return nil
	})
}

// SetTunnels says whose tunnels are looked at again when routes change.
func (b *Broker) SetTunnels(t Tunnels) { b.tunnels.Store(&t) }

// Reconfigure replaces the policy.
func (b *Broker) Reconfigure(p Policy) {
	b.change.Lock()
	b.policy.Store(&p)
	b.lookAtModels()
	b.publish()
	b.reroute()
	b.change.Unlock()
	poke(b.due)
}

// Told says that the region has just heard of a device, or under another identity: soon it is asked where that device's data are.
func (b *Broker) Told() { poke(b.due) }

// Run follows the moves, until ctx ends; then it returns nil. It returns an error if the store cannot be followed.
func (b *Broker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	var once sync.Once
	var failed error
	for _, task := range []func(context.Context) error{b.journal.Run, b.watch, b.tend, b.ask} {
		tasks.Go(func() {
			if err := task(ctx); err != nil {
				once.Do(func() { failed = err })
			}
			cancel()
		})
	}
	tasks.Wait()
	return failed
}

// lookAtModels reads the devices' models, if the policy asks for them.
func (b *Broker) lookAtModels() {
	b.models = nil
	if len(b.policy.Load().RedirectModels) > 0 {
		b.models = map[mfpgate.DeviceID]string{}
		for _, d := range b.Devices.Devices() {
			b.models[d.ID] = d.Model
		}
	}
}

// publish puts what is in memory into force. It is called with change held, or before anybody else knows the broker.
func (b *Broker) publish() { b.table.Store(b.tabulate()) }

// reroute has the relay look at what is open.
func (b *Broker) reroute() {
	if t := b.tunnels.Load(); t != nil && *t != nil {
		(*t).Reroute(Grace)
	}
}

// update runs fn, which must find out by what it reads whether it has been committed before, again while that is not known.
func (b *Broker) update(ctx context.Context, fn func(store.Tx) error) error {
	return store.UpdateUntilKnown(ctx, b.Store, fn)
}

func (b *Broker) now() time.Time { return b.Clock.Now().Round(0).UTC() }

// jitter is d, or up to a half less.
func (b *Broker) jitter(d time.Duration) time.Duration {
	b.randMu.Lock()
	defer b.randMu.Unlock()
	return d - time.Duration(b.Rand.Float64()*float64(d)/2)
}

func (b *Broker) observe(e journal.Event) {
	switch e.What {
	case journal.Died, journal.Unreadable, journal.Unhandled, journal.Unstored:
		b.Log.Error().Err(e.Err).Str(field.Key, e.ID).Str(field.Outcome, string(e.What)).Msg(event.MoveUnstored)
	}
}

// poke wakes who waits for a channel with room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// outages has each outage logged once, and its end.
type outages struct {
	mu   sync.Mutex
	open map[string]bool
}

// called tells how something that may fail for long went: the first failure and the first success after it are logged.
func (b *Broker) called(what string, err error) {
	if errors.Is(err, ErrNoCloud) {
		return
	}
	o := &b.outages
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[string]bool{}
	}
	switch was := o.open[what]; {
	case err != nil && !was:
		o.open[what] = true
		b.Log.Warn().Err(err).Str(field.Text, what).Str(field.Outcome, "failed").Msg(event.MoveUnreached)
	case err == nil && was:
		delete(o.open, what)
		b.Log.Info().Str(field.Text, what).Str(field.Outcome, "answered").Msg(event.MoveUnreached)
	}
}

// maxMissed is how many ids are kept for a slow reader, before it is told to look at all.
const maxMissed = 1000

// readers are those of Changes.
type readers struct {
	mu  sync.Mutex
	all map[*reader]struct{}
}

type reader struct {
	missed map[mfpgate.MoveID]struct{}
	wake   chan struct{}
}

func newReaders() readers { return readers{all: map[*reader]struct{}{}} }

func (rs *readers) tell(id mfpgate.MoveID) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for r := range rs.all {
		if r.missed[id] = struct{}{}; len(r.missed) > maxMissed {
			r.missed = map[mfpgate.MoveID]struct{}{"": {}}
		}
		poke(r.wake)
	}
}

// changed tells everybody of a move, "" for any.
func (b *Broker) changed(id mfpgate.MoveID) {
	b.Changed(id)
	b.readers.tell(id)
}

// Changes yields the id of each move that changes, until ctx ends: "" at first, and whenever all is to be looked at. A reader that is
// slow misses no last state.
func (b *Broker) Changes(ctx context.Context) iter.Seq[mfpgate.MoveID] {
	return func(yield func(mfpgate.MoveID) bool) {
		r := &reader{missed: map[mfpgate.MoveID]struct{}{}, wake: make(chan struct{}, 1)}
		b.readers.mu.Lock()
		b.readers.all[r] = struct{}{}
		b.readers.mu.Unlock()
		defer func() {
			b.readers.mu.Lock()
			defer b.readers.mu.Unlock()
			delete(b.readers.all, r)
		}()
		if !yield("") {
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.wake:
			}
			b.readers.mu.Lock()
			ids := r.missed
			r.missed = map[mfpgate.MoveID]struct{}{}
			b.readers.mu.Unlock()
			for id := range ids {
				if !yield(id) {
					return
				}
			}
		}
	}
}
