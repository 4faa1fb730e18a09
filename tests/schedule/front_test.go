package schedule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
)

// front stands before a region, notes what the gateway tells the delivery system, and meddles.
type front struct {
	*httptest.Server

	mu        sync.Mutex
	reports   map[string]bool // ids of those with overloads
	proposals map[string]bool
	calls     map[string]int
	meddle    func(call string, w http.ResponseWriter, forward func() func()) // nil: forward
}

func newFront(t *testing.T, r *region) *front {
	t.Helper()
	to, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = r.http.Transport
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // the gateway is dead
	f := &front{calls: map[string]int{}}
	f.forget()
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		q.Body = io.NopCloser(bytes.NewReader(body))
		call := q.Method + " "
		if part := strings.Split(q.URL.Path, "/"); len(part) > 4 { // "", v1, gateways, id, what
			call += part[4]
		}
		meddle := f.note(call, body)
		if meddle == nil {
			proxy.ServeHTTP(w, q)
			return
		}
		meddle(call, w, func() func() { // the region has it; what is returned gives its answer
			answer := httptest.NewRecorder()
			proxy.ServeHTTP(answer, q)
			return func() {
				for name, values := range answer.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(answer.Body.Bytes())
				_ = http.NewResponseController(w).Flush()
			}
		})
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *front) note(call string, body []byte) func(string, http.ResponseWriter, func() func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[call]++
	var said struct {
		ReportID, ProposalID string
		Bands                []json.RawMessage
	}
	_ = json.Unmarshal(body, &said) // what is no object says nothing
	if call == "PUT overload-reports" && len(said.Bands) > 0 {
		f.reports[said.ReportID] = true
	}
	if call == "POST change-proposals" {
		f.proposals[said.ProposalID] = true
	}
	return f.meddle
}

func (f *front) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports, f.proposals = map[string]bool{}, map[string]bool{}
}

func (f *front) when(meddle func(string, http.ResponseWriter, func() func())) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.meddle = meddle
}

// behindFront is a region behind a front, and the configuration of a gateway with printers.
func behindFront(t *testing.T, printers, places int, mode mfpgate.ScheduleMode) (r *region, f *front, configuration string) {
	t.Helper()
	r = startRegion(t)
	r.local(t, "contract", "set", gateway, "--mode", "auto", "--max-concurrent", fmt.Sprint(places), "--lead-time", "1m", "--slot", "1m",
		"--max-move", "0s", "--services", mfpgate.ServiceDelivery)
	f = newFront(t, r)
	network := printertest.Start(t, printer.SiteOptions{})
	var config strings.Builder
	fmt.Fprintf(&config, "  allow: [{host: update.vendor.example, ports: [443]}]\nschedule: {mode: %s}\n", mode)
	fmt.Fprintf(&config, "cloud: {url: %q, gateway_id: %s, token: {file: %s}}\ndevices:\n  polling: {status: 1s}\n  static:\n", f.URL, gateway, r.token)
	for n := range printers {
		p := printertest.Add(t, network, printer.Options{Serial: fmt.Sprintf("SIM%06d", n+1),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 78, byte(n + 1)})}, NoSNMP: true}).IPP()
		fmt.Fprintf(&config, "    - {name: \"copier %d\", address: %s, uri: \"ipp://%s/ipp/print\"}\n", n+1, p.Addr(), p)
	}
	return r, f, config.String()
}
