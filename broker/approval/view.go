package approval

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// states are all there are, for the gauge.
var states = []mfpgate.RegistrationState{
	mfpgate.RegistrationRequested, mfpgate.RegistrationRequestingCode, mfpgate.RegistrationAwaitingAdmin, mfpgate.RegistrationAwaitingDevice,
	mfpgate.RegistrationRedeeming, mfpgate.RegistrationCertifying, mfpgate.RegistrationRegistered, mfpgate.RegistrationFailed, mfpgate.RegistrationCancelled,
}

// view is what is known in memory of every registration. It lags behind the store, and decides nothing but how many there are.
type view struct {
	mu      sync.Mutex
	known   map[string]glance
	opened  int
	readers map[*reader]struct{}
}

// glance is as much of a registration as the room needs at hand; some hundred bytes.
type glance struct {
	state     mfpgate.RegistrationState
	requested time.Time
	since     time.Time
	hears     hearing
}

// maxMissed is how many ids are kept for a slow reader, before it is told to look at all.
const maxMissed = 1000

type reader struct {
	missed map[string]struct{}
	all    bool
	wake   chan struct{}
}

func newView() view { return view{known: map[string]glance{}, readers: map[*reader]struct{}{}} }

func (v *view) open() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.opened
}

func (v *view) reset(list []*record) {
	for _, r := range list {
		v.put(r)
	}
}

// put takes a registration over and returns what it was before.
func (v *view) put(r *record) (before glance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before = v.known[r.ID]
	v.forget(r.ID)
	v.known[r.ID] = glance{state: r.State, requested: r.RequestedAt, since: r.Since, hears: hearingOf(r)}
	if !r.State.Ended() {
		v.opened++
	}
	v.tell(r.ID)
	return before
}

// forget is called with mu.
func (v *view) forget(id string) {
	if g, there := v.known[id]; there && !g.state.Ended() {
		v.opened--
	}
	delete(v.known, id)
}

func (v *view) drop(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(id)
	v.tell(id)
}

// tell is called with mu.
func (v *view) tell(id string) {
	for r := range v.readers {
		if r.missed[id] = struct{}{}; len(r.missed) > maxMissed {
			r.all, r.missed = true, map[string]struct{}{}
		}
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (v *view) changes(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		r := &reader{missed: map[string]struct{}{}, wake: make(chan struct{}, 1)}
		v.mu.Lock()
		v.readers[r] = struct{}{}
		v.mu.Unlock()
		defer func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			delete(v.readers, r)
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
			v.mu.Lock()
			ids, all := r.missed, r.all
			r.missed, r.all = map[string]struct{}{}, false
			v.mu.Unlock()
			if all && !yield("") {
				return
			}
			for id := range ids {
				if !yield(id) {
					return
				}
			}
		}
	}
}

// follow keeps the view, the metrics and the log as the store is.
func (b *Broker) follow(ctx context.Context) error {
	for batch, err := range b.Store.Watch(ctx, registrationPrefix) {
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for _, c := range batch.Changes {
			id := strings.TrimPrefix(c.Key, registrationPrefix)
			if c.Deleted {
				b.view.drop(id)
				b.Changed(id)
				continue
			}
			r, err := decodeRecord(id, c.Value)
			if err != nil {
				b.Log.Error().Err(err).Str(field.Key, id).Msg(event.ApprovalUnstored)
				continue
			}
			there[id] = true
			if before := b.view.put(r); before.state != r.State && !batch.Reset {
				b.logged(r)
			}
			b.Changed(id)
		}
		if batch.Reset {
			b.view.keep(there)
			b.Changed("")
		}
		b.measure()
		b.hear(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(errors.New("follow registrations"), store.ErrClosed)
}

// keep drops what is not there any more.
func (v *view) keep(there map[string]bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id := range v.known {
		if !there[id] {
			v.forget(id)
			v.tell(id)
		}
	}
}

var events = map[mfpgate.RegistrationState]string{
	mfpgate.RegistrationRequested: event.ApprovalRequested, mfpgate.RegistrationAwaitingAdmin: event.ApprovalAsked,
	mfpgate.RegistrationAwaitingDevice: event.ApprovalAsked, mfpgate.RegistrationCertifying: event.ApprovalApproved,
	mfpgate.RegistrationRegistered: event.ApprovalRegistered, mfpgate.RegistrationFailed: event.ApprovalFailed, mfpgate.RegistrationCancelled: event.ApprovalCancelled,
}

func (b *Broker) logged(r *record) {
	if name := events[r.State]; name != "" {
		b.Log.Info().Str(field.Key, r.ID).Str(field.Device, string(r.Device.ID)).Str(field.User, r.User).Str(field.State, string(r.State)).
			Str(field.Reason, string(r.Reason)).Int(field.Count, r.Attempt).Int(field.Limit, r.Attempts).Msg(name)
	}
}

// measure sets the gauges.
func (b *Broker) measure() {
	now := b.now()
	count, oldest := map[mfpgate.RegistrationState]int{}, now
	b.view.mu.Lock()
	for _, g := range b.view.known {
		count[g.state]++
		if !g.state.Ended() && g.requested.Before(oldest) {
			oldest = g.requested
		}
	}
	b.view.mu.Unlock()
	for _, s := range states {
		b.Metrics.RegistrationState.WithLabelValues(string(s)).Set(float64(count[s]))
	}
	b.Metrics.RegistrationOldestOpen.Set(now.Sub(oldest).Seconds())
}
