package moves_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/regions"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// Where the devices answer as printers; each has an address of its own.
const (
	ippPort  = "17510"
	snmpPort = "17561"
	model    = "SIM-100"
	classes  = 2 // of data, that a simulated device stores
)

// patience is longer than rig.Deadline: many programs share the machine here.
const patience = 90 * time.Second

// scene is a site in jp between two clouds, with devices that were built for us.
type scene struct {
	*regions.World
	*rig.Gateway
	trust string
	extra string // of the gateway's configuration

	mu      sync.Mutex
	devices map[string]*device // by id, the last process of each
	refusal string             // the last that api was given
	masks   *masks             // of a scene with some
}

// device is a process of mfpsim.
type device struct {
	id, address string
	cmd         *exec.Cmd
	ended       chan struct{} // its output

	mu     sync.Mutex
	events []map[string]any
}

// options change a scene.
type options struct {
	network string // of the loopback, for this test alone
	cross   bool   // jp's certificate has us's name as well
	region  string // the value of `region`
	start   int    // how many devices are there at first
	devices int    // how many are known to the gateway, from <network>.10.1 on

	entry   func(n int) string  // more of the nth device's entry of devices.static, such as ", market: us", which it has without this
	more    func(*scene) string // of the gateway's configuration, once the regions serve
	rollout map[string][]string // as regions.Options has it
	hosts   map[string][]string // flags of one region alone, by its name
	begin   func(*scene)        // starts devices before the gateway, besides those of start
	front   func(region string, names []string, management, services string) ([2]string, []byte, error)
}

// open starts the clouds and the gateway.
func open(t *testing.T, o options) *scene {
	t.Helper()
	if o.region == "" {
		o.region = "{policy: ask}"
	}
	dir := rig.Dir(t)
	w, err := regions.Open(t.Context(), regions.Options{Dir: dir, Cloud: rig.Cloud(t), Network: o.network, As: rig.Unprivileged, CrossName: o.cross, Rollout: o.rollout, Each: o.hosts, Front: o.front,
		Log: func(region, line string) { t.Logf("%s: %s", region, line) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &scene{World: w, devices: map[string]*device{}}
	if s.trust, err = w.Trust(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  listen: [%q]\n  dns_servers: [%q]\n%s", s.relay(), w.Names.Address, w.Allow())
	fmt.Fprintf(&b, "cloud: {url: %q, gateway_id: %s, token: {file: %s}}\nregion: %s\n", w.JP.Reached, regions.Gateway, w.JP.Token, o.region)
	fmt.Fprintf(&b, "devices:\n  monitoring: proxy\n  static:\n")
	for n := range max(o.devices, 1) {
		at := s.at(n + 1)
		entry := ", market: us"
		if o.entry != nil {
			entry = o.entry(n + 1)
		}
		fmt.Fprintf(&b, "    - {name: %q, address: %s, uri: \"ipp://%s:%s/ipp/print\"%s}\n", name(n+1), at, at, ippPort, entry)
	}
	fmt.Fprintf(&b, "portal: {listen: \"127.0.0.2:0\"}\n")
	if o.more != nil {
		b.WriteString(o.more(s))
	}
	s.extra = b.String()
	for n := range o.start {
		s.start(t, n+1)
	}
	if o.begin != nil {
		o.begin(s)
	}
	s.startGateway(t, rig.Dir(t))
	return s
}

func (s *scene) startGateway(t *testing.T, dir string) {
	t.Helper()
	s.Gateway = rig.StartIn(t, dir, s.extra, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+s.trust) })
}

func (s *scene) relay() string   { return s.World.Network + ".0.2:3128" }
func (s *scene) at(n int) string { return fmt.Sprintf("%s.10.%d", s.World.Network, n) }
func name(n int) string          { return fmt.Sprintf("Copier %d", n) }
func mfp(n int) string           { return fmt.Sprintf("us-mfp-%d", n) }

// device is the process that was started last with an id.
func (s *scene) device(id string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.devices[id]
}

// start runs the nth device, as it left its factory in us.
func (s *scene) start(t *testing.T, n int, flags ...string) *device {
	t.Helper()
	return s.launch(t, n, append([]string{"--service", "document-cloud=translate,whiteboard", "--data-every", "1s"}, flags...)...)
}

// launch is start of a device that is in no service, and has no data.
func (s *scene) launch(t *testing.T, n int, flags ...string) *device {
	t.Helper()
	d := &device{id: mfp(n), address: s.at(n)}
	d.cmd = exec.Command(rig.Simulator(t), append([]string{"run", "--id", d.id, "--serial", fmt.Sprintf("US%06d", n), "--model", model, "--bind", d.address,
		"--cloud", "https://" + s.US.ManagementHost, "--ca", s.trust, "--proxy", "http://" + s.relay(), "--poll", "1s", "--json",
		"--factory-key", filepath.Join(s.US.State, "factory.key"), "--region-key", s.US.Key,
		"--state", filepath.Join(s.World.Dir, d.id+".json"), "--print", "--ipp-port", ippPort, "--snmp-port", snmpPort}, flags...)...)
	rig.Unprivileged(d.cmd)
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.ended = make(chan struct{})
	go func() { // the cleanup waits for it
		defer close(d.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var e map[string]any
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				d.mu.Lock()
				d.events = append(d.events, e)
				d.mu.Unlock()
			}
		}
	}()
	s.mu.Lock()
	s.devices[d.id] = d
	s.mu.Unlock()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
		_ = d.cmd.Wait()
	})
	return d
}

// count is how many events of a kind it has told.
func (d *device) count(kind string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e["event"] == kind {
			n++
		}
	}
	return n
}

// ctl runs mfpgate on the gateway's socket and reads what it prints as JSON.
func (s *scene) ctl(t *testing.T, into any, args ...string) error {
	t.Helper()
	cmd := exec.Command(rig.Binary(t), append(args, "--json", "--socket", s.Socket)...)
	rig.Unprivileged(cmd)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("mfpgate %s: %w: %s", strings.Join(args, " "), err, stderrOf(err))
	}
	return json.Unmarshal(out, into)
}

func stderrOf(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}

// known waits until the gateway knows the nth device's serial number, and returns how it names it.
func (s *scene) known(t *testing.T, n int) mfpgate.DeviceID {
	t.Helper()
	var id mfpgate.DeviceID
	rig.Until(t, "the gateway knows the serial number of "+name(n), func() bool {
		var page struct{ Items []mfpgate.Device }
		if err := s.ctl(t, &page, "devices", "list"); err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Items {
			if d.Name == name(n) && d.Serial != "" {
				id = d.ID
			}
		}
		return id != ""
	})
	return id
}

// move plans and starts a move of a device.
func (s *scene) move(t *testing.T, id mfpgate.DeviceID, flags ...string) mfpgate.Move {
	t.Helper()
	var m mfpgate.Move
	var last error
	defer func() {
		if m.ID == "" {
			t.Log("the last refusal:", last)
		}
	}()
	// The region must have been told of the device, and hold all of its classes of data; else the plan is soon another.
	rig.Until(t, "the device can be moved", func() bool {
		var plan mfpgate.MovePlan
		if last = s.ctl(t, &plan, append([]string{"moves", "plan", string(id)}, flags...)...); last != nil {
			return false
		}
		if len(plan.Data) < classes {
			last = fmt.Errorf("there are data of %d classes", len(plan.Data))
			return false
		}
		last = s.ctl(t, &m, append([]string{"moves", "start", string(id), "--plan", plan.Hash}, flags...)...)
		return last == nil
	})
	return m
}

// until waits for a move to be in one of the states, and returns it.
func (s *scene) until(t *testing.T, id mfpgate.MoveID, states ...mfpgate.MoveState) (m mfpgate.Move) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		if err := s.ctl(t, &m, "moves", "status", string(id)); err != nil {
			t.Fatal(err)
		}
		for _, state := range states {
			if m.State == state {
				return m
			}
		}
		if m.State.Ended() {
			text, _ := json.MarshalIndent(m, "", "  ")
			t.Fatalf("the move ended otherwise than %v:\n%s", states, text)
		}
		select {
		case <-again.C:
		case <-late.C:
			text, _ := json.MarshalIndent(m, "", "  ")
			t.Fatalf("after %v the move is not %v:\n%s\n%s", patience, states, text, s.Log.Text())
		}
	}
}
