package printer_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/tests/need"
)

// apart is set in the test's own child, which has a network, a /run and processes of its own.
const apart = "MFPSIM_TEST_APART"

// TestAvahiFindsPrinters asks the responder that most machines have whether it understands ours.
func TestAvahiFindsPrinters(t *testing.T) {
	need.Root(t)
	daemon, browse, bus, ip := need.Program(t, "avahi-daemon"), need.Program(t, "avahi-browse"), need.Program(t, "dbus-daemon"), need.Program(t, "ip")
	if os.Getenv(apart) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestAvahiFindsPrinters$", "-test.v", "-test.timeout", "60s")
		cmd.Env = append(os.Environ(), apart+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(t, syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	must(t, os.MkdirAll("/run/dbus", 0o755))
	run(t, ip, "link", "set", "lo", "up", "multicast", "on")
	conf := filepath.Join(t.TempDir(), "avahi.conf")
	must(t, os.WriteFile(conf, []byte("[server]\nhost-name=apart\nuse-ipv4=yes\nuse-ipv6=no\nallow-interfaces=lo\n[publish]\ndisable-publishing=yes\n"), 0o600))
	background(t, bus, "--system", "--nofork", "--nopidfile")
	await(t, "/run/dbus/system_bus_socket")
	background(t, daemon, "-f", conf, "--no-drop-root", "--no-chroot", "--no-rlimits")
	await(t, "/run/avahi-daemon/socket")

	s := printertest.Start(t, printer.SiteOptions{DNSSD: printer.DNSSD{Interfaces: []string{"lo"}}})
	var all []string
	for i := 1; i <= 5; i++ {
		p := printertest.Add(t, s, printer.Options{Addresses: addr(fmt.Sprintf("127.0.1.%d", i)), Serial: fmt.Sprint("S", i), Name: fmt.Sprintf("Copier %d. floor", i), Location: "here", DNSSD: true})
		all = append(all, fmt.Sprintf(`=;lo;IPv4;Copier\032%d\.\032floor;_ipp._tcp;local;%s;127.0.1.%d;%d;`, i, printer.HostOf(p), i, p.IPP().Port()))
	}
	browsed := func(want []string) {
		t.Helper()
		var out string
		for begin := time.Now(); time.Since(begin) < 20*time.Second; {
			out = run(t, browse, "--resolve", "--parsable", "--terminate", "--no-db-lookup", "_ipp._tcp")
			var got []string
			for line := range strings.Lines(out) {
				if i := strings.Index(line, `;"`); i > 0 && strings.HasPrefix(line, "=") {
					got = append(got, line[:i+1])
					if !strings.Contains(line, `"note=here"`) || !strings.Contains(line, `"rp=ipp/print"`) {
						t.Errorf("TXT: %s", line)
					}
				}
			}
			slices.Sort(got)
			if slices.Equal(got, want) {
				return
			}
		}
		t.Errorf("avahi does not show %q, but\n%s", want, out)
	}
	browsed(all)
	s.Printers()[0].PowerOff() // it is gone at once, not after its time to live
	browsed(all[1:])
}

func background(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func await(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		must(t, mfpgate.Wait(ctx, mfpgate.SystemClock{}, 20*time.Millisecond))
	}
}
