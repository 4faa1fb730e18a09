package ipp_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/tests/need"
)

// insideEnv says that this process is the one in the namespaces, and where it may write.
const insideEnv = "MFPGATE_TEST_INSIDE"

// TestRealPrinter runs itself again in namespaces of its own, as process 1, so that what it starts ends with it: CUPS's
// printer needs Avahi on a system bus and a host name with addresses of both families, and must not meet those of this
// machine.
func TestRealPrinter(t *testing.T) {
	if dir := os.Getenv(insideEnv); dir != "" {
		inside(t, dir)
		return
	}
	need.Root(t)
	for _, program := range []string{"ippeveprinter", "avahi-daemon", "dbus-daemon", "ip", "mount"} {
		need.Program(t, program)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestRealPrinter$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	need.That(t, !errors.Is(err, syscall.EPERM), "may not make namespaces; run where CAP_SYS_ADMIN is given")
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestRealPrinter")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

// inside is the test in the namespaces.
func inside(t *testing.T, dir string) {
	site(t, dir)
	printer := eve(t, dir)
	client, sent := newClient(t)
	v4, v6 := netip.MustParseAddrPort("10.77.0.2:8631"), netip.MustParseAddrPort("[fd77::2]:8631")
	endpoint := mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: v4, Host: "mfp1.local", Path: "ipp/print"}

	for rule, e := range map[mfpgate.SightingID]mfpgate.Endpoint{
		"ipp:ipp://10.77.0.2:8631/ipp/print":  endpoint,
		"ipp:ipp://[fd77::2]:8631/ipp/print":  {Protocol: mfpgate.ProtocolIPP, Address: v6, Path: "ipp/print"},
		"ipp:ipps://[fd77::2]:8631/ipp/print": {Protocol: mfpgate.ProtocolIPPS, Address: v6, Host: "mfp1.local", Path: "/ipp/print"},
	} {
		got, err := client.Identify(t.Context(), e)
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		if len(got.Identity.UUID) != 36 || got.At.IsZero() {
			t.Errorf("%s: uuid %q at %s", rule, got.Identity.UUID, got.At)
		}
		want := mfpgate.Sighting{
			ID: rule, At: got.At, Name: "Copier 2F", Location: "Floor 1", Answered: true,
			Identity:  mfpgate.Identity{UUID: got.Identity.UUID, Make: "HP", Model: "LaserJet MFP E52645"},
			Endpoints: []mfpgate.Endpoint{e},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", rule, diff)
		}
	}

	read := func() mfpgate.Reading {
		t.Helper()
		r, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus|mfpgate.PartSupplies|mfpgate.PartCounters)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	before := read()
	if diff := cmp.Diff(&mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Message: "Idle."}, before.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	want := []mfpgate.Supply{
		{Index: "1", Name: "Ink Waste Tank", Type: "wasteInk", Receives: true, Unit: "percent", Level: 25, Max: 100},
		{Index: "2", Name: "Black Ink", Type: "ink", Color: "black", Unit: "percent", Level: 75, Max: 100},
		{Index: "3", Name: "Cyan Ink", Type: "ink", Color: "cyan", Unit: "percent", Level: 50, Max: 100},
		{Index: "4", Name: "Magenta Ink", Type: "ink", Color: "magenta", Unit: "percent", Level: 33, Max: 100},
		{Index: "5", Name: "Yellow Ink", Type: "ink", Color: "yellow", Unit: "percent", Level: 67, Max: 100},
	}
	if diff := cmp.Diff(want, before.Supplies); diff != "" {
		t.Errorf("supplies (-want +got):\n%s", diff)
	}

	get(t, "http://10.77.0.2:8631/supplies?supply0=25&supply1=7&supply2=50&supply3=33&supply4=67")
	want[1].Level = 7
	for i := range want { // its page says toner from then on
		want[i].Type = map[string]string{"wasteInk": "wasteToner", "ink": "toner"}[want[i].Type]
	}
	after := read()
	if diff := cmp.Diff(want, after.Supplies); diff != "" {
		t.Errorf("supplies after a change (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"toner-low-report"}, after.Status.Reasons); diff != "" {
		t.Errorf("reasons after a change (-want +got):\n%s", diff)
	}

	endpoint.Path = "ipp/other"
	if _, err := client.Identify(t.Context(), endpoint); !errors.Is(err, ipp.ErrNotPrinter) {
		t.Errorf("another path: %v", err)
	}
	endpoint.Path = "ipp/print"

	earlier := sent.Load()
	_, err := client.Find(t.Context(), netip.MustParseAddr("10.78.0.1"))
	if asked := sent.Load() - earlier; !errors.Is(err, syscall.EHOSTUNREACH) || asked != 1 {
		t.Errorf("an address without a route: %v after %d requests", err, asked)
	}

	if err := printer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = printer.Wait() // it was killed
	if _, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a printer that was stopped: %v", err)
	}
}
