package doctor_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/doctor"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// machine is one that a doctor looks at: its files, and its USB.
type machine struct {
	t    *testing.T
	root string
	bus  *membus.Bus
	o    doctor.Options
}

const stranger = "nobody" // a user of every system, in place of the service's

func newMachine(t *testing.T, more string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, root: filepath.Join(dir, "root"), bus: membus.New()}
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(state, 0o777); err != nil { // the service's user is another
		t.Fatal(err)
	}
	for at := state; at != "/"; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.Mode().Perm()&0o005 != 0o005 {
			_ = os.Chmod(at, info.Mode().Perm()|0o055)
		}
	}
	file := filepath.Join(dir, "mfpgate.yaml")
	text := "site: {name: osaka, region: jp}\nstate_dir: " + state + "\nrelay:\n  clients: [10.0.0.0/8]\n  allow: [{host: a.example, ports: [443]}]\n" + more
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.o = doctor.Options{ConfigFile: file, Socket: filepath.Join(dir, "s"), Root: m.root, OpenUSB: func() (bus.Bus, error) { return m.bus, nil }, Service: stranger}
	return m
}

// plug plugs a printer in. Its node has a mode; each interface's driver is one of the kernel's, usbfs of a program, or "".
func (m *machine) plug(port bus.Port, mode os.FileMode, driver string) bus.Device {
	m.t.Helper()
	d := m.bus.Plug(model.NewPrinter("CN1").Device, port).Device()
	node := filepath.Join(m.root, "dev/bus/usb", fmt.Sprintf("%03d", d.Bus), fmt.Sprintf("%03d", d.Address))
	m.write(node, "", mode)
	m.write(filepath.Join(m.root, "sys/bus/usb/devices", string(port), "product"), "LaserJet\n", 0o644)
	for _, i := range d.Interfaces {
		at := filepath.Join(m.root, "sys/bus/usb/devices", fmt.Sprintf("%s:%d.%d", port, i.Config, i.Number))
		if err := os.MkdirAll(at, 0o755); err != nil {
			m.t.Fatal(err)
		}
		if driver != "" {
			_ = os.Symlink("../../../../bus/usb/drivers/"+driver, filepath.Join(at, "driver")) // of each interface once
		}
	}
	return d
}

func (m *machine) write(path, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
}

// opened makes a program that has a device's node open.
func (m *machine) opened(pid, name string, d bus.Device) {
	m.t.Helper()
	m.write(filepath.Join(m.root, "proc", pid, "comm"), name+"\n", 0o644)
	fd := filepath.Join(m.root, "proc", pid, "fd")
	if err := os.MkdirAll(fd, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Symlink(fmt.Sprintf("/dev/bus/usb/%03d/%03d", d.Bus, d.Address), filepath.Join(fd, "7")); err != nil {
		m.t.Fatal(err)
	}
}

// serve runs a daemon that stands still, and is asked.
func (m *machine) serve(g control.Gateway) {
	m.t.Helper()
	l, err := control.Listen(m.o.Socket)
	if err != nil {
		m.t.Fatal(err)
	}
	server := &http.Server{Handler: control.Handler(g, "test"), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }() // the clean-up waits for it
	m.t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			m.t.Error(err)
		}
	})
}

// of are the findings of one check.
func (m *machine) of(check string) (found []doctor.Finding) {
	m.t.Helper()
	for _, f := range doctor.Look(m.t.Context(), m.o) {
		if f.Check == check {
			f.Check = ""
			f.Detail = strings.ReplaceAll(f.Detail, m.root, "")
			found = append(found, f)
		}
		if (f.Result == doctor.Failed || f.Result == doctor.Warning) && f.Fix == "" {
			m.t.Errorf("%+v names no fix", f)
		}
	}
	return found
}

const on = "usb: {enabled: true}\n"

// lacksGroup reports whether this system has no group of printers on USB, as one has that mfpgate is not installed on.
func lacksGroup() bool {
	_, err := user.LookupGroup("mfpgate-usb")
	return err != nil
}

func TestUSBWithoutTheDaemon(t *testing.T) {
	self := stranger
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		self = u.Username
	}
	for _, tc := range []struct {
		rule  string
		more  string
		setup func(*machine)
		want  []doctor.Finding
	}{
		{"it is off", "", nil, []doctor.Finding{{Result: doctor.Skipped, Detail: "usb.enabled is off"}}},
		{"this build has none, and nobody wants it", "", func(m *machine) { m.o.OpenUSB = nil },
			[]doctor.Finding{{Result: doctor.Skipped, Detail: "usb.enabled is off, and this build has no USB"}}},
		{"this build has none", on, func(m *machine) { m.o.OpenUSB = nil }, []doctor.Finding{{Result: doctor.Failed, Detail: "this build has no USB",
			Fix: "build with CGO_ENABLED=1 and libusb-1.0-0-dev, or set usb.enabled: false"}}},
		{"no file says", "nonsense: 1\n", nil, []doctor.Finding{{Result: doctor.Skipped, Detail: "the configuration cannot be read"}}},
		{"no printer", on, nil, []doctor.Finding{{Result: doctor.Warning, Detail: "no printer is plugged in",
			Fix: "plug one in and switch it on; lsusb lists what the kernel sees"}}},
		{"no USB", on, func(m *machine) { m.o.OpenUSB = func() (bus.Bus, error) { return nil, errors.New("no such device") } },
			[]doctor.Finding{{Result: doctor.Failed, Detail: "USB cannot be opened: no such device",
				Fix: "check that this machine has USB, and that /dev/bus/usb and /sys are there"}}},
		{"printers in the order of their ports, one of them without a right", on, func(m *machine) {
			m.plug("1-2", 0o666, "")
			m.plug("1-1", 0o000, "usblp")
			m.write(filepath.Join(m.root, "usr/lib/udev/rules.d/70-mfpgate.rules"), "", 0o644)
		}, []doctor.Finding{
			{Result: doctor.Failed, Detail: "1-1 1209:0001 LaserJet: " + self + " has no right to /dev/bus/usb/001/002"},
			{Result: doctor.Good, Detail: "1-2 1209:0001 LaserJet: the gateway may use it"},
		}},
		{"the kernel has one", on, func(m *machine) { m.plug("1-1", 0o666, "usblp") }, []doctor.Finding{
			{Result: doctor.Good, Detail: "1-1 1209:0001 LaserJet: the gateway may use it; it is given back to the kernel's usblp whenever the gateway ends"}}},
		{"ipp-usb has one", on, func(m *machine) { m.opened("812", "ipp-usb", m.plug("1-1", 0o666, "usbfs")) }, []doctor.Finding{
			{Result: doctor.Good, Detail: "1-1 1209:0001 LaserJet: ipp-usb (process 812) has it; the gateway will use it through its port"}}},
		{"CUPS has one", on, func(m *machine) { m.opened("77", "usb", m.plug("1-1", 0o666, "usbfs")) }, []doctor.Finding{
			{Result: doctor.Warning, Detail: "1-1 1209:0001 LaserJet: usb (process 77) has it",
				Fix: "end the program that has it, or let it go: a print queue of CUPS with a usb:// address has it while it prints"}}},
		{"somebody has one, whom this user may not see", on, func(m *machine) { m.plug("1-1", 0o666, "usbfs") }, []doctor.Finding{
			{Result: doctor.Warning, Detail: "1-1 1209:0001 LaserJet: another program has it",
				Fix: "end the program that has it, or let it go: a print queue of CUPS with a usb:// address has it while it prints"}}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			m := newMachine(t, tc.more)
			if tc.setup != nil {
				tc.setup(m)
			}
			got := m.of("usb")
			for i := range got {
				if strings.Contains(got[i].Detail, "no right") {
					if want := "udevadm control --reload && udevadm trigger --subsystem-match=usb"; !strings.Contains(got[i].Fix, want) ||
						!strings.Contains(got[i].Fix, "mfpgate-usb") || lacksGroup() && !strings.Contains(got[i].Fix, "systemd-sysusers") {
						t.Errorf("the fix is %q", got[i].Fix)
					}
					got[i].Fix = ""
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := m.bus.Opens(); n != 0 {
				t.Errorf("%d printers were opened", n)
			}
		})
	}
}

func TestUSBOfARunningDaemon(t *testing.T) {
	g := portaltest.Fleet(12)
	g.PlugIn(8)
	m := newMachine(t, on)
	m.plug("1-1", 0o600, "usbfs") // must not matter
	m.serve(g)
	got := m.of("usb")
	if len(got) != 4 {
		t.Fatalf("%d findings: %+v", len(got), got)
	}
	for i, want := range []doctor.Finding{
		{Result: doctor.Good, Detail: "1-1 03f0:e911 Branch 000 printer 9: IPP over USB at http://127.0.0.1:60000, open to the site's network"},
		{Result: doctor.Good, Detail: "1-2.1 04a9:10d2 Branch 001 printer 2: through another program at http://127.0.0.1:60001, on this machine alone: ipp-usb (process 812) has it; its port is used"},
		{Result: doctor.Good, Detail: "1-2.4 04b8:0005 Branch 001 printer 1: raw USB: unidirectional for 04b8:0005: it must not be read from, or it hangs"},
		{Result: doctor.Failed, Detail: "3-1 04f9:0027 Branch 001 printer 3: not driven: " + portaltest.Hostile},
	} {
		if got[i].Result != want.Result || got[i].Detail != want.Detail {
			t.Errorf("got %+v, want %+v", got[i], want)
		}
	}
	if !strings.Contains(got[3].Fix, "70-mfpgate.rules") && !strings.Contains(got[3].Fix, "udevadm trigger") {
		t.Errorf("the fix of one without a right is %q", got[3].Fix)
	}
	if n := m.bus.Lists(); n != 0 {
		t.Error("the bus was looked at beside the daemon")
	}

	g = portaltest.Fleet(9)
	m = newMachine(t, on)
	g.StatusIs.Off = []string{"mail", "usb"}
	m.serve(g)
	if got := m.of("usb"); len(got) != 1 || got[0].Result != doctor.Warning || got[0].Fix != "systemctl reload mfpgate" {
		t.Errorf("a daemon that has it off: %+v", got)
	}

	g = portaltest.Idle()
	g.StatusIs.Degraded = []control.Degradation{{Reason: daemon.USBFailed, Text: "USB cannot be opened: no such device; check that this machine has USB"}}
	m = newMachine(t, on)
	m.serve(g)
	if got, want := m.of("daemon"), (doctor.Finding{Result: doctor.Warning, Detail: "usb-failed: USB cannot be opened: no such device", Fix: "check that this machine has USB"}); len(got) != 2 || got[1] != want {
		t.Errorf("a daemon that cannot use it: got %+v, want %+v", got, want)
	}
	if got := m.of("usb"); len(got) != 1 || got[0].Result != doctor.Failed || !strings.Contains(got[0].Fix, "usb-failed") {
		t.Errorf("no printer, for it cannot be used: %+v", got)
	}
}

// TestWhatIsSaidOfPrintersIsNotSaidTwice: the check of USB names the printers that the daemon degrades for, wherever it looks at all.
func TestWhatIsSaidOfPrintersIsNotSaidTwice(t *testing.T) {
	for more, want := range map[string]int{on: 1, "usb: {enabled: false}\n": 3, "nonsense: 1\n": 3} {
		g := portaltest.Idle()
		g.StatusIs.Degraded = []control.Degradation{{Reason: daemon.USBAccess, Text: "of one"}, {Reason: daemon.USBBusy, Text: "of another"}}
		m := newMachine(t, more)
		m.serve(g)
		if got := m.of("daemon"); len(got) != want {
			t.Errorf("%q: %d findings, want %d: %+v", more, len(got), want, got)
		}
	}
}

func TestTheOtherChecks(t *testing.T) {
	m := newMachine(t, "")
	if got := m.of("config"); len(got) != 1 || got[0].Result != doctor.Good {
		t.Errorf("a good file: %+v", got)
	}
	if got := m.of("state"); len(got) != 1 || got[0].Result == doctor.Failed || !strings.Contains(got[0].Detail, "MiB free") {
		t.Errorf("a state directory: %+v", got)
	}
	if got := m.of("daemon"); len(got) != 1 || got[0].Result != doctor.Warning {
		t.Errorf("no daemon: %+v", got)
	}
	g := portaltest.Idle()
	g.StatusIs.Degraded = []control.Degradation{{Reason: "cloud-away", Text: "the cloud does not answer; check the way out"}}
	m.serve(g)
	got := m.of("daemon")
	if len(got) != 2 || got[0].Result != doctor.Good || got[1] != (doctor.Finding{Result: doctor.Warning, Detail: "cloud-away: the cloud does not answer", Fix: "check the way out"}) {
		t.Errorf("a degraded daemon: %+v", got)
	}

	m = newMachine(t, "relai: 1\nlog: {level: loud}\n")
	if got := m.of("config"); len(got) != 2 || got[0].Result != doctor.Failed || !strings.HasSuffix(got[0].Detail, ":6:1: relai: unknown key") || got[0].Fix != "did you mean relay?" {
		t.Errorf("a bad file: %+v", got)
	}
	if got := m.of("state"); len(got) != 1 || got[0].Result != doctor.Skipped {
		t.Errorf("the state of a bad file: %+v", got)
	}
	m = newMachine(t, "")
	if err := os.Remove(filepath.Join(filepath.Dir(m.o.ConfigFile), "state")); err != nil {
		t.Fatal(err)
	}
	if got := m.of("state"); len(got) != 1 || got[0].Result != doctor.Failed {
		t.Errorf("no state directory: %+v", got)
	}
	m = newMachine(t, "")
	state := filepath.Join(filepath.Dir(m.o.ConfigFile), "state")
	if err := os.Chmod(state, 0o500); err != nil {
		t.Fatal(err)
	}
	if got := m.of("state"); len(got) != 1 || got[0].Result != doctor.Failed || !strings.Contains(got[0].Fix, "chown") {
		t.Errorf("one that the service may not write to: %+v", got)
	}
}
