package proxy

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/head"
	"github.com/mfpgate/mfpgate/proxy/tunnel"
)

// established is worded as clients from before RFC 9110 compare it.
const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// outcome is what becomes of a connection after a CONNECT on it.
type outcome uint8

const (
	tunnelled   outcome = iota // the tunnel has it
	refusedKeep                // refused; another head may follow
	refusedEnd                 // refused; the connection is to be closed
)

// connect answers one CONNECT; again says that other answers went before it on the same connection.
func (r *Relay) connect(c *head.Conn, h *head.Head, again bool) outcome {
	x := r.record.start(source(c.TCPConn), http.MethodConnect)
	spec, err := r.setUp(c, h, x)
	if err != nil {
		if r.answer(c, x, asRefusal(r.stopping, err), h.KeepAlive()) {
			return refusedKeep
		}
		return refusedEnd
	}
	if again { // a first answer always fits into the socket's buffer; behind others it may not
		_ = c.SetWriteDeadline(r.clock.Now().Add(lingerLimit))
	}
	_, err = c.Write([]byte(established))
	if again {
		_ = c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		r.crossings.leave(x)
		x.slot.Close()
		_ = spec.Origin.Close()
		x.refused(refuse(ClientLeft))
		return refusedEnd
	}
	x.slot.Established()
	spec.FromClient = c.Early()
	if x.crossing != nil {
		spec.Opened = func(t *tunnel.Tunnel) {
			r.crossings.opened(x.crossing, func(route mfpgate.Route) { t.Cut(route.Reason) })
		}
	}
	r.tunnels.Open(spec)
	return tunnelled
}

// setUp passes every gate and returns the tunnel to open, holding the device's slot.
func (r *Relay) setUp(c *head.Conn, h *head.Head, x *exchange) (tunnel.Spec, error) {
	p := r.policy.Load()
	var err error
	// The target is judged after the client, so that a stranger learns nothing about the rules.
	ctx, look := r.whileThere(c, c.HasEarly())
	defer look()
	if x.device, err = r.identify(ctx, p, x.from.Addr(), h.Method, h.Target, h.Get); err != nil {
		return tunnel.Spec{}, err
	}
	if x.host, x.port, err = splitTarget(h.Target); err != nil {
		return tunnel.Spec{}, err
	}
	// Two relays with each other as upstream would go round until one runs out of connections.
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, "Via") {
			x.via = append(x.via, f.Value)
		}
	}
	if r.passedBefore(x.via) {
		return tunnel.Spec{}, refuse(Loop)
	}
	rule, ok := p.rules.Allow(x.host, x.port)
	if !ok {
		return tunnel.Spec{}, refuse(NotAllowed)
	}
	x.rule = rule.String()
	if err := x.lead(); err != nil {
		return tunnel.Spec{}, err
	}

	if x.slot, err = r.slots.Connect(x.device.key); err != nil {
		return tunnel.Spec{}, err
	}
	if err := x.queue(ctx, r.clock); err != nil {
		x.slot.Close()
		return tunnel.Spec{}, first(ctx, err)
	}
	if err := x.lead(); err != nil { // it may have waited for long
		x.slot.Close()
		return tunnel.Spec{}, err
	}
	began := r.clock.Now()
	origin, said, err := r.dial(ctx, p, x, rule)
	x.dialled = r.clock.Now().Sub(began)
	if err != nil {
		x.slot.Close()
		r.record.dialFailed(asRefusal(ctx, err))
		return tunnel.Spec{}, first(ctx, err)
	}
	if err := r.crossings.enter(x); err != nil {
		x.slot.Close()
		_ = origin.Close()
		return tunnel.Spec{}, err
	}
	idle := rule.Idle
	if idle == 0 {
		idle = p.Idle
	}
	return tunnel.Spec{Client: c.TCPConn, Origin: origin, FromOrigin: said, Turn: x.slot, MaxTurn: p.maxTurn(), Idle: idle,
		Inspect: x.inspect(rule), Answered: func(n int) { x.reached(int64(n)) }, Owner: x, Done: func(t *tunnel.Tunnel) { r.ended(t, x) },
		Label: tunnel.Label{Device: x.device.id, DeviceName: x.device.name, Client: x.from.String(),
			Destination: x.destination(), Forwarded: x.forwarded(), Rule: x.rule}}, nil
}

// first prefers the reason why ctx ended, such as that the relay is stopping, to the error that followed from it.
func first(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return asRefusal(ctx, context.Cause(ctx))
	}
	return err
}

func (r *Relay) ended(t *tunnel.Tunnel, x *exchange) {
	r.crossings.leave(x)
	x.slot.Close()
	x.closed(t)
	r.gone(t.Client)
}

// guard is the rule by which addresses are judged: that of the host that is dialled, if it has one, else that of the host
// that was asked for and allowed. So whoever lets devices reach a region's host may say that it has a private address.
func (p *Policy) guard(x *exchange, asked mfpgate.AllowRule) mfpgate.AllowRule {
	if x.way.Action == mfpgate.RouteForward {
		if own, ok := p.rules.Allow(x.way.to.host, x.way.to.port); ok {
			return own
		}
	}
	return asked
}

// dial reaches the origin, directly or through the upstream proxy. said is what the origin sent already.
func (r *Relay) dial(ctx context.Context, p *Policy, x *exchange, rule mfpgate.AllowRule) (conn *net.TCPConn, said []byte, err error) {
	to, rule := x.way.to, p.guard(x, rule)
	if p.Upstream.covers(to.host) {
		if err := r.dialer.Load().CheckLiteral(rule, to.host, to.port); err != nil {
			return nil, nil, err
		}
		return r.dialUpstream(ctx, p, x)
	}
	conn, err = r.dialer.Load().Dial(ctx, rule, to.host, to.port)
	return conn, nil, err
}

// splitTarget reads the authority-form of CONNECT (RFC 9110 §9.3.6), where the port is not optional.
func splitTarget(target string) (mfpgate.Host, uint16, error) {
	colon := strings.LastIndexByte(target, ':')
	if colon < 0 || strings.HasSuffix(target, "]") {
		return mfpgate.Host{}, 0, refuse(BadTarget)
	}
	digits := target[colon+1:]
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 || strings.Trim(digits, "0123456789") != "" {
		return mfpgate.Host{}, 0, refuse(BadTarget)
	}
	if strings.Contains(target[:colon], ":") && !strings.HasPrefix(target, "[") {
		return mfpgate.Host{}, 0, refuse(BadTarget)
	}
	host, err := mfpgate.ParseHost(target[:colon])
	if err != nil {
		return mfpgate.Host{}, 0, &refusal{reason: HostSpelling, err: err}
	}
	return host, uint16(port), nil
}

// queue waits for the device's slot.
func (x *exchange) queue(ctx context.Context, clock mfpgate.Clock) error {
	began := clock.Now()
	err := x.slot.SetUp(ctx)
	x.queued = clock.Now().Sub(began)
	return err
}

func (x *exchange) destination() string {
	if !x.host.Valid() {
		return ""
	}
	return target{x.host, x.port}.String()
}
