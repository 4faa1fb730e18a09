package print_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// reference is a service that answers as a test says, and the gateway's side of it.
func reference(t *testing.T, h http.HandlerFunc) (print.Service, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	p, err := print.Open(print.Options{Kind: print.KindReference, URL: s.URL + "/", Clock: fakeclock.New(noon)})
	if err != nil {
		t.Fatal(err)
	}
	return p, s.URL
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestReferenceAsksForACode(t *testing.T) {
	var form url.Values
	discovered := 0
	var base string
	p, base := reference(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/oauth-authorization-server" {
			discovered++
			reply(w, 200, fmt.Sprintf(`{"issuer":%q,"device_authorization_endpoint":"%s/d","token_endpoint":"%s/t"}`, base, base, base))
			return
		}
		_ = r.ParseForm()
		form = r.PostForm
		reply(w, 200, `{"device_code":"d","user_code":"U","verification_uri":"https://a.example/device","expires_in":600}`)
	})
	q := mfpgate.CodeRequest{ID: "r-1.1", Purpose: mfpgate.PurposeRegister, Device: device, User: "a@b.example", Site: "osaka", Verifier: "verifier"}
	if _, err := p.RequestCode(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"client_id": {"mfpgate"}, "scope": {"print.register"}, "code_challenge": {form.Get("code_challenge")}, "code_challenge_method": {"S256"},
		"device_uuid": {device.UUID}, "device_name": {device.Name}, "device_make": {device.Make}, "device_model": {device.Model}, "device_serial": {device.Serial},
		"device_location": {device.Location}, "device_address": {device.Address}, "requester": {"a@b.example"}, "site": {"osaka"},
	}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error(diff)
	}
	q.Purpose, q.Printer, q.Device.Location = mfpgate.PurposeAllowUser, "p-1", ""
	if _, err := p.RequestCode(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	want["scope"], want["printer_id"] = []string{"print.allow"}, []string{"p-1"}
	delete(want, "device_location")
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error(diff)
	}
	if discovered != 1 {
		t.Errorf("discovered %d times, want once", discovered)
	}
}

func TestReferenceEnters(t *testing.T) {
	request := mfpgate.PrinterRequest{ID: "r-1", Device: device, User: "a@b.example", CSR: []byte{0x30, 1, 2}}
	var got map[string]string
	p, base := reference(t, func(w http.ResponseWriter, r *http.Request) {
		if h := r.Header; h.Get("Authorization") != "Bearer t0ken" || r.Method == http.MethodPost && r.URL.Path == "/print/v1/printers" && h.Get("Idempotency-Key") != "r-1" {
			t.Errorf("%s %s with %v", r.Method, r.URL, h)
		}
		switch r.Method + " " + r.URL.Path {
		case "POST /print/v1/printers":
			_ = json.NewDecoder(r.Body).Decode(&got)
			w.Header().Set("Operation-Location", "/print/v1/operations/o-1")
			w.Header().Set("Retry-After", "3")
			reply(w, 202, `{"operationId":"o-1","status":"running"}`)
		case "GET /print/v1/operations/o-1":
			reply(w, 200, `{"operationId":"o-1","status":"succeeded","printerId":"p-1","printerUri":"ipps://a.example/p-1","certificate":"AQID","userState":"sleeping"}`)
		case "POST /print/v1/printers/p%2F1/users", "POST /print/v1/printers/p/1/users":
			if r.URL.EscapedPath() != "/print/v1/printers/p%2F1/users" {
				t.Errorf("got %s: a printer's id is one step of the path", r.URL.EscapedPath())
			}
			_ = json.NewDecoder(r.Body).Decode(&got)
			reply(w, 200, `{"user":"b@b.example","state":"allowed"}`)
		default:
			reply(w, 404, `{"type":"about:blank","title":"Not Found","status":404,"detail":"there is no such printer"}`)
		}
	})
	g := mfpgate.Grant{Token: "t0ken"}
	e, err := p.Enter(t.Context(), g, request)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mfpgate.Entering{Operation: base + "/print/v1/operations/o-1", Wait: 3 * time.Second}, e); diff != "" {
		t.Error(diff)
	}
	want := map[string]string{
		"deviceUuid": device.UUID, "name": device.Name, "make": device.Make, "model": device.Model, "serial": device.Serial, "location": device.Location,
		"user": "a@b.example", "certificateRequest": base64.StdEncoding.EncodeToString(request.CSR),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if e, err = p.Entered(t.Context(), g, e.Operation); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mfpgate.Entering{Done: true, Printer: mfpgate.Printer{ID: "p-1", URI: "ipps://a.example/p-1", Certificate: []byte{1, 2, 3}}}, e); diff != "" {
		t.Error(diff)
	}
	got = nil
	if became, err := p.AllowUser(t.Context(), g, "p/1", "b@b.example"); err != nil || became != mfpgate.PrintUserAllowed || got["user"] != "b@b.example" {
		t.Errorf("got %v, %q, %v, want the user", got, became, err)
	}
	for _, printer := range []string{"gone", "..", ""} {
		if _, err := p.AllowUser(t.Context(), g, printer, "b@b.example"); !errors.Is(err, mfpgate.ErrNoPrinter) {
			t.Errorf("%q: got %v, want ErrNoPrinter", printer, err)
		}
	}
}

func TestATokenStaysWithItsService(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s came with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	for _, at := range []string{other.URL + "/print/v1/operations/o-1", "//evil.example/o-1", "https://evil.example/", "http://u@127.0.0.1/", ""} {
		p, _ := reference(t, func(w http.ResponseWriter, _ *http.Request) {
			if at != "" {
				w.Header().Set("Operation-Location", at)
			}
			reply(w, 202, `{}`)
		})
		if got, err := p.Enter(t.Context(), mfpgate.Grant{Token: "t"}, mfpgate.PrinterRequest{}); !errors.Is(err, exchange.ErrAnswer) {
			t.Errorf("%q: got %+v, %v, want ErrAnswer", at, got, err)
		}
		if at == "" {
			continue
		}
		if got, err := p.Entered(t.Context(), mfpgate.Grant{Token: "t"}, at); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%q: got %+v, %v, want ErrRefused", at, got, err)
		}
	}
}

func TestRefusalsOfOperations(t *testing.T) {
	for _, tt := range []struct {
		rule    string
		status  int
		body    string
		refused bool
		grant   bool // the token is no good
	}{
		{"failed", 200, `{"operationId":"o","status":"failed","error":"the key is too small"}`, true, false},
		{"a problem", 403, `{"title":"Forbidden","detail":"scope print.register is needed"}`, true, false},
		{"a token that is over", 401, `{"title":"Unauthorized"}`, false, true},
		{"an operation that is forgotten", 404, `{"title":"Not Found"}`, true, false},
		{"another request with this key", 422, `{"title":"Unprocessable"}`, true, false},
		{"a broken service", 500, `{"title":"Internal"}`, false, false},
		{"a status that nobody knows", 200, `{"operationId":"o","status":"paused"}`, false, false},
		{"no status", 200, `{}`, false, false},
		{"success without a printer", 200, `{"status":"succeeded"}`, false, false},
		{"a certificate that is no base64", 200, `{"status":"succeeded","printerId":"p","certificate":"*"}`, false, false},
		{"a printer with a line break", 200, `{"status":"succeeded","printerId":"p\n"}`, false, false},
		{"a status given twice", 200, `{"status":"succeeded","status":"failed","printerId":"p"}`, false, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			p, base := reference(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, tt.status, tt.body) })
			got, err := p.Entered(t.Context(), mfpgate.Grant{Token: "t"}, base+"/print/v1/operations/o")
			if err == nil || errors.Is(err, mfpgate.ErrRefused) != tt.refused || errors.Is(err, mfpgate.ErrInvalidGrant) != tt.grant ||
				errors.Is(err, mfpgate.ErrNoPrinter) != (tt.status == 404) {
				t.Errorf("got %+v, %v, want refused: %v, the token's fault: %v", got, err, tt.refused, tt.grant)
			}
		})
	}
}

func FuzzOperation(f *testing.F) {
	f.Add(200, "", `{"status":"succeeded","printerId":"p","printerUri":"ipps://a/p","certificate":"AQID"}`)
	f.Add(202, "/print/v1/operations/1", `{}`)
	f.Add(202, "https://evil.example/", `{"status":"running"}`)
	f.Add(200, "", `{"cloud_device_id":"p","certificate":"-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"}`)
	f.Add(202, "", `{"registration_id":"r","interval":-1}`)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		f.Fatal(err)
	}
	var said struct { // one case at a time
		status         int
		location, body string
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Operation-Location", said.location)
		reply(w, said.status, said.body)
	}))
	f.Cleanup(s.Close)
	services := map[string]print.Service{}
	for _, kind := range []string{print.KindReference, print.KindUniversalPrint} {
		if services[kind], err = print.Open(print.Options{Kind: kind, URL: s.URL, ClientID: "c", Clock: fakeclock.New(noon)}); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, status int, location, body string) {
		if status < 200 || status > 599 || strings.ContainsAny(location, "\r\n\x00") {
			return
		}
		said.status, said.location, said.body = status, location, body
		for kind, p := range services {
			e, err := p.Enter(t.Context(), mfpgate.Grant{Token: "t"}, mfpgate.PrinterRequest{Device: device, CSR: request})
			if err == nil && (e.Done != (e.Printer.ID != "") || e.Done != (e.Operation == "") || e.Wait < 0 || e.Wait > 10*time.Minute ||
				kind == print.KindReference && !e.Done && !strings.HasPrefix(e.Operation, s.URL)) {
				t.Errorf("%s: %+v of %q", kind, e, body)
			}
		}
	})
}
