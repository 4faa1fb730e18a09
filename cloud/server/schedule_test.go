package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// desk is a delivery system with an operator and gateways, at a time of the test's own, without a network.
type desk struct {
	t        *testing.T
	clock    *fakeclock.Clock
	folder   *provision.Folder
	facts    store.Store
	server   *server.Server
	password string
	tokens   map[string]string
	devices  map[string]string
	keys     int
}

// capacity is what gateways of a desk have, unless the test sets another.
const capacity = 2

func newDesk(t *testing.T, gateways ...string) *desk {
	t.Helper()
	d := &desk{t: t, clock: fakeclock.New(noon), facts: memory.New(), tokens: map[string]string{}, devices: map[string]string{}}
	var err error
	d.folder, err = provision.Open(t.TempDir(), mfpgate.SystemClock{})
	servertest.Must(t, err)
	password, err := d.folder.AddOperator("hana")
	servertest.Must(t, err)
	d.password = password.Reveal()
	outer := ""
	for _, gw := range gateways { // each behind the one before
		token, err := d.folder.AddGatewayBehind(gw, outer)
		servertest.Must(t, err)
		d.tokens[gw], outer = token.Reveal(), gw
		d.contract(gw, func(c *api.Contract) {
			c.MaxConcurrent, c.Mode, c.LeadTime, c.MaxMove = capacity, "auto", api.Duration(time.Hour), 0
		})
	}
	d.restart()
	return d
}

func (d *desk) contract(gw string, change func(*api.Contract)) {
	d.t.Helper()
	servertest.Must(d.t, d.folder.ChangeContract(gw, change))
}

// restart is a new process on the same store.
func (d *desk) restart() {
	d.t.Helper()
	var err error
	d.server, err = server.New(server.Options{Region: "jp", Folder: d.folder, Store: d.facts, Clock: d.clock,
		Log: telemetry.NewLogger(io.Discard, d.clock, new(telemetry.Level), false), PollInterval: time.Second, PushInterval: time.Second})
	servertest.Must(d.t, err)
	servertest.Must(d.t, d.server.Resume(d.t.Context()))
}

// as sends a request of an operator ("hana"), a gateway, or a device with its factory token.
func (d *desk) as(who, method, path string, body any, headers ...string) reply {
	d.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = bytes.NewBufferString(b)
	default:
		data, err := json.Marshal(body)
		servertest.Must(d.t, err)
		in = bytes.NewReader(data)
	}
	r := httptest.NewRequestWithContext(d.t.Context(), method, path, in)
	switch token := d.tokens[who]; {
	case who == "hana":
		r.SetBasicAuth("hana", d.password)
	case token != "":
		r.Header.Set("Authorization", "Bearer "+token)
	default:
		key, err := d.folder.FactoryKey()
		servertest.Must(d.t, err)
		r.Header.Set("Authorization", "Bearer "+provision.DeviceToken(key, who).Reveal())
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost {
		d.keys++
		r.Header.Set("Idempotency-Key", fmt.Sprint("key-", d.keys))
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.server.Handler().ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.Bytes()}
}

func path(gw string, parts ...string) string {
	p := "/v1/gateways/" + gw
	for _, part := range parts {
		p += "/" + part
	}
	return p
}

// tell tells of a device in a mode.
func (d *desk) tell(gw, id, mode string) {
	d.t.Helper()
	condition := []string{"If-None-Match", "*"}
	if got := d.as(gw, "GET", path(gw, "devices", id), nil); got.status == 200 {
		condition = []string{"If-Match", got.header.Get("ETag")}
	}
	got := d.as(gw, "PUT", path(gw, "devices", id), api.Device{DeviceID: id, Model: "SIM-100", Serial: "SER-" + id, MonitoringMode: mode}, condition...)
	if got.status >= 300 {
		d.t.Fatalf("tell of %s: %d %s", id, got.status, got.body)
	}
}

// at is a delivery of a quarter of an hour at a start.
func at(id, device string, start time.Time) api.Delivery {
	return api.Delivery{DeliveryID: id, DeviceID: device, Schedule: api.Schedule{StartUTC: &start},
		Duration: &api.Estimate{P50: api.Duration(10 * time.Minute), P95: api.Duration(15 * time.Minute), Basis: "history", Samples: 3}}
}

// plan creates deliveries, whatever they overload.
func (d *desk) plan(gw string, list ...api.Delivery) {
	d.t.Helper()
	got := d.as("hana", "POST", path(gw, "deliveries:batch")+"?allowOverload=true", map[string]any{"items": list})
	if got.status != 201 {
		d.t.Fatalf("plan: %d %s", got.status, got.body)
	}
}

func (d *desk) get(gw, id string) api.Delivery {
	d.t.Helper()
	return decode[api.Delivery](d.t, d.as("hana", "GET", path(gw, "deliveries", id), nil))
}

// refused expects a problem.
func (d *desk) refused(rule string, got reply, status int, reason string) api.Problem {
	d.t.Helper()
	if got.status != status || got.reason(d.t) != reason {
		d.t.Errorf("%s: got %d %q, want %d %q: %.400s", rule, got.status, got.reason(d.t), status, reason, got.body)
	}
	var p api.Problem
	_ = json.Unmarshal(got.body, &p)
	return p
}

var tonight = noon.Add(10 * time.Hour)
