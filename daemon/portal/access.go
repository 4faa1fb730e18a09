package portal

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// access is who may have what an address serves.
type access int

// The accesses. The zero value is the narrowest, so that a new route is closed until somebody opens it.
const (
	administrators access = iota
	users                 // whoever has logged in; the page itself shows a user only what is his
	everybody             // strangers, too
)

// served is the kind of what an address serves, which decides what happens to the idle time and to who may not have it.
type served int

const (
	aPage   served = iota // something that the user did; a stranger logs in first, and then comes back to it
	aFile                 // likewise, but the login does not lead back to it
	aPart                 // what a page asks for by itself: it does not extend the session
	aStream               // likewise, and without an end
	anAPI                 // for programs
)

// route is one address of the portal.
type route struct {
	pattern string
	access  access
	kind    served
	serve   http.HandlerFunc
}

// visitor is who asks.
type visitor struct{ control.User }

func (v visitor) administrator() bool { return v.Role == control.RoleAdministrator }

type visitorKey struct{}

// visitor is the account that sent the request, or one without a name.
func (p *Portal) visitor(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

func (p *Portal) user(r *http.Request) string { return p.visitor(r).Name }

// identify looks the session's account up, so that a changed role, a new password and a removed account count at once. A
// session whose account is gone, or got a new password, ends here.
func (p *Portal) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := p.manager.GetString(r.Context(), userKey)
		if name == "" {
			next.ServeHTTP(w, r)
			return
		}
		u, good, err := p.account(r.Context(), name, p.manager.GetString(r.Context(), changedKey))
		if err != nil {
			p.Log.Error().Err(err).Msg(event.PortalRefused)
			p.message(w, http.StatusServiceUnavailable, "Try again", "The accounts cannot be read now. The gateway's log says why.")
			return
		}
		if !good {
			if err := p.manager.Destroy(r.Context()); err != nil {
				p.Log.Error().Err(err).Msg(event.PortalRefused)
			}
			next.ServeHTTP(w, r)
			return
		}
		ctx := control.WithCaller(r.Context(), control.Caller{Actor: u.Name, Account: u.Name, From: addressOf(r)}) // for the API
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, visitorKey{}, visitor{u})))
	})
}

// account is the session's one; good is false if it is none, or not as it was at the login.
func (p *Portal) account(ctx context.Context, name, changed string) (u control.User, good bool, err error) {
	u, known, err := p.Accounts.User(ctx, name)
	return u, err == nil && known && stamp(u) == changed, err
}

// stamp is what of an account a login is good for.
func stamp(u control.User) string { return u.Changed.UTC().Format(time.RFC3339Nano) }

// guard serves x to whom it is for.
func (p *Portal) guard(x route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := p.visitor(r)
		switch {
		case x.access == everybody:
		case v.Name == "":
			p.toLogin(w, r, x.kind)
			return
		case x.access == users || v.administrator():
			if x.kind != aPart && x.kind != aStream {
				p.sessions.touch(p.manager.Token(r.Context()))
			}
		default:
			p.forbid(w, r, x.kind)
			return
		}
		x.serve(w, r)
	}
}

// toLogin answers who has not logged in.
func (p *Portal) toLogin(w http.ResponseWriter, r *http.Request, kind served) {
	switch {
	case kind == anAPI:
		unauthorized(w)
		apiProblem(w, http.StatusUnauthorized, `{"title":"Unauthorized","status":401,"detail":"log in at /login first"}`)
	case kind == aPart || kind == aStream || isPart(r): // a redirect would put the login into the page
		w.Header().Set("HX-Redirect", loginFor(pageOf(r)))
		unauthorized(w)
		p.message(w, http.StatusUnauthorized, "Logged out", "The session has ended. Log in again.")
	case kind == aPage && r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site":
		// A link on another site, such as a letter's in a webmail: the browser keeps our cookie back, for it is strict. It
		// sends it once our own page leads there.
		p.render(w, http.StatusOK, "onward.html", ownPath(r.URL.RequestURI()))
	case kind == aPage && r.Method == http.MethodGet:
		http.Redirect(w, r, loginFor(r.URL.RequestURI()), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	}
}

// forbid answers a user who asks for what is for administrators.
func (p *Portal) forbid(w http.ResponseWriter, r *http.Request, kind served) {
	switch {
	case kind == anAPI:
		apiProblem(w, http.StatusForbidden, `{"title":"Forbidden","status":403,"detail":"the API is for administrators; ask one to give your account the role"}`)
	case kind == aPage && r.Method == http.MethodGet && r.URL.Path == "/":
		http.Redirect(w, r, "/registrations", http.StatusSeeOther) // where a user is at home
	default:
		p.message(w, http.StatusForbidden, "Only for administrators", "Your account may ask for printers, and see what became of that. Ask an administrator for the rest.")
	}
}

func apiProblem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

// maxWanted bounds what the login is told to lead back to, in bytes.
const maxWanted = 512

// ownPath returns the address of a page of this portal that a login may lead to, or "/" for everything else: another host, however
// it is spelled (browsers take // and \ for the start of one), and what is too long for a link.
func ownPath(wanted string) string {
	if len(wanted) > maxWanted || !strings.HasPrefix(wanted, "/") || strings.HasPrefix(wanted, "//") ||
		strings.ContainsFunc(wanted, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }) {
		return "/"
	}
	u, err := url.Parse(wanted)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, `\`) || strings.HasPrefix(u.Path, "/login") || strings.HasPrefix(u.Path, "/logout") {
		return "/"
	}
	return wanted
}

// loginFor is the login that leads back to what was wanted.
func loginFor(wanted string) string {
	if wanted = ownPath(wanted); wanted == "/" {
		return "/login"
	}
	return "/login?" + url.Values{"next": {wanted}}.Encode()
}

// pageOf is the page that asked for a part of itself, as far as it says so.
func pageOf(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || !strings.EqualFold(u.Host, r.Host) {
		return "/"
	}
	return u.RequestURI()
}
