package regiontest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
)

// The rules of the relay. Play judges each connection by them, since chains do not tell of connections.
const (
	// RuleRelay: from the moment on in which a gateway says that it has switched, no connection that the device opens gets to services
	// that it has left, and none that it had open stays longer than the relay's grace.
	RuleRelay Rule = "relay"
	// RuleDirective: until the device has its directive, or a day has passed, it gets to the management server that it knows.
	RuleDirective Rule = "directive"
)

// relay lets the device's connections go where the broker's routes say.
type relay struct {
	w      *world
	l      *life
	broker *route.Broker

	mu   sync.Mutex
	open []*tunnel
	seen time.Time
}

// tunnel is a connection of the device.
type tunnel struct {
	relay   *relay
	host    mfpgate.Host // that it asked for
	port    uint16
	connect bool
	region  string    // that answers
	ends    time.Time // guarded by relay.mu; zero: when the device closes it
}

// refused is the relay's 403.
type refused struct{ reason mfpgate.Reason }

func (r refused) Error() string { return string(r.reason) }

// lead is the region whose host a connection gets.
func (r *relay) lead(t *tunnel) (string, error) {
	to := r.broker.Route(deviceID, t.host, t.port, t.connect)
	host := t.host.String()
	switch to.Action {
	case mfpgate.RouteBlock:
		return "", refused{to.Reason}
	case mfpgate.RouteForward, mfpgate.RouteRedirect:
		host = to.To
	}
	for _, h := range regionHosts {
		for _, listed := range slices.Concat(h.Management, h.Services) {
			if listed == host || listed == fmt.Sprintf("%s:%d", host, t.port) {
				return h.Region, nil
			}
		}
	}
	return "", fmt.Errorf("%s is led to %s, which is of no region", t.host, host)
}

// dial opens a connection of the device to a host.
func (r *relay) dial(host string, plain bool) (*tunnel, error) {
	name, err := mfpgate.ParseHost(host)
	if err != nil {
		return nil, err
	}
	t := &tunnel{relay: r, host: name, port: 443, connect: !plain}
	if plain {
		t.port = 80
	}
	led := r.w.promise.now() // before the relay decides
	t.region, err = r.lead(t)
	r.w.promise.judge(led, host, t.region, err, r.w.clock.Now(), r.w.device.knows())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = r.l.clock.Now()
	r.open = append(r.open, t)
	return t, nil
}

// Reroute ends what may no longer be.
func (r *relay) Reroute(grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.w.clock.Now()
	for _, t := range r.open {
		if region, err := r.lead(t); (err != nil || region != t.region) && t.ends.IsZero() {
			t.ends = now.Add(grace)
		}
	}
}

func (r *relay) lastSeen() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// up tells whether a connection is still there, of the host that is wanted.
func (t *tunnel) up(host string) bool {
	if t == nil || t.relay.l.dead.Load() || t.host.String() != host {
		return false
	}
	t.relay.mu.Lock()
	defer t.relay.mu.Unlock()
	if now := t.relay.w.clock.Now(); !t.ends.IsZero() && !now.Before(t.ends) {
		return false
	}
	t.relay.w.promise.judgeOpen(t, t.relay.w.clock.Now())
	return true
}

func (t *tunnel) close() {
	if t == nil {
		return
	}
	t.relay.mu.Lock()
	defer t.relay.mu.Unlock()
	t.relay.open = slices.DeleteFunc(t.relay.open, func(o *tunnel) bool { return o == t })
}

// promise is what gateways have said, and what was broken of it.
type promise struct {
	mu     sync.Mutex
	to     map[mfpgate.MoveID]string // the regions to which moves lead
	said   switching
	broken []Violation
}

// switching is the last switch that a gateway has said to have made.
type switching struct {
	to    string
	epoch uint64
	at    time.Time
}

func (p *promise) leads(id mfpgate.MoveID, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to[id] = to
}

func (p *promise) target(id mfpgate.MoveID) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.to[id]
}

func (p *promise) switched(to string, epoch uint64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch > p.said.epoch {
		p.said = switching{to, epoch, at}
	}
}

func (p *promise) now() switching {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}

// judge holds a connection to a host, which gets to a region or is refused, against what had been said before it was opened. Epoch is that
// of the newest directive that the device has.
func (p *promise) judge(led switching, host, region string, err error, at time.Time, epoch uint64) {
	management := slices.ContainsFunc(regionHosts, func(h mfpgate.RegionHosts) bool { return host == managementHost(h.Region) })
	switch {
	case led.epoch == 0:
	case !management && err == nil && region != led.to:
		p.report(RuleRelay, "%s: the device asks for %s, and gets to %s; it is led to %s since %s", at, host, region, led.to, led.at)
	case management && err != nil && epoch < led.epoch && at.Sub(led.at) < route.ManagementOpen:
		p.report(RuleDirective, "%s: the device, which knows of epoch %d, asks for %s, and gets %v; it is led to %s since %s", at, epoch, host, err, led.to, led.at)
	}
}

// judgeOpen holds a connection that is in use against what was said.
func (p *promise) judgeOpen(t *tunnel, at time.Time) {
	led := p.now()
	if led.epoch > 0 && t.region != led.to && t.host.String() != managementHost(t.region) && at.Sub(led.at) > route.Grace {
		p.report(RuleRelay, "%s: the device has a connection to %s open; it is led to %s since %s", at, t.region, led.to, led.at)
	}
}

func (p *promise) report(r Rule, text string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.broken, func(v Violation) bool { return v.Rule == r }) {
		p.broken = append(p.broken, Violation{Rule: r, Text: fmt.Sprintf(text, args...)})
	}
}
