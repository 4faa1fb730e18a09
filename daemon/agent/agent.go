package agent

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/netip"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

var (
	// ErrNoRequest is returned by Requests.Report for an id that no request of the device has.
	ErrNoRequest = errors.New("the device has no such request")
	// ErrEnded is returned by Requests.Report where the request has another end already.
	ErrEnded = errors.New("the request has ended already")
)

// Requests are those for devices that register themselves.
type Requests interface {
	// ForDevice are the open ones of a device, the oldest first.
	ForDevice(ctx context.Context, device mfpgate.DeviceID) ([]mfpgate.Registration, error)
	// Report takes how far a device is with one of its requests. It is durable when the call returns, and the same again is no
	// error. ErrNoRequest, ErrEnded.
	Report(ctx context.Context, device mfpgate.DeviceID, id string, r Result) error
	// Changes yields the id of each registration that changes, until ctx ends. It may yield "" at any time, and does at first: look
	// at all.
	Changes(ctx context.Context) iter.Seq[string]
}

// Result is what a device reports: RegistrationAwaitingAdmin on the way, RegistrationRegistered or RegistrationFailed at the end.
type Result struct {
	State              mfpgate.RegistrationState
	Reason             mfpgate.Reason
	Detail             string
	PrinterID          string
	PrinterURI         string
	Certificate        string // SHA-256 of its DER form, in hex
	CertificateExpires time.Time
}

// Devices say who asks. Each answers for the configuration that is in force when it is called.
type Devices interface {
	// Accounts are those of the relay; nil is none.
	Accounts() *account.File
	// ByAccount is the device that has an account.
	ByAccount(name string) (mfpgate.DeviceID, bool)
	// ByAddress is the device that the configuration names at exactly this address and without an account.
	ByAddress(address netip.Addr) (mfpgate.DeviceID, bool)
	// RegistersItself reports whether the configuration says so of a device.
	RegistersItself(id mfpgate.DeviceID) bool
	// Service is a print service as it is configured; what is not configured any more has a name alone.
	Service(name string) api.PrintService
	// Site is the gateway's, for people.
	Site() string
}

const (
	// MaxWaiting bounds the requests that are held back and the streams, in all: the portal needs connections too.
	MaxWaiting = 128
	// MaxStream is how long a stream lasts; then the device opens another one, and proves anew who it is.
	MaxStream = 10 * time.Minute
	// Beat is the time between two signs of life on a stream.
	Beat = 15 * time.Second
	// slack is how long an answer may take to go out.
	slack = 10 * time.Second
	// comeAgain is what a device is told while too many wait.
	comeAgain = 30 * time.Second
)

// Options are what the door is built from; all are required.
type Options struct {
	Requests Requests
	Devices  Devices
	Clock    mfpgate.Clock
	Log      telemetry.Logger
}

type door struct {
	Options
	limiter *account.Limiter
	waiting *waiting
}

// Handler serves the paths below /device/v1/.
func Handler(o Options) http.Handler {
	d := &door{Options: o, limiter: account.NewLimiter(o.Clock), waiting: newWaiting(MaxWaiting)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.RequestsPath, d.known(d.requests))
	mux.HandleFunc("POST "+api.RequestsPath+"/{id}/result", d.known(d.result))
	mux.HandleFunc(api.RequestsPath, d.only("GET"))
	mux.HandleFunc(api.RequestsPath+"/{id}/result", d.only("POST"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, "", refusal{status: http.StatusNotFound, reason: unknownPath, detail: "there is no such resource here"})
	})
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, "", refusal{status: http.StatusForbidden, reason: crossOrigin, detail: "a page of another origin may not do this"})
	}))
	return guarded(origin.Handler(mux))
}

// guarded sets what every answer has.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

func (d *door) only(method string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		d.refuse(w, r, "", refusal{status: http.StatusMethodNotAllowed, reason: wrongMethod, detail: "use " + method})
	}
}

// item is a registration as its device is told of it. The user code is not among what it holds.
func (d *door) item(g mfpgate.Registration) api.RegistrationRequest {
	return api.RegistrationRequest{RegistrationID: g.ID, Device: g.Device, Service: d.Devices.Service(g.Service), Purpose: g.Purpose,
		User: g.User, Admin: g.Admin, From: g.From, Retries: max(g.Attempts-1, 0), Deadline: g.Deadline.UTC(), Site: d.Devices.Site()}
}

func (d *door) reported(device mfpgate.DeviceID, id string, r Result) {
	d.Log.Info().Str(field.Device, string(device)).Str(field.Registration, id).Str(field.State, string(r.State)).
		Str(field.Reason, string(r.Reason)).Msg(event.AgentReported)
}
