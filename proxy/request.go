package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/devicename"
)

// request is one plain exchange on its way through goproxy.
type request struct {
	*exchange
	plain *plain
	in    *http.ResponseController
	guard mfpgate.AllowRule // for the addresses of what is dialled
	via   bool              // through the upstream proxy

	wanted context.Context // ends when the client leaves, after idle without a byte, or when cut
	cut    context.CancelCauseFunc
	hop    [][2]string // fields for the upstream proxy
	out    *outbound   // of the policy that admitted the request
	idle   time.Duration
	turn   int          // bytes that move between two questions for the rate; 0 is no rate
	moved  atomic.Int64 // when the last byte did, in nanoseconds after began

	no       *refusal // what the round trip came to, if to nothing
	status   int
	up, down atomic.Int64
	broken   atomic.Bool // the response ended early
	left     atomic.Bool // because the client did
}

type exchangeKey struct{}

// whileWanted returns the context of a dial that ends with the request. The transport itself would dial on for a client
// that has left, in case another request has a use for the connection.
func (e *request) whileWanted(dial context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(dial)
	unhook := context.AfterFunc(e.wanted, cancel)
	return ctx, func() {
		unhook()
		cancel()
	}
}

// roundTrip makes the exchange with the origin. It always returns a response: goproxy would put an error's text into one.
func (p *plain) roundTrip(req *http.Request) *http.Response {
	e, ok := req.Context().Value(exchangeKey{}).(*request)
	if !ok {
		panic("a round trip without its request")
	}
	transport := e.out.direct
	if e.via && e.out.chained != nil {
		transport = e.out.chained
		for _, f := range e.hop {
			req.Header.Set(f[0], f[1])
		}
	}
	// Once the request is written its device rests until bytes move: an origin that thinks, or that holds a long poll, is
	// no work of the relay.
	sent := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn:      e.gotConn,
		WroteRequest: func(httptrace.WroteRequestInfo) { e.slot.Established() }})
	resp, err := transport.RoundTrip(e.outward(req.WithContext(sent)))
	if err == nil {
		e.slot.Established()
		e.touch()
		if err = e.slot.Move(req.Context()); err != nil {
			_ = resp.Body.Close()
		}
	}
	if err == nil && e.via && (resp.StatusCode == http.StatusProxyAuthRequired) {
		_ = resp.Body.Close()
		err = upstreamRefusal(resp)
	}
	if err == nil {
		e.reached(max(1, resp.ContentLength))
	}
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close()
		err = &refusal{reason: OriginBroken, err: errors.New("101 without an Upgrade")}
	}
	if err != nil {
		no := asRefusal(req.Context(), first(req.Context(), err))
		if no.reason == Internal {
			no = &refusal{reason: OriginBroken, err: err}
		}
		p.relay.record.dialFailed(no)
		e.no = no
		return p.local(req, no)
	}
	e.status = resp.StatusCode
	dropHopByHop(resp.Header)
	p.relay.addVia(resp.Header, resp.ProtoMinor)
	resp.Body = &responseBody{ReadCloser: resp.Body, request: e, ctx: req.Context()}
	return resp
}

// outward addresses a request to where its routes lead. The pool of connections goes by that too, so that no connection
// serves two routes. The origin sees the Host that the client sent; an upstream proxy writes the Host of the target anyway
// (RFC 9112 §3.2.2).
func (e *request) outward(req *http.Request) *http.Request {
	if to := e.forwarded(); to != "" {
		u := *req.URL
		u.Host = to
		req.URL = &u // req is a copy; its URL is still that of the client's request
		if e.via {
			req.Host = to
		}
	}
	return req
}

// gotConn is the last moment before the request is written: a dial may have taken long, and a connection may come from the
// pool. A closed connection takes nothing.
func (e *request) gotConn(info httptrace.GotConnInfo) {
	r := e.record.relay
	if r.Routes == nil {
		return
	}
	if err := e.led(r.way(e.device.id, target{e.host, e.port}, false)); err != nil {
		e.cut(err)
		_ = info.Conn.Close()
	}
}

// local is a refusal as the response of a round trip.
func (p *plain) local(req *http.Request, no *refusal) *http.Response {
	body := no.body()
	return &http.Response{StatusCode: no.status(), ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: no.header(p.relay.Name),
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader([]byte(body)))}
}

// finish writes the exchange's event.
func (e *request) finish() {
	switch {
	case e.no != nil:
		e.refused(e.no)
		return
	case e.left.Load():
		e.served(string(ClientLeft), e.status, e.up.Load(), e.down.Load())
	case e.broken.Load():
		why := OriginBroken
		if no, ok := errors.AsType[mfpgate.Refused](context.Cause(e.wanted)); ok {
			why = no.Why()
		}
		e.served(string(why), e.status, e.up.Load(), e.down.Load())
	default:
		e.served("served", e.status, e.up.Load(), e.down.Load())
	}
}

// touch notes that a byte moved.
func (e *request) touch() { e.moved.Store(int64(e.record.relay.clock.Now().Sub(e.began))) }

// watch cuts the request when nothing has moved for idle. The caller stops the watch.
func (e *request) watch(cut context.CancelCauseFunc) (stop func()) {
	e.touch()
	clock := e.record.relay.clock
	ended := make(chan struct{})
	watching := make(chan struct{})
	go func() { // stop waits for it
		defer close(watching)
		timer := clock.NewTimer(e.idle)
		defer timer.Stop()
		for {
			select {
			case <-ended:
				return
			case <-timer.C():
			}
			rest := e.idle - clock.Now().Sub(e.began) + time.Duration(e.moved.Load())
			if rest <= 0 {
				cut(refuse(OriginSilent))
				return
			}
			timer.Reset(rest)
		}
	}()
	return func() { close(ended); <-watching }
}

// limit keeps a read within what the rate lets move in a fraction of linger.
func (e *request) limit(p []byte) []byte {
	if e.turn > 0 && len(p) > e.turn {
		return p[:e.turn]
	}
	return p
}

// take asks for the rate, and then for the device's turn, of n bytes that were read and have not been passed on.
func (e *request) take(ctx context.Context, n int) error {
	e.touch()
	if err := e.slot.Take(ctx, n); err != nil {
		return err
	}
	return e.slot.Move(ctx)
}

// requestBody counts what the client sends, asks for the device's turn, and bounds a client that stops sending.
type requestBody struct {
	io.ReadCloser
	*request
	closed atomic.Bool
}

// Close leaves the body behind it to net/http's server, which closes it once the answer is sent. Before that its Close
// would wait for content that the client holds back until the origin asks for it (Expect: 100-continue).
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	_ = b.in.SetReadDeadline(b.record.relay.clock.Now().Add(stalledLimit))
	n, err := b.ReadCloser.Read(b.limit(p))
	b.up.Add(int64(n))
	b.record.moved[upCopied].Add(float64(n))
	if n > 0 {
		if no := b.take(b.wanted, n); no != nil {
			return 0, no
		}
	}
	if err != nil {
		// net/http reads ahead from here on, and would take the deadline for a client that left.
		_ = b.in.SetReadDeadline(time.Time{})
	}
	return n, err
}

// responseBody asks for the device's turn before it passes on what it read, and remembers whether the origin broke off.
type responseBody struct {
	io.ReadCloser
	*request
	ctx context.Context
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(b.limit(p))
	if err != nil && !errors.Is(err, io.EOF) {
		b.broken.Store(true)
		b.left.Store(errors.Is(context.Cause(b.ctx), context.Canceled))
	}
	if n > 0 {
		if no := b.take(b.ctx, n); no != nil {
			b.broken.Store(true)
			return 0, no
		}
	}
	return n, err
}

// responseWriter counts what the client gets, and bounds a client that stops reading.
type responseWriter struct {
	http.ResponseWriter
	*request
}

func (w *responseWriter) Write(p []byte) (int, error) {
	_ = w.in.SetWriteDeadline(w.record.relay.clock.Now().Add(stalledLimit))
	n, err := w.ResponseWriter.Write(p)
	if err == nil {
		err = w.in.Flush() // an origin that speaks now and then is heard now and then, not when it ends
	}
	w.down.Add(int64(n))
	w.record.moved[downCopied].Add(float64(n))
	w.touch()
	if err != nil {
		w.broken.Store(true)
		w.left.Store(true)
	}
	return n, err
}

// WriteHeader keeps net/http from guessing a Content-Type that the origin did not give.
func (w *responseWriter) WriteHeader(status int) {
	if h := w.Header(); len(h["Content-Type"]) == 0 {
		h["Content-Type"] = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

// Flush passes on what goproxy flushes for streams.
func (w *responseWriter) Flush() { _ = w.in.Flush() }

// hopByHop are the fields that RFC 9110 §7.6.1 keeps to one connection, the proxy's own, and those of clients that do not
// know it.
var hopByHop = []string{"Connection", "Proxy-Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authorization", "Proxy-Authenticate", "Proxy-Authentication-Info", devicename.Header}

func dropHopByHop(h http.Header) {
	for _, field := range h["Connection"] {
		for name := range strings.SplitSeq(field, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// prepare makes a client's request the relay's own to the next hop.
func (r *Relay) prepare(req *http.Request) {
	dropHopByHop(req.Header)
	r.addVia(req.Header, req.ProtoMinor)
	if _, there := req.Header["User-Agent"]; !there {
		req.Header.Set("User-Agent", "") // net/http would write its own
	}
	req.Close = false
}

// addVia names this relay in the path of the message (RFC 9110 §7.6.3).
func (r *Relay) addVia(h http.Header, minor int) {
	version := "1.0 "
	if minor == 1 {
		version = "1.1 "
	}
	h["Via"] = append(h["Via"], version+r.pseudonym)
}

// passedBefore reports whether this very relay is in the request's path already.
func (r *Relay) passedBefore(via []string) bool {
	for _, field := range via {
		for hop := range strings.SplitSeq(field, ",") {
			if parts := strings.Fields(hop); len(parts) > 1 && parts[1] == r.pseudonym {
				return true
			}
		}
	}
	return false
}
