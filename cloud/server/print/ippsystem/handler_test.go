package ippsystem_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print/ippsystem"
)

const (
	good   = mfpgate.Secret("good-token")
	device = "99999999-0000-4000-8000-00000000000a"
)

// service is a print service of one administrator's token.
type service struct {
	issuer string
	fails  error

	mu      sync.Mutex
	devices []ippsystem.OutputDevice
}

func (s *service) System() ippsystem.System {
	return ippsystem.System{
		URI: "ipps://print.example:631/ipp/system", Name: "Office", UUID: "11111111-0000-4000-8000-000000000001",
		Issuer: s.issuer, Scope: "print.register print.allow", UpTime: 90 * time.Second,
	}
}

func (s *service) allowed(token mfpgate.Secret) error {
	switch {
	case s.fails != nil:
		return s.fails
	case s.issuer == "" && token == "", s.issuer != "" && token.Equal(good):
		return nil
	case token.Equal("another-device"):
		return ippsystem.ErrNotAllowed
	}
	return ippsystem.ErrToken
}

func (s *service) Register(_ context.Context, token mfpgate.Secret, d ippsystem.OutputDevice) (ippsystem.Printer, error) {
	if err := s.allowed(token); err != nil {
		return ippsystem.Printer{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	number := 0
	for i, known := range s.devices {
		if known.UUID == d.UUID {
			number = i + 1
		}
	}
	if number == 0 {
		s.devices = append(s.devices, d)
		number = len(s.devices)
	}
	return ippsystem.Printer{Number: number, UUID: "22222222" + d.UUID[8:], URI: "ipps://print.example:631/ipp/print/1"}, nil
}

func (s *service) Deregister(_ context.Context, token mfpgate.Secret, uuid string) error {
	if err := s.allowed(token); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, known := range s.devices {
		if known.UUID == uuid {
			s.devices = append(s.devices[:i], s.devices[i+1:]...)
			return nil
		}
	}
	return ippsystem.ErrNoDevice
}

// ask makes a request with the attributes that every one has.
func ask(op goipp.Op, more ...goipp.Attribute) *goipp.Message {
	m := goipp.NewRequest(goipp.MakeVersion(2, 0), op, 77)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("system-uri", goipp.TagURI, goipp.String("ipps://print.example:631/ipp/system")))
	for _, a := range more {
		m.Operation.Add(a)
	}
	return m
}

func uuidIs(uuid string) goipp.Attribute {
	return goipp.MakeAttribute("output-device-uuid", goipp.TagURI, goipp.String(uuid))
}

func kindIs(kinds ...string) goipp.Attribute {
	a := goipp.Attribute{Name: "printer-service-type"}
	for _, kind := range kinds {
		a.Values.Add(goipp.TagKeyword, goipp.String(kind))
	}
	return a
}

func registration() *goipp.Message {
	return ask(goipp.OpRegisterOutputDevice, uuidIs("urn:uuid:"+device), kindIs("print"))
}

// post sends bytes and returns the HTTP answer with its body.
func post(t testing.TB, s ippsystem.Service, authorization string, body []byte) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, ippsystem.Path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/ipp")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	ippsystem.Handler(s).ServeHTTP(w, r)
	answer := w.Result()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, data
}

// exchange sends a message with the token and returns the answer's HTTP status and message.
func exchange(t testing.TB, s ippsystem.Service, token mfpgate.Secret, m *goipp.Message) (int, *goipp.Message) {
	t.Helper()
	body, err := m.EncodeBytes()
	if err != nil {
		t.Fatal(err)
	}
	authorization := ""
	if token != "" {
		authorization = "Bearer " + token.Reveal()
	}
	answer, data := post(t, s, authorization, body)
	var got goipp.Message
	if err := got.DecodeBytes(data); err != nil {
		t.Fatalf("HTTP %d: %v: %q", answer.StatusCode, err, data)
	}
	if got.RequestID != m.RequestID {
		t.Errorf("request id %d, want %d", got.RequestID, m.RequestID)
	}
	return answer.StatusCode, &got
}

func show(group goipp.Attributes) map[string]string {
	out := map[string]string{}
	for _, a := range group {
		out[a.Name] = a.Values.String()
	}
	return out
}

func TestSystemAttributes(t *testing.T) {
	_, all := exchange(t, &service{issuer: "https://login.example"}, "", ask(goipp.OpGetSystemAttributes))
	want := map[string]string{
		"charset-configured":                       "utf-8",
		"charset-supported":                        "utf-8",
		"generated-natural-language-supported":     "en",
		"ipp-features-supported":                   "system-service",
		"ipp-versions-supported":                   "[1.1,2.0]",
		"natural-language-configured":              "en",
		"oauth-authorization-scope":                "[print.register,print.allow]",
		"oauth-authorization-server-uri":           "https://login.example",
		"operations-supported":                     "[70,91,95]",
		"system-config-change-time":                "1",
		"system-info":                              "Office",
		"system-make-and-model":                    "mfpgate reference print service",
		"system-mandatory-registration-attributes": "[output-device-uuid,printer-service-type]",
		"system-name":                              "Office",
		"system-settable-attributes-supported":     "none",
		"system-state":                             "3",
		"system-state-change-time":                 "1",
		"system-state-message":                     "Ready.",
		"system-state-reasons":                     "none",
		"system-up-time":                           "90",
		"system-uuid":                              "urn:uuid:11111111-0000-4000-8000-000000000001",
		"system-xri-supported":                     "{xri-authentication=oauth xri-security=tls xri-uri=ipps://print.example:631/ipp/system}",
		"uri-authentication-supported":             "oauth",
		"xri-authentication-supported":             "oauth",
		"xri-security-supported":                   "tls",
		"xri-uri-scheme-supported":                 "ipps",
	}
	if diff := cmp.Diff(want, show(all.System)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}

	requested := func(names ...string) goipp.Attribute {
		a := goipp.Attribute{Name: "requested-attributes"}
		for _, name := range names {
			a.Values.Add(goipp.TagKeyword, goipp.String(name))
		}
		return a
	}
	for _, tc := range []struct {
		rule    string
		issuer  string
		ask     []string
		status  goipp.Status
		system  map[string]string
		ignored map[string]string
	}{
		{rule: "by name", issuer: "https://login.example", ask: []string{"system-name", "oauth-authorization-server-uri"},
			system: map[string]string{"system-name": "Office", "oauth-authorization-server-uri": "https://login.example"}},
		{rule: "unknown names are told", ask: []string{"system-name", "printer-geo-location"}, status: goipp.StatusOkIgnoredOrSubstituted,
			system: map[string]string{"system-name": "Office"}, ignored: map[string]string{"requested-attributes": "printer-geo-location"}},
		{rule: "who asks nobody names nobody", ask: []string{"oauth-authorization-scope", "oauth-authorization-server-uri", "uri-authentication-supported"},
			system: map[string]string{"oauth-authorization-scope": "", "oauth-authorization-server-uri": "", "uri-authentication-supported": "none"}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, got := exchange(t, &service{issuer: tc.issuer}, "", ask(goipp.OpGetSystemAttributes, requested(tc.ask...)))
			if goipp.Status(got.Code) != tc.status {
				t.Errorf("status %s, want %s", goipp.Status(got.Code), tc.status)
			}
			if diff := cmp.Diff(tc.system, show(got.System)); diff != "" {
				t.Errorf("system (-want +got):\n%s", diff)
			}
			if tc.ignored == nil {
				tc.ignored = map[string]string{}
			}
			if diff := cmp.Diff(tc.ignored, show(got.Unsupported)); diff != "" {
				t.Errorf("unsupported (-want +got):\n%s", diff)
			}
		})
	}
	_, group := exchange(t, &service{}, "", ask(goipp.OpGetSystemAttributes, requested("system-status")))
	if len(group.System) != 7 {
		t.Errorf("system-status: %v", show(group.System))
	}
}

func TestRegister(t *testing.T) {
	s := &service{issuer: "https://login.example"}
	m := registration()
	m.Operation.Add(goipp.MakeAttribute("requesting-user-name", goipp.TagName, goipp.String("mfpgate\u202e\n")))
	m.Printer.Add(goipp.MakeAttribute("printer-info", goipp.TagText, goipp.String("2F copier")))
	m.Printer.Add(goipp.MakeAttribute("printer-serial-number", goipp.TagText, goipp.String("S1")))
	for range 2 {
		status, got := exchange(t, s, good, m)
		if status != http.StatusOK || goipp.Status(got.Code) != goipp.StatusOk {
			t.Fatalf("HTTP %d, %s", status, goipp.Status(got.Code))
		}
		want := map[string]string{
			"printer-id":                "1",
			"printer-uuid":              "urn:uuid:22222222-0000-4000-8000-00000000000a",
			"printer-xri-supported":     "{xri-authentication=oauth xri-security=tls xri-uri=ipps://print.example:631/ipp/print/1}",
			"printer-is-accepting-jobs": "false",
			"printer-state":             "5",
			"printer-state-reasons":     "paused",
		}
		if diff := cmp.Diff(want, show(got.Printer)); diff != "" {
			t.Errorf("printer (-want +got):\n%s", diff)
		}
	}
	want := []ippsystem.OutputDevice{{UUID: device, User: "mfpgate", Name: "2F copier", Serial: "S1"}}
	if diff := cmp.Diff(want, s.devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}

	// It is taken away as it was made, and only once.
	away := ask(goipp.OpDeregisterOutputDevice, uuidIs("urn:uuid:"+strings.ToUpper(device)))
	if _, got := exchange(t, s, good, away); goipp.Status(got.Code) != goipp.StatusOk || len(s.devices) != 0 {
		t.Errorf("deregister: %s, %d devices", goipp.Status(got.Code), len(s.devices))
	}
	if _, got := exchange(t, s, good, away); goipp.Status(got.Code) != goipp.StatusErrorNotFound {
		t.Errorf("deregister again: %s", goipp.Status(got.Code))
	}
}
