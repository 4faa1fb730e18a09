package vm_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// soon is the deadline for a state that systemd brings about.
const soon = 20 * time.Second

const (
	configFile = "/etc/mfpgate/mfpgate.yaml"
	dropIn     = "/etc/systemd/system/mfpgate.service.d/test.conf"
	relay      = "127.0.0.1:3128"
)

// run executes a program and returns what it says and its exit status.
func run(t *testing.T, name string, args ...string) (out string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
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

func property(t *testing.T, name string) string {
	t.Helper()
	return must(t, "systemctl", "show", "-P", name, "mfpgate.service")
}

// until polls for a state.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(soon); !there(); {
		select {
		case <-tick.C:
		case <-late:
			status, _ := run(t, "systemctl", "status", "--no-pager", "-l", "mfpgate.service")
			t.Fatalf("not within %s: %s\n%s", soon, what, status)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// credential is a drop-in's line for the secret that the configuration names.
const credential = "LoadCredential=cloud-token:/etc/mfpgate/cloud-token\n"

// override writes the drop-in as an administrator would.
func override(t *testing.T, service string) {
	t.Helper()
	write(t, dropIn, "[Service]\n"+service)
	must(t, "systemctl", "daemon-reload")
}

func config(port string) string {
	return fmt.Sprintf(`site: {name: vm, region: jp, time_zone: UTC}
state_dir: /var/lib/mfpgate
relay:
  clients: [127.0.0.0/8]
  allow: [{host: 127.0.0.1, ports: [%s], private: true}]
  capacity: {linger: 50ms}
devices: {dns_sd: true, snmp: {ranges: [127.0.9.0/30], communities: [public]}}
cloud: {url: "https://jp.cloud.example", gateway_id: vm-1, token: {credential: cloud-token}}
`, port)
}

func configure(t *testing.T, port, more string) {
	t.Helper()
	write(t, configFile, config(port)+more)
}

// fetch gets a URL through the relay and returns the status and the body.
func fetch(t *testing.T, address string) (status int, body string) {
	t.Helper()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: relay}), DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport, Timeout: soon}).Get(address)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// origin is a server behind the relay; port is where it listens.
func origin(t *testing.T, says string) (address, port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, says) }))
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return s.URL, port
}

// inside runs as root in the booted system. The parts build on each other: a life of one installation.
func inside(t *testing.T) {
	one, onePort := origin(t, "one")
	two, twoPort := origin(t, "two")
	for _, p := range []struct {
		name string
		test func(*testing.T)
	}{
		{"sysusers and tmpfiles make the user and the folders", testFolders},
		{"the service starts and relays", func(t *testing.T) { testStart(t, one, onePort) }},
		{"the sandbox holds", testSandbox},
		{"a reload changes the rules, or nothing", func(t *testing.T) { testReload(t, one, onePort, two, twoPort) }},
		{"a device that calls during a restart is served", func(t *testing.T) { testRestart(t, two) }},
		{"a daemon that hangs is restarted", func(t *testing.T) { testWatchdog(t, two) }},
		{"the journal has each event's priority", testJournal},
		{"without secrets, and with a soft limit below the hard one", testPlain},
		{"the relay's address changes with the socket's", testAddress},
		{"a stop drains for as long as the configuration says", testStop},
	} {
		if !t.Run(p.name, p.test) {
			return
		}
	}
}

func testFolders(t *testing.T) {
	must(t, "systemd-sysusers", "/usr/lib/sysusers.d/mfpgate.conf")
	must(t, "systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/mfpgate.conf")
	for _, tt := range []struct{ dir, want string }{
		{"/etc/mfpgate", "root:mfpgate 750"},
		{"/var/lib/mfpgate", "mfpgate:mfpgate 700"},
		{"/var/cache/mfpgate", "mfpgate:mfpgate 700"},
	} {
		if got := must(t, "stat", "-c", "%U:%G %a", tt.dir); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.dir, got, tt.want)
		}
	}
	if got := must(t, "id", "-nG", "mfpgate"); got != "mfpgate mfpgate-usb" {
		t.Errorf("the user's groups: got %s, want its own and the one of printers on USB", got)
	}
}

// sandboxed is run by the service itself, before the daemon, under all that the unit says.
const sandboxed = `
{
  id -un
  touch /etc/mfpgate-test 2>&1
  touch /usr/bin/mfpgate-test 2>&1
  ls /tmp/mfpgate-marker 2>&1
  ls -d /proc/1 2>&1
  chmod u+s $STATE_DIRECTORY/probe 2>&1
  unshare --user true 2>&1
  ls /dev/full 2>&1
  true </dev/mfpgate-fuse
  true </dev/mfpgate-usb
  id -Gn
  ulimit -n
  cat $CREDENTIALS_DIRECTORY/cloud-token 2>&1
} >$STATE_DIRECTORY/probe 2>&1
`

// nodes are devices that their mode gives to everybody: it is the unit that keeps the service from them, or does not. What is behind
// them does not matter, since that is asked after the unit was.
func nodes(t *testing.T) {
	must(t, "mknod", "-m", "666", "/dev/mfpgate-fuse", "c", "10", "229")
	must(t, "mknod", "-m", "660", "/dev/mfpgate-usb", "c", "189", "8191")
	must(t, "chgrp", "mfpgate-usb", "/dev/mfpgate-usb")
}

// hasUSB reports whether the kernel knows the name by which the unit allows USB's nodes.
func hasUSB() bool {
	text, _ := os.ReadFile("/proc/devices")
	return strings.Contains(string(text), " usb_device\n")
}

func testStart(t *testing.T, one, port string) {
	write(t, "/etc/mfpgate/cloud-token", "a secret\n")
	must(t, "chmod", "0600", "/etc/mfpgate/cloud-token") // root's alone: systemd passes it on
	configure(t, port, "")
	write(t, "/job/sandboxed", sandboxed)
	write(t, "/tmp/mfpgate-marker", "")
	nodes(t)
	override(t, credential+"ExecStartPre=/bin/sh /job/sandboxed\n")
	must(t, "systemctl", "start", "mfpgate.service")
	if got := must(t, "systemctl", "is-active", "mfpgate.service", "mfpgate.socket"); got != "active\nactive" {
		t.Errorf("service and socket: got %q, want both active", got)
	}
	if status, body := fetch(t, one); status != 200 || body != "one" {
		t.Errorf("through the relay: got %d %q, want 200 one", status, body)
	}
	if said := must(t, "mfpgate", "status", "--json", "--socket", "/run/mfpgate/control.sock"); !strings.Contains(said, `"vm"`) {
		t.Errorf("mfpgate status as root: got %s, want the site", said)
	}
}

func testSandbox(t *testing.T) {
	var most unix.Rlimit // that this machine lets its system give
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/var/lib/mfpgate/probe")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"mfpgate\n",
		"'/etc/mfpgate-test': Read-only file system",
		"'/usr/bin/mfpgate-test': Read-only file system",
		"'/tmp/mfpgate-marker': No such file",
		"'/proc/1': No such file",
		"changing permissions of '/var/lib/mfpgate/probe': Operation not permitted",
		"unshare failed: Operation not permitted",
		"/dev/full\n",
		"/dev/mfpgate-fuse: Operation not permitted",
		"mfpgate mfpgate-usb\n",
		fmt.Sprintf("\n%d\n", min(65536, most.Max)),
		"a secret\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the sandbox, want %q in:\n%s", want, text)
		}
	}
	if hasUSB() && strings.Contains(string(text), "/dev/mfpgate-usb: Operation not permitted") {
		t.Errorf("the sandbox, want USB's nodes let through:\n%s", text)
	}
	status, err := os.ReadFile("/proc/" + property(t, "MainPID") + "/status")
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
	if out, code := run(t, "runuser", "-u", "nobody", "--", "cat", configFile); code == 0 {
		t.Errorf("anybody reads %s: %s", configFile, out)
	}
}

func testReload(t *testing.T, one, onePort, two, twoPort string) {
	pid := property(t, "MainPID")
	if status, _ := fetch(t, two); status != 403 {
		t.Fatalf("a destination that is not allowed: got %d, want 403", status)
	}
	configure(t, twoPort, "")
	must(t, "systemctl", "reload", "mfpgate.service")
	until(t, "the new rules are in force", func() bool {
		a, _ := fetch(t, one)
		b, _ := fetch(t, two)
		return a == 403 && b == 200
	})

	configure(t, onePort, "nonsense: 1\nlog: {level: loud}\n")
	if _, code := run(t, "systemctl", "reload", "mfpgate.service"); code == 0 {
		t.Error("the reload of a bad file succeeded")
	}
	said := must(t, "journalctl", "-q", "-u", "mfpgate.service", "-o", "cat")
	for _, want := range []string{configFile + ":9:1: nonsense", configFile + ":10:14: log.level"} {
		if !strings.Contains(said, want) {
			t.Errorf("a refused reload, want %q in the journal:\n%s", want, said)
		}
	}
	must(t, "systemctl", "kill", "--kill-whom=main", "-s", "HUP", "mfpgate.service") // past the check
	until(t, "the daemon refuses the bad file", func() bool {
		return strings.Contains(must(t, "journalctl", "-q", "-u", "mfpgate.service", "-o", "cat"), `"message":"config.refused"`)
	})
	if status, body := fetch(t, two); status != 200 || body != "two" {
		t.Errorf("after a refused reload: got %d %q, want the old rules, 200 two", status, body)
	}
	if state, now := property(t, "ActiveState"), property(t, "MainPID"); state != "active" || now != pid {
		t.Errorf("after the reloads: %s with pid %s, want active with pid %s", state, now, pid)
	}
	configure(t, twoPort, "")
	must(t, "systemctl", "reload", "mfpgate.service")
}
