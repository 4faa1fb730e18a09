package console_test

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/console"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 12, 1, 9, 30, 0, 0, time.UTC)

// fake is a region with the gateways and devices of a test.
type fake struct {
	gateways []console.Gateway
	devices  []console.Device
	alerts   []api.StoredAlert
	err      error
}

func (f fake) Gateways(context.Context, string, int) ([]console.Gateway, string, error) {
	next := ""
	if len(f.gateways) > 1 {
		next = f.gateways[len(f.gateways)-1].ID
	}
	return f.gateways, next, f.err
}
func (f fake) Gateway(_ context.Context, id string) (console.Gateway, error) {
	for _, g := range f.gateways {
		if g.ID == id {
			return g, f.err
		}
	}
	return console.Gateway{ID: id}, f.err
}
func (f fake) Devices(context.Context, string, string, int) ([]console.Device, string, error) {
	return f.devices, "Y3Vyc29y", f.err
}
func (f fake) Device(_ context.Context, _, id string) (console.Device, error) {
	for _, d := range f.devices {
		if d.DeviceID == id {
			return d, f.err
		}
	}
	return console.Device{DeviceEntry: api.DeviceEntry{Device: api.Device{DeviceID: id, MonitoringMode: "proxy"}, ETag: `"1"`}}, f.err
}
func (f fake) Alerts(context.Context, string, string, int) ([]api.StoredAlert, error) {
	return f.alerts, f.err
}
func (f fake) DeleteDevice(context.Context, string, string, string) error { return f.err }

const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>`

func region() fake {
	ago := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	toner := func(color string, level int64) api.Supply {
		return api.Supply{Index: color, Name: strings.ToUpper(color[:1]) + color[1:] + " Toner TN-328", Type: "toner", Color: color, Unit: "percent", Level: level, Max: 100}
	}
	copier := console.Device{
		DeviceEntry: api.DeviceEntry{ETag: `"7"`, Device: api.Device{
			DeviceID: "dev_01JDZ0000000000000000000A1", Name: "2F copier", Make: "Example", Model: "SIM-C300", Serial: "A17-0042", Attachment: "network",
			State: "online", Reason: "answered", Since: ago(26 * time.Hour), LastSeen: ago(40 * time.Second), MonitoringMode: "polling", Market: "jp", Home: "jp",
			Firmware: "1.0", SiteID: "osaka-branch", UUID: "12345678-9abc-def0-1234-56789abcdef0",
		}},
		Reading: api.DeviceReading{
			Status: &api.StatusPart{At: *ago(40 * time.Second), Status: api.Status{State: "stopped", Message: "Paper jam in tray 2",
				Reasons: []string{"media-jam-error", "toner-low-warning", "cover-open-report"}}},
			Supplies: &api.SuppliesPart{At: *ago(9 * time.Minute), Items: []api.Supply{toner("black", 8), toner("cyan", 55), toner("magenta", 100), toner("yellow", 0),
				{Index: "5", Name: "Waste toner box", Type: "wasteToner", Receives: true, Level: 93, Max: 100},
				{Index: "6", Name: "Staples", Type: "staples", Level: -3, Max: -2}, {Index: "7", Name: "Fuser", Type: "fuser", Level: -2, Max: -2}}},
			Counters: &api.CountersPart{At: *ago(3 * time.Hour), Items: []api.Counter{{Name: "impressions", Value: 1234567}, {Name: "impressions-color", Value: 99}}},
			Firmware: &api.FirmwarePart{At: *ago(3 * time.Hour), Version: "1.1"},
			CounterHistory: []api.CounterSnapshot{{At: *ago(50 * time.Hour), Values: map[string]int64{"impressions": 1234000}},
				{At: *ago(3 * time.Hour), Values: map[string]int64{"impressions": 1234567, "impressions-color": 99}}},
		},
		Open: []api.StoredAlert{{Alert: api.Alert{Code: "media-jam", Severity: "error", At: *ago(40 * time.Second), Text: "Tray 2"}},
			{Alert: api.Alert{Code: "toner-low", Severity: "warning", At: *ago(4 * 24 * time.Hour)}}},
	}
	hostile := console.Device{
		DeviceEntry: api.DeviceEntry{ETag: `"1"`, Device: api.Device{
			DeviceID: "dev_evil", Name: evil, Make: evil, Model: evil, Serial: evil, State: evil, Reason: evil, MonitoringMode: "proxy", Firmware: evil,
			SiteID: evil, UUID: evil, Attachment: evil, Market: evil, Home: evil, LastSeen: ago(-time.Hour),
		}},
		Reading: api.DeviceReading{
			Status:         &api.StatusPart{At: now, Status: api.Status{State: evil, Reasons: []string{evil}, Message: evil}},
			Supplies:       &api.SuppliesPart{At: now, Items: []api.Supply{{Name: evil, Type: evil, Color: evil, Unit: evil, Level: 5, Max: 10}}},
			Counters:       &api.CountersPart{At: now, Items: []api.Counter{{Name: evil, Value: 1}}},
			CounterHistory: []api.CounterSnapshot{{At: now, Values: map[string]int64{evil: 1}}},
		},
		Open:  []api.StoredAlert{{Alert: api.Alert{Code: evil, Severity: evil, Text: evil, At: now}}},
		Newer: evil,
	}
	return fake{
		gateways: []console.Gateway{
			{ID: "osaka-1", Devices: 2, Online: 1, Offline: 1, Open: 3, LastHeard: *ago(40 * time.Second), Missing: 1200},
			{ID: "tokyo-1"}, {ID: "large-1", Devices: console.DevicesCounted, Online: console.DevicesCounted, LastHeard: *ago(75 * time.Hour)},
		},
		devices: []console.Device{copier, hostile},
		alerts: []api.StoredAlert{{Alert: api.Alert{Code: "media-jam", Severity: "error", At: *ago(40 * time.Second), Text: "Tray 2"}},
			{Alert: api.Alert{Code: "offline", Severity: "error", Cleared: true, At: *ago(26 * time.Hour)}}},
	}
}

// open builds the pages over a region and its schedules.
func open(t *testing.T, f fake, s *book) *console.Console {
	t.Helper()
	c, err := console.New(console.Options{
		Region: "jp", Facts: f, Schedule: s, Clock: fakeclock.New(now), Operator: func(*http.Request) string { return "hana" },
		Failed: func(_ *http.Request, err error) {
			if f.err == nil && s.err == nil {
				t.Error(err)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, c *console.Console, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func ask(t *testing.T, f fake, path string) *httptest.ResponseRecorder {
	t.Helper()
	return get(t, open(t, f, newBook()), path)
}

// digests make the goldens change with the style sheet; they say nothing here.
var digests = regexp.MustCompile(`\?[0-9a-f]{16}"`)

func TestPages(t *testing.T) {
	full := region()
	for name, c := range map[string]struct {
		facts  fake
		path   string
		status int
	}{
		"gateways":       {full, "/ui/", 200},
		"gateways-empty": {fake{}, "/ui/", 200},
		"gateway":        {full, "/ui/gateways/osaka-1", 200},
		"gateway-empty":  {fake{}, "/ui/gateways/tokyo-1", 200},
		"device":         {full, "/ui/gateways/osaka-1/devices/dev_01JDZ0000000000000000000A1", 200},
		"device-hostile": {full, "/ui/gateways/osaka-1/devices/dev_evil", 200},
		"device-silent":  {fake{}, "/ui/gateways/osaka-1/devices/dev_new", 200},
		"failed":         {fake{err: errors.New("disk on fire")}, "/ui/", 500},
		"not-found":      {full, "/ui/nothing", 404},
	} {
		w := ask(t, c.facts, c.path)
		if w.Code != c.status {
			t.Errorf("%s: got %d, want %d", name, w.Code, c.status)
		}
		golden(t, name, w)
	}
}

// golden holds a page against its file, and against what no page may have.
func golden(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	got := digests.ReplaceAllString(w.Body.String(), `?DIGEST"`)
	file := filepath.Join("testdata", name+".html")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	harmless(t, name, w)
}

func harmless(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	got := w.Body.String()
	for _, raw := range []string{"<script", "<img", "onerror=alert(2)>", "disk on fire", "ZgotmplZ", "NaN", "%!", "+Inf"} {
		if strings.Contains(got, raw) {
			t.Errorf("%s: %q is on the page", name, raw)
		}
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(got, "style=") {
		t.Errorf("%s: policy %q, or a style that it forbids", name, policy)
	}
}
