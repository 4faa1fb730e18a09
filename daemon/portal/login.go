package portal

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/throttle"
)

// Why the portal refused.
const (
	wrongLogin  mfpgate.Reason = "wrong-login" // the name or the password; the log does not say which either
	throttled   mfpgate.Reason = "throttled"
	busy        mfpgate.Reason = "busy"
	unchecked   mfpgate.Reason = "accounts-unreadable"
	crossOrigin mfpgate.Reason = "cross-origin"
)

const (
	maxForm = 8 << 10
	maxName = 64 // bytes of a name that the log shows

	// Comparing a password takes a core for a quarter of a second, on purpose. Two at once leave the relay its share.
	parallelChecks = 2
	maxWaiting     = 32
)

// loginPage is what login.html shows.
type loginPage struct {
	Site    string
	Name    string
	Problem string // "" for none
	Fields  bool   // the problem is with what was typed
	Out     bool   // the user has just logged out
	Next    string // where it leads; "" is the start
}

func (p *Portal) loginForm(w http.ResponseWriter, r *http.Request) {
	next := ownPath(r.URL.Query().Get("next"))
	if p.user(r) != "" {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	p.loginAgain(w, r, http.StatusOK, loginPage{Out: r.URL.Query().Has("out"), Next: next})
}

func (p *Portal) loginAgain(w http.ResponseWriter, r *http.Request, status int, page loginPage) {
	page.Site = p.Gateway.Status(r.Context()).Site.Name
	p.render(w, status, "login.html", page)
}

func (p *Portal) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		status := http.StatusBadRequest
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			status = http.StatusRequestEntityTooLarge
		}
		p.loginAgain(w, r, status, loginPage{Problem: "What was sent is no login form. Fill in the form below."})
		return
	}
	name, password, next := r.PostForm.Get("name"), mfpgate.Secret(r.PostForm.Get("password")), ownPath(r.PostForm.Get("next"))
	u, reason, wait := p.check(r, name, password)
	if reason == "" {
		p.admit(w, r, u, next)
		return
	}
	p.refused(r, reason, name)
	page := loginPage{Name: name, Next: next}
	status := http.StatusForbidden
	switch reason {
	case wrongLogin:
		page.Fields, page.Problem = true, "The name or the password is wrong."
	case unchecked:
		status, page.Problem = http.StatusServiceUnavailable, "The accounts cannot be read now. The gateway's log says why."
	default:
		status = http.StatusTooManyRequests
		seconds := int(math.Ceil(wait.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		page.Problem = "Too many logins were tried. Wait " + duration(time.Duration(seconds)*time.Second) + " and try again."
	}
	p.loginAgain(w, r, status, page)
}

// check compares name and password at the throttle's pace. The reason is "" if they are right.
func (p *Portal) check(r *http.Request, name string, password mfpgate.Secret) (u control.User, reason mfpgate.Reason, wait time.Duration) {
	from := throttle.Source(r.RemoteAddr)
	digest := sha256.Sum256([]byte(name)) // a name of any length takes the same room
	account := string(digest[:])
	if wait := p.sources.Take(from); wait > 0 {
		return u, throttled, wait
	}
	if wait := p.names.Take(account); wait > 0 {
		p.sources.GiveBack(from)
		return u, throttled, wait
	}
	u, right, err := p.compare(r.Context(), name, password)
	if err == nil && !right {
		return u, wrongLogin, 0
	}
	p.sources.GiveBack(from)
	p.names.GiveBack(account)
	switch {
	case errors.Is(err, errBusy):
		return u, busy, 5 * time.Second
	case err != nil:
		p.Log.Error().Err(err).Str(field.Reason, string(unchecked)).Msg(event.PortalRefused)
		return u, unchecked, 0
	}
	return u, "", 0
}

var errBusy = errors.New("too many passwords are being compared")

// compare returns the account as it was before the password was compared: a password that is replaced meanwhile admits nobody.
func (p *Portal) compare(ctx context.Context, name string, password mfpgate.Secret) (u control.User, right bool, err error) {
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		return u, false, errBusy
	}
	select {
	case p.checks <- struct{}{}:
		defer func() { <-p.checks }()
	case <-ctx.Done():
		return u, false, ctx.Err()
	}
	u, known, err := p.Accounts.User(ctx, name)
	if err != nil {
		return u, false, err
	}
	right, err = p.Accounts.CheckUser(ctx, name, password)
	return u, right && known, err
}

// admit starts the session under a new token, so that one planted in the browser before is worth nothing.
func (p *Portal) admit(w http.ResponseWriter, r *http.Request, u control.User, next string) {
	if err := p.manager.RenewToken(r.Context()); err != nil {
		p.Log.Error().Err(err).Msg(event.PortalRefused)
		p.message(w, http.StatusInternalServerError, "Not logged in", "The session could not be made; try again.")
		return
	}
	p.manager.Put(r.Context(), userKey, u.Name)
	p.manager.Put(r.Context(), changedKey, stamp(u))
	p.Log.Info().Str(field.User, u.Name).Str(field.Client, r.RemoteAddr).Msg(event.PortalLoggedIn)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// refused logs a login that failed. What the throttle stops is for debugging only: an attack must not fill the log.
func (p *Portal) refused(r *http.Request, reason mfpgate.Reason, name string) {
	e := p.Log.Warn()
	switch reason {
	case throttled, busy:
		e = p.Log.Debug()
	case unchecked:
		return // logged with its cause
	}
	e.Str(field.User, name[:min(len(name), maxName)]).Str(field.Client, r.RemoteAddr).Str(field.Reason, string(reason)).Msg(event.PortalRefused)
}

func (p *Portal) logout(w http.ResponseWriter, r *http.Request) {
	if err := p.manager.Destroy(r.Context()); err != nil {
		p.Log.Error().Err(err).Msg(event.PortalRefused)
	}
	http.Redirect(w, r, "/login?out", http.StatusSeeOther)
}
