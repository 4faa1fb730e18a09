package endpoint

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// remarks takes what net/http says of connections.
type remarks struct{ log telemetry.Logger }

func (r remarks) Write(p []byte) (int, error) {
	r.log.Debug().Str(field.Text, strings.TrimSpace(string(p))).Msg(event.EndpointNoise)
	return len(p), nil
}

func (p *Endpoint) handler(rt http.RoundTripper, noise *log.Logger) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport:     rt,
		FlushInterval: -1, // at once: events and scans come in pieces
		ErrorLog:      noise,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "localhost", "localhost"
		},
		ModifyResponse: relocate,
		ErrorHandler:   p.failed,
	}
	forgery := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(p.all.o.Clock.Now().Add(grace)) // the last request's has passed, perhaps
		if why := p.refusal(r, forgery); why != nil {
			p.refuse(w, r, *why)
			return
		}
		c := newClient(w, r, p.all.o.Clock)
		defer p.served(c, r) // also where the proxy breaks the connection off, with a panic
		defer c.leave()
		proxy.ServeHTTP(c.writer(), c.request(r))
	})
}

// served is the canonical event of a request that went to the printer. The gateway's poller makes many.
func (p *Endpoint) served(c *client, r *http.Request) {
	p.all.o.Log.Debug().Str(field.Key, p.key).Str(field.Client, r.RemoteAddr).Str(field.Method, r.Method).Int(field.Status, c.status).
		Int64(field.BytesDown, c.body.moved.Load()).Int64(field.BytesUp, c.up).
		Int64(field.Duration, p.all.o.Clock.Now().Sub(c.began).Milliseconds()).Msg(event.EndpointServed)
}

// answer is one of our own.
type answer struct {
	status int
	text   string // for people
	retry  string // seconds
}

// refusal says why a request is none for the printer.
func (p *Endpoint) refusal(r *http.Request, forgery *http.CrossOriginProtection) *answer {
	who := peerOf(r)
	if who == nil || !p.door.welcome(who.from.Addr()) {
		return &answer{status: http.StatusForbidden, text: "This printer is not shared with you. The administrator of the gateway shares it (usb.share: lan) with the addresses of relay.clients."}
	}
	if *p.door.share.Load() == Off && !who.mine() {
		return &answer{status: http.StatusForbidden, text: "This printer is not shared (usb.share: off)."}
	}
	own := func(host string) bool { return p.own(host, who.at.Addr()) }
	switch {
	case r.Method == http.MethodConnect:
		return &answer{status: http.StatusMethodNotAllowed, text: "This is a printer, and no proxy."}
	case r.Header.Get("Upgrade") != "":
		return &answer{status: http.StatusNotImplemented, text: "This printer speaks HTTP/1.1 and nothing else: ask without Upgrade."}
	case r.Host != "" && !own(r.Host), r.URL.Host != "" && (r.URL.Scheme != "http" || !own(r.URL.Host)):
		return &answer{status: http.StatusMisdirectedRequest, text: "This is not the host that was asked for. Ask by the address, by localhost, or by " + p.all.publisher.Host() + "."}
	case forgery.Check(r) != nil:
		return &answer{status: http.StatusForbidden, text: "Another site's page may not use this printer."}
	}
	return nil
}

// own says whether a Host field names this machine, as the client may reach it.
func (p *Endpoint) own(host string, at netip.Addr) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap().WithZone("")
		return a == at.WithZone("") || a.IsLoopback() && at.IsLoopback()
	}
	first, _, _ := strings.Cut(p.all.host, ".")
	switch host {
	case "localhost":
		return at.IsLoopback()
	case p.all.host, first, first + ".local", strings.ToLower(p.all.publisher.Host()):
		return true
	}
	return false
}

func (p *Endpoint) refuse(w http.ResponseWriter, r *http.Request, why answer) {
	p.all.o.Log.Info().Str(field.Key, p.key).Str(field.Client, r.RemoteAddr).Str(field.Method, r.Method).
		Int(field.Status, why.status).Msg(event.EndpointRefused)
	say(w, why)
}

func say(w http.ResponseWriter, a answer) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close") // what the client still sends is not read
	if a.retry != "" {
		h.Set("Retry-After", a.retry)
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.text+"\n")
}

// failed answers for a printer that did not. As a gateway's (RFC 9110 §15.6) the answer is 502 where the printer's was no HTTP, 504 where
// none came in time, and 503 where it cannot be asked just now: it is away, or being reset after a failure of USB.
func (p *Endpoint) failed(w http.ResponseWriter, r *http.Request, err error) {
	fault := clientOf(r).fault()
	a := answer{status: http.StatusBadGateway, text: "The printer did not answer as HTTP wants it. Switch it off and on if that stays so."}
	switch {
	case errors.Is(fault, os.ErrDeadlineExceeded):
		a = answer{status: http.StatusRequestTimeout, text: "The request came too slowly."}
	case fault != nil:
		a = answer{status: http.StatusBadRequest, text: "The request broke off, or is no HTTP."}
	case errors.Is(err, bus.ErrGone):
		a = answer{status: http.StatusServiceUnavailable, retry: "30", text: "The printer is not there: it was unplugged or switched off. Plug it in and switch it on."}
	case errors.Is(err, ippusb.ErrClosed) || errors.Is(err, bus.ErrClosed):
		a = answer{status: http.StatusServiceUnavailable, retry: "30", text: "The gateway is giving the printer up, or begins with it anew. Try again in a moment."}
	case errors.Is(err, ippusb.ErrRefused):
		a = answer{status: http.StatusBadRequest, text: "The request cannot be brought to a printer on USB."}
	case errors.Is(err, bus.ErrBusy) || errors.Is(err, bus.ErrAccess):
		a = answer{status: http.StatusServiceUnavailable, retry: "30", text: "Another program of this machine has the printer."}
	case errors.Is(err, ippusb.ErrTimeout) || errors.Is(err, context.DeadlineExceeded):
		a = answer{status: http.StatusGatewayTimeout, text: "The printer did not answer in time."}
	case errors.Is(err, ippusb.ErrBroken) && !errors.Is(err, ippusb.ErrProtocol):
		a = answer{status: http.StatusServiceUnavailable, retry: "30", text: "The printer's USB failed, and the gateway resets the printer. Try again in a moment."}
	}
	if r.Context().Err() == nil { // else the client left, which is no failure, and hears nothing of this
		p.all.o.Log.Info().Str(field.Key, p.key).Str(field.Client, r.RemoteAddr).Str(field.Method, r.Method).
			Int(field.Status, a.status).Str(field.Error, err.Error()).Msg(event.EndpointFailed)
	}
	say(w, a)
}

// relocate makes a Location that leads to what the printer takes for itself one that the client can follow (eSCL's job, a page).
func relocate(r *http.Response) error {
	u, err := url.Parse(r.Header.Get("Location"))
	if err != nil || u.Host == "" || u.Scheme != "http" {
		return nil //nolint:nilerr // it is the client's to judge
	}
	host := strings.ToLower(u.Hostname())
	if a, err := netip.ParseAddr(host); host == "localhost" || err == nil && a.IsLoopback() {
		u.Scheme, u.Host = "", "" // relative to what was asked for (RFC 9110 §10.2.2)
		if u.Path == "" {
			u.Path = "/"
		}
		r.Header.Set("Location", u.String())
	}
	return nil
}
