package daemon_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// plainly shows a region over HTTP on loopback, which a gateway may use without a certificate.
func plainly(t *testing.T, region *servertest.Region) *httptest.Server {
	t.Helper()
	to, err := url.Parse(region.URL)
	servertest.Must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = region.HTTP(t).Transport
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	return front
}

// control asks the gateway over its socket.
func (g *gateway) control(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	req, err := http.NewRequest(method, "http://mfpgate/api/v1/"+path, strings.NewReader(body))
	servertest.Must(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := control.Client(g.Control).Do(req)
	servertest.Must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	servertest.Must(t, err)
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s %s: %s: %v", method, path, text, err)
	}
	return resp.StatusCode
}

// reached waits for a state of the gateway without taking the machine from it.
func reached(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	await(t, what, func() bool {
		<-tick.C
		return is()
	})
}

// operator changes the region.
type operator struct {
	t        *testing.T
	url, key string
}

func (o operator) do(method, path string, body any, header ...string) (text []byte, etag string) {
	o.t.Helper()
	data, err := json.Marshal(body)
	servertest.Must(o.t, err)
	req, err := http.NewRequest(method, o.url+"/v1/gateways/g-1/"+path, bytes.NewReader(data))
	servertest.Must(o.t, err)
	req.Header.Set("Authorization", "Basic "+o.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	servertest.Must(o.t, err)
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	servertest.Must(o.t, err)
	if resp.StatusCode > 299 {
		o.t.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
	}
	return text, resp.Header.Get("ETag")
}

// TestAnOverloadIsRepaired is the way of a schedule through a site: two devices are planned at once where one can be served;
// the gateway reports that and proposes; an operator accepts; the overload is gone. Then a device changes its mode.
func TestAnOverloadIsRepaired(t *testing.T) {
	region := servertest.Start(t)
	front := plainly(t, region)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	servertest.Must(t, os.WriteFile(token, []byte(region.Gateway(t, "g-1").Reveal()), 0o600))
	more := func(mode string) string {
		return fmt.Sprintf(`cloud: {url: %q, gateway_id: g-1, token: {file: %s}}
devices: {static: [{address: 127.0.0.2, name: A}, {address: 127.0.0.3, name: B, monitoring: %s}]}
schedule: {background: [{name: backup, cron: "0 0 1 1 *", duration: 1m, devices: [A, nobody]}]}
`, front.URL, token, mode)
	}
	g := startIn(t, dir, "1", more("proxy"))
	defer g.stop(t)
	file := filepath.Join(dir, "mfpgate.yaml")
	reload := func(change func(string) string) {
		t.Helper()
		text, err := os.ReadFile(file)
		servertest.Must(t, err)
		servertest.Must(t, os.WriteFile(file, []byte(change(string(text))), 0o600))
		g.signals <- syscall.SIGHUP
	}
	reload(func(s string) string {
		return strings.Replace(s, "metrics:", "  capacity: {devices: 1}\nmetrics:", 1)
	})
	schedule := func() (s control.Schedule) {
		g.control(t, "GET", "schedule", "", &s)
		return s
	}
	reached(t, "the cloud knows the devices, and a plan was made", func() bool { s := schedule(); return s.Idle == "" && !s.Planned.IsZero() })
	if s := schedule(); s.Background != 1 || s.Mode != mfpgate.SchedulePropose {
		t.Errorf("%d background schedules in mode %s", s.Background, s.Mode)
	}

	hana := operator{t, front.URL, base64.StdEncoding.EncodeToString([]byte("hana:" + region.Operator(t, "hana").Reveal()))}
	var devices struct{ Items []mfpgate.Device }
	g.control(t, "GET", "devices", "", &devices)
	start := time.Now().UTC().Truncate(time.Hour).Add(30 * time.Hour)
	ids := map[string]mfpgate.DeviceID{}
	for _, d := range devices.Items {
		ids[d.Name] = d.ID
		hana.do(http.MethodPut, "deliveries/dlv_"+d.Name+"?allowOverload=true", api.Delivery{DeliveryID: "dlv_" + d.Name, DeviceID: string(d.ID), Schedule: api.Schedule{StartUTC: &start},
			Duration: &api.Estimate{P50: api.Duration(5 * time.Minute), P95: api.Duration(10 * time.Minute), Basis: "assumed"}}, "If-None-Match", "*")
	}
	var capacity api.Capacity
	reached(t, "the region goes by the relay's capacity, which only the gateway knows", func() bool {
		text, _ := hana.do(http.MethodGet, "capacity?from="+start.Format(time.RFC3339)+"&to="+start.Add(time.Hour).Format(time.RFC3339), nil)
		servertest.Must(t, json.Unmarshal(text, &capacity))
		return capacity.Slots[0].Limit == 1
	})
	if s := capacity.Slots[0]; s.State != api.SlotOver || s.Load != 2 {
		t.Errorf("the crowded slot: %+v", s)
	}
	var p, again control.Proposal
	var raw json.RawMessage
	if code := g.control(t, "POST", "schedule/propose", "", &raw); code != http.StatusOK { // sooner than the events
		t.Fatalf("propose: %d %s", code, raw)
	}
	if s := schedule(); len(s.Bands) != 1 || s.ProposalState != control.ProposalOpen || len(s.BandsAfter) != 0 {
		t.Errorf("after the plan: %+v", s)
	}
	g.control(t, "GET", "schedule/proposal", "", &p)
	if len(p.Changes) != 1 || p.Changes[0].State != "pending" || p.Changes[0].From != start || ids[p.Changes[0].DeviceName] != p.Changes[0].Device {
		t.Fatalf("proposal: %+v", p)
	}
	if code := g.control(t, "POST", "schedule/propose", "", &again); code != http.StatusOK || again.ID != p.ID {
		t.Errorf("proposed again: %d %s, want the open %s", code, again.ID, p.ID)
	}
	var problem struct{ Detail string }
	if code := g.control(t, "POST", "schedule/apply", `{"proposalId":"`+p.ID+`"}`, &problem); code != http.StatusConflict || !strings.Contains(problem.Detail, "does not allow") {
		t.Errorf("applied against the contract: %d %s", code, problem.Detail)
	}
	var load struct{ Items []control.Load }
	g.control(t, "GET", "schedule/load", "", &load)
	var past, ahead int
	for _, l := range load.Items {
		switch {
		case l.Observed != nil:
			past++
		case l.Planned != nil && l.Capacity == 1:
			ahead++
		}
	}
	if past == 0 || ahead != 288 {
		t.Errorf("the load has %d pieces of the past and %d ahead, want 288", past, ahead)
	}

	_, etag := hana.do(http.MethodGet, "change-proposals/"+p.ID, nil)
	hana.do(http.MethodPost, "change-proposals/"+p.ID+"/decision", map[string]any{"accept": "all"}, "If-Match", etag, "Idempotency-Key", "k-1")
	if code := g.control(t, "POST", "schedule/propose", "", &problem); code != http.StatusConflict || !strings.Contains(problem.Detail, "no new start to propose") {
		t.Errorf("proposed where nothing is left to repair: %d %s", code, problem.Detail)
	}
	reached(t, "the decision is known, and nothing is left to repair", func() bool {
		s := schedule()
		return s.ProposalState == control.ProposalDecided && len(s.Bands) == 0
	})
	var list struct{ Items []control.Delivery }
	g.control(t, "GET", "schedule/deliveries", "", &list)
	var starts []time.Time
	for _, d := range list.Items {
		starts = append(starts, d.Start)
	}
	if len(starts) != 2 || starts[1].Sub(starts[0]) < 10*time.Minute {
		t.Errorf("starts: %v", starts)
	}

	reload(func(s string) string { return strings.Replace(s, "monitoring: proxy", "monitoring: polling", 1) })
	var out struct{ Items []control.LeftOut }
	reached(t, "the device in mode polling is left out", func() bool {
		g.control(t, "GET", "schedule/left-out", "", &out)
		var list struct{ Items []control.Delivery }
		g.control(t, "GET", "schedule/deliveries", "", &list)
		return len(out.Items) > 0 && len(list.Items) == 1 // the region tells of devices in mode proxy alone
	})
	want := []control.LeftOut{{Device: ids["B"], DeviceName: "B", Reason: "polling-mode", Text: control.LeftOutReason("polling-mode")}}
	if diff := cmp.Diff(want, out.Items); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

// TestTheContractsCalendarBoundsTheCapacity: inside its hours the contract's calendar holds at the relay, too, and a contract
// whose calendar nobody can read does not take the place of the last one.
func TestTheContractsCalendarBoundsTheCapacity(t *testing.T) {
	now := time.Now().UTC()
	var rule atomic.Pointer[api.CapacityRule]
	rule.Store(&api.CapacityRule{RRule: "FREQ=DAILY", Start: now.Add(-2 * time.Hour).Format("15:04"), End: now.Add(2 * time.Hour).Format("15:04"),
		TimeZone: "UTC", MaxConcurrent: 2})
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/gateways/g-1/contract" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		contract := api.DefaultContract("g-1")
		contract.CapacityCalendar = []api.CapacityRule{*rule.Load()}
		w.Header().Set("ETag", fmt.Sprintf("%q", contract.CapacityCalendar[0].RRule))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(contract)
	}))
	defer cloud.Close()
	dir := t.TempDir()
	servertest.Must(t, os.WriteFile(filepath.Join(dir, "token"), []byte("secret\n"), 0o600))
	g := startIn(t, dir, "1", fmt.Sprintf("cloud: {url: %q, gateway_id: g-1, token: {file: %s}}\n", cloud.URL, filepath.Join(dir, "token")))
	defer g.stop(t)
	capacity := func() int {
		var s control.Status
		g.control(t, "GET", "status", "", &s)
		if s.Relay.Capacity == 2 {
			if until := s.Relay.CapacityUntil; until.Sub(now) > 2*time.Hour+time.Minute || until.Sub(now) < time.Hour {
				t.Fatalf("the capacity holds until %v", until)
			}
		}
		return s.Relay.Capacity
	}
	reached(t, "the calendar's figure", func() bool { return capacity() == 2 })
	rule.Store(&api.CapacityRule{RRule: "FREQ=NEVER", Start: "00:00", End: "00:00", TimeZone: "UTC", MaxConcurrent: 7})
	g.signals <- syscall.SIGHUP
	reached(t, "the contract is refused", func() bool { return strings.Contains(g.metrics(t, "/readyz"), "/capacityCalendar/0/rrule") })
	if n := capacity(); n != 2 {
		t.Errorf("capacity %d, want the last contract's", n)
	}
}
