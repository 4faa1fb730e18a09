package ippsystem_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	client "github.com/mfpgate/mfpgate/cloud/client/print/ippsystem"
	server "github.com/mfpgate/mfpgate/cloud/server/print/ippsystem"
)

// office is a print service: a system service of ours and its authorization server at one address.
type office struct {
	http *httptest.Server
	path string // of the issuer

	mu       sync.Mutex
	code     url.Values // what the code was asked for with
	decision string     // an error of RFC 8628 §3.5; "" is a grant
	token    mfpgate.Secret
	devices  []string
	scheme   string // of the printers
}

func newOffice(t testing.TB) *office {
	t.Helper()
	o := &office{path: "/tenant", decision: "authorization_pending", token: "t0ken", scheme: "ipps"}
	mux := http.NewServeMux()
	mux.Handle(server.Path, server.Handler(o))
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/tenant", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, 200, `{"issuer":%q,"device_authorization_endpoint":"%s/code","token_endpoint":"%s/token"}`, o.issuer(), o.issuer(), o.issuer())
	})
	mux.HandleFunc("POST /tenant/code", func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		_ = r.ParseForm()
		o.code = r.PostForm
		reply(w, 200, `{"device_code":"dev1ce","user_code":"ABCD","verification_uri":"%s/device","expires_in":900,"interval":5}`, o.issuer())
	})
	mux.HandleFunc("POST /tenant/token", func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		_ = r.ParseForm()
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		switch {
		case r.PostForm.Get("device_code") != "dev1ce" || base64.RawURLEncoding.EncodeToString(sum[:]) != o.code.Get("code_challenge"):
			reply(w, 400, `{"error":"invalid_grant"}`)
		case o.decision != "":
			reply(w, 400, `{"error":%q}`, o.decision)
		default:
			reply(w, 200, `{"access_token":%q,"token_type":"Bearer","expires_in":600}`, o.token.Reveal())
		}
	})
	o.http = httptest.NewTLSServer(mux)
	t.Cleanup(o.http.Close)
	return o
}

func reply(w http.ResponseWriter, status int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, fmt.Sprintf(format, args...))
}

func (o *office) issuer() string { return o.http.URL + o.path }

func (o *office) uri(path string) string {
	return "ipps" + strings.TrimPrefix(o.http.URL, "https") + path
}

func (o *office) decide(answer string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.decision = answer
}

// System is server.Service's.
func (o *office) System() server.System {
	return server.System{URI: o.uri(server.Path), Name: "Office", UUID: "11111111-0000-4000-8000-000000000001", Issuer: o.issuer(), Scope: "print.register"}
}

// Register is server.Service's.
func (o *office) Register(_ context.Context, token mfpgate.Secret, d server.OutputDevice) (server.Printer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !token.Equal(o.token) {
		return server.Printer{}, server.ErrToken
	}
	number := 0
	for i, uuid := range o.devices {
		if uuid == d.UUID {
			number = i + 1
		}
	}
	if number == 0 {
		o.devices = append(o.devices, d.UUID)
		number = len(o.devices)
	}
	return server.Printer{Number: number, UUID: d.UUID, URI: o.scheme + strings.TrimPrefix(o.uri(fmt.Sprintf("/ipp/print/%d", number)), "ipps")}, nil
}

// Deregister is server.Service's.
func (o *office) Deregister(context.Context, mfpgate.Secret, string) error { return server.ErrNoDevice }

func (o *office) open(t testing.TB) *client.Service {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(o.http.Certificate())
	return open(t, client.Options{URL: o.uri(server.Path), RootCAs: roots, Authority: o.issuer()})
}

func TestRegistrationByApproval(t *testing.T) {
	o := newOffice(t)
	s := o.open(t)
	const verifier = mfpgate.Secret("0123456789012345678901234567890123456789012")
	code, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{Device: device("a"), User: "a@b.example", Site: "osaka", Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	want := mfpgate.Code{DeviceCode: "dev1ce", UserCode: "ABCD", VerificationURI: o.issuer() + "/device", Lifetime: 900 * time.Second, Interval: 5 * time.Second}
	if diff := cmp.Diff(want, code); diff != "" {
		t.Errorf("code (-want +got):\n%s", diff)
	}
	for name, value := range map[string]string{"client_id": "mfpgate", "scope": "print.register", "device_uuid": device("a").UUID, "device_name": "2F copier", "requester": "a@b.example", "site": "osaka"} {
		if got := o.code.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if _, err := s.Redeem(t.Context(), code, verifier); !errors.Is(err, mfpgate.ErrPending) {
		t.Errorf("before the decision: %v", err)
	}
	if err := s.AwaitEvent(t.Context(), code); !errors.Is(err, mfpgate.ErrNoEvents) {
		t.Errorf("events: %v", err)
	}
	o.decide("")
	s = o.open(t) // the gateway has been started again
	grant, err := s.Redeem(t.Context(), code, verifier)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := s.Enter(t.Context(), grant, mfpgate.PrinterRequest{Device: device("a")})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(mfpgate.Entering{Done: true, Printer: mfpgate.Printer{ID: "1", URI: o.uri("/ipp/print/1")}}, got); diff != "" {
			t.Errorf("registered (-want +got):\n%s", diff)
		}
	}

	for _, token := range []mfpgate.Secret{"old", ""} {
		if _, err := s.Enter(t.Context(), mfpgate.Grant{Token: token}, mfpgate.PrinterRequest{Device: device("b")}); !errors.Is(err, mfpgate.ErrInvalidGrant) {
			t.Errorf("with the token %q: %v", token.Reveal(), err)
		}
	}
	if diff := cmp.Diff([]string{device("a").UUID}, o.devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
}

func TestADenial(t *testing.T) {
	o := newOffice(t)
	s := o.open(t)
	const verifier = mfpgate.Secret("0123456789012345678901234567890123456789012")
	code, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{Device: device("a"), Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	o.decide("access_denied")
	if _, err := s.Redeem(t.Context(), code, verifier); !errors.Is(err, mfpgate.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

// TestAPrinterWithoutTLS refuses one of a system that has it.
func TestAPrinterWithoutTLS(t *testing.T) {
	o := newOffice(t)
	o.scheme = "ipp"
	_, err := o.open(t).Enter(t.Context(), mfpgate.Grant{Token: o.token}, mfpgate.PrinterRequest{Device: device("a")})
	if !errors.Is(err, mfpgate.ErrRefused) || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("got %v", err)
	}
}

// TestAnUnknownCertificate trusts nobody but the given roots.
func TestAnUnknownCertificate(t *testing.T) {
	o := newOffice(t)
	s := open(t, client.Options{URL: o.uri(server.Path)})
	if _, err := s.RequestCode(t.Context(), mfpgate.CodeRequest{Device: device("a")}); err == nil || errors.Is(err, mfpgate.ErrNobodyAsked) {
		t.Errorf("got %v", err)
	}
}
