package registration_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate/tests/port"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// verdict is what a front does with a request.
type verdict int

const (
	pass     verdict = iota
	badPage          // answers it with 502 and a page for people
	passLast         // passes it on and, if it succeeds, is away from the answer on
)

// last marks the context of a request with passLast.
type last struct{}

// front is what clients and people of a region talk to, over TLS.
type front struct {
	url         string
	certificate string // file
	client      *http.Client

	t       *testing.T
	address string
	proxy   *httputil.ReverseProxy
	seen    recorded

	mu     sync.Mutex
	server *httptest.Server // nil: away
	judge  func(call string) verdict
	calls  map[string]int
}

// recorded is what was certified, by the device's UUID.
type recorded struct {
	mu           sync.Mutex
	requests     map[string][]byte // the last request for a certificate, PKCS #10
	operations   map[string]string // the device's UUID by the operation's id
	certificates map[string][]byte
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{t: t, address: port.Free(t, "127.0.0.1"), calls: map[string]int{},
		seen: recorded{requests: map[string][]byte{}, operations: map[string]string{}, certificates: map[string][]byte{}}}
	f.url = "https://" + f.address
	return f
}

// serve begins to pass on what comes.
func (f *front) serve(to *url.URL) {
	f.t.Helper()
	f.proxy = httputil.NewSingleHostReverseProxy(to)
	f.proxy.ErrorLog = log.New(io.Discard, "", 0)                                                          // clients go away
	f.proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // so does the region at the end
	f.proxy.ModifyResponse = f.note
	f.up()
	certificate := f.server.Certificate()
	f.certificate = rig.WriteFile(f.t, rig.Dir(f.t), "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})))
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	f.client = &http.Client{Timeout: rig.Deadline, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	f.t.Cleanup(f.down)
}

func (f *front) up() {
	f.t.Helper()
	f.down() // where it has left only
	server := httptest.NewUnstartedServer(http.HandlerFunc(f.answer))
	if err := server.Listener.Close(); err != nil {
		f.t.Fatal(err)
	}
	server.Listener = listen(f.t, f.address)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = server
}

// down refuses connections until up, and breaks those that there are.
func (f *front) down() {
	f.mu.Lock()
	server := f.server
	f.server = nil
	f.mu.Unlock()
	if server != nil {
		server.CloseClientConnections()
		server.Close()
	}
}

// leave is down from within an answer, which is still sent.
func (f *front) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != nil {
		_ = f.server.Listener.Close()
		f.server.Config.SetKeepAlivesEnabled(false)
	}
}

// when changes what is done from now on.
func (f *front) when(judge func(call string) verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.judge = judge
}

// count is how many requests have come for a method and path, of which the last part may be a star.
func (f *front) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

// callOf names what is asked for.
func callOf(r *http.Request) string {
	path := r.URL.Path
	for _, prefix := range []string{"/print/v1/operations/", "/print/confirm/"} {
		if strings.HasPrefix(path, prefix) {
			path = prefix + "*"
		}
	}
	if strings.HasPrefix(path, "/print/v1/printers/") && strings.HasSuffix(path, "/users") {
		path = "/print/v1/printers/*/users"
	}
	return r.Method + " " + path
}

func (f *front) answer(w http.ResponseWriter, r *http.Request) {
	call := callOf(r)
	f.mu.Lock()
	f.calls[call]++
	v := pass
	if f.judge != nil {
		v = f.judge(call)
	}
	f.mu.Unlock()
	switch v {
	case badPage:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>")
		return
	case passLast:
		r = r.WithContext(context.WithValue(r.Context(), last{}, true))
	}
	if call == "POST /print/v1/printers" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var asked struct {
			DeviceUUID         string
			CertificateRequest []byte
		}
		if json.Unmarshal(body, &asked) == nil {
			f.seen.mu.Lock()
			f.seen.requests[asked.DeviceUUID] = asked.CertificateRequest
			f.seen.mu.Unlock()
			r.Header.Set("X-Front-Device", asked.DeviceUUID) // for note
		}
	}
	f.proxy.ServeHTTP(w, r)
}

// note keeps which certificate the service gave to which device.
func (f *front) note(resp *http.Response) error {
	call := callOf(resp.Request)
	if resp.Request.Context().Value(last{}) != nil && resp.StatusCode < http.StatusMultipleChoices {
		f.leave()
		resp.Header.Set("Connection", "close")
	}
	if call != "POST /print/v1/printers" && call != "GET /print/v1/operations/*" {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var said struct {
		OperationID string
		Certificate []byte
	}
	if json.Unmarshal(body, &said) != nil {
		return nil
	}
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	if uuid := resp.Request.Header.Get("X-Front-Device"); uuid != "" {
		f.seen.operations[said.OperationID] = uuid
	}
	if len(said.Certificate) > 0 {
		f.seen.certificates[f.seen.operations[said.OperationID]] = said.Certificate
	}
	return nil
}

// certified is the certificate that the service gave to a device, and whether it is for the key of the request for it, which its holder
// has proved to have by signing.
func (f *front) certified(t *testing.T, uuid string) (der []byte) {
	t.Helper()
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	asked, err := x509.ParseCertificateRequest(f.seen.requests[uuid])
	if err != nil {
		t.Fatalf("the certificate request of %s: %v", uuid, err)
	}
	given, err := x509.ParseCertificate(f.seen.certificates[uuid])
	if err != nil {
		t.Fatalf("the certificate of %s: %v", uuid, err)
	}
	if err := asked.CheckSignature(); err != nil {
		t.Errorf("the certificate request of %s: %v", uuid, err)
	}
	if key, ok := given.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(asked.PublicKey) {
		t.Errorf("the certificate of %s is not for the key of its request", uuid)
	}
	return given.Raw
}
