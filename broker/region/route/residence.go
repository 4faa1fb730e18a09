package route

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const (
	maxResidences = 50000            // that are looked at in an answer
	soon          = 5 * time.Second  // between two questions for residences
	freshFor      = 30 * time.Second // an answer or a failure, before somebody who looks has it asked again
	lookTimeout   = 3 * time.Second  // that such a person waits
	askAgain      = time.Minute      // after a failure
	writeAtOnce   = 16               // residences in one transaction
)

// refreshResidences asks the region where the data of the devices are. Only devices that the gateway knows are kept.
func (b *Broker) refreshResidences(ctx context.Context) error {
	select {
	case b.asking <- struct{}{}:
		defer func() { <-b.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	list, err := b.Cloud.Residences(call)
	cancel()
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // then it had no time to answer
			b.mu.Lock()
			b.silentAt = b.Clock.Now()
			b.mu.Unlock()
		}
		return err
	}
	known := b.devices()
	b.change.Lock()
	defer b.change.Unlock()
	next := map[mfpgate.DeviceID]*told{}
	for _, r := range list[:min(len(list), maxResidences)] {
		if _, there := known[r.Device]; !there || !safe(string(r.Device)) {
			continue
		}
		t := &told{Schema: schema, At: b.now(), Residence: sized(r)}
		if was := b.residences[r.Device]; was != nil && text(was) == text(t) {
			t = was
		}
		next[r.Device] = t
	}
	if err := b.keep(ctx, next); err != nil {
		return fmt.Errorf("keep residences: %w", err)
	}
	b.mu.Lock()
	moved := len(next) != len(b.residences)
	for device, t := range next {
		moved = moved || b.residences[device] == nil || b.residences[device].Home != t.Home
	}
	b.residences, b.askedAt, b.silentAt = next, b.Clock.Now(), time.Time{}
	b.mu.Unlock()
	if moved {
		b.publish()
	}
	return nil
}

func text(t *told) string {
	data, _ := json.Marshal(t.Residence)
	return string(data)
}

// keep writes what differs from what is kept.
func (b *Broker) keep(ctx context.Context, next map[mfpgate.DeviceID]*told) error {
	var todo []mfpgate.DeviceID
	for device, t := range next {
		if b.residences[device] != t {
			todo = append(todo, device)
		}
	}
	for device := range b.residences {
		if next[device] == nil {
			todo = append(todo, device)
		}
	}
	slices.Sort(todo)
	for part := range slices.Chunk(todo, writeAtOnce) {
		err := b.update(ctx, func(tx store.Tx) error {
			for _, device := range part {
				var err error
				if t := next[device]; t != nil {
					err = store.SetJSON(tx, residencePrefix+string(device), t)
				} else {
					err = tx.Delete(residencePrefix + string(device))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Residences say of each device that the gateway knows where its data are, as the site region told last, and whether the relay can
// enforce it. An answer that is not fresh is asked for again, for three seconds at most; after a failure nobody waits for half a minute.
func (b *Broker) Residences(ctx context.Context) ([]mfpgate.Residence, error) {
	b.mu.Lock()
	fresh := func(at time.Time) bool { return !at.IsZero() && b.Clock.Now().Sub(at) <= freshFor }
	look := !fresh(b.askedAt) && !fresh(b.silentAt)
	b.mu.Unlock()
	if look {
		call, cancel := context.WithTimeout(ctx, lookTimeout)
		err := b.refreshResidences(call)
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b.called("read residences", err)
	}
	list := b.Kept()
	slices.SortFunc(list, func(x, y mfpgate.Residence) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Device, y.Device))
	})
	return list, nil
}

// Kept are Residences as they are known now, in no order; nobody is asked.
func (b *Broker) Kept() []mfpgate.Residence {
	devices := b.Devices.Devices()
	list := make([]mfpgate.Residence, 0, len(devices))
	latest := b.latest()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range devices {
		list = append(list, b.residence(d, latest[d.ID]))
	}
	return list
}

// residence puts together what is known of a device. It is called with mu.
func (b *Broker) residence(d mfpgate.Device, last *kept) mfpgate.Residence {
	p, now := b.policy.Load(), b.now()
	r := mfpgate.Residence{State: mfpgate.ResidenceUnknown, Detail: "the site's region has not told of this device yet"}
	if t := b.residences[d.ID]; t != nil {
		r = t.Residence
		if age := b.Clock.Now().Sub(b.askedAt); b.askedAt.IsZero() || age > 2*ResidenceEvery {
			r.Detail = mfpgate.CleanText(r.Detail+" (the site's region cannot be asked now; it said so at "+t.At.Format(time.RFC3339)+" or later)", 1<<10)
		}
	}
	r.Device, r.Name, r.Market = d.ID, d.Name, cmp.Or(r.Market, d.Market)
	at := b.routes[d.ID]
	if at != nil && at.Epoch > r.Epoch {
		r.Home, r.Epoch, r.Since, r.MFP, r.Detail = at.To, at.Epoch, at.SwitchedAt, at.MFP, ""
		r.State = mfpgate.ResidenceAbroad
		if at.To == p.Region {
			r.State = mfpgate.ResidenceHome
		}
	}
	if c := b.candidates[d.ID]; c != nil && c.Home == r.Home && c.Reason != "" && r.State == mfpgate.ResidenceAbroad && r.Reason == "" {
		r.Reason, r.Detail = c.Reason, c.Detail
	}
	if last != nil {
		r.Move = last.ID
		if !last.State.Ended() {
			r.State, r.Reason, r.Detail = mfpgate.ResidenceMoving, last.Reason, last.Detail
		}
	}
	if r.Enforcement = mfpgate.EnforcedNone; !p.Enforce {
		return r
	}
	if c := b.table.Load().courses[d.ID]; c != nil {
		r.Enforcement = mfpgate.Enforced
		if c.closed {
			r.Reason, r.Detail = mfpgate.RegionMap, "the map of regions cannot be read, so that the relay lets this device nowhere; the hosts of its regions are read from the site's region again"
		}
	}
	if at != nil {
		if r.Bypassed = bypass(at, d, b.Devices.Relayed(d.ID), now); r.Bypassed != "" {
			r.Enforcement = mfpgate.Unenforced
		}
	}
	return r
}

// latest is each device's last move.
func (b *Broker) latest() map[mfpgate.DeviceID]*kept {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := map[mfpgate.DeviceID]*kept{}
	for _, k := range b.moves {
		if was := last[k.Device]; was == nil || cmp.Or(k.StartedAt.Compare(was.StartedAt), cmp.Compare(k.ID, was.ID)) > 0 {
			last[k.Device] = k
		}
	}
	return last
}

// homeOf is where a device is at home, as far as known. It is called with change or mu.
func (b *Broker) homeOf(device mfpgate.DeviceID) string {
	if r := b.residences[device]; r != nil {
		return r.Home
	}
	return ""
}

// ask asks the region, from time to time and when something has changed, and goes by the policy.
func (b *Broker) ask(ctx context.Context) error {
	hosts, residences := b.Clock.Now(), b.Clock.Now()
	last := residences.Add(-soon)
	timer := b.Clock.NewTimer(askAgain)
	defer timer.Stop()
	for {
		if now := b.Clock.Now(); !now.Before(hosts) {
			err := b.refreshHosts(ctx)
			b.called("read the regions' hosts", quiet(ctx, err))
			hosts = now.Add(HostsEvery)
			if err != nil {
				hosts = now.Add(b.jitter(askAgain))
			}
		}
		if now := b.Clock.Now(); !now.Before(residences) {
			err := b.refreshResidences(ctx)
			b.called("read residences", quiet(ctx, err))
			last, residences = now, now.Add(ResidenceEvery)
			if err != nil {
				residences = now.Add(b.jitter(askAgain))
			} else {
				b.changed("")
			}
		}
		b.consider(ctx)
		now := b.Clock.Now()
		timer.Reset(max(min(hosts.Sub(now), residences.Sub(now), askAgain), 0))
		select {
		case <-ctx.Done():
			return nil
		case <-b.stale:
			hosts = now
		case <-b.due:
			if at := last.Add(soon); at.Before(residences) {
				residences = at
			}
		case <-timer.C():
		}
	}
}

// quiet is nil for a call that was stopped.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
