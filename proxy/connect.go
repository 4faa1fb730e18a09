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
	"github.com/mfpgate/mfpgate/proxy/hello"
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
		x.slot.Close()
		_ = spec.Origin.Close()
		x.refused(refuse(ClientLeft))
		return refusedEnd
	}
	x.slot.Established()
	spec.FromClient = c.Early()
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

	if x.slot, err = r.slots.Connect(x.device.key); err != nil {
		return tunnel.Spec{}, err
	}
	if err := x.queue(ctx, r.clock); err != nil {
		x.slot.Close()
		return tunnel.Spec{}, first(ctx, err)
	}
	began := r.clock.Now()
	origin, said, err := r.dial(ctx, p, x, rule)
	x.dialled = r.clock.Now().Sub(began)
	if err != nil {
		x.slot.Close()
		r.record.dialFailed(asRefusal(ctx, err))
		return tunnel.Spec{}, first(ctx, err)
	}
	idle := rule.Idle
	if idle == 0 {
		idle = p.Idle
	}
	return tunnel.Spec{Client: c.TCPConn, Origin: origin, FromOrigin: said, Turn: x.slot, MaxTurn: p.maxTurn(), Idle: idle,
		Inspect: inspect(rule, x.host), Owner: x, Done: func(t *tunnel.Tunnel) { r.ended(t, x) },
		Label: tunnel.Label{Device: x.device.id, DeviceName: x.device.name, Client: x.from.String(),
			Destination: x.destination(), Rule: x.rule}}, nil
}

// first prefers the reason why ctx ended, such as that the relay is stopping, to the error that followed from it.
func first(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return asRefusal(ctx, context.Cause(ctx))
	}
	return err
}

func (r *Relay) ended(t *tunnel.Tunnel, x *exchange) {
	x.slot.Close()
	x.closed(t)
	r.gone(t.Client)
}

// dial reaches the origin, directly or through the upstream proxy. said is what the origin sent already.
func (r *Relay) dial(ctx context.Context, p *Policy, x *exchange, rule mfpgate.AllowRule) (conn *net.TCPConn, said []byte, err error) {
	if p.Upstream.covers(x.host) {
		if err := r.dialer.Load().CheckLiteral(rule, x.host, x.port); err != nil {
			return nil, nil, err
		}
		return r.dialUpstream(ctx, p, x)
	}
	conn, err = r.dialer.Load().Dial(ctx, rule, x.host, x.port)
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

// inspect holds the client's first bytes against the rule: a TLS client that asks for another server than its CONNECT
// named would carry the rule's permission elsewhere.
func inspect(rule mfpgate.AllowRule, host mfpgate.Host) tunnel.Inspect {
	if rule.AnySNI && !rule.TLSOnly {
		return nil
	}
	return func(first []byte, final bool) (bool, error) {
		got, state := hello.Parse(first)
		switch state {
		case hello.NeedMore:
			if final {
				return false, refuse(BadHello)
			}
			return false, nil
		case hello.NotTLS:
			if rule.TLSOnly {
				return false, refuse(NotTLS)
			}
			return true, nil
		case hello.Hello:
		default:
			return false, refuse(BadHello)
		}
		if rule.AnySNI || !got.HasServerName {
			return true, nil
		}
		if asked, err := mfpgate.ParseHost(got.ServerName); err != nil || asked != host {
			return false, refuse(SNIMismatch)
		}
		return true, nil
	}
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
	return net.JoinHostPort(x.host.String(), strconv.Itoa(int(x.port)))
}
