package route

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// candidate is a device that is at home in another region than the site's, and what the policy has done about it.
type candidate struct {
	Schema    int              `json:"schema"`
	Device    mfpgate.DeviceID `json:"deviceId"`
	Home      string           `json:"home"`
	Since     time.Time        `json:"since"`
	Reason    mfpgate.Reason   `json:"reason,omitempty"` // why it is not moved
	Detail    string           `json:"detail,omitempty"`
	NotBefore time.Time        `json:"notBefore,omitzero"`
	Stopped   string           `json:"stopped,omitempty"` // who has aborted its move
	// Key and Plan are of a start whose outcome is not known.
	Key  string `json:"key,omitempty"`
	Plan string `json:"plan,omitempty"`
}

// consider looks at each device that is abroad.
func (b *Broker) consider(ctx context.Context) {
	p := b.policy.Load()
	if p.Mode == ModeNever || p.Region == "" {
		return
	}
	latest, now := b.latest(), b.now()
	b.mu.Lock()
	if !b.current {
		b.mu.Unlock()
		return
	}
	var abroad []*told
	for _, t := range b.residences {
		if t.elsewhere(p.Region) && !t.byMove(b.routes[t.Device], p.Region) {
			abroad = append(abroad, t)
		}
	}
	candidates := make(map[mfpgate.DeviceID]*candidate, len(b.candidates))
	for device, c := range b.candidates {
		candidates[device] = c
	}
	underWay := 0
	for _, k := range b.moves {
		if k.RequestedBy == PolicyActor && !k.State.Ended() && (!k.State.Committed() || k.SwitchedAt.IsZero()) {
			underWay++
		}
	}
	b.mu.Unlock()
	slices.SortFunc(abroad, func(x, y *told) int { return cmp.Compare(x.Device, y.Device) })
	for _, t := range abroad {
		if ctx.Err() != nil {
			return
		}
		c := candidates[t.Device]
		if c == nil || c.Home != t.Home {
			c = &candidate{Schema: schema, Device: t.Device, Home: t.Home, Since: now}
			err := b.remember(ctx, c)
			if b.called("keep which devices are abroad", quiet(ctx, err)); err != nil {
				return
			}
			b.suggested(c)
		}
		if p.Mode != ModeAutomatic || c.Stopped != "" || now.Before(c.NotBefore) {
			continue
		}
		switch k := latest[t.Device]; {
		case k == nil:
		case !k.State.Ended():
			continue
		case k.State == mfpgate.MoveRolledBack && k.Reason == Aborted:
			continue
		case k.State == mfpgate.MoveRolledBack && now.Sub(k.endedAt()) < Backoff:
			continue
		}
		if underWay >= MaxAutomatic {
			return
		}
		begun, err := b.begin(ctx, c)
		b.called("begin a move by the policy", quiet(ctx, err))
		if err != nil {
			return // the region cannot be reached: the others would fare no better
		}
		if begun {
			underWay++
		}
	}
}

// elsewhere reports whether the device is one that the policy is for. One that somebody has registered here under its market's id is
// not: that is a decision to leave its data where they are.
func (t *told) elsewhere(site string) bool {
	if t.State == mfpgate.ResidenceForeign || t.State == mfpgate.ResidenceMoving {
		return false
	}
	if t.Home != "" {
		return t.Home != site
	}
	return t.Market != "" && t.Market != site
}

// byMove reports whether the device has come to where it is said to be by a move that this gateway has followed, which somebody wanted
// so, or has been moved here since that was said.
func (t *told) byMove(r *route, site string) bool {
	return r != nil && (r.To == t.Home || r.To == site && r.Epoch >= t.Epoch)
}

// begin plans a move and starts it as planned. The key of the start is kept before, so that a crash begins nothing twice. An error is one
// of the way to the region.
func (b *Broker) begin(ctx context.Context, c *candidate) (begun bool, err error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r := mfpgate.MoveRequest{Device: c.Device, To: b.policy.Load().Region, Plan: c.Plan}
	if c.Key == "" {
		plan, err := b.Cloud.Plan(call, r)
		if err != nil {
			return false, b.notBegun(ctx, c, err)
		}
		if len(plan.Blockers) > 0 {
			return false, b.postpone(ctx, c, plan.Blockers[0].Reason, plan.Blockers[0].Detail)
		}
		next := *c
		next.Key, next.Plan, next.Reason, next.Detail = mfpgate.NewID(b.Clock, "auto"), mfpgate.CleanText(plan.Hash, 128), "", ""
		if err := b.remember(ctx, &next); err != nil {
			return false, err
		}
		c, r.Plan = &next, next.Plan
	}
	if err := b.asked(ctx, PolicyActor, "move.requested", string(c.Device), "to "+r.To+" by plan "+mfpgate.CleanText(r.Plan, 64), "", false); err != nil {
		return false, err
	}
	m, err := b.Cloud.Start(call, r, PolicyActor, c.Key)
	if err != nil {
		return false, b.notBegun(ctx, c, err)
	}
	if err := b.take(ctx, m); err != nil {
		return false, err // with the key that is kept the region answers the same again
	}
	next := *c
	next.Key, next.Plan, next.NotBefore = "", "", b.now().Add(sweepEvery) // until the move is seen
	return true, b.remember(ctx, &next)
}

// notBegun is what follows an error of the region.
func (b *Broker) notBegun(ctx context.Context, c *candidate, err error) error {
	if !errors.Is(err, mfpgate.ErrRefused) {
		return err
	}
	why := mfpgate.Reason("refused")
	if r, ok := errors.AsType[mfpgate.Refused](err); ok {
		why = r.Why()
	}
	return b.postpone(ctx, c, why, err.Error())
}

// postpone leaves a device alone for a while, and says why.
func (b *Broker) postpone(ctx context.Context, c *candidate, why mfpgate.Reason, text string) error {
	next := *c
	next.Key, next.Plan, next.NotBefore = "", "", b.now().Add(Backoff)
	next.Reason, next.Detail = mfpgate.Reason(mfpgate.CleanText(string(why), 64)), mfpgate.CleanText(text, 1<<10)
	if err := b.remember(ctx, &next); err != nil {
		return err
	}
	if next.Reason != c.Reason {
		b.suggested(&next)
	}
	return nil
}

// remember keeps a candidate, unless somebody has stopped it meanwhile.
func (b *Broker) remember(ctx context.Context, c *candidate) error {
	b.change.Lock()
	defer b.change.Unlock()
	if was := b.candidates[c.Device]; was != nil && was.Home == c.Home {
		c.Stopped = was.Stopped
	}
	if err := b.update(ctx, func(tx store.Tx) error { return store.SetJSON(tx, candidatePrefix+string(c.Device), c) }); err != nil {
		return err
	}
	b.mu.Lock()
	b.candidates[c.Device] = c
	b.mu.Unlock()
	return nil
}
