//go:build vm

package guest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
)

// soon is the deadline for a state, on an emulated processor beside other work.
const soon = 2 * time.Minute

const (
	configFile = "/etc/mfpgate/mfpgate.yaml"
	rule       = "/usr/lib/udev/rules.d/70-mfpgate.rules"
	unit       = "mfpgate.service"
)

const configuration = `site: {name: guest, region: jp, time_zone: UTC}
state_dir: /var/lib/mfpgate
relay:
  clients: [127.0.0.0/8]
  allow: [{host: mfp.example, ports: [443]}]
  timeouts: {drain: 5s}
usb: {enabled: true}
`

// The printers: port of vhci_hcd, layout, serial number.
const (
	composite, compositeSerial   = 0, "GUEST0" // 7/1/2 and two of 7/1/4
	alternates, alternatesSerial = 1, "GUEST1" // 7/1/2, or in another setting 7/1/4
	stream, streamSerial         = 2, "GUEST2" // 7/1/2
)

// until polls for a state. also says how it is instead.
func until(t *testing.T, what string, there func() bool, also ...func() string) {
	t.Helper()
	for late := (mfpgate.SystemClock{}).Now().Add(soon); !there(); {
		if mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, 50*time.Millisecond) != nil || (mfpgate.SystemClock{}).Now().After(late) {
			for _, say := range also {
				t.Log(say())
			}
			t.Fatalf("not within %s: %s", soon, what)
		}
	}
}

// run executes a program and returns what it says and its exit status.
func run(t *testing.T, name string, args ...string) (out string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(text)), cmd.ProcessState.ExitCode()
}

// must is run for what may not fail.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, status := run(t, name, args...)
	if status != 0 {
		t.Fatalf("%s %s: exit %d: %s", name, strings.Join(args, " "), status, out)
	}
	return out
}

// inside runs as root in the guest. The parts build on each other: a life of one installation.
func inside(t *testing.T) {
	must(t, "modprobe", "vhci-hcd")
	g := &guest{}
	t.Run("installed", g.install)
	g.printers = plugger(t)
	for _, p := range []struct {
		name string
		test func(*testing.T)
	}{
		{"the rule gives printers to the group", g.testRule},
		{"without the daemon the doctor is content", g.testDoctorAlone},
		{"the service drives them without root", g.testDrives},
		{"its user alone prints by IPP, byte for byte", g.testPrints},
		{"unplugged and plugged in again", g.testPlugs},
		{"unplugged while it prints by IPP", g.testUnplugged},
		{"reset after a transfer that failed", g.testFailure},
		{"a stop gives the printers back to the kernel", g.testStop},
		{"bytes arrive as they are", g.testBytes},
		{"unplugged while it prints bytes", g.testBytesUnplugged},
		{"without the rule the doctor says what lacks", g.testWithoutRule},
	} {
		begun := mfpgate.SystemClock{}.Now()
		if !t.Run(p.name, p.test) {
			out, _ := run(t, "journalctl", "-q", "-o", "cat", "-n", "60", "-u", unit, "-u", bytesUnit)
			t.Fatalf("the rest builds on it; the journal ends:\n%s", out)
		}
		t.Logf("%v: %s", mfpgate.SystemClock{}.Now().Sub(begun).Round(100*time.Millisecond), p.name)
	}
}

type guest struct{ printers *printers }

// install does what a package would, and what README.md of systemd/ says to do by hand.
func (g *guest) install(t *testing.T) {
	for from, to := range map[string]string{
		"mfpgate":                        "/usr/bin/mfpgate",
		"systemd/mfpgate.service":        "/usr/lib/systemd/system/mfpgate.service",
		"systemd/mfpgate.socket":         "/usr/lib/systemd/system/mfpgate.socket",
		"systemd/mfpgate.sysusers":       "/usr/lib/sysusers.d/mfpgate.conf",
		"systemd/mfpgate.tmpfiles":       "/usr/lib/tmpfiles.d/mfpgate.conf",
		"systemd/" + filepath.Base(rule): rule,
	} {
		mode := "0644"
		if !strings.Contains(from, "/") {
			mode = "0755"
		}
		must(t, "install", "-D", "-m", mode, filepath.Join("/job", from), to)
	}
	must(t, "systemd-sysusers", "/usr/lib/sysusers.d/mfpgate.conf")
	must(t, "systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/mfpgate.conf")
	must(t, "udevadm", "control", "--reload")
	must(t, "systemctl", "daemon-reload")
	if err := os.WriteFile(configFile, []byte(configuration), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (g *guest) testRule(t *testing.T) {
	for _, p := range []struct {
		layout, serial string
		port           int
	}{{"composite", compositeSerial, composite}, {"alternates", alternatesSerial, alternates}, {"bidirectional", streamSerial, stream}} {
		g.printers.do(t, "plug %s %s %d vid=1209 pid=%d", p.layout, p.serial, p.port, p.port+1)
		d := kernels(t, p.serial)
		g.owned(t, d, "root:mfpgate-usb 660")
		d.drivers("after the plug", "usblp")
	}
	// udev passes over a line that it cannot read, and says so.
	if out := must(t, "journalctl", "-q", "-o", "cat", "-u", "systemd-udevd"); strings.Contains(out, filepath.Base(rule)) {
		t.Errorf("udev about the rules:\n%s", out)
	}
}

// owned waits until a device's node has an owner, a group and a mode.
func (g *guest) owned(t *testing.T, d device, want string) {
	t.Helper()
	must(t, "udevadm", "settle")
	if got := must(t, "stat", "-c", "%U:%G %a", d.node()); got != want {
		t.Errorf("%s, a printer's node: got %s, want %s", d.node(), got, want)
	}
}

// doctor returns what mfpgate doctor says, with its exit status.
func doctor(t *testing.T) (out string, status int) {
	t.Helper()
	return run(t, "mfpgate", "doctor", "--config", configFile)
}

func (g *guest) testDoctorAlone(t *testing.T) {
	out, status := doctor(t)
	if status != 0 || strings.Count(out, "kernel's usblp") != 3 {
		t.Errorf("doctor: exit %d, want 0, and three printers that usblp has:\n%s", status, out)
	}
}

// devices are what `mfpgate devices --json` lists, by serial number.
func devices(t *testing.T) map[string]mfpgate.Device {
	t.Helper()
	var list struct{ Items []mfpgate.Device }
	if err := json.Unmarshal([]byte(must(t, "mfpgate", "devices", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	all := map[string]mfpgate.Device{}
	for _, d := range list.Items {
		all[d.Serial] = d
	}
	return all
}

// await waits until a printer is in a state and a mode, "" for any.
func await(t *testing.T, serial string, state mfpgate.DeviceState, mode mfpgate.USBMode) (d mfpgate.Device) {
	t.Helper()
	until(t, fmt.Sprintf("%s is %s %s", serial, state, mode), func() bool {
		d = devices(t)[serial]
		return d.State == state && (mode == "" || d.USB != nil && d.USB.Mode == mode)
	}, func() string { return fmt.Sprintf("it is %+v, %+v", d, d.USB) })
	return d
}

func (g *guest) testDrives(t *testing.T) {
	must(t, "systemctl", "start", unit)
	for serial, mode := range map[string]mfpgate.USBMode{compositeSerial: mfpgate.USBModeIPP, alternatesSerial: mfpgate.USBModeIPP, streamSerial: mfpgate.USBModeRaw} {
		d := await(t, serial, mfpgate.DeviceOnline, mode)
		if port := kernels(t, serial).port; d.USB.Bus != port || d.Attachment != mfpgate.AttachmentUSB {
			t.Errorf("%s: got port %s, attached by %s, want %s by usb", serial, d.USB.Bus, d.Attachment, port)
		}
	}
	kernels(t, compositeSerial).drivers("driven by IPP", "usblp", "usbfs", "usbfs")
	kernels(t, alternatesSerial).drivers("driven by IPP", "usbfs")
	kernels(t, streamSerial).drivers("driven by bytes", "usbfs")

	status, err := os.ReadFile("/proc/" + must(t, "systemctl", "show", "-P", "MainPID", unit) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	uid := must(t, "id", "-u", "mfpgate")
	for _, want := range []string{"Uid:\t" + strings.Join([]string{uid, uid, uid, uid}, "\t"), "NoNewPrivs:\t1", "Seccomp:\t2",
		"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(string(status), want+"\n") {
			t.Errorf("the daemon's status, want %q in:\n%s", want, status)
		}
	}
	if out, status := doctor(t); status != 0 || strings.Contains(out, "failed") {
		t.Errorf("doctor: exit %d, want 0:\n%s", status, out)
	}
}

func (g *guest) testPlugs(t *testing.T) {
	for serial, port := range map[string]int{compositeSerial: composite, alternatesSerial: alternates, streamSerial: stream} {
		before := devices(t)[serial]
		g.printers.do(t, "unplug %d", port)
		await(t, serial, mfpgate.DeviceOffline, "")
		g.printers.do(t, "back %d", port)
		after := await(t, serial, mfpgate.DeviceOnline, before.USB.Mode)
		if after.ID != before.ID || after.USB.URL != before.USB.URL {
			t.Errorf("%s was %s at %s, and is %s at %s", serial, before.ID, before.USB.URL, after.ID, after.USB.URL)
		}
	}
}

func (g *guest) testStop(t *testing.T) {
	must(t, "systemctl", "stop", "mfpgate.socket", unit)
	kernels(t, compositeSerial).drivers("after the stop", "usblp", "", "")
	kernels(t, alternatesSerial).drivers("after the stop", "usblp")
	kernels(t, streamSerial).drivers("after the stop", "usblp")
	if result := must(t, "systemctl", "show", "-P", "Result", unit); result != "success" {
		t.Errorf("the service ended with %s", result)
	}
}

func (g *guest) testWithoutRule(t *testing.T) {
	if err := os.Rename(rule, rule+".away"); err != nil {
		t.Fatal(err)
	}
	reload := func(action string) {
		t.Helper()
		must(t, "udevadm", "control", "--reload")
		must(t, "udevadm", "trigger", "--subsystem-match=usb", "--action="+action, "--settle")
	}
	reload("add") // udev's own rules give printers to lp when they are plugged in, and leave them alone when they change
	d := kernels(t, compositeSerial)
	g.owned(t, d, "root:lp 664")
	says := func(when string) {
		t.Helper()
		if out, status := doctor(t); status == 0 || !strings.Contains(out, rule) {
			t.Errorf("doctor without the rule, %s: exit %d, want a failure that names %s:\n%s", when, status, rule, out)
		}
	}
	says("without the daemon")
	must(t, "systemctl", "start", unit)
	until(t, "the daemon has no right to it", func() bool {
		p := devices(t)[compositeSerial].USB
		return p != nil && p.Reason == "usb-access"
	})
	says("with the daemon")
	if err := os.Rename(rule+".away", rule); err != nil {
		t.Fatal(err)
	}
	reload("change") // as the rule's comment says
	g.owned(t, d, "root:mfpgate-usb 660")
	await(t, compositeSerial, mfpgate.DeviceOnline, mfpgate.USBModeIPP)
	if out, status := doctor(t); status != 0 {
		t.Errorf("doctor with the rule again: exit %d:\n%s", status, out)
	}
}
