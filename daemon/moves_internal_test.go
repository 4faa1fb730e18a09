package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client/peer"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// between is how mfpcloud has regions call each other.
func between(p region.Peering) (*region.Link, error) {
	to, err := peer.Open(peer.Options{Region: p.Region, ManagementURL: p.ManagementURL, ServicesURL: p.ServicesURL, ManagementToken: p.ManagementToken,
		ServicesToken: p.ServicesToken, Keys: p.Keys, RootCAs: p.RootCAs, Clock: p.Clock})
	if err != nil {
		return nil, err
	}
	s := to.Services()
	return &region.Link{Services: s, Management: to.Management(), Register: s.Register, Send: s.Send, Hosts: to.Hosts, Close: to.Close}, nil
}

const (
	mfpModel  = "SIM-100"
	mfpSerial = "US000001"
	mfpID     = "us-mfp-1"
)

// site is a gateway in jp with a device of us, and both regions.
type site struct {
	*Daemon
	t       *testing.T
	jp, us  *servertest.Region
	front   *httptest.Server // jp, in the clear on loopback
	dir     string
	where   Listening
	signals chan os.Signal
	ended   chan error
	log     locked
	device  mfpgate.DeviceID
	keys    int
}

type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newSite(t *testing.T) *site {
	t.Helper()
	of := servertest.Peers(t, servertest.Pairing{Connect: between, Apart: true})
	s := &site{t: t, jp: of["jp"], us: of["us"], dir: t.TempDir()}
	to, err := url.Parse(s.jp.URL)
	servertest.Must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = s.jp.HTTP(t).Transport
	proxy.ErrorLog = log.New(io.Discard, "", 0) // a long poll is broken off at the end
	s.front = httptest.NewServer(proxy)
	t.Cleanup(s.front.Close)
	servertest.Must(t, os.WriteFile(filepath.Join(s.dir, "token"), []byte(s.jp.Gateway(t, "osaka-1").Reveal()), 0o600))
	s.jp.Administrator(t, "it@example.co.jp")
	servertest.Must(t, os.WriteFile(filepath.Join(s.dir, "mfpgate.yaml"), fmt.Appendf(nil, `site: {name: osaka, region: jp}
state_dir: %s
relay:
  listen: ["127.0.0.1:0"]
  clients: [127.0.0.0/8]
  allow: [{host: 127.0.0.1, ports: [1], private: true}]
cloud: {url: %q, gateway_id: osaka-1, token: {file: %s}}
devices: {static: [{address: 127.0.0.2, name: "2F copier", market: us}]}
print_services: [{name: office, kind: reference, url: %q, ca: %s}]
registration: {admin: it@example.co.jp}
portal: {listen: "127.0.0.1:0"}
`, filepath.Join(s.dir, "state"), s.front.URL, filepath.Join(s.dir, "token"), s.jp.URL, s.jp.Folder.CertificatePath()), 0o600))
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *site) start() {
	s.t.Helper()
	s.signals, s.ended = make(chan os.Signal, 2), make(chan error, 1)
	ready := make(chan Listening, 1)
	d, err := New(s.t.Context(), Options{ConfigFile: filepath.Join(s.dir, "mfpgate.yaml"), Clock: mfpgate.SystemClock{}, Output: &s.log, Signals: s.signals,
		Getenv: func(string) string { return "" }, Ready: func(l Listening) { ready <- l }})
	servertest.Must(s.t, err)
	s.Daemon = d
	at := netip.MustParseAddrPort("127.0.0.2:631")
	d.registry.Sight(mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceIPP, "ipp://"+at.String()+"/ipp/print"), Answered: true,
		Identity:  mfpgate.Identity{Make: "Sim", Model: mfpModel, Serial: mfpSerial},
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: at, Path: "ipp/print"}}})
	go func() { s.ended <- d.Run(context.Background()) }()
	select {
	case s.where = <-ready:
	case err := <-s.ended:
		s.t.Fatal(err)
	}
	s.device = d.registry.List()[0].ID
}

func (s *site) stop() {
	s.t.Helper()
	if s.ended == nil {
		return
	}
	s.signals <- syscall.SIGTERM
	servertest.Must(s.t, <-s.ended)
	s.ended = nil
}

// ask calls the gateway's API over its socket.
func (s *site) ask(method, path, body string, into any) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://mfpgate/api/v1/"+path, strings.NewReader(body))
	servertest.Must(s.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "k1")
	resp, err := control.Client(s.where.Control).Do(req)
	servertest.Must(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	servertest.Must(s.t, err)
	if err := json.Unmarshal(text, into); err != nil {
		s.t.Fatalf("%s %s: %s: %v", method, path, text, err)
	}
	return resp.StatusCode
}

// mfp calls a region as the device.
func (s *site) mfp(r *servertest.Region, method, path string, in any) int {
	s.t.Helper()
	text, err := json.Marshal(in)
	servertest.Must(s.t, err)
	base := r.URL
	if strings.HasPrefix(path, "/svc/") {
		base = r.Services
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, base+path, bytes.NewReader(text))
	servertest.Must(s.t, err)
	req.Header.Set("Content-Type", "application/json")
	s.keys++
	req.Header.Set("Idempotency-Key", fmt.Sprint("key-", s.keys))
	req.Header.Set("Authorization", "Bearer "+r.Device(s.t, mfpID).Reveal())
	resp, err := r.HTTP(s.t).Do(req)
	servertest.Must(s.t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// until waits for a state, as long as a slow machine needs.
func (s *site) until(what string, is func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for !is() {
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 30*time.Millisecond) != nil {
			s.t.Fatalf("it does not come to it: %s\n%s", what, s.log.String())
		}
	}
}

func (s *site) residence() mfpgate.Residence {
	s.t.Helper()
	var list struct{ Items []mfpgate.Residence }
	if status := s.ask("GET", "residences", "", &list); status != 200 || len(list.Items) != 1 {
		s.t.Fatalf("residences: %d %+v", status, list)
	}
	return list.Items[0]
}

// home is where the list of devices, and the cloud, say that the device is at home.
func (s *site) home(want string) {
	s.t.Helper()
	s.until("at home in "+want, func() bool { return s.registry.List()[0].Home == want })
	s.until("the cloud is told that it is at home in "+want, func() bool {
		c, err := s.call(s.config.Load().Cloud)
		servertest.Must(s.t, err)
		d, _, err := c.Device(s.t.Context(), s.device)
		return err == nil && d.Home == want
	})
}

// register has the device enter its own region, as it did where it was sold.
func (s *site) register() {
	s.t.Helper()
	status := s.mfp(s.us, "POST", api.DevicesPath, api.DeviceRegistration{Model: mfpModel, Serial: mfpSerial, Name: "2F",
		Services: []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"translate", "whiteboard"}}}})
	if status != 200 {
		s.t.Fatalf("the device's first start: %d", status)
	}
}

// A user asks for a device of another market at a print service; then an administrator moves it. All of it through the gateway's API,
// with two real regions.
func TestADeviceOfAnotherMarketIsRegisteredAndThenMoved(t *testing.T) {
	s := newSite(t)
	request := func(user string) string {
		return fmt.Sprintf(`{"deviceId":%q,"service":"office","user":%q}`, s.device, user)
	}
	told := func() bool {
		shown := s.inventory.shown.Load()
		return shown != nil && shown.modes[s.device] != (mode{})
	}
	s.until("the cloud knows the device", told)

	// No region knows it.
	var problem struct{ Detail string }
	s.until("the regions answer each other", func() bool {
		status := s.ask("POST", "registrations", request("first@example.co.jp"), &problem)
		return status == 409 && strings.Contains(problem.Detail, "id unknown here: neither us")
	})
	if !strings.Contains(problem.Detail, "Have it registered in us first") {
		t.Errorf("it does not say what to do: %s", problem.Detail)
	}

	// Its own region does: the user does nothing more.
	s.register()
	var g mfpgate.Registration
	if status := s.ask("POST", "registrations", request("sato@example.co.jp"), &g); status != 202 || !strings.Contains(g.Advice, "in region us") {
		t.Fatalf("a registration: %d %+v", status, g)
	}
	s.until("the administrator is asked", func() bool {
		var now mfpgate.Registration
		s.ask("GET", "registrations/"+g.ID, "", &now)
		return now.State == mfpgate.RegistrationAwaitingAdmin
	})
	s.until("it is registered here, with its data abroad", func() bool {
		r := s.residence()
		return r.State == mfpgate.ResidenceForeign && r.Home == "us"
	})
	s.home("us")

	// It is moved.
	var plan mfpgate.MovePlan
	if status := s.ask("POST", "moves", fmt.Sprintf(`{"deviceId":%q,"dryRun":true}`, s.device), &plan); status != 200 || plan.From != "us" || plan.To != "jp" || len(plan.Blockers) > 0 {
		t.Fatalf("the plan: %d %+v", status, plan)
	}
	start := fmt.Sprintf(`{"deviceId":%q,"plan":%q}`, s.device, plan.Hash)
	var m, again mfpgate.Move
	if status := s.ask("POST", "moves", start, &m); status != 201 {
		t.Fatalf("the start: %d %+v", status, m)
	}
	if status := s.ask("POST", "moves", start, &again); status != 201 || again.ID != m.ID {
		t.Errorf("the same start again: %d %s, not %s", status, again.ID, m.ID)
	}
	s.until("the move waits for the device", func() bool {
		s.ask("GET", "moves/"+string(m.ID), "", &m)
		if m.State == mfpgate.MoveRolledBack {
			t.Fatalf("it was taken back: %+v\n%s", m, s.log.String())
		}
		return m.Step == mfpgate.StepRedirect || m.Step == mfpgate.StepConfirm
	})
	if m.SwitchedAt.IsZero() {
		t.Errorf("it went on before the gateway had switched: %+v", m)
	}
	if status := s.ask("POST", "moves/"+string(m.ID)+"/abort", "", &problem); status != 409 {
		t.Errorf("an abort after the commit: %d %s", status, problem.Detail)
	}
	if route := s.moves.Route(s.device, hostOf(t, s.us.Services), portOf(t, s.us.Services), true); route.Action != mfpgate.RouteBlock || route.Epoch != 2 {
		t.Errorf("the way to the region that it left: %+v", route)
	}

	// The device comes, and the move ends.
	if status := s.mfp(s.us, "POST", api.DirectiveAckPath, api.DirectiveAck{Move: m.ID, Epoch: 2}); status != 204 {
		t.Errorf("the directive is acknowledged: %d", status)
	}
	if status := s.mfp(s.jp, "POST", api.ServiceDevices+"/"+mfpID+"/check-ins", api.ServiceCheckIn{Epoch: 2}); status != 200 {
		t.Errorf("the check-in: %d", status)
	}
	if last := s.follow(m.ID); last.State != mfpgate.MoveDone || last.Receipt == nil {
		t.Errorf("the end: %+v", last)
	}
	s.home("jp")
	s.until("the residence says so", func() bool {
		r := s.residence()
		return r.State == mfpgate.ResidenceHome && r.Epoch == 2 && len(r.Receipts) == 1
	})
	var report control.AuditReport
	if s.ask("GET", "audit/verify", "", &report); !report.Right || len(report.Chains) != 2 {
		t.Errorf("the audit: %+v", report)
	}
	var entries struct{ Items []control.AuditEntry }
	s.ask("GET", "audit?room=route", "", &entries)
	if text := fmt.Sprint(entries); !strings.Contains(text, "move.switched") || !strings.Contains(text, "device.enrol-requested") {
		t.Errorf("the audit's entries: %s", text)
	}

	// After a restart the routes are in force before anything listens, and the region is the one that was met first.
	s.stop()
	s.changePins(t)
	s.start()
	if route := s.moves.Route(s.device, hostOf(t, s.us.Services), portOf(t, s.us.Services), true); route.Epoch != 2 {
		t.Errorf("after a restart: %+v", route)
	}
	s.until("other keys than the pinned ones are noticed", func() bool {
		var status control.Status
		s.ask("GET", "status", "", &status)
		return strings.Contains(fmt.Sprint(status.Degraded), string(RegionKeysChanged))
	})
}

// follow reads the move's events to their end.
func (s *site) follow(id mfpgate.MoveID) (last mfpgate.Move) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mfpgate/api/v1/moves/"+string(id)+"/events", nil)
	servertest.Must(s.t, err)
	of := control.Client(s.where.Control)
	of.Timeout = 0
	resp, err := of.Do(req)
	servertest.Must(s.t, err)
	defer resp.Body.Close()
	err = control.Follow(bufio.NewReader(resp.Body), func(m mfpgate.Move) bool {
		last = m
		return !m.State.Ended()
	})
	if err != nil {
		s.t.Fatalf("at step %s: %v\n%s", last.Step, err, s.log.String())
	}
	return last
}

// changePins has the file of pinned keys hold another key.
func (s *site) changePins(t *testing.T) {
	t.Helper()
	file := filepath.Join(s.dir, "state", "region-keys.json")
	text, err := os.ReadFile(file)
	servertest.Must(t, err)
	var all pinned
	servertest.Must(t, json.Unmarshal(text, &all))
	if len(all.Clouds) != 1 || len(all.Clouds[0].Keys) == 0 {
		t.Fatalf("pinned are %s", text)
	}
	all.Clouds[0].Keys = []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
	text, err = json.Marshal(all)
	servertest.Must(t, err)
	servertest.Must(t, os.WriteFile(file, text, 0o600))
}

func hostOf(t *testing.T, text string) mfpgate.Host {
	t.Helper()
	u, err := url.Parse(text)
	servertest.Must(t, err)
	h, err := mfpgate.ParseHost(u.Hostname())
	servertest.Must(t, err)
	return h
}

func portOf(t *testing.T, text string) (port uint16) {
	t.Helper()
	u, err := url.Parse(text)
	servertest.Must(t, err)
	_, err = fmt.Sscan(u.Port(), &port)
	servertest.Must(t, err)
	return port
}
