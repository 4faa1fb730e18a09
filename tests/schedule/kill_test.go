//go:build long

package schedule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/tests/rig"
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

func (f *front) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
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

// TestEachChangeIsAppliedOnce kills the gateway in mode auto around each call of the delivery system, and at any time. However often it is
// killed, an overload is reported once and repaired once: nothing is moved that had not to be, and nothing twice.
func TestEachChangeIsAppliedOnce(t *testing.T) {
	const printers, places = 6, 2
	r, f, config := behindFront(t, printers, places, mfpgate.ScheduleAuto)
	dir := rig.Dir(t)
	trusts := func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+r.certificate) }
	g := rig.StartIn(t, dir, config, trusts)
	rig.Until(t, "the region knows all devices, and the gateway plans", func() bool {
		return len(r.devices(t)) == printers && f.count("GET events") > 0
	})
	g.Kill(t)
	ids := r.devices(t)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	day := mfpgate.SystemClock{}.Now().UTC().Truncate(time.Hour).Add(24 * time.Hour)
	for round, step := range []string{"GET deliveries/arriving", "GET deliveries/answered", "GET background-schedules/answered",
		"PUT overload-reports/arriving", "PUT overload-reports/taken", "PUT overload-reports/answered", "POST change-proposals/arriving",
		"POST change-proposals/taken", "POST change-proposals/answered", "GET events/answered", "any", "any"} {
		at := day.Add(time.Duration(round) * 6 * time.Hour)
		batch := fmt.Sprintf("round-%d", round)
		var list []api.Delivery
		for _, id := range ids {
			list = append(list, api.Delivery{DeviceID: id, BatchID: batch, Schedule: api.Schedule{StartUTC: &at},
				Duration: &api.Estimate{P50: api.Duration(10 * time.Minute), P95: api.Duration(10 * time.Minute), Basis: "assumed"}})
		}
		var created api.Page[api.Delivery]
		f.forget()
		r.call(t, http.MethodPost, "deliveries:batch?allowOverload=true", "", map[string]any{"items": list}, &created)

		g := rig.Launch(t, dir, config, trusts)
		kill := sync.OnceFunc(func() { g.Signal(t, syscall.SIGKILL) })
		f.when(func(call string, _ http.ResponseWriter, forward func() func()) {
			if step == call+"/arriving" {
				kill()
			}
			answer := forward()
			if step == call+"/taken" {
				kill()
			}
			answer()
			if step == call+"/answered" {
				kill()
			}
		})
		var after *time.Timer
		if step == "any" {
			after = time.AfterFunc(time.Duration(random.IntN(1500))*time.Millisecond, kill)
		}
		if code, stderr := g.Exit(t); code != -1 {
			t.Fatalf("step %s: the gateway ended by itself with %d: %s", step, code, stderr)
		}
		if after != nil {
			after.Stop()
		}
		f.when(nil)

		g = rig.StartIn(t, dir, config, trusts)
		var moved int
		slowly := time.NewTicker(50 * time.Millisecond)
		rig.Until(t, step+": the overload is repaired, and its warning closed", func() bool {
			<-slowly.C
			moved = 0
			for _, d := range r.deliveries(t) {
				if d.BatchID == batch && !d.Schedule.StartUTC.Equal(at) {
					moved++
				}
			}
			var warnings api.Page[api.Warning]
			r.call(t, http.MethodGet, "warnings?state=open", "", nil, &warnings)
			return moved > 0 && len(warnings.Items) == 0
		})
		slowly.Stop()
		g.Kill(t)
		for _, d := range r.deliveries(t) {
			want := api.Version("1")
			if !d.Schedule.StartUTC.Equal(at) {
				want = "2"
			}
			if d.BatchID == batch && d.Version != want {
				t.Errorf("step %s: %s has version %s, want %s: each change is applied once", step, d.DeliveryID, d.Version, want)
			}
		}
		f.mu.Lock()
		if moved != printers-places || len(f.reports) != 1 || len(f.proposals) != 1 {
			t.Errorf("step %s: %d were moved, want %d; %d overload reports and %d proposals were sent, want one of each",
				step, moved, printers-places, len(f.reports), len(f.proposals))
		}
		f.mu.Unlock()
	}
}
