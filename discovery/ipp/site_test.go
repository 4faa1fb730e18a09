package ipp_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/tests/need"
)

// busConfig lets everybody say everything on the bus of the namespace.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/>
    <allow send_type="method_call"/> <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/> <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/> <allow receive_type="method_return"/> <allow receive_type="error"/> <allow receive_type="signal"/>
  </policy>
</busconfig>
`

const avahiConfig = `[server]
use-ipv6=no
host-name=mfpsite
allow-interfaces=mfp0
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
`

// site makes the namespace a network with a name service, a bus and Avahi.
func site(t *testing.T, dir string) {
	t.Helper()
	hosts := filepath.Join(dir, "hosts")
	bus := filepath.Join(dir, "dbus.conf")
	avahi := filepath.Join(dir, "avahi.conf")
	write(t, hosts, "127.0.0.1 localhost\n10.77.0.2 mfp1.local\nfd77::2 mfp1.local\n")
	write(t, bus, busConfig)
	write(t, avahi, avahiConfig)
	for _, line := range []string{
		"mount --make-rprivate /",
		"mount -t tmpfs tmpfs /run",
		"mount --bind " + hosts + " /etc/hosts",
		"mkdir -p /run/dbus /run/avahi-daemon",
		"ip link set lo up",
		"ip link add mfp0 type veth peer name mfp1",
		"ip link set mfp1 up",
		"ip link set mfp0 up multicast on",
		"ip addr add 10.77.0.2/24 dev mfp0",
		"ip addr add fd77::2/64 dev mfp0 nodad",
		"ip route add 224.0.0.0/4 dev mfp0",
		"ip route add unreachable 10.78.0.0/16",
	} {
		words := strings.Fields(line)
		if out, err := exec.Command(need.Program(t, words[0]), words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	start(t, "", need.Program(t, "dbus-daemon"), "--config-file="+bus, "--nofork", "--nopidfile", "--print-address=2")
	start(t, "startup complete", need.Program(t, "avahi-daemon"), "-f", avahi, "--no-chroot", "--no-drop-root", "--no-rlimits", "--no-proc-title")
}

// eve starts CUPS's printer, which listens at port 8631 of both addresses of mfp1.local.
func eve(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	for _, sub := range []string{"spool", "tls"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, "printer-uuid=", need.Program(t, "ippeveprinter"), "-v", "-n", "mfp1.local", "-p", "8631",
		"-d", filepath.Join(dir, "spool"), "-K", filepath.Join(dir, "tls"),
		"-M", "HP", "-m", "LaserJet MFP E52645", "-l", "Floor 1", "-s", "30,25", "-2",
		"-f", "application/pdf,image/pwg-raster", "-r", "off", "Copier 2F")
}

// start runs a program until the namespace ends, and returns once a line of its standard error contains ready.
func start(t *testing.T, ready, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	var said strings.Builder
	for lines.Scan() {
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), ready) {
			go io.Copy(io.Discard, stderr) // ends with the program
			return cmd
		}
	}
	t.Fatalf("%s ended:\n%s", program, said.String())
	return nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(page)
}
