package schedule_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// The runs wait most of the time: all of them go on at once, however few processors there are.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	rig.Main(m)
}

// The scenario. It is the same in each run.
const (
	seed     = 20261202
	devices  = 60
	capacity = 10
	crowd    = 15 // deliveries that are planned for the same second
	every    = 8 * time.Second

	rate     = "150kB/s"
	size     = 600_000 // bytes, which take 4 s
	usual    = 4500 * time.Millisecond
	longest  = 6 * time.Second // planned with
	lead     = 13 * time.Second
	checkIns = "8s"             // of a device; within lead, so that it knows its new start in time
	ahead    = 36 * time.Second // of the first crowd
	acting   = 30 * time.Second // more, where an operator acts, whose browser shares a busy machine
	window   = 55 * time.Second // of a delivery, from the first crowd on

	// Another service's traffic, which is not moved.
	service       = "meter-reading"
	serviceAfter  = 20 * time.Second // the first crowd
	serviceTakes  = 8 * time.Second
	serviceAtOnce = 2
)

// scene is one run: a region, a gateway and its devices.
type scene struct {
	*region
	gateway *rig.Gateway
	meters  *rig.Origin // where the other service's devices call
	first   time.Time   // crowd
	pack    string      // what is delivered
	busiest int         // devices that held a slot at once

	mu     sync.Mutex
	events map[string][]event // of the devices, by kind
}

// event is a line of mfpsim.
type event struct {
	Time                time.Time
	Device, Event, Text string
	PackageID           string
	Bytes               int64
}

func (s *scene) heard(kind string) []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[kind]
}

// newScene starts everything and waits until the region knows the devices. number keeps the addresses of scenes apart.
func newScene(t *testing.T, number int, mode mfpgate.ScheduleMode) *scene {
	t.Helper()
	s := &scene{region: startRegion(t), events: map[string][]event{}}
	s.local(t, "contract", "set", gateway, "--mode", "auto", "--max-concurrent", fmt.Sprint(capacity), "--lead-time", lead.String(),
		"--slot", "1s", "--max-move", "0s", "--services", mfpgate.ServiceDelivery, "--time-zone", "Asia/Tokyo")
	s.meters = rig.Listen(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	s.gateway = rig.Start(t, s.configuration(number, mode), func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+s.certificate) })
	out := start(t, rig.Simulator(t), "fleet", "--cloud", s.url, "--ca", s.certificate, "--factory-key", filepath.Join(s.dir, "region", "factory.key"),
		"--count", fmt.Sprint(devices), "--first", address(number, 0), "--proxy", "http://"+s.gateway.Address, "--model", model,
		"--poll", checkIns, "--json", "--print", "--ipp-port", "17310", "--snmp-port", "17161")
	ended := make(chan struct{})
	go func() { // the clean-up waits for it, which follows the program's end
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				s.mu.Lock()
				s.events[e.Event] = append(s.events[e.Event], e)
				s.mu.Unlock()
			}
		}
	}()
	rig.Until(t, "the region knows all devices", func() bool { return len(s.devices(t)) == devices })
	rig.Until(t, "all devices have checked in", func() bool { return len(distinct(s.heard("checked-in"))) == devices })
	return s
}

func distinct(events []event) map[string]bool {
	of := map[string]bool{}
	for _, e := range events {
		of[e.Device] = true
	}
	return of
}

func address(number, device int) string { return fmt.Sprintf("127.40.%d.%d", number, device+1) }

// configuration differs between scenes in the mode, and in addresses.
func (s *scene) configuration(number int, mode mfpgate.ScheduleMode) string {
	var b strings.Builder
	_, port, _ := strings.Cut(strings.TrimPrefix(s.url, "https://"), ":")
	fmt.Fprintf(&b, `  allow: [{host: 127.0.0.1, ports: [%s, %s], private: true}]
  capacity: {devices: %d, queue_timeout: 1s, linger: 150ms}
  per_device: {rate: %s}
  timeouts: {drain: 1s}
schedule: {mode: %s}
portal: {listen: "127.0.0.2:0"}
cloud: {url: %q, gateway_id: %s, token: {file: %s}}
devices:
  polling: {status: 5s}
  static:
`, port, s.meters.Port, capacity, rate, mode, s.url, gateway, s.token)
	for n := range devices {
		at := address(number, n)
		fmt.Fprintf(&b, "    - {name: \"copier %d\", address: %s, uri: \"ipp://%s:17310/ipp/print\"}\n", n+1, at, at)
	}
	return b.String()
}

// plan is what an operator plans who does not know the relay: crowds of devices at the same second, in an order of no meaning.
func (s *scene) plan(t *testing.T, ahead time.Duration) {
	t.Helper()
	s.pack = strings.TrimSpace(s.local(t, "package", "generate", "--model", model+" scanner", "--version", "2.0", "--size", fmt.Sprint(size)))
	ids := s.devices(t)
	order := rand.New(rand.NewPCG(seed, 0)).Perm(devices)
	now := mfpgate.SystemClock{}.Now().UTC().Truncate(time.Second)
	s.first = now.Add(ahead)
	end := s.first.Add(window)
	var list []api.Delivery
	for i, n := range order {
		at := s.first.Add(time.Duration(i/crowd) * every)
		list = append(list, api.Delivery{DeviceID: ids[fmt.Sprintf("SIM%06d", n+1)], BatchID: fmt.Sprintf("crowd-%d", i/crowd+1), Kind: "application", PackageID: s.pack,
			Schedule: api.Schedule{StartUTC: &at}, Window: &api.StartWindow{EarliestStart: &now, LatestEnd: &end},
			Duration: &api.Estimate{P50: api.Duration(usual), P95: api.Duration(longest), Basis: "assumed"}})
	}
	s.remote(t, "", "background", "set", gateway, service, "--kind", "meterRead", "--start", s.first.Add(serviceAfter).Format(time.RFC3339),
		"--duration", serviceTakes.String(), "--concurrency", fmt.Sprint(serviceAtOnce))
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	created := s.remote(t, string(data), "delivery", "add", gateway, "--file", "-", "--allow-overload")
	if n := len(strings.Fields(created)); n != devices {
		t.Fatalf("%d deliveries are planned, want %d", n, devices)
	}
}

// tell logs what became of the deliveries that failed.
func (s *scene) tell(t *testing.T) {
	t.Helper()
	names := map[string]string{}
	for serial, id := range s.devices(t) {
		names[id] = "mfp-" + strings.TrimLeft(serial, "SIM0")
	}
	since := func(at time.Time) string { return at.Sub(s.first).Round(10 * time.Millisecond).String() }
	for _, d := range s.deliveries(t) {
		if d.State == "done" {
			continue
		}
		t.Logf("%s of %s, version %s, planned at %s, is %s: %s", d.DeliveryID, names[d.DeviceID], d.Version, since(*d.Schedule.StartUTC), d.State, d.Reason)
		s.mu.Lock()
		for _, list := range s.events {
			for _, e := range list {
				if e.Device == names[d.DeviceID] && e.Event != "checked-in" {
					t.Logf("  at %s: %s: %s", since(e.Time), e.Event, e.Text)
				}
			}
		}
		s.mu.Unlock()
	}
}
