package region

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// room is the writer's part of the audit chain, behind the region.
const room = "management"

const parallel = 16

// Saga runs the moves whose target is its region. Its methods may be called from any goroutine; what they change is durable when
// they return. What they refuse is a *Refusal.
type Saga struct {
	Options
	journal *journal.Journal
	forward []mfpgate.MoveStep // the steps of a move
	back    []mfpgate.MoveStep // those that take it back
	gates   gates
	hub     hub
}

// New makes a saga. It calls nobody; Run resumes what is there.
func New(_ context.Context, o Options) (*Saga, error) {
	if o.Clock == nil || o.Rand == nil || o.Store == nil || o.Regions == nil || o.Devices == nil || o.Region == "" {
		return nil, errors.New("region: a clock, randomness, a store, the region, its peers and devices are needed")
	}
	if o.Changed == nil {
		o.Changed = func(mfpgate.MoveID) {}
	}
	if o.Parallel <= 0 {
		o.Parallel = parallel
	}
	o.Limits = o.Limits.filled()
	s := &Saga{
		Options: o,
		forward: []mfpgate.MoveStep{mfpgate.StepCheck, mfpgate.StepUnlink, mfpgate.StepCopy, mfpgate.StepVerify, mfpgate.StepDrain, mfpgate.StepDelta,
			mfpgate.StepActivate, mfpgate.StepCommit, mfpgate.StepSwitch, mfpgate.StepNotify, mfpgate.StepRetire, mfpgate.StepRedirect,
			mfpgate.StepConfirm, mfpgate.StepDelete},
		back:  []mfpgate.MoveStep{mfpgate.StepAbort, mfpgate.StepUndrain, mfpgate.StepRelink},
		gates: gates{places: max(o.Parallel/2, 1), of: map[string]*gate{}},
		hub:   hub{waiting: map[string]chan struct{}{}},
	}
	var err error
	s.journal, err = journal.New(o.Store, journal.Options{Clock: o.Clock, Rand: rand.New(rand.NewPCG(o.Rand.Uint64(), o.Rand.Uint64())),
		Gateway: o.Region, Room: room, Parallel: o.Parallel, Timeout: o.Limits.Call, MinDelay: o.Limits.MinDelay, MaxDelay: o.Limits.MaxDelay,
		Observe: s.observe})
	if err != nil {
		return nil, err
	}
	s.journal.Handle(kindStep, s.handleStep)
	s.journal.Handle(kindTimer, s.handleTimer)
	return s, nil
}

// Journal is the saga's, for entries of its audit chain that the management server writes in the same view of the store
// (device.redirected). Nobody else may run it.
func (s *Saga) Journal() *journal.Journal { return s.journal }

// Run takes the steps that are due, until ctx ends; then it returns nil. It returns an error if the store cannot be followed.
func (s *Saga) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	var once sync.Once
	var failed error
	for _, task := range []func(context.Context) error{s.journal.Run, s.follow} {
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

// Get returns a move of a gateway, or of any if that is "". NoSuchMove.
func (s *Saga) Get(ctx context.Context, gateway string, id mfpgate.MoveID) (mfpgate.Move, error) {
	r, err := s.read(ctx, id)
	if err == nil && gateway != "" && r.Gateway != gateway {
		err = errNoMove
	}
	if err != nil {
		return mfpgate.Move{}, known(err)
	}
	return r.Move, nil
}

// Page returns at most limit moves (1 to MaxList), the newest first, that are older than before; "" is none. Its ids grow with time.
func (s *Saga) Page(ctx context.Context, before mfpgate.MoveID, limit int) (list []mfpgate.Move, err error) {
	limit = min(max(limit, 1), MaxList)
	var last []store.Record // the latest that were read, in a ring: only they are decoded, and n is how many were
	n := 0
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		last, n = last[:0], 0
		for rec, err := range store.All(at, movePrefix) {
			if err != nil {
				return err
			}
			if before != "" && rec.Key >= moveKey(before) {
				break
			}
			if len(last) < limit {
				last = append(last, rec)
			} else {
				last[n%limit] = rec
			}
			n++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list moves: %w", err)
	}
	list = []mfpgate.Move{}
	for i := range len(last) {
		rec := last[(n-1-i)%limit]
		r, err := decodeRecord(mfpgate.MoveID(strings.TrimPrefix(rec.Key, movePrefix)), rec.Value)
		if err != nil {
			return nil, fmt.Errorf("list moves: %w", err)
		}
		list = append(list, r.Move)
	}
	return list, nil
}

func (s *Saga) read(ctx context.Context, id mfpgate.MoveID) (r *record, err error) {
	err = s.Store.View(ctx, func(at store.Snapshot) (err error) {
		r, err = getRecord(at, id)
		return err
	})
	return r, err
}

// known makes errNoMove the refusal that callers see.
func known(err error) error {
	if errors.Is(err, errNoMove) {
		return refuse(NoSuchMove, "no move has this id; moves that ended are kept for 90 days")
	}
	return err
}

// update runs fn, which must find out by what it reads whether it has been committed before, again while that is not known.
func (s *Saga) update(ctx context.Context, fn func(store.Tx) error) error {
	return store.UpdateUntilKnown(ctx, s.Store, fn)
}

func (s *Saga) now() time.Time { return s.Clock.Now().Round(0).UTC() }

func (s *Saga) writer() string { return s.Region + "/" + room }

// audit writes what has just become of a move. What the record has seen is what had been written before; then it has seen this, too.
func (s *Saga) audit(tx store.Tx, r *record, step mfpgate.MoveStep, actor, action, detail string) error {
	next, err := s.journal.NextAudit(tx)
	if err != nil {
		return err
	}
	after, err := json.Marshal(mfpgate.MoveTrace{Move: r.ID, MFP: r.MFP, Region: s.Region, Epoch: r.Epoch, Seq: step.Seq(), State: string(r.State),
		Digest: r.Digest, Seen: r.Seen})
	if err != nil {
		return err
	}
	if err := s.journal.Audit(tx, journal.Entry{Actor: actor, Action: "move." + action, Object: string(r.ID), After: after, Detail: detail}); err != nil {
		return err
	}
	r.Seen = r.Seen.Merge(mfpgate.Seen{s.writer(): next})
	return nil
}

// Bounds of what others say that they have seen.
const (
	maxWriters = 16
	maxWriter  = 160 // bytes of a name
)

// learn adds to what a move has seen. Nobody else knows what this region has written, and nobody makes the record grow.
func (s *Saga) learn(r *record, seen mfpgate.Seen) {
	add := mfpgate.Seen{}
	for writer, n := range seen {
		_, known := r.Seen[writer]
		if writer != s.writer() && (known || len(r.Seen)+len(add) < maxWriters && plain(writer, maxWriter)) {
			add[writer] = n
		}
	}
	r.Seen = r.Seen.Merge(add)
}

func (s *Saga) observe(e journal.Event) {
	id, _, _ := strings.Cut(e.ID, "/")
	switch e.What {
	case journal.Retried:
		s.Log.Warn().Err(e.Err).Str(field.Move, id).Str(field.Key, e.ID).Msg(event.MoveUnreached)
	case journal.Died, journal.Unreadable, journal.Unhandled, journal.Unstored:
		s.Log.Error().Err(e.Err).Str(field.Move, id).Str(field.Key, e.ID).Str(field.Outcome, string(e.What)).Msg(event.MoveUnstored)
	}
}
