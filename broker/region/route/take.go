package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// taking is what a transaction of take did. It is made anew at each run of it.
type taking struct {
	move     *kept  // as it is kept now
	route    *route // of the device as it is now; nil: it has none
	switched bool   // the route differs from the one in memory
	led      bool   // it leads elsewhere
	told     bool   // the move does
	ignored  error
}

// together is how many moves one transaction takes: each may touch seven records (store.MaxUpdateKeys).
const together = 8

// take keeps what the region says of moves, and does what follows from it. Some share a transaction: while a thousand devices are moved,
// those that wait for their probes would else wait for the disk once for each change of the others. It returns an error only if the
// store fails, or ctx ends; what it took until then is taken.
func (b *Broker) take(ctx context.Context, moves ...mfpgate.Move) error {
	for len(moves) > 0 {
		n, devices := 0, map[mfpgate.DeviceID]bool{}
		for n < min(len(moves), together) && !devices[moves[n].Device] { // what is in memory of a device is of the transaction before
			devices[moves[n].Device] = true
			n++
		}
		err := b.takeSome(ctx, moves[:n])
		if n > 1 && errors.Is(err, store.ErrTooLarge) { // long ones
			n = 1
			err = b.takeSome(ctx, moves[:1])
		}
		if err != nil {
			return err
		}
		moves = moves[n:]
	}
	return nil
}

// takeSome takes moves of as many devices, in one transaction.
func (b *Broker) takeSome(ctx context.Context, told []mfpgate.Move) error {
	var moves []mfpgate.Move
	for _, m := range told {
		if err := b.acceptable(m); err != nil {
			b.ignored(m, err)
			continue
		}
		m = fit(m)
		if m.State.Committed() && b.hostsLack(m.From, m.To) {
			b.called("read the regions' hosts", b.refreshHosts(ctx)) // without them the device can go nowhere
		}
		moves = append(moves, m)
	}
	b.change.Lock()
	defer b.change.Unlock()
	moves = slices.DeleteFunc(moves, func(m mfpgate.Move) bool {
		full := b.moves[m.ID] == nil && len(b.moves)+len(moves) > MaxKept && !b.forgetOldest(ctx)
		if full {
			b.ignored(m, fmt.Errorf("%d moves are open", MaxKept))
		}
		return full
	})
	if len(moves) == 0 {
		return nil
	}
	taken := make([]taking, len(moves))
	if err := b.update(ctx, func(tx store.Tx) (err error) {
		for i, m := range moves {
			if taken[i], err = b.takeTx(tx, m); err != nil {
				return fmt.Errorf("keep move %s: %w", m.ID, err)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	b.apply(moves, taken)
	return nil
}

// apply puts in force what was taken.
func (b *Broker) apply(moves []mfpgate.Move, taken []taking) {
	before := make([]*kept, len(moves))
	switched, told := false, false
	b.mu.Lock()
	for i, t := range taken {
		before[i] = b.moves[moves[i].ID]
		if t.ignored != nil {
			continue
		}
		b.put(t.move)
		if t.route != nil {
			b.routes[moves[i].Device] = t.route
			delete(b.damaged, moves[i].Device)
		}
		switched, told = switched || t.switched, told || t.told
	}
	b.mu.Unlock()
	if switched {
		b.lookAtModels()
		b.publish()
		b.reroute()
	}
	for i := range taken {
		if t := &taken[i]; t.ignored != nil {
			b.ignored(moves[i], t.ignored)
		} else {
			b.after(before[i], t)
		}
	}
	if told {
		b.measure()
	}
}

// put keeps a move in memory.
func (b *Broker) put(k *kept) {
	b.moves[k.ID] = k
	if k.State.Committed() {
		b.highest[k.Device] = max(b.highest[k.Device], k.Epoch)
	}
}

// after tells of what was taken.
func (b *Broker) after(before *kept, t *taking) {
	k := t.move
	if t.led && t.route.Move == k.ID {
		b.Log.Info().Str(field.Move, string(k.ID)).Str(field.Device, string(k.Device)).Str(field.Region, t.route.To).Uint64(field.Epoch, t.route.Epoch).Msg(event.MoveSwitched)
	}
	if !t.told {
		return
	}
	if before == nil || before.State != k.State || before.Step != k.Step || before.Reason != k.Reason {
		b.Log.Info().Str(field.Move, string(k.ID)).Str(field.Device, string(k.Device)).Str(field.State, mfpgate.CleanText(string(k.State), 32)).
			Str(field.Step, mfpgate.CleanText(string(k.Step), 32)).Str(field.Reason, string(k.Reason)).Msg(event.MoveChanged)
	}
	b.timed(before, k)
	b.changed(k.ID)
	poke(b.due)
	if before == nil && !k.State.Ended() {
		poke(b.stale)
	}
}

// hostsLack reports whether a region's hosts are not known.
func (b *Broker) hostsLack(names ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[string]bool{}
	for _, r := range b.regions.Items {
		known[r.Region] = true
	}
	for _, n := range names {
		if !known[n] {
			return true
		}
	}
	return false
}

func (b *Broker) takeTx(tx store.Tx, m mfpgate.Move) (t taking, err error) {
	old, err := find(tx, movePrefix+string(m.ID), keptSchema)
	if err != nil && !unreadable(err) {
		return t, err
	}
	t.move = &kept{Schema: schema, Move: m, KeptAt: b.now()}
	before := ""
	if old != nil {
		before = canonical(old.Move)
		early, err := follows(old, m)
		if err != nil {
			t.ignored = err
			return t, nil
		}
		seen := old.Seen.Merge(m.Seen)
		if len(seen) > maxSeen {
			seen = old.Seen
		}
		if early {
			t.move = old
		}
		t.move.Seen = seen
	}
	if t.route, err = find(tx, routePrefix+string(m.Device), routeSchema); err != nil && !unreadable(err) {
		return t, err
	}
	if t.move.State.Committed() {
		if err := b.switchTx(tx, &t); err != nil || t.ignored != nil {
			return t, err
		}
	}
	if k := t.move; k.State == mfpgate.MoveOpen && k.Step == mfpgate.StepVerify && len(k.Probes) == 0 {
		if err := b.intend(tx, kindProbe, k, ""); err != nil {
			return t, err
		}
	}
	if was := b.routes[m.Device]; t.route != nil {
		t.led = was == nil || b.damaged[m.Device] || was.Epoch != t.route.Epoch
		t.switched = t.led || !was.AckedAt.Equal(t.route.AckedAt)
	}
	if t.told = before != canonical(t.move.Move); t.told {
		return t, store.SetJSON(tx, movePrefix+string(m.ID), t.move)
	}
	t.move.KeptAt = old.KeptAt
	return t, nil
}

// canonical is a move as it comes back from its record, for a comparison.
func canonical(m mfpgate.Move) string {
	data, _ := json.Marshal(m)
	return string(data)
}

// switchTx writes the route of a committed move, the line of the audit and the intent to acknowledge, once; and later what is learned of
// it. The region may order nothing at the source before that intent was carried out, and that is after the table was swapped: see
// handleSwitched.
func (b *Broker) switchTx(tx store.Tx, t *taking) error {
	k, fresh := t.move, false
	switch r := t.route; {
	case b.highest[k.Device] > k.Epoch || r != nil && r.Epoch > k.Epoch: // a late duplicate: the device has been moved again
		return nil
	case r != nil && r.Epoch == k.Epoch && r.Move != k.ID:
		t.ignored = fmt.Errorf("move %s has led the device's routes in epoch %d", r.Move, r.Epoch)
		return nil
	case r == nil && len(b.routes) >= MaxKept && !b.damaged[k.Device]:
		t.ignored = fmt.Errorf("the routes of %d devices were changed, and no more are kept", MaxKept)
		return nil
	case r == nil || r.Epoch < k.Epoch:
		fresh = true
		own, err := find(tx, probesPrefix+string(k.ID), probedSchema)
		if err != nil && !unreadable(err) {
			return err
		}
		probes := k.Probes
		if own != nil {
			probes = own.Probes
		}
		t.route = &route{Schema: schema, Device: k.Device, MFP: k.MFP, From: k.From, To: k.To, Epoch: k.Epoch, Move: k.ID, SwitchedAt: b.now(), Probes: probes}
		n, err := b.journal.NextAudit(tx)
		if err != nil {
			return err
		}
		trace, err := json.Marshal(mfpgate.MoveTrace{Move: k.ID, MFP: k.MFP, Region: k.To, Epoch: k.Epoch, Seq: mfpgate.StepSwitch.Seq(), State: "routed", Seen: k.Seen})
		if err != nil {
			return err
		}
		if err := b.journal.Audit(tx, journal.Entry{Actor: k.To + "/management", Action: event.MoveSwitched, Object: string(k.ID), After: trace}); err != nil {
			return err
		}
		k.Seen = k.Seen.Merge(mfpgate.Seen{b.writer: n})
		if err := b.intend(tx, kindSwitched, k, "acknowledge/"+string(k.ID)); err != nil {
			return err
		}
	case k.SwitchedAt.IsZero(): // the region does not know; the intent may be there
		if err := b.intend(tx, kindSwitched, k, "acknowledge/"+string(k.ID)); err != nil {
			return err
		}
	}
	r := *t.route
	learn(&r, k)
	if !fresh && reflect.DeepEqual(*t.route, r) {
		return nil
	}
	t.route = &r
	return store.SetJSON(tx, routePrefix+string(k.Device), &r)
}

// learn takes over what the region has heard since the switch.
func learn(r *route, k *kept) {
	first := func(to *time.Time, at time.Time) {
		if to.IsZero() && !at.IsZero() {
			*to = at.Round(0).UTC()
		}
	}
	first(&r.AckedAt, k.AckedAt)
	first(&r.Confirmed, k.ConfirmedAt)
	if k.Receipt != nil && r.Left == nil && len(k.Receipt.Left) > 0 {
		r.Left = k.Receipt.Left[:min(len(k.Receipt.Left), 64)]
	}
}

// call is the payload of the intents.
type call struct {
	Move   mfpgate.MoveID   `json:"moveId"`
	Device mfpgate.DeviceID `json:"deviceId"`
	Epoch  uint64           `json:"epoch"`
}

func (b *Broker) intend(tx store.Tx, kind string, k *kept, object string) error {
	payload, err := json.Marshal(call{k.ID, k.Device, k.Epoch})
	if err != nil {
		return err
	}
	return b.journal.Intend(tx, journal.Intent{ID: kind + "/" + string(k.ID), Kind: kind, Object: object, Payload: payload})
}
