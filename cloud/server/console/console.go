package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// How much one page shows.
const (
	gatewaysPage = 25
	devicesPage  = 50
)

// Gateway is what the list of gateways says of one.
type Gateway struct {
	ID        string
	Devices   int // at most DevicesCounted
	Online    int
	Offline   int
	Open      int       // alerts
	LastHeard time.Time // of its last reading or alert; zero: never
	Missing   uint64    // readings and alerts that it dropped before it could send them
}

// DevicesCounted is how many devices of a gateway are counted for its summary.
const DevicesCounted = 1000

// Device is what the region knows of one device.
type Device struct {
	api.DeviceEntry
	Reading api.DeviceReading
	Open    []api.StoredAlert
	Newer   string // another id of the same gateway that tells of the same device since, or ""
	Fetched Fetched
}

// Fetched is what the gateway said of a device for which it fetches deliveries.
type Fetched struct {
	CheckedInAt time.Time // zero: it has not asked yet
	Reports     []api.StoredDeviceReport
}

// Facts are the server's reads and its one change. An error with a method GetStatus becomes a page of that status with the
// error's text; every other one a page of 500.
type Facts interface {
	// Gateways returns up to limit gateways that follow after, and what to continue after, "" at the end.
	Gateways(ctx context.Context, after string, limit int) (list []Gateway, next string, err error)
	Gateway(ctx context.Context, id string) (Gateway, error)
	Devices(ctx context.Context, gateway, cursor string, limit int) (list []Device, next string, err error)
	Device(ctx context.Context, gateway, id string) (Device, error)
	// Alerts returns the last alerts of a device, the newest first.
	Alerts(ctx context.Context, gateway, device string, limit int) ([]api.StoredAlert, error)
	DeleteDevice(ctx context.Context, gateway, id, ifMatch string) error
}

// Options are what the pages need; all are required.
type Options struct {
	Region   string
	Facts    Facts
	Schedule Schedule
	Clock    mfpgate.Clock
	Operator func(*http.Request) string // who asks, for the page's head
	Failed   func(*http.Request, error) // is told of an error that the page hides
}

// Console serves the pages below /ui/.
type Console struct {
	Options
	templates *template.Template
	assets    map[string]asset
	inside    http.Handler
}

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// asset is a file that the pages load. Its address has its digest, so that browsers keep it until it changes.
type asset struct {
	body         []byte
	digest, kind string
}

// New builds the pages. It fails only if what the binary carries is damaged.
func New(o Options) (*Console, error) {
	c := &Console{Options: o, assets: map[string]asset{}}
	for name, kind := range map[string]string{"console.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"} {
		body, err := assetFiles.ReadFile("assets/" + name)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		sum := sha256.Sum256(body)
		c.assets[name] = asset{body, hex.EncodeToString(sum[:8]), kind}
	}
	var err error
	c.templates, err = template.New("").Funcs(template.FuncMap{"asset": c.AssetPath}).ParseFS(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ui/{$}", c.gateways)
	mux.HandleFunc("GET /ui/gateways/{gw}", c.gateway)
	mux.HandleFunc("GET /ui/gateways/{gw}/devices/{id}", c.device)
	mux.HandleFunc("POST /ui/gateways/{gw}/devices/{id}/delete", c.deleteDevice)
	mux.HandleFunc("GET /ui/gateways/{gw}/schedule", c.schedule)
	mux.HandleFunc("GET /ui/gateways/{gw}/schedule/new", c.newDelivery)
	mux.HandleFunc("POST /ui/gateways/{gw}/schedule/new", c.setDelivery)
	mux.HandleFunc("GET /ui/gateways/{gw}/deliveries/{id}", c.delivery)
	mux.HandleFunc("POST /ui/gateways/{gw}/deliveries/{id}", c.setDelivery)
	mux.HandleFunc("GET /ui/gateways/{gw}/warnings", c.warnings)
	mux.HandleFunc("POST /ui/gateways/{gw}/warnings/{band}/act", c.actOnWarning)
	mux.HandleFunc("POST /ui/gateways/{gw}/warnings/{band}/move", c.moveDeliveries)
	mux.HandleFunc("GET /ui/gateways/{gw}/proposals", c.proposals)
	mux.HandleFunc("GET /ui/gateways/{gw}/proposals/{id}", c.proposal)
	mux.HandleFunc("POST /ui/gateways/{gw}/proposals/{id}", c.decide)
	mux.HandleFunc("/ui/", func(w http.ResponseWriter, r *http.Request) {
		c.Message(w, r, http.StatusNotFound, "There is no such page here.")
	})
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Message(w, r, http.StatusForbidden, "This change was sent from another site. Open this region's own page and do it there.")
	}))
	c.inside = guarded(origin.Handler(mux))
	return c, nil
}

// ServeHTTP serves the pages to whoever asks: the caller lets operators through.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.inside.ServeHTTP(w, r) }

// Assets serves what pages load, to everybody: /ui/assets/{name}.
func (c *Console) Assets(w http.ResponseWriter, r *http.Request) {
	a, ok := c.assets[r.PathValue("name")]
	if !ok {
		c.Message(w, r, http.StatusNotFound, "There is no such file here.")
		return
	}
	guard(w.Header())
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.body)
}

// guarded sets what every answer has. HSTS is left out on purpose: it would lock a browser out of a region whose own certificate
// was renewed.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guard(w.Header())
		next.ServeHTTP(w, r)
	})
}

func guard(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// frame is what every page has.
type frame struct {
	Title    string
	Region   string
	Operator string
	Gateway  string // whose pages these are, "" for the region's
	Section  string // of the gateway's navigation
	Open     string // how many warnings are open, and
	Pending  string // how many proposals wait for a decision; "" for none
	Zone     string // whose clock the page shows
	Now      moment
}

func (c *Console) frame(r *http.Request, title, gateway string) frame {
	now := c.Clock.Now()
	return frame{Title: title, Region: c.Region, Operator: c.Operator(r), Gateway: gateway, Section: "devices", Zone: "UTC", Now: at(now, now)}
}

// Message answers with a page of one sentence.
func (c *Console) Message(w http.ResponseWriter, r *http.Request, status int, text string) {
	guard(w.Header())
	c.render(w, r, status, "message.html", struct {
		frame
		Text string
	}{c.frame(r, http.StatusText(status), ""), text})
}

func (c *Console) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var known interface {
		error
		GetStatus() int
	}
	if !errors.As(err, &known) {
		c.Failed(r, err)
		c.Message(w, r, http.StatusInternalServerError, "The page cannot be shown; the server's log says why.")
		return
	}
	status, text := known.GetStatus(), known.Error()
	switch {
	case status == http.StatusPreconditionFailed:
		text = "The device has changed since the page was shown. Go back, look again, and repeat what you wanted if it still holds."
	case status >= 500:
		c.Failed(r, err)
	}
	c.Message(w, r, status, text)
}

// render writes a page whole or, where its template fails, not at all.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var page bytes.Buffer
	if err := c.templates.ExecuteTemplate(&page, name, data); err != nil {
		c.Failed(r, err)
		http.Error(w, "The page cannot be shown; the server's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

// AssetPath is the address of a file that pages load, with its digest.
func (c *Console) AssetPath(name string) (string, error) {
	a, ok := c.assets[name]
	if !ok {
		return "", fmt.Errorf("no asset %s", name)
	}
	return "/ui/assets/" + name + "?" + a.digest, nil
}

// pageOf is the address of the page that continues after cursor, "" if there is none.
func pageOf(path, cursor string) string {
	if cursor == "" {
		return ""
	}
	return path + "?" + url.Values{"cursor": {cursor}}.Encode()
}

func gatewayPath(gateway string) string { return "/ui/gateways/" + url.PathEscape(gateway) }

func devicePath(gateway, device string) string {
	return gatewayPath(gateway) + "/devices/" + url.PathEscape(device)
}
