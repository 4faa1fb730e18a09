package mfp_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

const device = "mfp-1"

// region is a management server and services of which a test says what they answer.
type region struct {
	*testing.T
	name                 string
	key                  ed25519.PrivateKey
	management, services *httptest.Server

	mu         sync.Mutex
	registered api.DeviceRegistration
	asked      map[string]int // by method and path
	remote     map[string]bool
	items      map[string]string
	epoch      uint64
	moved      bool
	absent     bool                       // knows of no regions
	draining   int                        // so many items are not taken
	directive  any                        // mfpgate.Directive, or the text of a signed one
	acked      func(api.DirectiveAck) int // status
}

func newRegion(t *testing.T, name string) *region {
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	r := &region{T: t, name: name, key: key, asked: map[string]int{}, remote: map[string]bool{}, items: map[string]string{}, epoch: 1}
	r.management, r.services = httptest.NewServer(http.HandlerFunc(r.manage)), httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(func() {
		r.management.CloseClientConnections()
		r.management.Close()
		r.services.Close()
	})
	return r
}

func (r *region) set(change func(*region)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *region) count(what string) (n int) {
	r.set(func(r *region) { n = r.asked[what] })
	return n
}

func (r *region) note(w http.ResponseWriter, q *http.Request) bool {
	r.asked[q.Method+" "+q.URL.Path]++
	r.remote[q.RemoteAddr] = true
	if q.Header.Get("Authorization") != "Bearer secret" {
		refuse(w, http.StatusUnauthorized, "token-refused", "")
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, status int, reason, retryAfter string) {
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Type: api.ProblemType + reason, Title: http.StatusText(status), Status: status})
}

func (r *region) manage(w http.ResponseWriter, q *http.Request) {
	if strings.HasSuffix(q.URL.Path, "/push") {
		r.set(func(r *region) { r.note(w, q) })
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-q.Context().Done()
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.note(w, q) {
		return
	}
	switch what := q.Method + " " + q.URL.Path; {
	case what == "POST /v1/devices/"+device+"/check-ins":
		_, _ = io.WriteString(w, `{}`)
	case r.absent:
		refuse(w, http.StatusNotFound, "no-such-resource", "")
	case what == "POST "+api.DevicesPath:
		_ = json.NewDecoder(q.Body).Decode(&r.registered)
		_ = json.NewEncoder(w).Encode(api.HoldingBrief{Registration: "r1." + r.name + ".1.x.y", Region: r.name, Epoch: r.epoch, State: mfpgate.HoldingActive,
			ServicesURL: r.services.URL})
	case what == "GET "+api.DirectivePath && r.directive != nil:
		signed, ready := r.directive.(string)
		if !ready {
			signed, _ = jws.Sign(r.key, api.PurposeDirective, r.directive)
		}
		_ = json.NewEncoder(w).Encode(api.SignedDirective{Signed: signed})
	case what == "POST "+api.DirectiveAckPath:
		var ack api.DirectiveAck
		_ = json.NewDecoder(q.Body).Decode(&ack)
		if r.acked != nil {
			w.WriteHeader(r.acked(ack))
		}
	default:
		refuse(w, http.StatusNotFound, "no-directive", "")
	}
}

func (r *region) serve(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.note(w, q) {
		return
	}
	item, data := strings.CutPrefix(q.URL.Path, api.ServiceDevices+"/"+device+"/data/")
	switch {
	case r.moved:
		refuse(w, http.StatusMisdirectedRequest, api.Moved, "")
	case data && r.draining > 0:
		r.draining--
		refuse(w, http.StatusServiceUnavailable, api.Draining, "1")
	case data:
		body, _ := io.ReadAll(q.Body)
		r.items[item] = string(body)
		w.WriteHeader(http.StatusNoContent)
	default:
		var in api.ServiceCheckIn
		_ = json.NewDecoder(q.Body).Decode(&in)
		_ = json.NewEncoder(w).Encode(api.HoldingBrief{Registration: "r1." + r.name + ".1.x.y", Region: r.name, Epoch: r.epoch, State: mfpgate.HoldingActive})
	}
}

// leads is a directive from here to another region.
func (r *region) leads(to *region, epoch uint64) mfpgate.Directive {
	return mfpgate.Directive{MFP: device, Move: mfpgate.MoveID(fmt.Sprintf("mov_%d", epoch)), Epoch: epoch, Region: to.name, Management: to.management.URL, Services: to.services.URL}
}

// moves has the device's home be elsewhere.
func (r *region) moves(to *region, epoch uint64) {
	to.set(func(to *region) { to.epoch = epoch })
	r.set(func(r *region) { r.moved, r.directive = true, r.leads(to, epoch) })
}

// resident is a device of a region.
func resident(t *testing.T, of *region) *site {
	s := &site{events: make(chan mfp.Event, 10_000)}
	cloud, err := url.Parse(of.management.URL)
	must(t, err)
	s.options = mfp.Options{
		Cloud: cloud, Token: "secret", ID: device, Model: "SIM-100", Serial: "1", Firmware: "1.0", Poll: 20 * time.Millisecond, Clock: mfpgate.SystemClock{},
		Jitter: func(bound time.Duration) time.Duration { return min(bound, 20*time.Millisecond) },
		Notify: func(e mfp.Event) { s.events <- e },
	}
	s.options.Services = []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"translate", "whiteboard"}}}
	s.options.RegionKeys = []ed25519.PublicKey{of.key.Public().(ed25519.PublicKey)}
	s.options.DirectiveEvery = 1000
	return s
}

// until waits for what the device does without telling.
func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !reached() {
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 5*time.Millisecond) != nil {
			t.Fatalf("never: %s", what)
		}
	}
}

// forwarder is a relay for plain HTTP that leads requests where a test says.
type forwarder struct {
	url *url.URL

	mu    sync.Mutex
	route func(host string) (to string, status int, reason mfpgate.Reason)
	asked map[string]int // by host that was asked for
}

func newForwarder(t *testing.T, route func(host string) (string, int, mfpgate.Reason)) *forwarder {
	f := &forwarder{route: route, asked: map[string]int{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "" {
			t.Errorf("%s %s is no request to a proxy", r.Method, r.URL)
		}
		f.mu.Lock()
		f.asked[r.URL.Host]++
		to, status, reason := f.route(r.URL.Host)
		f.mu.Unlock()
		switch {
		case status == http.StatusPermanentRedirect:
			w.Header().Set("Location", "http://"+to+r.URL.RequestURI())
			w.WriteHeader(status)
		case status != 0:
			w.Header().Set("Proxy-Status", `mfpgate; error=http_request_denied; details="`+string(reason)+`"`)
			w.WriteHeader(status)
		default:
			r.URL.Host = to
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	var err error
	f.url, err = url.Parse(s.URL)
	must(t, err)
	return f
}
