package portal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"sync/atomic"

	"github.com/alexedwards/scs/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/throttle"
)

// Accounts knows who may log in.
type Accounts interface {
	// CheckUser reports whether name is an account with this password. It takes as long for a name that is none.
	CheckUser(ctx context.Context, name string, password mfpgate.Secret) (bool, error)
	// User is the account of this name, or false if there is none. It is asked for with every request.
	User(ctx context.Context, name string) (control.User, bool, error)
}

// Options are what the portal needs; all are required, but for the last two.
type Options struct {
	Gateway  control.Gateway
	Accounts Accounts
	API      http.Handler // control's, served under /api/v1 to those who have logged in
	Clock    mfpgate.Clock
	Log      telemetry.Logger

	// URL is the configured address by which users reach the portal; "" is none.
	URL func() string
	// Certified reports whether the portal's certificate names this host, letter by letter.
	Certified func(host string) bool
}

// Portal serves the pages. See New.
type Portal struct {
	Options
	handler   http.Handler
	templates *template.Template
	assets    map[string]asset
	manager   *scs.SessionManager
	sessions  *sessions
	sources   *throttle.Throttle
	names     *throttle.Throttle
	checks    chan struct{} // holds one for each password that is being compared
	waiting   atomic.Int32  // logins that compare or wait to
	streams   streams
}

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// asset is a file that the pages load. Its address has its digest, so that browsers keep it until it changes.
type asset struct {
	body   []byte
	digest string
	kind   string
}

// kinds are the assets that are served; what else lies in the folder is not.
var kinds = map[string]string{
	"portal.css":  "text/css; charset=utf-8",
	"portal.js":   "text/javascript; charset=utf-8",
	"htmx.min.js": "text/javascript; charset=utf-8",
	"icon.svg":    "image/svg+xml",
}

// New builds the pages. It fails only if what the binary carries is damaged.
func New(o Options) (*Portal, error) {
	p := &Portal{Options: o, assets: map[string]asset{}, streams: streams{byUser: map[string]int{}}, checks: make(chan struct{}, parallelChecks),
		sources: throttle.New(o.Clock, sourceBurst, sourceEvery), names: throttle.New(o.Clock, nameBurst, nameEvery)}
	for name, kind := range kinds {
		body, err := assetFiles.ReadFile("assets/" + name)
		if err != nil {
			return nil, fmt.Errorf("portal: %w", err)
		}
		sum := sha256.Sum256(body)
		p.assets[name] = asset{body, hex.EncodeToString(sum[:8]), kind}
	}
	var err error
	p.templates, err = template.New("").Funcs(template.FuncMap{"asset": p.assetPath}).ParseFS(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	p.sessions, p.manager = newSessions(o.Clock)
	p.handler = p.build()
	return p, nil
}

// ServeHTTP implements http.Handler.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// routes are all addresses of the portal. TestEveryRouteIsForWhomItShouldBe has them, too.
func (p *Portal) routes() []route {
	return []route{
		{"GET /{$}", administrators, aPage, p.overview},
		{"GET /live", administrators, aPart, p.live},
		{"GET /devices", administrators, aPage, p.devices},
		{"GET /devices.csv", administrators, aFile, p.devicesCSV},
		{"POST /devices/scan", administrators, aPage, p.scan},
		{"GET /devices/{id}", administrators, aPage, p.device},
		{"POST /devices/{id}/name", administrators, aPage, p.change("rename", p.rename)},
		{"POST /devices/{id}/pin", administrators, aPage, p.change("pin", p.pin)},
		{"POST /devices/{id}/split", administrators, aPage, p.change("split", p.split)},
		{"POST /devices/{id}/forget", administrators, aPage, p.change("forget", p.forget)},
		{"GET /devices/{id}/sheet", administrators, aPage, p.sheet},
		{"GET /devices/{id}/qr.svg", administrators, aFile, p.qrCode},
		{"POST /devices/{id}/enrol", administrators, aPage, p.enrol},
		{"GET /moves", administrators, aPage, p.moves},
		{"GET /moves/live", administrators, aPart, p.movesLive},
		{"GET /moves/events", administrators, aStream, p.moveEvents},
		{"GET /moves/new", administrators, aPage, p.movePlan},
		{"POST /moves", administrators, aPage, p.moveAsked},
		{"GET /moves/{id}", administrators, aPage, p.move},
		{"GET /moves/{id}/live", administrators, aPart, p.moveLive},
		{"GET /moves/{id}/events", administrators, aStream, p.moveEvents},
		{"GET /moves/{id}/receipt", administrators, aFile, p.moveReceipt},
		{"POST /moves/{id}/abort", administrators, aPage, p.actOnMove("abort", p.abortMove)},
		{"POST /moves/{id}/retry", administrators, aPage, p.actOnMove("retry", p.retryMove)},
		{"POST /moves/{id}/lost", administrators, aPage, p.actOnMove("confirm-lost", p.loseMove)},
		{"GET /residency", administrators, aPage, p.residency},
		{"GET /residency.json", administrators, aFile, p.residencyJSON},
		{"GET /residency.csv", administrators, aFile, p.residencyCSV},
		{"GET /residency/{device}/receipts/{id}", administrators, aFile, p.receipt},
		{"GET /schedule", administrators, aPage, p.schedule},
		{"GET /register", users, aPage, p.register},
		{"POST /register", users, aPage, p.registerAsked},
		{"GET /registrations", users, aPage, p.registrations},
		{"GET /registrations/live", users, aPart, p.registrationsLive},
		{"GET /registrations/events", users, aStream, p.events},
		{"GET /registrations/{id}", users, aPage, p.registration},
		{"GET /registrations/{id}/live", users, aPart, p.registrationLive},
		{"GET /registrations/{id}/events", users, aStream, p.events},
		{"POST /registrations/{id}/cancel", users, aPage, p.act("cancel", p.cancelRegistration)},
		{"POST /registrations/{id}/resend", users, aPage, p.act("resend", p.resendRegistration)},
		{"POST /registrations/{id}/retry", users, aPage, p.act("retry", p.retryRegistration)},
		{"POST /registrations/{id}/decide", administrators, aPage, p.act("decide", p.decideRegistration)},
		{"/api/v1/", administrators, anAPI, p.api},
		{"GET /login", everybody, aPage, p.loginForm},
		{"POST /login", everybody, aPage, p.login},
		{"POST /logout", everybody, aPage, p.logout},
		{"GET /assets/{name}", everybody, aFile, p.asset},
		{"/", everybody, aPage, p.notFound},
	}
}

func (p *Portal) build() http.Handler {
	inside := http.NewServeMux()
	for _, x := range p.routes() {
		inside.HandleFunc(x.pattern, p.guard(x))
	}
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.Log.Warn().Str(field.Client, throttle.Source(r.RemoteAddr)).Str(field.Reason, string(crossOrigin)).Msg(event.PortalRefused)
		p.message(w, http.StatusForbidden, "Refused", "This change was sent from another site. Open this gateway's own page and do it there.")
	}))
	return guarded(p.manager.LoadAndSave(origin.Handler(p.identify(inside))))
}

// guarded sets what every answer has. HSTS is left out on purpose: it would lock a browser out of a gateway whose own
// certificate was renewed.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// unauthorized names a scheme, as RFC 9110 §15.5.2 requires, that makes no browser ask for a password by itself.
func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Session realm="mfpgate"`)
}

func (p *Portal) notFound(w http.ResponseWriter, _ *http.Request) {
	p.message(w, http.StatusNotFound, "Not found", "There is no such page here.")
}

// message is a page of one sentence.
func (p *Portal) message(w http.ResponseWriter, status int, title, text string) {
	p.render(w, status, "message.html", struct{ Title, Text string }{title, text})
}

// render writes a page whole or, where its template fails, not at all.
func (p *Portal) render(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := p.templates.ExecuteTemplate(&page, name, data); err != nil {
		p.Log.Error().Err(err).Msg(event.PortalRefused)
		http.Error(w, "The page cannot be shown; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

func (p *Portal) assetPath(name string) (string, error) {
	a, ok := p.assets[name]
	if !ok {
		return "", fmt.Errorf("no asset %s", name)
	}
	return "/assets/" + name + "?" + a.digest, nil
}

func (p *Portal) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := p.assets[r.PathValue("name")]
	if !ok {
		p.notFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.body)
}
