package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/elazarl/goproxy"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/head"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// plain carries absolute-URI requests: net/http serves the client behind the edge, goproxy makes the exchange.
type plain struct {
	relay   *Relay
	server  *http.Server
	goproxy *goproxy.ProxyHttpServer
	conns   chan *head.Conn // from the edge to the server
	served  chan struct{}   // closed when the server has ended
	under   atomic.Int64    // requests under way
}

// outbound is one policy's pair of transports; a reload makes new ones, so that no pooled connection outlives its rule.
type outbound struct {
	direct, chained *http.Transport
}

func newPlain(r *Relay, headTimeout time.Duration) *plain {
	p := &plain{relay: r, conns: make(chan *head.Conn), served: make(chan struct{}), goproxy: goproxy.NewProxyHttpServer()}
	p.goproxy.Logger = remarks{r}
	p.goproxy.ConnectDial = nil
	p.goproxy.KeepAcceptEncoding = true
	p.goproxy.OnRequest().DoFunc(func(req *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		ctx.RoundTripper = goproxy.RoundTripperFunc(func(req *http.Request, _ *goproxy.ProxyCtx) (*http.Response, error) {
			return p.roundTrip(req), nil
		})
		return req, nil
	})
	p.server = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       keepAliveLimit,
		MaxHeaderBytes:    2 * head.MaxBytes, // the edge has refused what is over its own bound
		ErrorLog:          nil,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				if served, ok := c.(*head.Conn); ok {
					p.relay.gone(served.TCPConn)
				}
			}
		},
	}
	return p
}

type connKey struct{}

// remarks takes what goproxy prints: mostly clients that left.
type remarks struct{ relay *Relay }

func (r remarks) Printf(format string, _ ...any) {
	r.relay.Log.Debug().Str(field.Text, strings.TrimSpace(format)).Msg(event.RelayNoise)
}

// transports makes a policy's way out.
func (p *plain) transports(policy *Policy) *outbound {
	direct := &http.Transport{
		DisableCompression:    true,
		MaxIdleConnsPerHost:   4,
		MaxIdleConns:          64,
		IdleConnTimeout:       30 * time.Second,
		ExpectContinueTimeout: time.Second,
		// Bounded like a request's head; what is over it is the origin's failure.
		MaxResponseHeaderBytes: 64 << 10,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			e, ok := ctx.Value(exchangeKey{}).(*request)
			if !ok {
				return nil, errors.New("a dial without its request")
			}
			ctx, done := e.whileWanted(ctx)
			defer done()
			return p.relay.dialer.Load().Dial(ctx, e.guard, e.way.to.host, e.way.to.port)
		},
	}
	out := &outbound{direct: direct}
	if u := policy.Upstream; u != nil {
		out.chained = direct.Clone()
		out.chained.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: u.URL.Host})
		out.chained.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			if e, ok := ctx.Value(exchangeKey{}).(*request); ok {
				var done func()
				ctx, done = e.whileWanted(ctx)
				defer done()
			}
			ctx, cancel := context.WithTimeout(ctx, policy.DialTimeout)
			defer cancel()
			conn, err := connectUpstream(ctx, u)
			if err != nil {
				return nil, err // not a *net.TCPConn that is nil
			}
			return conn, nil
		}
	}
	return out
}

// retire closes what is pooled; requests under way end on their own connections.
func (o *outbound) retire() {
	o.direct.CloseIdleConnections()
	if o.chained != nil {
		o.chained.CloseIdleConnections()
	}
}

// take gives a connection with a released head to net/http. It reports false if the server has ended.
func (p *plain) take(c *head.Conn) bool {
	select {
	case p.conns <- c:
		return true
	case <-p.served:
		return false
	case <-p.relay.stopping.Done():
		return false
	}
}

// Accept, Close and Addr make the edge net/http's listener.
func (p *plain) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.relay.stopping.Done():
		return nil, http.ErrServerClosed
	}
}

// Close does nothing: the edge owns the sockets.
func (p *plain) Close() error { return nil }

// Addr returns no address: nothing asks for it.
func (p *plain) Addr() net.Addr { return &net.TCPAddr{} }

func (p *plain) serve() error {
	defer close(p.served)
	if err := p.server.Serve(p); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// drain lets requests end until ctx does, and then cuts them.
func (p *plain) drain(ctx context.Context) (cut int) {
	if err := p.server.Shutdown(ctx); err != nil {
		cut = int(p.under.Load())
		_ = p.server.Close()
	}
	return cut
}

// ServeHTTP answers one request that the edge has let through.
func (p *plain) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	p.under.Add(1)
	defer p.under.Add(-1)
	conn, ok := req.Context().Value(connKey{}).(*head.Conn)
	if !ok {
		panic("a request that did not come through the edge")
	}
	if req.Method == http.MethodConnect {
		p.hijack(w, req, conn)
		return
	}
	e := &request{exchange: p.relay.record.start(source(conn.TCPConn), req.Method), plain: p, in: http.NewResponseController(w)}
	// net/http writes the end of the answer after this, and would meet the deadline of an earlier write.
	defer func() { _ = e.in.SetWriteDeadline(p.relay.clock.Now().Add(stalledLimit)) }()
	if bad := conn.Refusal(req); bad != nil {
		w.Header().Set("Connection", "close")
		e.method = ""
		p.answer(w, e, asRefusal(req.Context(), bad))
		return
	}
	done, err := p.admit(e, req)
	if err == nil && e.way.Action == mfpgate.RouteRedirect {
		p.redirect(w, e, req)
		return
	}
	if err != nil {
		p.answer(w, e, asRefusal(req.Context(), first(req.Context(), err)))
		return
	}
	defer done()
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	defer e.watch(cancel)()
	e.wanted, e.cut = ctx, cancel
	if err := p.relay.crossings.enter(e.exchange); err != nil {
		p.answer(w, e, asRefusal(ctx, err))
		return
	}
	defer p.relay.crossings.leave(e.exchange)
	if e.crossing != nil {
		p.relay.crossings.opened(e.crossing, e.end)
	}
	// net/http looks at its own request again when it answers: only the copy gets another body.
	out := req.WithContext(context.WithValue(ctx, exchangeKey{}, e))
	if req.Body != http.NoBody { // which the transport must see as it is: else it has a length that nobody knows
		body := &requestBody{ReadCloser: req.Body, request: e}
		defer func() { _ = body.Close() }() // the transport may read on after the answer
		out.Body = body
	}
	p.goproxy.ServeHTTP(&responseWriter{ResponseWriter: w, request: e}, out)
	e.finish()
	if e.broken.Load() {
		// The origin broke off: end the response so that nobody takes it for the whole. Where only the connection's end
		// ends it, as in HTTP/1.0, a reset tells.
		_ = conn.SetLinger(0)
		panic(http.ErrAbortHandler)
	}
}

// hijack takes a CONNECT that follows plain requests on the same connection back from net/http.
func (p *plain) hijack(w http.ResponseWriter, req *http.Request, c *head.Conn) {
	_, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	buffered, _ := rw.Reader.Peek(rw.Reader.Buffered())
	c.Unread(buffered)
	h := &head.Head{Method: req.Method, Target: req.RequestURI, Minor: req.ProtoMinor}
	for name, values := range req.Header {
		for _, v := range values {
			h.Fields = append(h.Fields, head.Field{Name: name, Value: v})
		}
	}
	h.Fields = append(h.Fields, head.Field{Name: "Connection", Value: "close"}) // net/http is out of it: a refusal is the last answer
	_ = c.SetReadDeadline(time.Time{})
	if p.relay.connect(c, h, true) != tunnelled {
		p.relay.close(c.TCPConn)
	}
}

func (p *plain) answer(w http.ResponseWriter, e *request, no *refusal) {
	for name, values := range no.header(p.relay.Name) {
		w.Header()[name] = values
	}
	w.WriteHeader(no.status())
	_, _ = io.WriteString(w, no.body())
	e.refused(no)
}

// redirect tells a client that follows it where to go. RFC 9110 §15.4.9: method and content stay.
func (p *plain) redirect(w http.ResponseWriter, e *request, req *http.Request) {
	to := net.JoinHostPort(e.way.to.host.String(), strconv.Itoa(int(e.way.to.port)))
	if e.way.to.port == 80 {
		to = strings.TrimSuffix(to, ":80")
	}
	why := cmp.Or(e.way.Reason, mfpgate.RegionMoved)
	body := string(why) + ": " + movedText + "\n"
	h := w.Header()
	h.Set("Location", "http://"+to+req.URL.RequestURI())
	h.Set("Proxy-Status", fmt.Sprintf("%s; details=%q", p.relay.Name, why))
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusPermanentRedirect)
	_, _ = io.WriteString(w, body)
	e.answered("redirected", http.StatusPermanentRedirect, 0, int64(len(body)))
}

// admit passes the gates of CONNECT, and prepares the request for the next hop. done gives the slot back; there is none if
// the client is to be redirected.
func (p *plain) admit(e *request, req *http.Request) (done func(), err error) {
	policy := p.relay.policy.Load()
	get := func(name string) (string, bool) {
		v := req.Header.Values(name)
		if len(v) == 0 {
			return "", false
		}
		return v[0], true
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	defer context.AfterFunc(p.relay.stopping, func() { cancel(context.Cause(p.relay.stopping)) })()
	if e.device, err = p.relay.identify(ctx, policy, e.from.Addr(), req.Method, req.URL.Host, get); err != nil {
		return nil, err
	}
	if e.host, e.port, err = splitURL(req); err != nil {
		return nil, err
	}
	if p.relay.passedBefore(req.Header["Via"]) {
		return nil, refuse(Loop)
	}
	rule, ok := policy.rules.Allow(e.host, e.port)
	if !ok {
		return nil, refuse(NotAllowed)
	}
	e.rule = rule.String()
	if err := e.lead(); err != nil || e.way.Action == mfpgate.RouteRedirect {
		return nil, err
	}
	if e.slot, err = p.relay.slots.Connect(e.device.key); err != nil {
		return nil, err
	}
	if err = first(ctx, e.queue(ctx, p.relay.clock)); err != nil {
		e.slot.Close()
		return nil, err
	}
	if err := e.lead(); err != nil || e.way.Action == mfpgate.RouteRedirect { // it may have waited for long
		e.slot.Close()
		return nil, err
	}
	e.guard = policy.guard(e.exchange, rule)
	if e.via = policy.Upstream.covers(e.way.to.host); e.via {
		if err := p.relay.dialer.Load().CheckLiteral(e.guard, e.way.to.host, e.way.to.port); err != nil {
			e.slot.Close()
			return nil, err
		}
	}
	e.out, e.turn = policy.out, policy.maxTurn()
	if e.idle = rule.Idle; e.idle == 0 {
		e.idle = policy.Idle
	}
	authority := cmp.Or(e.forwarded(), req.URL.Host)
	p.relay.prepare(req)
	if e.via {
		for name, value := range policy.Upstream.fields(p.relay.clock, req.Method, authority, e.device) {
			e.hop = append(e.hop, [2]string{name, value})
		}
	}
	return e.slot.Close, nil
}

// splitURL returns where an absolute-URI request goes.
func splitURL(req *http.Request) (mfpgate.Host, uint16, error) {
	u := req.URL
	if !u.IsAbs() || u.Scheme != "http" || u.Host == "" || u.User != nil {
		return mfpgate.Host{}, 0, refuse(NotProxied)
	}
	port := uint64(80)
	if digits := u.Port(); digits != "" {
		var err error
		if port, err = strconv.ParseUint(digits, 10, 16); err != nil || port == 0 {
			return mfpgate.Host{}, 0, refuse(BadTarget)
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return mfpgate.Host{}, 0, refuse(BadTarget)
	}
	name := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		name = "[" + name + "]"
	}
	host, err := mfpgate.ParseHost(name)
	if err != nil {
		return mfpgate.Host{}, 0, &refusal{reason: HostSpelling, err: err}
	}
	return host, uint16(port), nil
}
