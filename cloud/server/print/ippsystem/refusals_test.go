package ippsystem_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print/ippsystem"
)

func TestRefusals(t *testing.T) {
	with := func(change func(*goipp.Message)) *goipp.Message {
		m := registration()
		change(m)
		return m
	}
	without := func(name string) *goipp.Message {
		return with(func(m *goipp.Message) {
			var kept goipp.Attributes
			for _, a := range m.Operation {
				if a.Name != name {
					kept.Add(a)
				}
			}
			m.Operation = kept
		})
	}
	instead := func(index int, a goipp.Attribute) *goipp.Message {
		return with(func(m *goipp.Message) { m.Operation[index] = a })
	}
	text := func(name string, tag goipp.Tag, value string) goipp.Attribute {
		return goipp.MakeAttribute(name, tag, goipp.String(value))
	}
	for _, tc := range []struct {
		rule    string
		m       *goipp.Message
		status  goipp.Status
		ignored map[string]string
	}{
		{rule: "an operation of others", m: ask(goipp.OpPrintJob), status: goipp.StatusErrorOperationNotSupported},
		{rule: "IPP 3", m: with(func(m *goipp.Message) { m.Version = goipp.MakeVersion(3, 0) }), status: goipp.StatusErrorVersionNotSupported},
		{rule: "IPP 1.0", m: with(func(m *goipp.Message) { m.Version = goipp.MakeVersion(1, 0) }), status: goipp.StatusErrorVersionNotSupported},
		{rule: "request id 0", m: with(func(m *goipp.Message) { m.RequestID = 0 }), status: goipp.StatusErrorBadRequest},
		{rule: "no attributes", m: goipp.NewRequest(goipp.MakeVersion(2, 0), goipp.OpRegisterOutputDevice, 5), status: goipp.StatusErrorBadRequest},
		{rule: "no charset", m: without("attributes-charset"), status: goipp.StatusErrorBadRequest},
		{rule: "no language", m: without("attributes-natural-language"), status: goipp.StatusErrorBadRequest},
		{rule: "another charset", m: instead(0, text("attributes-charset", goipp.TagCharset, "iso-8859-1")), status: goipp.StatusErrorCharset},
		{rule: "a charset of another syntax", m: instead(0, text("attributes-charset", goipp.TagKeyword, "utf-8")), status: goipp.StatusErrorBadRequest},
		{rule: "the wrong order", m: with(func(m *goipp.Message) {
			m.Operation[0], m.Operation[1] = m.Operation[1], m.Operation[0]
		}), status: goipp.StatusErrorBadRequest},
		{rule: "no target", m: without("system-uri"), status: goipp.StatusErrorBadRequest},
		{rule: "a target that is no URI", m: instead(2, text("system-uri", goipp.TagURI, "system")), status: goipp.StatusErrorBadRequest},
		{rule: "a target of another scheme", m: instead(2, text("system-uri", goipp.TagURI, "ftp://print.example/ipp/system")), status: goipp.StatusErrorURIScheme,
			ignored: map[string]string{"system-uri": "ftp://print.example/ipp/system"}},
		{rule: "another target", m: instead(2, text("system-uri", goipp.TagURI, "ipps://print.example/ipp/print")), status: goipp.StatusErrorNotFound},
		{rule: "no device", m: without("output-device-uuid"), status: goipp.StatusErrorBadRequest},
		{rule: "a device that is no UUID", m: ask(goipp.OpRegisterOutputDevice, uuidIs("urn:uuid:1"), kindIs("print")), status: goipp.StatusErrorAttributesOrValues,
			ignored: map[string]string{"output-device-uuid": "urn:uuid:1"}},
		{rule: "no service type", m: without("printer-service-type"), status: goipp.StatusErrorBadRequest},
		{rule: "another service type", m: ask(goipp.OpRegisterOutputDevice, uuidIs("urn:uuid:"+device), kindIs("scan")), status: goipp.StatusErrorAttributesOrValues,
			ignored: map[string]string{"printer-service-type": "scan"}},
		{rule: "one more service type is ignored", m: ask(goipp.OpRegisterOutputDevice, uuidIs("urn:uuid:"+device), kindIs("print", "scan")),
			status: goipp.StatusOkIgnoredOrSubstituted, ignored: map[string]string{"printer-service-type": "scan"}},
		{rule: "an unknown attribute is ignored", m: with(func(m *goipp.Message) {
			m.Operation.Add(text("x-colour", goipp.TagKeyword, "blue"))
		}), status: goipp.StatusOkIgnoredOrSubstituted, ignored: map[string]string{"x-colour": ""}},
		{rule: "an attribute twice", m: with(func(m *goipp.Message) {
			m.Operation.Add(uuidIs("urn:uuid:" + device))
		}), status: goipp.StatusErrorBadRequest},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			s := &service{issuer: "https://login.example"}
			_, got := exchange(t, s, good, tc.m)
			if goipp.Status(got.Code) != tc.status {
				t.Errorf("status %s, want %s; %v", goipp.Status(got.Code), tc.status, show(got.Operation))
			}
			if tc.ignored == nil {
				tc.ignored = map[string]string{}
			}
			if diff := cmp.Diff(tc.ignored, show(got.Unsupported)); diff != "" {
				t.Errorf("unsupported (-want +got):\n%s", diff)
			}
			if done := tc.status < 0x0100; done != (len(s.devices) == 1) {
				t.Errorf("%d devices", len(s.devices))
			}
		})
	}
}

func TestWhoMay(t *testing.T) {
	const login = "https://login.example"
	for _, tc := range []struct {
		rule   string
		s      *service
		token  mfpgate.Secret
		http   int
		status goipp.Status
	}{
		{rule: "no token", s: &service{issuer: login}, http: 401, status: goipp.StatusErrorNotAuthenticated},
		{rule: "an unknown token", s: &service{issuer: login}, token: "other", http: 401, status: goipp.StatusErrorNotAuthenticated},
		{rule: "a token of another syntax is none", s: &service{issuer: login}, token: "good-token;", http: 401, status: goipp.StatusErrorNotAuthenticated},
		{rule: "the token of another device", s: &service{issuer: login}, token: "another-device", http: 200, status: goipp.StatusErrorNotAuthorized},
		{rule: "where nobody is asked no token is needed", s: &service{}, http: 200},
		{rule: "where nobody is asked a token does not matter", s: &service{}, token: "other", http: 200},
		{rule: "busy", s: &service{fails: fmt.Errorf("store: %w", ippsystem.ErrBusy)}, http: 200, status: goipp.StatusErrorBusy},
		{rule: "broken", s: &service{fails: errors.New("disk /dev/sda1 is full")}, http: 200, status: goipp.StatusErrorInternal},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			code, got := exchange(t, tc.s, tc.token, registration())
			if code != tc.http || goipp.Status(got.Code) != tc.status {
				t.Errorf("HTTP %d, %s, want %d, %s", code, goipp.Status(got.Code), tc.http, tc.status)
			}
			if message := show(got.Operation)["status-message"]; strings.Contains(message, "sda1") {
				t.Errorf("the answer tells %q", message)
			}
		})
	}
}

func TestChallenge(t *testing.T) {
	body, err := registration().EncodeBytes()
	if err != nil {
		t.Fatal(err)
	}
	for authorization, want := range map[string]string{
		"":                                    `Bearer realm="print", scope="print.register print.allow"`,
		"Basic Zm9v":                          `Bearer realm="print", scope="print.register print.allow"`,
		"bearer gone":                         `Bearer realm="print", scope="print.register print.allow", error="invalid_token"`,
		"Bearer " + strings.Repeat("a", 5000): `Bearer realm="print", scope="print.register print.allow"`,
	} {
		answer, _ := post(t, &service{issuer: "https://login.example"}, authorization, body)
		if got := answer.Header.Get("WWW-Authenticate"); got != want || answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%.20q: HTTP %d, %s, want %s", authorization, answer.StatusCode, got, want)
		}
	}
}

func TestNotIPP(t *testing.T) {
	body, err := registration().EncodeBytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		rule, method, media string
		body                []byte
		want                int
	}{
		{"GET", http.MethodGet, "application/ipp", nil, http.StatusMethodNotAllowed},
		{"a form", http.MethodPost, "application/x-www-form-urlencoded", body, http.StatusUnsupportedMediaType},
		{"shorter than a header", http.MethodPost, "application/ipp", []byte("GET / H"), http.StatusBadRequest},
		{"too long", http.MethodPost, "application/ipp", append(body, make([]byte, ippsystem.MaxRequest)...), http.StatusRequestEntityTooLarge},
		{"bytes after the end", http.MethodPost, "application/ipp", append(body[:len(body):len(body)], 1), http.StatusOK},
		{"cut off", http.MethodPost, "application/ipp", body[:len(body)-1], http.StatusOK},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			s := &service{}
			r := httptest.NewRequest(tc.method, ippsystem.Path, bytes.NewReader(tc.body))
			r.Header.Set("Content-Type", tc.media)
			w := httptest.NewRecorder()
			ippsystem.Handler(s).ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("HTTP %d, want %d: %s", w.Code, tc.want, w.Body)
			}
			if len(s.devices) > 0 {
				t.Error("it was done")
			}
			if tc.want == http.StatusOK {
				var m goipp.Message
				if err := m.DecodeBytes(w.Body.Bytes()); err != nil || goipp.Status(m.Code) != goipp.StatusErrorBadRequest || m.RequestID != 77 {
					t.Errorf("%v, %s, request id %d", err, goipp.Status(m.Code), m.RequestID)
				}
			}
		})
	}
}

// FuzzRequest sends any body: an answer is IPP with the request's id, or HTTP 400.
func FuzzRequest(f *testing.F) {
	for _, m := range []*goipp.Message{registration(), ask(goipp.OpGetSystemAttributes), ask(goipp.OpDeregisterOutputDevice, uuidIs("urn:uuid:"+device))} {
		body, err := m.EncodeBytes()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > ippsystem.MaxRequest {
			return
		}
		answer, data := post(t, &service{issuer: "https://login.example"}, "Bearer "+good.Reveal(), body)
		if len(body) < 8 {
			if answer.StatusCode != http.StatusBadRequest {
				t.Errorf("HTTP %d", answer.StatusCode)
			}
			return
		}
		var m goipp.Message
		if err := m.DecodeBytes(data); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("HTTP %d, %v", answer.StatusCode, err)
		}
		if id := uint32(body[4])<<24 | uint32(body[5])<<16 | uint32(body[6])<<8 | uint32(body[7]); m.RequestID != id {
			t.Errorf("request id %d, want %d", m.RequestID, id)
		}
	})
}
