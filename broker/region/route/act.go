package route

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Moves are the open ones and those that ended in the last 90 days, the newest first, from the gateway's own memory.
func (b *Broker) Moves(context.Context) ([]mfpgate.Move, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]mfpgate.Move, 0, len(b.moves))
	for _, k := range b.moves {
		list = append(list, k.Move)
	}
	slices.SortFunc(list, func(x, y mfpgate.Move) int { return cmp.Or(y.StartedAt.Compare(x.StartedAt), cmp.Compare(y.ID, x.ID)) })
	return list, nil
}

// Move is one of them. ErrNoMove.
func (b *Broker) Move(_ context.Context, id mfpgate.MoveID) (mfpgate.Move, error) {
	if k := b.move(id); k != nil {
		return k.Move, nil
	}
	return mfpgate.Move{}, ErrNoMove
}

// Plan says what a move would do. An empty To is the site region.
func (b *Broker) Plan(ctx context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if r.To == "" {
		r.To = b.policy.Load().Region
	}
	return b.Cloud.Plan(ctx, r)
}

// Start begins a move as its plan says. That it was asked for is written down before the region hears of it.
func (b *Broker) Start(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error) {
	if r.To == "" {
		r.To = b.policy.Load().Region
	}
	if key == "" {
		key = mfpgate.NewID(b.Clock, "req")
	}
	if err := b.asked(ctx, actor, "move.requested", string(r.Device), "to "+mfpgate.CleanText(r.To, 16)+" by plan "+mfpgate.CleanText(r.Plan, 64), r.Device, false); err != nil {
		return mfpgate.Move{}, err
	}
	return b.acted(ctx, func(ctx context.Context) (mfpgate.Move, error) { return b.Cloud.Start(ctx, r, actor, key) })
}

// Abort takes a move back that is not committed; the policy does not begin it again. ErrNoMove.
func (b *Broker) Abort(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return b.act(ctx, id, actor, "move.abort-requested", b.Cloud.Abort)
}

// Retry tries the present step of a move again at once. ErrNoMove.
func (b *Broker) Retry(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return b.act(ctx, id, actor, "move.retry-requested", b.Cloud.Retry)
}

// ConfirmLost gives up waiting for a device. ErrNoMove.
func (b *Broker) ConfirmLost(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return b.act(ctx, id, actor, "move.confirm-lost-requested", b.Cloud.ConfirmLost)
}

func (b *Broker) act(ctx context.Context, id mfpgate.MoveID, actor, action string,
	do func(context.Context, mfpgate.MoveID, string) (mfpgate.Move, error)) (mfpgate.Move, error) {
	k := b.move(id)
	if k == nil {
		return mfpgate.Move{}, ErrNoMove
	}
	if err := b.asked(ctx, actor, action, string(id), "", k.Device, action == "move.abort-requested" && !k.State.Committed()); err != nil {
		return mfpgate.Move{}, err
	}
	return b.acted(ctx, func(ctx context.Context) (mfpgate.Move, error) { return do(ctx, id, actor) })
}

func (b *Broker) acted(ctx context.Context, do func(context.Context) (mfpgate.Move, error)) (mfpgate.Move, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m, err := do(call)
	if err != nil {
		return mfpgate.Move{}, err
	}
	if err := b.take(ctx, m); err != nil { // the feed brings it again
		b.called("keep a move", err)
	}
	return m, nil
}

// Enrol registers a device of another market in the site region, under the id that its market gave it. No data move. ErrUnknownHere.
func (b *Broker) Enrol(ctx context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error) {
	if err := b.asked(ctx, actor, "device.enrol-requested", string(device), "", "", false); err != nil {
		return mfpgate.Residence{}, err
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := b.Cloud.Enrol(call, device, actor)
	if err == nil {
		poke(b.due)
	}
	return r, err
}

// asked writes down who asks for what. Of a device whose move somebody aborts it is remembered that the policy leaves it alone, until
// somebody asks for a move of it.
func (b *Broker) asked(ctx context.Context, actor, action, object, detail string, device mfpgate.DeviceID, stop bool) error {
	b.change.Lock()
	defer b.change.Unlock()
	var next *candidate
	if c := b.candidates[device]; device != "" && safe(string(device)) && (stop || c != nil && c.Stopped != "" && actor != PolicyActor) {
		next = &candidate{Schema: schema, Device: device, Home: b.homeOf(device)}
		if c != nil {
			*next = *c
		}
		next.Stopped = ""
		if stop {
			next.Stopped, next.Key = mfpgate.CleanText(actor, 128), ""
		}
	}
	err := b.update(ctx, func(tx store.Tx) error {
		if next != nil {
			if err := store.SetJSON(tx, candidatePrefix+string(device), next); err != nil {
				return err
			}
		}
		return b.journal.Audit(tx, journal.Entry{Actor: mfpgate.CleanText(actor, 256), Action: action, Object: mfpgate.CleanText(object, 128), Detail: detail})
	})
	if err != nil {
		return fmt.Errorf("write down that %s: %w", action, err)
	}
	if next != nil {
		b.mu.Lock()
		b.candidates[device] = next
		b.mu.Unlock()
	}
	return nil
}

// moveStates are all there are, for the gauge.
var moveStates = []mfpgate.MoveState{mfpgate.MoveOpen, mfpgate.MoveCompensating, mfpgate.MoveRolledBack, mfpgate.MoveCommitted, mfpgate.MoveStuck, mfpgate.MoveDone}

// measure sets the gauges of moves.
func (b *Broker) measure() {
	now := b.now()
	count := map[mfpgate.MoveState]int{}
	var oldest, unswitched time.Duration
	b.mu.Lock()
	for _, k := range b.moves {
		count[k.State]++
		if !k.State.Ended() && !k.StartedAt.IsZero() {
			oldest = max(oldest, now.Sub(k.StartedAt))
		}
		if k.State.Committed() && k.SwitchedAt.IsZero() && !k.CommittedAt.IsZero() {
			unswitched = max(unswitched, now.Sub(k.CommittedAt))
		}
	}
	b.mu.Unlock()
	for _, s := range moveStates {
		b.Metrics.MoveState.WithLabelValues(string(s)).Set(float64(count[s]))
	}
	b.Metrics.MoveOldestOpen.Set(oldest.Seconds())
	b.Metrics.MoveSwitchAge.Set(unswitched.Seconds())
}

// timed counts the steps that ended since the move was told of before.
func (b *Broker) timed(before, k *kept) {
	if before == nil && k.State.Ended() {
		return // long ago: it comes from the feed's beginning
	}
	var known time.Time
	if before != nil && len(before.Steps) > 0 {
		known = before.Steps[len(before.Steps)-1].At
	}
	last := k.StartedAt
	for _, s := range k.Steps {
		if s.At.After(known) && s.Step.Seq() >= 0 && !last.IsZero() {
			b.Metrics.MoveStepTime.WithLabelValues(string(s.Step)).Observe(max(s.At.Sub(last), 0).Seconds())
		}
		last = s.At
	}
}

// suggested tells that the policy has looked at a device.
func (b *Broker) suggested(c *candidate) {
	e := b.Log.Info().Str(field.Device, string(c.Device)).Str(field.Region, c.Home)
	if c.Reason != "" {
		e = e.Str(field.Reason, string(c.Reason)).Str(field.Text, c.Detail)
	}
	e.Msg(event.MoveSuggested)
}

// sized cuts what the region says of a device to what a record holds.
func sized(r mfpgate.Residence) mfpgate.Residence {
	r.Detail, r.Reason, r.Bypassed = mfpgate.CleanText(r.Detail, 1<<10), mfpgate.Reason(mfpgate.CleanText(string(r.Reason), 64)), ""
	r.Name, r.MFP, r.Registration, r.Market, r.Home = "", mfpgate.CleanText(r.MFP, 256), mfpgate.CleanText(r.Registration, 256), mfpgate.CleanText(r.Market, 16), mfpgate.CleanText(r.Home, 16)
	r.Services, r.Data, r.Receipts = r.Services[:min(len(r.Services), 64)], r.Data[:min(len(r.Data), 64)], r.Receipts[:min(len(r.Receipts), 4)]
	r.Enforcement, r.Move = mfpgate.EnforcedNone, mfpgate.MoveID(mfpgate.CleanText(string(r.Move), 64))
	for _, shrink := range []func(){func() {}, func() { r.Receipts = nil }, func() { r.Data = nil }, func() { r.Services = nil }} {
		shrink()
		if data, err := json.Marshal(r); err == nil && len(data) <= maxRecord/2 {
			break
		}
	}
	return r
}
