package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// record is what is stored of a device, under "device/" and its id.
type record struct {
	Asked     *asked              `json:"asked,omitempty"`
	Schema    int                 `json:"schema"`
	ID        mfpgate.DeviceID    `json:"deviceId"`
	Given     string              `json:"given,omitempty"`
	Sightings []sighted           `json:"sightings,omitempty"`
	Apart     []mfpgate.DeviceID  `json:"apart,omitempty"`
	Seen      time.Time           `json:"lastSeen,omitzero"`
	Heard     time.Time           `json:"heard,omitzero"`
	State     mfpgate.DeviceState `json:"state,omitempty"`
	Reason    mfpgate.Reason      `json:"reason,omitempty"`
	Since     time.Time           `json:"since,omitzero"`

	// Of schema 1.
	Name    string     `json:"name,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
	Account string     `json:"account,omitempty"`
}

const (
	prefix = "device/"
	schema = 2
	// saveEvery bounds how often the time of a device's last connection is written.
	saveEvery = 10 * time.Minute
)

func (r *Registry) load(ctx context.Context) error {
	err := r.Store.View(ctx, func(s store.Snapshot) error {
		for stored, err := range store.All(s, prefix) {
			if err != nil {
				return err
			}
			var rec record
			if err := json.Unmarshal(stored.Value, &rec); err != nil {
				return fmt.Errorf("record %s: %w", stored.Key, err)
			}
			r.restore(rec)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load devices: %w", err)
	}
	return nil
}

// asked is what came of asking a device, as of its last change: without it a restart would take every device for one that was
// never seen until it has answered again.
type asked struct {
	OK     bool           `json:"ok"`
	Reason mfpgate.Reason `json:"reason,omitempty"`
	At     time.Time      `json:"at"`
	Since  time.Time      `json:"since"`
}

func (r *Registry) restore(rec record) {
	d := &device{id: rec.ID, given: rec.Given, sightings: map[mfpgate.SightingID]*sighted{}, apart: map[mfpgate.DeviceID]struct{}{},
		seen: rec.Seen, saved: rec.Seen, heard: rec.Heard, since: rec.Since, state: rec.State, reason: rec.Reason}
	if a := rec.Asked; a != nil {
		d.asked = answerState{ok: a.OK, reason: a.Reason, at: a.At, since: a.Since}
	}
	// A clock that was ahead, as one without a battery may be, must not keep a device online until then.
	now := r.Clock.Now()
	for _, at := range []*time.Time{&d.seen, &d.heard, &d.since, &d.asked.at, &d.asked.since} {
		if at.After(now) {
			*at = now
		}
	}
	for _, s := range rec.Sightings {
		if s.ID.Source() == mfpgate.SourceUSB && !s.Gone {
			s.stored, s.Answered, s.Endpoints = true, false, nil // its port may be another's now
		}
		d.sightings[s.ID] = &s
	}
	for _, id := range rec.Apart {
		d.apart[id] = struct{}{}
	}
	if rec.Schema < 2 {
		d.state = ""
		if rec.Address.IsValid() {
			id := mfpgate.NewSightingID(mfpgate.SourceRelay, rec.Address.String())
			d.sightings[id] = &sighted{Sighting: mfpgate.Sighting{ID: id, Answered: true, Endpoints: []mfpgate.Endpoint{{Address: netip.AddrPortFrom(rec.Address, 0)}}}}
		}
		if rec.Account != "" {
			d.sightings[accountSighting(rec.Account)] = &sighted{Sighting: mfpgate.Sighting{ID: accountSighting(rec.Account), Name: rec.Account}}
		}
	}
	r.devices[d.id] = d
	r.reindex(d)
}

func (d *device) record() record {
	rec := record{Schema: schema, ID: d.id, Given: d.given, Seen: d.seen.UTC(), Heard: d.heard.UTC(), State: d.state, Reason: d.reason, Since: d.since.UTC()}
	if a := d.asked; !a.at.IsZero() {
		rec.Asked = &asked{OK: a.ok, Reason: a.reason, At: a.at.UTC(), Since: a.since.UTC()}
	}
	for _, s := range d.inOrder() {
		rec.Sightings = append(rec.Sightings, *s)
	}
	for id := range d.apart {
		rec.Apart = append(rec.Apart, id)
	}
	slices.Sort(rec.Apart)
	return rec
}

// Run sweeps every second and then stores what was learnt, until ctx ends, and then once more. A device that is found changes
// several times within a second, and each transaction of the store waits for the disk: so they are gathered.
func (r *Registry) Run(ctx context.Context) error {
	tick := r.Clock.NewTimer(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			r.Sweep()
			r.queueSeen()
			return r.Flush(final)
		case <-tick.C():
			r.Sweep()
			_ = r.Flush(ctx) // the records stay queued; the store says itself that it takes none
			tick.Reset(time.Second)
		}
	}
}

// queueSeen has the times of the last connections stored that saveEvery kept back.
func (r *Registry) queueSeen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, d := range r.devices {
		if d.seen.After(d.saved) {
			r.queue[id] = struct{}{}
		}
	}
}

// perUpdate and bytesPerUpdate keep a transaction below the store's bounds: one record comes on top.
const (
	perUpdate      = 16
	bytesPerUpdate = store.MaxUpdate - 2*store.MaxValue
)

// Flush stores all that waits, which is durable when the call returns. One does at a time: of two, the one with the older record of a device could be the last to
// store it, and the other return before its own is durable.
func (r *Registry) Flush(ctx context.Context) error {
	r.storing.Lock()
	defer r.storing.Unlock()
	for {
		batch, bytes := map[mfpgate.DeviceID][]byte{}, 0
		r.mu.Lock()
		for id := range r.queue {
			batch[id] = nil // a device that is gone
			if d := r.devices[id]; d != nil {
				value, err := json.Marshal(d.record())
				if err != nil {
					r.mu.Unlock()
					return fmt.Errorf("device %s: %w", id, err)
				}
				batch[id], d.saved = value, d.seen
				bytes += len(value)
			}
			delete(r.queue, id)
			if len(batch) == perUpdate || bytes > bytesPerUpdate {
				break
			}
		}
		r.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		if err := r.put(ctx, batch); err != nil {
			r.mu.Lock()
			for id := range batch {
				r.queue[id] = struct{}{}
			}
			r.mu.Unlock()
			return err
		}
	}
}

func (r *Registry) put(ctx context.Context, batch map[mfpgate.DeviceID][]byte) error {
	return r.Store.Update(ctx, func(tx store.Tx) error {
		var errs []error
		for id, value := range batch {
			if value == nil {
				errs = append(errs, tx.Delete(prefix+string(id)))
			} else {
				errs = append(errs, tx.Set(prefix+string(id), value))
			}
		}
		return errors.Join(errs...)
	})
}
