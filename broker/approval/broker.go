package approval

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
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
	callTimeout = 30 * time.Second
	parallel    = 64
	perService  = 40 // calls of one service at once, at most; see share
	perMailer   = 6
	ownWork     = 8 // places for what calls nobody
)

// Broker is the room. Its methods may be called from any goroutine; what they change is durable when they return.
type Broker struct {
	Options
	journal *journal.Journal
	policy  atomic.Pointer[Policy]
	spread  spread
	gates   gates

	randMu sync.Mutex // guards Rand

	view     // what Run follows of the store
	hearings // what Run waits for of the services
}

// New makes a broker. It calls nobody; Run resumes what is there.
func New(ctx context.Context, o Options, p Policy) (*Broker, error) {
	if o.Clock == nil || o.Rand == nil || o.Store == nil || o.Sealer == nil || o.Site == nil || o.Metrics == nil || o.Gateway == "" {
		return nil, errors.New("approval: a clock, randomness, a store, a sealer, a site, metrics and the gateway's id are needed")
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	b := &Broker{Options: o, view: newView(), hearings: newHearings(), gates: gates{of: map[string]int{}}}
	b.spread.at = o.Rand.Float64()
	b.policy.Store(&p)
	var err error
	b.journal, err = journal.New(o.Store, journal.Options{Clock: o.Clock, Rand: rand.New(rand.NewPCG(o.Rand.Uint64(), o.Rand.Uint64())),
		Gateway: o.Gateway, Room: "approval", Parallel: parallel, Timeout: callTimeout + 10*time.Second, Observe: b.observe})
	if err != nil {
		return nil, err
	}
	for kind, h := range map[string]journal.Handler{
		kindBegin: b.handleBegin, kindCode: b.handleCode, kindPoll: b.handlePoll, kindEnter: b.handleEnter, kindOperation: b.handleOperation,
		kindAllow: b.handleAllow, kindMail: b.handleMail, kindTell: b.handleTell, kindDigest: b.handleDigest, kindDeadline: b.handleDeadline,
	} {
		b.journal.Handle(kind, h)
	}
	// The number of open ones bounds new ones from the first request on.
	list, err := b.records(ctx)
	if err != nil {
		return nil, err
	}
	b.view.reset(list)
	return b, nil
}

// share is how many calls one service may have at once: an equal part of what the letters and the broker's own work leave, so that
// services that hang stop no other, however many of them hang.
func (p Policy) share() int {
	return min(max((parallel-perMailer-ownWork)/max(len(p.Services), 1), 1), perService)
}

// Reconfigure replaces the policy. Registrations that are open keep their number of codes and their deadline.
func (b *Broker) Reconfigure(p Policy) { b.policy.Store(&p) }

// Run makes the calls that are due, until ctx ends; then it returns nil. It returns an error if the store cannot be followed.
func (b *Broker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	var once sync.Once
	var failed error
	for _, task := range []func(context.Context) error{b.journal.Run, b.follow, b.sweep} {
		tasks.Go(func() {
			if err := task(ctx); err != nil {
				once.Do(func() { failed = err })
			}
			cancel()
		})
	}
	tasks.Wait()
	cancel()
	b.hearings.wait()
	return failed
}

// List returns the registrations that are kept, the newest first, without user codes.
func (b *Broker) List(ctx context.Context) ([]mfpgate.Registration, error) {
	records, err := b.records(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]mfpgate.Registration, 0, len(records))
	for _, r := range slices.Backward(records) { // ids grow with time
		list = append(list, r.Registration)
	}
	slices.SortStableFunc(list, func(x, y mfpgate.Registration) int { return y.RequestedAt.Compare(x.RequestedAt) })
	return list, nil
}

func (b *Broker) records(ctx context.Context) (list []*record, err error) {
	err = b.Store.View(ctx, func(s store.Snapshot) error {
		list = nil
		for rec, err := range store.All(s, registrationPrefix) {
			if err != nil {
				return err
			}
			r, err := decodeRecord(strings.TrimPrefix(rec.Key, registrationPrefix), rec.Value)
			if err != nil {
				continue // it is told of where it is followed
			}
			list = append(list, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list registrations: %w", err)
	}
	return list, nil
}

// Get returns one registration with its user code, or ErrNotFound.
func (b *Broker) Get(ctx context.Context, id string) (mfpgate.Registration, error) {
	r, err := b.read(ctx, id)
	if err != nil {
		return mfpgate.Registration{}, err
	}
	if r.UserCode, err = b.unseal(r, "user_code", r.SealedCode); err != nil {
		return mfpgate.Registration{}, err
	}
	return r.Registration, nil
}

func (b *Broker) read(ctx context.Context, id string) (r *record, err error) {
	err = b.Store.View(ctx, func(s store.Snapshot) (err error) {
		r, err = getRecord(s, id)
		return err
	})
	return r, err
}

// update runs fn, which must find out by what it reads whether it has been committed before, again while that is not known.
func (b *Broker) update(ctx context.Context, fn func(store.Tx) error) (err error) {
	for range 4 {
		if err = b.Store.Update(ctx, fn); !errors.Is(err, store.ErrUnknown) {
			return err
		}
	}
	return err
}

// Changes yields the id of each registration that changes, until ctx ends: "" at first, and whenever all is to be looked at. A
// reader that is slow misses no last state.
func (b *Broker) Changes(ctx context.Context) iter.Seq[string] { return b.view.changes(ctx) }

func (b *Broker) now() time.Time { return b.Clock.Now().Round(0).UTC() }

// jitter is a random part of d.
func (b *Broker) jitter(d time.Duration) time.Duration {
	b.randMu.Lock()
	defer b.randMu.Unlock()
	return time.Duration(b.Rand.Float64() * float64(d))
}

func (b *Broker) observe(e journal.Event) {
	switch e.What {
	case journal.Died, journal.Unreadable, journal.Unhandled, journal.Unstored:
		b.Log.Error().Err(e.Err).Str(field.Key, e.ID).Str(field.Outcome, string(e.What)).Msg(event.ApprovalUnstored)
	}
}

// audit writes a line of the audit chain about a registration.
func (b *Broker) audit(tx store.Tx, r *record, actor, action, detail string) error {
	return b.journal.Audit(tx, journal.Entry{Actor: actor, Action: "registration." + action, Object: r.ID, Detail: detail})
}

// spread gives points of the unit interval that keep apart, however many are taken: multiples of the golden ratio (three-distance theorem).
type spread struct {
	mu sync.Mutex
	at float64
}

func (s *spread) next() float64 {
	const golden = 0.6180339887498949
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at += golden; s.at >= 1 {
		s.at--
	}
	return s.at
}

// gates bound the calls to one side at once.
type gates struct {
	mu sync.Mutex
	of map[string]int
}

// enter returns nil if there is no room.
func (g *gates) enter(name string, limit int) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of[name] >= limit {
		return nil
	}
	g.of[name]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.of[name]--
	}
}
