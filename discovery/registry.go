package discovery

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// MaxStrangers bounds the devices that are recorded without being configured: by their address, their account, or the name
// that an inner gateway gives them.
const MaxStrangers = 4096

// Present is how long after its last connection a device counts as online: longer than a device's poll usually takes.
const Present = 5 * time.Minute

// Why a device is in its state.
const (
	NeverSeen mfpgate.Reason = "never-seen" // configured, and never at the relay
	Silent    mfpgate.Reason = "silent"     // not at the relay for Present
	NotNamed  mfpgate.Reason = "not-named"  // at the relay, and in no configuration
)

// Static is a device that the configuration names, by address, account or both.
type Static struct {
	Name    string
	Address netip.Addr
	Account string
}

// Options are what the registry is built from.
type Options struct {
	Clock   mfpgate.Clock
	Log     telemetry.Logger
	Metrics *telemetry.Metrics
	Store   store.Store // this gateway's own records
}

// Registry is safe for concurrent use. Run must run for sightings to become durable.
type Registry struct {
	Options

	mu        sync.RWMutex
	byAddress map[netip.Addr]*entry
	byAccount map[string]*entry
	strangers int

	dirty chan struct{} // capacity 1: something waits to be stored
	queue map[*entry]struct{}
}

// entry is one device in memory. Its record is guarded by the registry's lock.
type entry struct {
	record record
	known  bool
	seen   atomic.Int64 // Unix milliseconds of the last connection
	since  atomic.Int64 // and of the first after an absence
}

// record is what is stored of a device, under "device/" and its id.
type record struct {
	Schema  int              `json:"schema"`
	ID      mfpgate.DeviceID `json:"deviceId"`
	Name    string           `json:"name"`
	Address netip.Addr       `json:"address,omitzero"`
	Account string           `json:"account,omitempty"`
	Seen    time.Time        `json:"lastSeen,omitzero"`
	Since   time.Time        `json:"since,omitzero"`
}

const (
	prefix = "device/"
	schema = 1
	// saveEvery bounds how often the time of a device's last connection is written.
	saveEvery = 10 * time.Minute
)

// New loads what is stored, and then puts the configured devices in force.
func New(ctx context.Context, o Options, static []Static) (*Registry, error) {
	r := &Registry{Options: o, byAddress: map[netip.Addr]*entry{}, byAccount: map[string]*entry{},
		dirty: make(chan struct{}, 1), queue: map[*entry]struct{}{}}
	err := o.Store.View(ctx, func(s store.Snapshot) error {
		for stored, err := range store.All(s, prefix) {
			if err != nil {
				return err
			}
			var rec record
			if err := json.Unmarshal(stored.Value, &rec); err != nil {
				return fmt.Errorf("record %s: %w", stored.Key, err)
			}
			r.index(r.fromRecord(rec))
			r.strangers++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load devices: %w", err)
	}
	r.Configure(static)
	return r, nil
}

func (r *Registry) fromRecord(rec record) *entry {
	e := &entry{record: rec}
	if !rec.Seen.IsZero() {
		e.seen.Store(rec.Seen.UnixMilli())
		e.since.Store(rec.Since.UnixMilli())
	}
	return e
}

func (r *Registry) index(e *entry) {
	if e.record.Address.IsValid() {
		r.byAddress[e.record.Address] = e
	}
	if e.record.Account != "" {
		r.byAccount[e.record.Account] = e
	}
}

// Configure puts another set of configured devices in force. A device that is configured no more stays as a stranger.
func (r *Registry) Configure(static []Static) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries() {
		e.known = false
	}
	for _, s := range static {
		e := r.byAccount[s.Account]
		if e == nil || s.Account == "" {
			e = r.byAddress[s.Address]
		}
		if e == nil {
			e = &entry{record: record{Schema: schema, ID: mfpgate.DeviceID(mfpgate.NewID(r.Clock, "dev"))}}
		}
		before := e.record
		e.known, e.record.Name = true, s.Name
		if s.Address.IsValid() {
			delete(r.byAddress, e.record.Address)
			e.record.Address = s.Address
		}
		if s.Account != "" {
			delete(r.byAccount, e.record.Account)
			e.record.Account = s.Account
		}
		r.index(e)
		if e.record != before {
			r.save(e)
		}
	}
	r.strangers = 0
	for _, e := range r.entries() {
		if !e.known {
			r.strangers++ // also an account: it was met, not configured
		}
	}
}

// entries returns every device once. The lock is held.
func (r *Registry) entries() []*entry {
	all := make([]*entry, 0, len(r.byAddress)+len(r.byAccount))
	for _, e := range r.byAddress {
		all = append(all, e)
	}
	for _, e := range r.byAccount {
		if r.byAddress[e.record.Address] != e {
			all = append(all, e)
		}
	}
	return all
}

// Identify finds the device of an account or, where account is empty, of a source address, and notes that it was seen.
// An account that proved its password is known, whether or not devices.static names it.
func (r *Registry) Identify(address netip.Addr, account string) (id mfpgate.DeviceID, name string, known bool) {
	now := r.Clock.Now()
	r.mu.RLock()
	e := r.find(address, account)
	if e != nil {
		id, name, known = e.record.ID, e.record.Name, e.known || account != ""
	}
	r.mu.RUnlock()
	if e == nil {
		return r.meet(now, address, account)
	}
	if r.touch(e, now) {
		r.mu.Lock()
		r.save(e)
		r.mu.Unlock()
	}
	return id, name, known
}

func (r *Registry) find(address netip.Addr, account string) *entry {
	if account != "" {
		return r.byAccount[account]
	}
	return r.byAddress[address]
}

// touch notes a connection, and reports whether that is worth storing.
func (r *Registry) touch(e *entry, now time.Time) bool {
	last := e.seen.Swap(now.UnixMilli())
	away := now.UnixMilli() - last
	if away > Present.Milliseconds() {
		e.since.Store(now.UnixMilli())
	}
	return away > saveEvery.Milliseconds()
}

// meet records a device that nobody has told of.
func (r *Registry) meet(now time.Time, address netip.Addr, account string) (mfpgate.DeviceID, string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.find(address, account); e != nil { // another connection was faster
		return e.record.ID, e.record.Name, e.known || account != ""
	}
	known := account != ""
	if r.strangers >= MaxStrangers {
		return "", cmp.Or(account, address.String()), known
	}
	r.strangers++
	rec := record{Schema: schema, ID: mfpgate.DeviceID(mfpgate.NewID(r.Clock, "dev")), Name: account, Account: account}
	if !known {
		rec.Name, rec.Address = address.String(), address
	}
	e := &entry{record: rec}
	r.touch(e, now)
	r.index(e)
	r.save(e)
	r.Log.Info().Str(field.Device, string(rec.ID)).Str(field.DeviceName, rec.Name).Str(field.Address, address.String()).
		Msg(event.DeviceSighted)
	return rec.ID, rec.Name, known
}

// List returns every device, by name.
func (r *Registry) List() []mfpgate.Device {
	now := r.Clock.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	entries := r.entries()
	list := make([]mfpgate.Device, 0, len(entries))
	for _, e := range entries {
		d := mfpgate.Device{ID: e.record.ID, Name: e.record.Name, Attachment: mfpgate.AttachmentNetwork,
			MonitoringMode: mfpgate.MonitoringProxy, Since: time.UnixMilli(e.since.Load()).UTC()}
		if e.record.Address.IsValid() {
			d.Address = e.record.Address.String()
		}
		seen := time.UnixMilli(e.seen.Load()).UTC()
		switch {
		case !e.known && e.record.Account == "":
			d.State, d.Reason = mfpgate.DeviceUnknown, NotNamed
		case e.seen.Load() == 0:
			d.State, d.Reason, d.Since = mfpgate.DeviceKnown, NeverSeen, time.Time{}
		case now.Sub(seen) <= Present:
			d.State = mfpgate.DeviceOnline
		default:
			d.State, d.Reason, d.Since = mfpgate.DeviceOffline, Silent, seen
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b mfpgate.Device) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Collect brings the metrics up to date.
func (r *Registry) Collect() {
	counts := map[mfpgate.DeviceState]int{mfpgate.DeviceOnline: 0, mfpgate.DeviceOffline: 0, mfpgate.DeviceKnown: 0, mfpgate.DeviceUnknown: 0}
	for _, d := range r.List() {
		counts[d.State]++
	}
	for state, n := range counts {
		r.Metrics.Devices.WithLabelValues(string(mfpgate.AttachmentNetwork), string(state)).Set(float64(n))
	}
}

// save queues a device for the store. The lock is held.
func (r *Registry) save(e *entry) {
	r.queue[e] = struct{}{}
	r.wake()
}

// Run stores what Identify learns until ctx ends, and then once more.
func (r *Registry) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return r.flush(final)
		case <-r.dirty:
			if err := r.flush(ctx); err != nil && ctx.Err() == nil {
				// The records stay queued; the store says itself that it takes none.
				if mfpgate.Wait(ctx, r.Clock, time.Second) == nil {
					r.mu.Lock()
					r.wake()
					r.mu.Unlock()
				}
			}
		}
	}
}

func (r *Registry) wake() {
	select {
	case r.dirty <- struct{}{}:
	default:
	}
}

// perUpdate keeps a transaction far below the store's bounds.
const perUpdate = 32

func (r *Registry) flush(ctx context.Context) error {
	for {
		r.mu.Lock()
		batch := make(map[*entry]record, perUpdate)
		for e := range r.queue {
			rec := e.record
			if seen := e.seen.Load(); seen != 0 {
				rec.Seen, rec.Since = time.UnixMilli(seen).UTC(), time.UnixMilli(e.since.Load()).UTC()
			}
			batch[e] = rec
			delete(r.queue, e)
			if len(batch) == perUpdate {
				break
			}
		}
		r.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := r.put(ctx, batch); err != nil {
			r.mu.Lock()
			for e := range batch {
				r.queue[e] = struct{}{}
			}
			r.mu.Unlock()
			return err
		}
	}
}

func (r *Registry) put(ctx context.Context, batch map[*entry]record) error {
	return r.Store.Update(ctx, func(tx store.Tx) error {
		for _, rec := range batch {
			value, err := json.Marshal(rec)
			if err != nil {
				return err
			}
			if err := tx.Set(prefix+string(rec.ID), value); err != nil {
				return err
			}
		}
		return nil
	})
}
