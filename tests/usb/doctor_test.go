package usb_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/doctor"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// doctorOf is what the doctor says of USB beside a running gateway.
func doctorOf(t *testing.T, g *rig.Gateway) (code int, usb []doctor.Finding) {
	t.Helper()
	code, out, _ := rig.Run(t, "doctor", "--config", g.Config, "--socket", g.Socket, "--json")
	var list struct{ Items []doctor.Finding }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	for _, f := range list.Items {
		if f.Check == "usb" {
			usb = append(usb, f)
		}
	}
	return code, usb
}

// TestDoctor: what keeps a printer from being driven is named, with what mends it.
func TestDoctor(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.plug(model.NewPrinter("S1"), "1-1")
	g := rig.Start(t, "  allow: [{host: 127.0.0.1, ports: [443], private: true}]\nusb: {enabled: true}\n", b.inside)
	comes(t, g, "the printer is driven", driven("1-1", mfpgate.USBModeIPP))
	if code, found := doctorOf(t, g); code != 0 || len(found) != 1 || found[0].Result != doctor.Good || !strings.Contains(found[0].Detail, "1-1 1209:0001 Rigworks Composite 100") {
		t.Errorf("%d %+v", code, found)
	}

	denied := b.plug(model.New(model.Options{Layout: model.Bidirectional, Model: "Denied"}), "1-2")
	if err := denied.Deny(); err != nil {
		t.Fatal(err)
	}
	held := b.plug(model.New(model.Options{Layout: model.Bidirectional, Model: "Held"}), "1-3")
	held.Hold(0)
	unused := func(why mfpgate.Reason) func(mfpgate.Device) bool {
		return func(d mfpgate.Device) bool {
			return d.USB != nil && d.USB.Mode == mfpgate.USBModeUnused && d.USB.Reason == why
		}
	}
	comes(t, g, "the right is missing", unused("usb-access"))
	comes(t, g, "another program has the printer", unused("usb-busy"))
	code, found := doctorOf(t, g)
	if code != 1 || len(found) != 3 {
		t.Fatalf("%d %+v", code, found)
	}
	if f := found[1]; f.Result != doctor.Failed || !strings.Contains(f.Detail, "no right to /dev/bus/usb/001/") || !strings.Contains(f.Fix, "70-mfpgate.rules") {
		t.Errorf("%+v", f)
	}
	if f := found[2]; f.Result != doctor.Failed || !strings.Contains(f.Detail, "another program has the printer") || !strings.Contains(f.Fix, "CUPS") {
		t.Errorf("%+v", f)
	}
	rig.Until(t, "the gateway calls itself degraded", func() bool {
		reasons := map[mfpgate.Reason]bool{}
		for _, d := range g.Status(t).Degraded {
			reasons[d.Reason] = true
		}
		return reasons["usb-access"] && reasons["usb-busy"]
	})

	if err := denied.Allow(); err != nil {
		t.Fatal(err)
	}
	held.Unhold(0)
	comes(t, g, "the first is driven once the right is there", driven("1-2", mfpgate.USBModeRaw))
	comes(t, g, "the second is driven once it is free", driven("1-3", mfpgate.USBModeRaw))
	if code, found := doctorOf(t, g); code != 0 || len(found) != 3 {
		t.Errorf("%d %+v", code, found)
	}
}

// TestWithoutUSB: a build that has no libusb says so where it is asked for USB, and does all else.
func TestWithoutUSB(t *testing.T) {
	t.Parallel()
	dir := rig.Dir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "mfpgate")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "nousb", "-o", program, "github.com/mfpgate/mfpgate/cmd/mfpgate")
	if need.Long { // a build of all packages
		build = exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/mfpgate/mfpgate/cmd/mfpgate")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	instead := func(cmd *exec.Cmd) { cmd.Path = program }
	g := rig.Start(t, "  allow: [{host: 127.0.0.1, ports: [443], private: true}]\nusb: {enabled: false}\n", instead)
	g.Status(t)
	bad := rig.WriteFile(t, g.Dir, "bad.yaml", "site: {name: e2e, region: jp}\nstate_dir: "+filepath.Join(dir, "other")+
		"\nrelay:\n  clients: [127.0.0.0/8]\n  allow: [{host: 127.0.0.1, ports: [443], private: true}]\nusb:\n  enabled: true\n")
	for _, command := range []string{"check", "serve"} {
		cmd := exec.Command(program, command, "--config", bad)
		rig.Unprivileged(cmd)
		out, _ := cmd.CombinedOutput() // its code is looked at
		if want := bad + ":7:12: usb.enabled: this build has no USB; "; cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), want) || !strings.Contains(string(out), "CGO_ENABLED=1") {
			t.Errorf("%s: %d %q, want %q", command, cmd.ProcessState.ExitCode(), out, want)
		}
	}
	g.Configure(t, "  allow: [{host: 127.0.0.1, ports: [443], private: true}]\nusb: {enabled: true}\n")
}
