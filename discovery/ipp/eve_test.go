package ipp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/tests/need"
)

// insideEnv says that this process is the one in the namespaces.
const insideEnv = "MFPGATE_TEST_INSIDE"

// TestRealPrinter runs TestInside in namespaces of its own, as process 1, so that what it starts ends with it: CUPS's printer needs
// Avahi on a system bus, and a host name with addresses of both families, and must not meet those of this machine.
func TestRealPrinter(t *testing.T) {
	need.Root(t)
	for _, program := range []string{"ippeveprinter", "avahi-daemon", "dbus-daemon", "ip", "mount"} {
		need.Program(t, program)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestInside$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	need.That(t, !errors.Is(err, syscall.EPERM), "may not make namespaces; run where CAP_SYS_ADMIN is given")
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestInside")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestInside(t *testing.T) {
	dir := os.Getenv(insideEnv)
	if dir == "" {
		t.Skip("runs inside TestRealPrinter")
	}
	site(t, dir)
	printer := eve(t, dir)
	client := ipp.New(ipp.Options{Clock: mfpgate.SystemClock{}})
	t.Cleanup(client.Close)
	ctx := t.Context()
	v4 := mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort("10.77.0.2:8631"), Host: "mfp1.local", Path: "ipp/print"}

	for rule, e := range map[string]mfpgate.Endpoint{
		"IPv4":             v4,
		"IPv6 and TLS":     {Protocol: mfpgate.ProtocolIPPS, Address: netip.MustParseAddrPort("[fd77::2]:8631"), Host: "mfp1.local", Path: "ipp/print"},
		"address for name": {Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort("[fd77::2]:8631"), Path: "ipp/print"},
	} {
		s, err := client.Identify(ctx, e)
		if err != nil {
			t.Fatalf("%s: %v", rule, err)
		}
		t.Logf("%s: %+v", rule, s)
	}

	r, err := client.Read(ctx, v4, mfpgate.PartStatus|mfpgate.PartSupplies|mfpgate.PartCounters)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v %+v", r, r.Status)
	page := get(t, ctx, "http://10.77.0.2:8631/supplies")
	t.Log(page)
	if err := printer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	printer.Wait()
	if _, err := client.Read(ctx, v4, mfpgate.PartStatus); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a printer that is off: %v", err)
	}
}

var _ = fmt.Sprint
var _ = regexp.MustCompile
var _ context.Context
var _ = io.EOF
var _ = http.MethodGet
var _ = strings.TrimSpace
var _ net.Conn
var _ = filepath.Join
var _ = bufio.NewScanner
var _ = time.Second
