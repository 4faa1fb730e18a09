package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// reply is an answer as a client sees it.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// reason is the problem's stable word, "" if the answer is no problem.
func (r reply) reason(t *testing.T) string {
	t.Helper()
	if r.header.Get("Content-Type") != "application/problem+json" {
		return ""
	}
	var p api.Problem
	servertest.Must(t, json.Unmarshal(r.body, &p))
	if p.Status != r.status || p.TraceID == "" || p.TraceID != r.header.Get("X-Request-Id") {
		t.Errorf("problem %+v does not fit its answer, %d with id %s", p, r.status, r.header.Get("X-Request-Id"))
	}
	return p.Reason()
}

func decode[T any](t *testing.T, r reply) (v T) {
	t.Helper()
	if r.status >= 300 {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	servertest.Must(t, json.Unmarshal(r.body, &v))
	return v
}

// caller sends requests with one token.
type caller struct {
	region *servertest.Region
	http   *http.Client
	token  mfpgate.Secret
}

func (c caller) do(t *testing.T, method, path string, body any, headers ...string) reply {
	t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		data, err := json.Marshal(body)
		servertest.Must(t, err)
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.region.URL+path, in)
	servertest.Must(t, err)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	servertest.Must(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	servertest.Must(t, err)
	return reply{res.StatusCode, res.Header, data}
}

func TestWhoMayCallWhat(t *testing.T) {
	r := servertest.Start(t)
	gateway, device := r.Gateway(t, "osaka-1"), r.Device(t, "mfp-1")
	r.Gateway(t, "osaka-2")
	flip := func(s mfpgate.Secret) mfpgate.Secret {
		b := []byte(s.Reveal())
		b[len(b)-2] ^= 1
		return mfpgate.Secret(b)
	}
	for _, c := range []struct {
		rule   string
		token  mfpgate.Secret
		path   string
		status int
		reason string
	}{
		{"a gateway reaches its own", gateway, "/v1/gateways/osaka-1/contract", 200, ""},
		{"a gateway does not reach another's", gateway, "/v1/gateways/osaka-2/contract", 403, "not-yours"},
		{"nor what does not exist", gateway, "/v1/gateways/nobody/contract", 403, "not-yours"},
		{"a device does not reach a gateway's", device, "/v1/gateways/osaka-1/contract", 403, "wrong-role"},
		{"a gateway does not speak for a device", gateway, "/v1/devices/mfp-1", 403, "wrong-role"},
		{"a device does not speak for another", device, "/v1/devices/mfp-2", 403, "not-yours"},
		{"a device reaches its own, which is not there yet", device, "/v1/devices/mfp-1", 404, "unknown-device"},
		{"both read packages", device, "/v1/packages", 200, ""},
		{"both read packages", gateway, "/v1/packages", 200, ""},
		{"nobody reads them without a token", "", "/v1/packages", 401, "token-required"},
		{"a gateway's token with one wrong bit is none", flip(gateway), "/v1/packages", 401, "token-refused"},
		{"a device's token with one wrong bit is none", flip(device), "/v1/packages", 401, "token-refused"},
		{"an id is no token", "osaka-1", "/v1/packages", 401, "token-refused"},
		{"a token cannot lead out of the folder", "../gateways/osaka-1.x", "/v1/packages", 401, "token-refused"},
		{"the description is public", "", "/openapi.json", 200, ""},
		{"what is not there is a problem too", gateway, "/v1/nothing", 404, "unknown-resource"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			got := caller{r, r.HTTP(t), c.token}.do(t, http.MethodGet, c.path, nil)
			if got.status != c.status || got.reason(t) != c.reason {
				t.Errorf("GET %s: got %d %q, want %d %q", c.path, got.status, got.reason(t), c.status, c.reason)
			}
			if challenge := got.header.Get("WWW-Authenticate"); (got.status == 401) != (challenge != "") {
				t.Errorf("WWW-Authenticate %q with status %d", challenge, got.status)
			}
		})
	}
}

func TestErrorsAreProblems(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	path := "/v1/gateways/osaka-1/devices/dev_1"
	wrongMode := strings.Replace(deviceJSON, "proxy", "both", 1)
	for _, c := range []struct {
		rule, method, path, body string
		status                   int
		reason                   string
	}{
		{"a method that a resource has not", http.MethodPatch, path, "", 405, "method-not-allowed"},
		{"a body that is no JSON", http.MethodPut, path, "{", 400, "invalid-request"},
		{"a value outside its enumeration", http.MethodPut, path, wrongMode, 422, "invalid-request"},
		{"a body beyond the bound", http.MethodPut, path, `{"name":"` + strings.Repeat("x", 65<<10) + `"}`, 413, "too-large"},
		{"an address that is not the document's", http.MethodPut, path + "x", deviceJSON, 422, "invalid-request"},
		{"a page size beyond the bound", http.MethodGet, "/v1/gateways/osaka-1/devices?limit=501", "", 422, "invalid-request"},
		{"a cursor that is none", http.MethodGet, "/v1/gateways/osaka-1/devices?cursor=!", "", 400, "invalid-cursor"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var body any
			if c.body != "" {
				body = c.body
			}
			got := gw.do(t, c.method, c.path, body, "If-None-Match", "*")
			if got.status != c.status || got.reason(t) != c.reason {
				t.Errorf("got %d %q, want %d %q: %.300s", got.status, got.reason(t), c.status, c.reason, got.body)
			}
		})
	}
	if got := gw.do(t, http.MethodPatch, path, nil).header.Get("Allow"); !strings.Contains(got, "PUT") {
		t.Errorf("Allow: got %q, want PUT in it", got)
	}
}

func TestEveryOperationNamesItsCallers(t *testing.T) {
	r := servertest.Start(t)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Security []map[string][]string `json:"security"`
		} `json:"paths"`
	}
	servertest.Must(t, json.Unmarshal(caller{r, r.HTTP(t), ""}.do(t, http.MethodGet, "/openapi.json", nil).body, &doc))
	if doc.OpenAPI != "3.1.0" || len(doc.Paths) == 0 {
		t.Fatalf("OpenAPI %q with %d paths", doc.OpenAPI, len(doc.Paths))
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if len(op.Security) == 0 {
				t.Errorf("%s %s names no caller", method, path)
			}
		}
	}
}

func TestOneLogEventPerRequest(t *testing.T) {
	r := servertest.Start(t)
	token := r.Gateway(t, "osaka-1")
	caller{r, r.HTTP(t), token}.do(t, http.MethodGet, "/v1/gateways/osaka-1/contract", nil)
	caller{r, r.HTTP(t), token}.do(t, http.MethodGet, "/v1/gateways/osaka-2/contract", nil)
	r.Stop()
	var got []map[string]any
	for _, line := range r.Log() {
		var e map[string]any
		servertest.Must(t, json.Unmarshal([]byte(line), &e))
		if _, request := e["method"]; request {
			got = append(got, map[string]any{"message": e["message"], "status": e["status"], "gateway": e["gateway"], "reason": e["reason"]})
		}
		if strings.Contains(line, token.Reveal()) {
			t.Errorf("the token is in the log: %s", line)
		}
	}
	want := []map[string]any{
		{"message": "cloud.served", "status": 200.0, "gateway": "osaka-1", "reason": nil},
		{"message": "cloud.refused", "status": 403.0, "gateway": "osaka-1", "reason": "not-yours"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
