package proxy

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// crossings are the tunnels and plain requests that have been let through by their routes. The order leaves no gap: an
// exchange enters here first and asks the routes after that, and whoever changes the routes calls Reroute after that. So
// either Reroute finds the exchange here, or the exchange finds the new routes.
type crossings struct {
	relay *Relay
	wake  chan struct{} // capacity 1: something is to end

	mu   sync.Mutex
	open map[*crossing]struct{}
}

// crossing is one of them. The exchange's device, destination and way do not change any more; the rest is guarded by
// crossings.mu.
type crossing struct {
	*exchange
	cut   func(mfpgate.Route)
	named target         // by the ClientHello, if that names another host than CONNECT; else the zero target
	until time.Time      // it ends then, unless its routes let it live again; zero: it may stay
	ended *mfpgate.Route // why it is to be cut, as soon as there is something to cut
}

func newCrossings(r *Relay) *crossings {
	return &crossings{relay: r, wake: make(chan struct{}, 1), open: map[*crossing]struct{}{}}
}

// enter is the last gate of an exchange: behind it bytes flow. The caller ends it with leave.
func (c *crossings) enter(x *exchange) error {
	if c.relay.Routes == nil {
		return nil
	}
	x.crossing = &crossing{exchange: x}
	c.mu.Lock()
	c.open[x.crossing] = struct{}{}
	c.mu.Unlock()
	err := x.led(c.relay.way(x.device.id, target{x.host, x.port}, x.connect()))
	if err != nil {
		c.leave(x)
	}
	return err
}

func (c *crossings) leave(x *exchange) {
	if x.crossing == nil {
		return
	}
	c.mu.Lock()
	delete(c.open, x.crossing)
	c.mu.Unlock()
}

// opened says how to cut what has entered.
func (c *crossings) opened(x *crossing, cut func(mfpgate.Route)) {
	c.mu.Lock()
	x.cut = cut
	ended := x.ended
	c.mu.Unlock()
	if ended != nil {
		cut(*ended)
	}
}

// name judges the host that a tunnel's ClientHello names, now and at each Reroute.
func (c *crossings) name(x *exchange, host mfpgate.Host) error {
	named := target{host, x.port}
	c.mu.Lock()
	x.crossing.named = named
	c.mu.Unlock()
	hidden, is := c.hidden(x, named)
	x.stray(hidden)
	if !is {
		return nil
	}
	no := x.block(host, hidden)
	x.record.list(x, no.reason)
	return no
}

// hidden reports whether the host that is named is not the device's as it stands, whatever the relay would make of a
// connection that asks for it.
func (c *crossings) hidden(x *exchange, named target) (mfpgate.Route, bool) {
	route := c.relay.Routes.Route(x.device.id, named.host, named.port, true)
	if route.Action == mfpgate.RoutePass {
		return route, false
	}
	route.Action, route.Reason = mfpgate.RouteBlock, mfpgate.RegionHidden
	return route, true
}

// strays reports whether x would not be opened now as it was, and why. c.mu is held.
func (c *crossings) strays(x *crossing) (mfpgate.Route, bool) {
	if now := c.relay.way(x.device.id, target{x.host, x.port}, x.connect()); !now.same(x.way) {
		route := now.Route
		if route.Action == mfpgate.RoutePass {
			route.Reason = cmp.Or(route.Reason, mfpgate.RegionSwitched)
		}
		route.Reason = cmp.Or(route.Reason, mfpgate.RegionMoved)
		return route, true
	}
	if x.named.host.Valid() {
		return c.hidden(x.exchange, x.named)
	}
	return mfpgate.Route{}, false
}

// Reroute looks at all that is open after the routes have changed: each tunnel and request that would not be opened now as
// it was is cut after grace. What waits for its end already does not get more time, and what may stay again stays. Run
// must be running.
func (r *Relay) Reroute(grace time.Duration) {
	if r.Routes == nil {
		return
	}
	c := r.crossings
	until := r.clock.Now().Add(grace)
	c.mu.Lock()
	for x := range c.open {
		if _, strays := c.strays(x); !strays {
			x.until = time.Time{}
		} else if x.until.IsZero() || until.Before(x.until) {
			x.until = until
		}
	}
	c.mu.Unlock()
	r.policy.Load().out.retire() // whom they served may be led elsewhere now
	if grace <= 0 {
		c.sweep()
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// end cuts a request. One that has no answer yet gets one.
func (e *request) end(route mfpgate.Route) {
	if route.Action == mfpgate.RouteBlock {
		e.cut(&refusal{reason: route.Reason, routed: true})
	} else {
		e.cut(overtaken())
	}
}

// run ends what is due until ctx ends.
func (c *crossings) run(ctx context.Context) error {
	timer := c.relay.clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := c.sweep()
		var due <-chan time.Time
		if !next.IsZero() {
			timer.Reset(next.Sub(c.relay.clock.Now()))
			due = timer.C()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-due:
		}
	}
}

// sweep cuts what is due, and returns when the next is.
func (c *crossings) sweep() (next time.Time) {
	var ends []func()
	now := c.relay.clock.Now()
	c.mu.Lock()
	for x := range c.open {
		switch {
		case x.until.IsZero():
			continue
		case x.until.After(now):
			if next.IsZero() || x.until.Before(next) {
				next = x.until
			}
			continue
		}
		x.until = time.Time{}
		route, strays := c.strays(x)
		if !strays || x.ended != nil {
			continue
		}
		x.ended = &route
		cut, host := x.cut, x.host
		if route.Reason == mfpgate.RegionHidden {
			host = x.named.host
		}
		ends = append(ends, func() {
			x.lose(host, route)
			if cut != nil { // else opened cuts it
				cut(route)
			}
		})
	}
	c.mu.Unlock()
	for _, end := range ends {
		end()
	}
	if len(ends) > 0 { // a dial that nobody waits for any more ends in the pool
		c.relay.policy.Load().out.retire()
	}
	return next
}

// lose notes that the exchange is cut by its routes, for that host.
func (x *exchange) lose(host mfpgate.Host, route mfpgate.Route) {
	x.stray(route)
	if route.Action != mfpgate.RouteBlock {
		return
	}
	if no := x.block(host, route); x.connect() { // a request that has no answer yet is listed as refused
		x.record.list(x, no.reason)
	}
}
