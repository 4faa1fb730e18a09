package route

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	sweepEvery = time.Minute
	maxBlocks  = 1024  // that wait to be written down
	maxBlocked = 10000 // in an hour, of different devices and hosts
)

// block is a connection that was refused.
type block struct {
	device mfpgate.DeviceID
	host   mfpgate.Host
	region string
	reason mfpgate.Reason
}

// Reached tells that bytes came to a device from a host that it asked for by that name: down is how many. It does not wait.
func (b *Broker) Reached(device mfpgate.DeviceID, host mfpgate.Host, port uint16, down int64) {
	t := b.table.Load()
	c := t.courses[device]
	if down <= 0 || c == nil || c.seen.reported.Load() || c.seen.at.Load() != 0 {
		return
	}
	if at := t.find(host, port); at == nil || at.region != c.to {
		return
	}
	if c.seen.at.CompareAndSwap(0, b.Clock.Now().UnixNano()) {
		poke(b.reached)
	}
}

// Blocked tells that a connection of a device was refused, for the audit: the first of each device and host in an hour is written there.
// It does not wait; what comes faster than it can be written is left out.
func (b *Broker) Blocked(device mfpgate.DeviceID, host mfpgate.Host, region string, reason mfpgate.Reason) {
	select {
	case b.blocks <- block{device, host, region, reason}:
	default:
	}
}

// tend does what needs no region: it writes down what the relay tells, and looks after what time changes.
func (b *Broker) tend(ctx context.Context) error {
	timer := b.Clock.NewTimer(sweepEvery)
	defer timer.Stop()
	b.sweep(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.reached:
			b.noteReached(ctx)
		case x := <-b.blocks:
			b.noteBlocked(ctx, x)
		case <-timer.C():
			b.noteReached(ctx) // what could not be written before
			b.sweep(ctx)
			timer.Reset(sweepEvery)
		}
	}
}

// noteReached has the first check-ins reported.
func (b *Broker) noteReached(ctx context.Context) {
	for _, c := range b.table.Load().courses {
		at := c.seen.at.Load()
		if at == 0 || c.seen.reported.Load() {
			continue
		}
		err := b.amend(ctx, c.device, c.epoch, func(tx store.Tx, r *route) error {
			if !r.CheckedIn.IsZero() {
				return nil
			}
			r.CheckedIn = time.Unix(0, at).UTC()
			return b.intend(tx, kindCheckedIn, &kept{Move: mfpgate.Move{ID: r.Move, Device: r.Device, Epoch: r.Epoch}}, "acknowledge/"+string(r.Move))
		})
		if err == nil {
			c.seen.reported.Store(true)
		}
	}
}

// amend changes a device's route record but for where it leads, if the epoch is still that one.
func (b *Broker) amend(ctx context.Context, device mfpgate.DeviceID, epoch uint64, fn func(store.Tx, *route) error) error {
	b.change.Lock()
	defer b.change.Unlock()
	var r *route
	err := b.update(ctx, func(tx store.Tx) (err error) {
		if r, err = find(tx, routePrefix+string(device), routeSchema); err != nil || r == nil || r.Epoch != epoch {
			r = nil
			return err
		}
		if err := fn(tx, r); err != nil {
			return err
		}
		return store.SetJSON(tx, routePrefix+string(device), r)
	})
	b.called("keep what is known of a device's route", err)
	if was := b.routes[device]; err == nil && r != nil && was != nil && was.Epoch == epoch {
		b.mu.Lock()
		b.routes[device] = r
		b.mu.Unlock()
	}
	return err
}

func (b *Broker) noteBlocked(ctx context.Context, x block) {
	now := b.now()
	if hour := now.Truncate(time.Hour); !hour.Equal(b.hour) {
		b.hour = hour
		clear(b.blocked)
	}
	what := block{device: x.device, host: x.host}
	if _, told := b.blocked[what]; told || len(b.blocked) >= maxBlocked {
		return
	}
	err := b.update(ctx, func(tx store.Tx) error {
		return b.journal.Audit(tx, journal.Entry{Actor: "relay", Action: event.ResidencyBlocked, Object: string(x.device),
			Detail: fmt.Sprintf("%s, of region %q: %s", x.host, x.region, x.reason)})
	})
	b.called("write the audit", err)
	if err == nil { // the relay logs each of them
		b.blocked[what] = struct{}{}
	}
}

// sweep looks after what time changes: management hosts that close, devices that the relay does not see, moves that are old.
func (b *Broker) sweep(ctx context.Context) {
	b.forget(ctx)
	now := b.now()
	b.mu.Lock()
	routes := make([]*route, 0, len(b.routes))
	for _, r := range b.routes {
		routes = append(routes, r)
	}
	b.mu.Unlock()
	devices := b.devices()
	defer func() { b.swept = now }()
	closed, bypassing := false, 0
	for _, r := range routes {
		if until := r.openUntil(); !until.IsZero() && !now.Before(until) && until.After(b.swept) {
			closed = true
		}
		d, relayed := devices[r.Device], b.Devices.Relayed(r.Device)
		text := ""
		if b.policy.Load().Enforce {
			text = bypass(r, d, relayed, now)
		}
		if text != "" {
			bypassing++
		}
		fresh := r.Relayed.IsZero() && relayed.After(r.SwitchedAt)
		if !fresh && (text == "") == r.Bypassed.IsZero() {
			continue
		}
		told := !r.Bypassed.IsZero()
		err := b.amend(ctx, r.Device, r.Epoch, func(_ store.Tx, r *route) error {
			if fresh {
				r.Relayed = relayed.Round(0).UTC()
			}
			if text == "" {
				r.Bypassed = time.Time{}
			} else if r.Bypassed.IsZero() {
				r.Bypassed = now
			}
			return nil
		})
		if err == nil && text != "" && !told {
			b.Log.Warn().Str(field.Device, string(r.Device)).Str(field.Move, string(r.Move)).Str(field.Region, r.To).Str(field.Text, text).Msg(event.MoveUnenforced)
			b.changed(r.Move)
		}
	}
	b.Metrics.MoveUnenforced.Set(float64(bypassing))
	b.change.Lock()
	b.lookAtModels()
	b.publish()
	if closed {
		b.reroute()
	}
	b.change.Unlock()
	b.measure()
}

func (b *Broker) devices() map[mfpgate.DeviceID]mfpgate.Device {
	all := map[mfpgate.DeviceID]mfpgate.Device{}
	for _, d := range b.Devices.Devices() {
		all[d.ID] = d
	}
	return all
}

// bypass says why the relay cannot keep a device from its old region; "" if nothing shows that. Relayed is when the relay has seen it
// since the gateway started.
func bypass(r *route, d mfpgate.Device, relayed, now time.Time) string {
	seen := !r.Relayed.IsZero() || relayed.After(r.SwitchedAt)
	switch {
	case d.MonitoringMode == mfpgate.MonitoringPolling:
		return "it is in monitoring mode polling, so that its own connections do not come through the relay; set the relay as its proxy and its mode to proxy"
	case seen:
		return ""
	case !r.AckedAt.IsZero():
		return "it has acknowledged its directive, and the relay has not seen it since the switch: it goes another way; set the relay as its proxy"
	case !r.Confirmed.IsZero() && now.Sub(r.SwitchedAt) >= UnseenFor && now.Sub(r.Confirmed) >= 0:
		return "its new region has seen it, and the relay has not since the switch: it goes another way; set the relay as its proxy"
	case d.LastSeen.Sub(r.SwitchedAt) >= UnseenFor:
		return "it is on the network, and the relay has not seen it since the switch: if it reaches a cloud it goes another way; set the relay as its proxy"
	}
	return ""
}

// forget removes moves that ended long ago.
func (b *Broker) forget(ctx context.Context) {
	b.change.Lock()
	defer b.change.Unlock()
	now := b.now()
	for _, k := range b.ended() {
		if now.Sub(k.endedAt()) <= KeepEnded {
			return
		}
		if !b.remove(ctx, k) {
			return
		}
	}
}

// ended are the moves that have ended, the oldest end first.
func (b *Broker) ended() (list []*kept) {
	for _, k := range b.moves {
		if k.State.Ended() {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(x, y *kept) int {
		return cmp.Or(x.endedAt().Compare(y.endedAt()), cmp.Compare(x.ID, y.ID))
	})
	return list
}

// forgetOldest makes room for a move. It is called with change held.
func (b *Broker) forgetOldest(ctx context.Context) bool {
	list := b.ended()
	for i, k := range list {
		if i >= MaxKept/100 { // many at once: the search is not for nothing
			break
		}
		if !b.remove(ctx, k) {
			return i > 0
		}
	}
	return len(list) > 0
}

func (b *Broker) remove(ctx context.Context, k *kept) bool {
	err := b.update(ctx, func(tx store.Tx) error {
		if err := tx.Delete(movePrefix + string(k.ID)); err != nil {
			return err
		}
		return tx.Delete(probesPrefix + string(k.ID))
	})
	b.called("forget an old move", err)
	if err != nil {
		return false
	}
	b.mu.Lock()
	delete(b.moves, k.ID)
	b.mu.Unlock()
	b.changed(k.ID)
	return true
}
