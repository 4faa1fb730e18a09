package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// The kinds of intents: what the region is told.
const (
	kindProbe     = "probe"
	kindSwitched  = "switched"
	kindCheckedIn = "checked-in"
)

func decodeCall(in journal.Intent) (c call, err error) {
	if err := json.Unmarshal(in.Payload, &c); err != nil {
		return c, journal.Permanent(err)
	}
	return c, nil
}

func (b *Broker) move(id mfpgate.MoveID) *kept {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.moves[id]
}

// handleProbe asks the target's hosts for certificates by the names of the source's, and tells what came of it. What is not validated is
// no failure: the device's CONNECT is then refused in place of being led.
func (b *Broker) handleProbe(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	c, err := decodeCall(in)
	if err != nil {
		return nil, err
	}
	// From the store: the intent is there before memory knows of its move.
	var k *kept
	if err := b.Store.View(ctx, func(s store.Snapshot) (err error) {
		k, err = find(s, movePrefix+string(c.Move), keptSchema)
		return err
	}); err != nil && !unreadable(err) {
		return nil, err
	}
	if k == nil || k.State != mfpgate.MoveOpen {
		return nil, nil
	}
	if err := b.refreshHosts(ctx); err != nil {
		b.called("read the regions' hosts", err)
		if b.hostsLack(k.From, k.To) {
			return nil, err
		}
	}
	probes := b.probe(ctx, b.toProbe(k.From, k.To))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	keep := func(tx store.Tx) error {
		return store.SetJSON(tx, probesPrefix+string(c.Move), probed{schema, probes})
	}
	if err := b.update(ctx, keep); err != nil { // before the region goes on: at the switch they must be there
		return nil, err
	}
	return nil, b.tell(ctx, "tell of the target's certificates", true, func(ctx context.Context) error {
		return b.Cloud.Probed(ctx, c.Move, probes, k.Seen)
	})
}

// tell makes a call. A refusal ends it, if nothing depends on it: the move has gone on, or is gone.
func (b *Broker) tell(ctx context.Context, what string, hint bool, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := do(ctx)
	if hint && errors.Is(err, mfpgate.ErrRefused) {
		return nil
	}
	b.called(what, err)
	if d := mfpgate.RetryDelay(err); d > 0 {
		return journal.RetryAfter(err, min(d, 5*time.Minute))
	}
	return err
}

// probing is a certificate to ask for.
type probing struct{ name, host string }

// toProbe are the pairs of hosts, those that would be led to first.
func (b *Broker) toProbe(from, to string) (list []probing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names, hosts []endpoint
	for _, r := range b.regions.Items {
		if r.Region == from {
			names = endpoints(r.Services)
		} else if r.Region == to {
			hosts = endpoints(r.Services)
		}
	}
	there := map[probing]bool{}
	add := func(n, h endpoint) {
		port := n.port
		if port == 0 {
			port = 443
		}
		p := probing{n.host.String(), h.at(port)}
		if !there[p] && len(list) < MaxProbes {
			there[p] = true
			list = append(list, p)
		}
	}
	for i, n := range names {
		if h, there := counterpartOf(i, hosts); there {
			add(n, h)
		}
	}
	for _, n := range names {
		for _, h := range hosts {
			add(n, h)
		}
	}
	return list
}

func (b *Broker) probe(ctx context.Context, list []probing) []mfpgate.NameProbe {
	probes := make([]mfpgate.NameProbe, len(list))
	var tasks sync.WaitGroup
	turn := make(chan struct{}, 8)
	for i, p := range list {
		tasks.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			probes[i] = mfpgate.NameProbe{Name: p.name, Host: p.host, Validated: true}
			if err := b.Prober.Probe(ctx, p.host, p.name); err != nil {
				probes[i].Validated, probes[i].Detail = false, mfpgate.CleanText(err.Error(), 200)
			}
		})
	}
	tasks.Wait()
	return probes
}

// handleSwitched acknowledges the switch. Whoever wrote the route holds change until the table is swapped and tunnels were looked at, so
// that the region never hears of a switch before it is in force; should the outcome of the commit not have been known, that is done here.
func (b *Broker) handleSwitched(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	c, err := decodeCall(in)
	if err != nil {
		return nil, err
	}
	switch over, err := b.inForce(ctx, c); {
	case err != nil:
		return nil, err
	case over:
		return nil, nil
	}
	_, seen, err := b.stored(ctx, c)
	if err != nil {
		return nil, err
	}
	return nil, b.tell(ctx, "acknowledge the switch of routes", false, func(ctx context.Context) error {
		return b.Cloud.Switched(ctx, c.Move, c.Epoch, seen)
	})
}

// stored is the route of a call's device, nil if there is none that can be read, and what goes with what is told of its move.
func (b *Broker) stored(ctx context.Context, c call) (r *route, seen mfpgate.Seen, err error) {
	err = b.Store.View(ctx, func(s store.Snapshot) error {
		k, err := find(s, movePrefix+string(c.Move), keptSchema)
		if err != nil && !unreadable(err) {
			return err
		}
		if k != nil {
			seen = k.Seen
		}
		if r, err = find(s, routePrefix+string(c.Device), routeSchema); unreadable(err) {
			return nil
		}
		return err
	})
	return r, seen, err
}

// inForce sees to it that the route of a call is in force. Over says that a later one is.
func (b *Broker) inForce(ctx context.Context, c call) (over bool, err error) {
	b.change.Lock()
	defer b.change.Unlock()
	var r *route
	err = b.Store.View(ctx, func(s store.Snapshot) (err error) {
		r, err = find(s, routePrefix+string(c.Device), routeSchema)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case r == nil || r.Epoch < c.Epoch:
		return false, fmt.Errorf("route of %s: the route of epoch %d is not there", c.Device, c.Epoch)
	}
	if was := b.routes[c.Device]; was == nil || was.Epoch < r.Epoch || b.damaged[c.Device] {
		b.mu.Lock()
		b.routes[c.Device] = r
		delete(b.damaged, c.Device)
		b.mu.Unlock()
		b.publish()
		b.reroute()
	}
	return r.Epoch > c.Epoch, nil
}

// handleCheckedIn tells that the relay has seen the device on its way to its new region.
func (b *Broker) handleCheckedIn(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	c, err := decodeCall(in)
	if err != nil {
		return nil, err
	}
	// From the store: memory does not know of a commit whose outcome was not known.
	r, seen, err := b.stored(ctx, c)
	if err != nil || r == nil || r.Epoch != c.Epoch || r.CheckedIn.IsZero() {
		return nil, err
	}
	return nil, b.tell(ctx, "tell of a device's first check-in", true, func(ctx context.Context) error {
		return b.Cloud.CheckedIn(ctx, c.Move, c.Epoch, r.CheckedIn, seen)
	})
}
