package registering

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"rsc.io/qr"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
)

//go:embed assets/*
var assets embed.FS

var pages = template.Must(template.ParseFS(assets, "assets/panel.html"))

const (
	maxForm  = 8 << 10 // bytes
	maxShown = 50      // registrations
	maxLive  = 16      // pages that follow at once
	beat     = 15 * time.Second
	slack    = 10 * time.Second // of one write to a page
)

// panel is the device's own web page.
type panel struct {
	*Registrar
	link func() string
	live chan struct{} // holds one for each page that follows
}

// Panel serves the device's panel: what it is, a form that begins a registration, and how each one stands. It has no login: whoever
// stands at the device, or reaches the address, may ask; an administrator decides by mail. It shows no code. link is the address at
// which the gateway's portal registers the device, shown with a QR code, or "".
//
// It answers by address or localhost only, so that no name of another site can be made to lead to it, and changes nothing for a page
// of another origin.
func Panel(r *Registrar, link func() string) http.Handler {
	p := &panel{r, link, make(chan struct{}, maxLive)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { p.page(w, r, http.StatusOK, form{}, "") })
	mux.HandleFunc("GET /registrations", p.registrations)
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("GET /code.svg", p.code)
	mux.HandleFunc("POST /register", p.register)
	mux.HandleFunc("POST /registrations/{id}/cancel", p.cancel)
	for name, kind := range map[string]string{"panel.css": "text/css; charset=utf-8", "panel.js": "text/javascript; charset=utf-8"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			http.ServeFileFS(w, r, assets, "assets/"+name)
		})
	}
	return guarded(http.NewCrossOriginProtection().Handler(mux))
}

func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" {
			http.Error(w, "Open this panel by its address.", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// form is what a person typed.
type form struct{ Service, User, Admin string }

// view is what the page shows.
type view struct {
	Device   mfpgate.PrintDevice
	Gateway  string
	Services []Service
	Form     form
	Problem  string
	Once     string
	Link     string
	List     []entry
}

// entry is one registration for people.
type entry struct {
	ID, Class, State, Service, User, Detail, Times string
	Open                                           bool
}

func (p *panel) page(w http.ResponseWriter, r *http.Request, status int, f form, problem string) {
	v := view{Device: p.Device, Services: p.Services, Form: f, Problem: problem, Once: rand.Text(), Link: p.link()}
	if p.Gateway != nil {
		v.Gateway = p.Gateway.URL.String()
	}
	p.show(w, r, status, "panel.html", v)
}

// show adds the registrations, and writes a page whole or not at all.
func (p *panel) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	list, err := p.List(r.Context())
	if err != nil {
		http.Error(w, "The registrations cannot be read now.", http.StatusInternalServerError)
		return
	}
	for _, g := range list[:min(len(list), maxShown)] {
		v.List = append(v.List, entryOf(g))
	}
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, v); err != nil {
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

func entryOf(g mfpgate.Registration) entry {
	words := Words(g)
	e := entry{ID: g.ID, Class: string(g.State), State: strings.ToUpper(words[:1]) + words[1:], Service: g.Service, User: g.User, Detail: g.Detail,
		Times: "asked for at " + clockTime(g.RequestedAt) + ", as it is since " + clockTime(g.Since), Open: !g.State.Ended()}
	switch {
	case g.State == mfpgate.RegistrationRegistered && g.PrinterURI != "": // and what the user still has to do
		e.Detail = strings.TrimSpace("Printer " + g.PrinterID + " at " + g.PrinterURI + " " + e.Detail)
	case e.Detail != "":
	case g.MailError != "" && e.Open:
		e.Detail = "The letter to " + g.Admin + " could not be sent yet: " + g.MailError
	case g.State == mfpgate.RegistrationAwaitingAdmin && g.Mails > 0:
		e.Detail = "A letter with the code went to " + g.Admin + "."
	}
	return e
}

func clockTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (p *panel) registrations(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusOK, "registrations", view{})
}

func (p *panel) register(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.page(w, r, http.StatusBadRequest, form{}, "What was sent is no form of this page. Fill in the form below.")
		return
	}
	f := form{clip(r.PostForm.Get("service"), 128), strings.TrimSpace(clip(r.PostForm.Get("user"), 254)), strings.TrimSpace(clip(r.PostForm.Get("admin"), 254))}
	if f.Admin == "" { // the broker's words are of a configuration, which a device has not
		p.page(w, r, http.StatusUnprocessableEntity, f, "Type the mail address of the administrator who is to approve.")
		return
	}
	from := ""
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = at.Addr().Unmap().String()
	}
	g, err := p.Register(r.Context(), f.Service, f.User, f.Admin, from, clip(r.PostForm.Get("once"), 64))
	var no mfpgate.Refused
	switch {
	case errors.As(err, &no) && no.Why() == approval.AdminDomain:
		p.page(w, r, http.StatusUnprocessableEntity, f, "This device writes to administrators of these domains alone: "+strings.Join(p.AdminDomains, ", ")+".")
	case errors.As(err, &no):
		p.page(w, r, http.StatusUnprocessableEntity, f, no.Error())
	case err != nil:
		p.page(w, r, http.StatusInternalServerError, f, "That did not work. Try again in a moment.")
	default:
		http.Redirect(w, r, "/#"+g.ID, http.StatusSeeOther)
	}
}

func (p *panel) cancel(w http.ResponseWriter, r *http.Request) {
	err := p.Cancel(r.Context(), r.PathValue("id"))
	var no mfpgate.Refused
	switch {
	case errors.Is(err, approval.ErrNotFound):
		p.page(w, r, http.StatusNotFound, form{}, "There is no such registration.")
	case errors.As(err, &no):
		p.page(w, r, http.StatusConflict, form{}, no.Error())
	case err != nil:
		p.page(w, r, http.StatusInternalServerError, form{}, "That did not work. Try again in a moment.")
	default:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// events tells a page that something has changed.
func (p *panel) events(w http.ResponseWriter, r *http.Request) {
	select {
	case p.live <- struct{}{}:
		defer func() { <-p.live }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "Too many pages follow this device.", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	changed := make(chan struct{}, 1)
	var watcher sync.WaitGroup
	watcher.Go(func() { // ends with ctx
		for range p.Changes(ctx) {
			select {
			case changed <- struct{}{}:
			default: // one waits already
			}
		}
	})
	defer watcher.Wait()
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	timer := p.Clock.NewTimer(beat)
	defer timer.Stop()
	for text := ": here\n\n"; ; {
		_ = out.SetWriteDeadline(p.Clock.Now().Add(slack)) // where it cannot be set, the server's own limit holds
		if _, err := w.Write([]byte(text)); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			text = "data: changed\n\n"
		case <-timer.C():
			timer.Reset(beat)
			text = ": here\n\n"
		}
	}
}

// code is the link as a QR code.
func (p *panel) code(w http.ResponseWriter, r *http.Request) {
	link := p.link()
	c, err := qr.Encode(link, qr.M)
	if link == "" || err != nil {
		http.NotFound(w, r)
		return
	}
	const quiet = 4 // modules around it (ISO/IEC 18004 §9.1)
	var squares strings.Builder
	for y := range c.Size {
		for x := range c.Size {
			if c.Black(x, y) {
				fmt.Fprintf(&squares, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[1]d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path d="%[2]s"/></svg>`,
		c.Size+2*quiet, squares.String())
}
