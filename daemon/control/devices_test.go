package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func ask(t *testing.T, h http.Handler, method, path, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://mfpgate/api/v1/"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestTheDevicesOverHTTP(t *testing.T) {
	h := control.Handler(portaltest.Fleet(9), "test")
	for _, c := range []struct {
		rule, method, path, body string
		status                   int
		says                     string
	}{
		{"a list", "GET", "devices", "", 200, `{"items":[{"deviceId":"dev_1"`},
		{"one device, flat", "GET", "devices/dev_1", "", 200, `{"deviceId":"dev_1","name":"2F copier",`},
		{"its sightings, flat", "GET", "devices/dev_1", "", 200, `{"sightingId":"snmp:10.1.0.9","at":"2026-03-03T05:32:02Z"`},
		{"its reading's times", "GET", "devices/dev_1", "", 200, `"readAt":{"status":"2026-03-03T05:32:02Z"`},
		{"lists are never null", "GET", "devices/dev_5", "", 200, `"sightings":[],"readAt":{},"alerts":[]`},
		{"no such device", "GET", "devices/dev_0", "", 404, `"detail":"no such device: dev_0"`},
		{"no such device to rename", "PUT", "devices/dev_0/name", `{"name":"x"}`, 404, `"detail":"no such device: dev_0"`},
		{"no such device to pin", "POST", "devices/dev_1/pin", `{"others":["dev_0"]}`, 404, `"detail":"no such device: dev_0"`},
		{"no such device to forget", "DELETE", "devices/dev_0", "", 404, `"detail":"no such device: dev_0"`},
		{"a name that is too long", "PUT", "devices/dev_1/name", `{"name":"` + strings.Repeat("x", control.MaxDeviceName+1) + `"}`, 422, `"location":"body.name"`},
		{"the longest name", "PUT", "devices/dev_2/name", `{"name":"` + strings.Repeat("複", control.MaxDeviceName) + `"}`, 204, ""},
		{"nothing to pin", "POST", "devices/dev_1/pin", `{"others":[]}`, 422, `"location":"body.others"`},
		{"a rename", "PUT", "devices/dev_1/name", `{"name":"2F east"}`, 204, ""},
		{"is kept", "GET", "devices/dev_1", "", 200, `"name":"2F east"`},
		{"a split", "POST", "devices/dev_1/split", `{"sightingId":"snmp:10.1.0.9"}`, 201, `{"deviceId":"dev_1_split"}`},
		{"a split that cannot be", "POST", "devices/dev_1_split/split", `{"sightingId":"snmp:10.1.0.9"}`, 409, `"detail":"not changed: the device has no other sighting than this one"`},
		{"a pin", "POST", "devices/dev_1/pin", `{"others":["dev_1_split"]}`, 204, ""},
		{"leaves one", "GET", "devices/dev_1_split", "", 404, "no such device"},
		{"forgotten", "DELETE", "devices/dev_1", "", 204, ""},
		{"is gone", "GET", "devices/dev_1", "", 404, "no such device"},
		{"a scan is under way", "POST", "devices/scan", "", 202, `{"sources":["dns-sd","snmp"],"addresses":254,`},
	} {
		status, body := ask(t, h, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d, want %d and %s:\n%s", c.rule, status, c.status, c.says, body)
		}
	}
}

func TestTheAPIDescribesTheDevices(t *testing.T) {
	_, body := ask(t, control.Handler(portaltest.Idle(), "test"), "GET", "openapi.json", "")
	var doc struct {
		Paths      map[string]map[string]any
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
				Required   []string
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{"/api/v1/devices/{id}": "delete", "/api/v1/devices/{id}/pin": "post", "/api/v1/devices/{id}/split": "post",
		"/api/v1/devices/{id}/name": "put", "/api/v1/devices/scan": "post"} {
		if doc.Paths[path][method] == nil {
			t.Errorf("no %s %s", method, path)
		}
	}
	detail := doc.Components.Schemas["DeviceDetail"]
	for _, name := range []string{"deviceId", "monitoringMode", "lastSeen", "sightings", "reading", "readAt", "alerts"} {
		if detail.Properties[name] == nil {
			t.Errorf("a device has no %s", name)
		}
	}
	if doc.Components.Schemas["Status"].Properties["relay"] == nil || doc.Components.Schemas["PrinterStatus"].Properties["reasons"] == nil {
		t.Error("the gateway's status and a device's are mixed up")
	}
}
