package vm_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A pipe without a reader holds the new daemon's start until the test lets it go.
func testRestart(t *testing.T, two string) {
	const hold = "/run/mfpgate-hold"
	must(t, "mkfifo", "-m", "0644", hold)
	override(t, credential+"ExecStartPre=/bin/sh -c 'read go <"+hold+"'\n")
	before := property(t, "MainPID")
	must(t, "systemctl", "restart", "--no-block", "mfpgate.service")
	until(t, "the old daemon is gone and the new one not there yet", func() bool { return property(t, "SubState") == "start-pre" })

	conn, err := net.DialTimeout("tcp", relay, soon)
	if err != nil {
		t.Fatalf("a device that calls during the restart: %v, want it to wait", err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", two, strings.TrimPrefix(two, "http://")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hold, []byte("go\n"), 0); err != nil { // returns when the pipe is read
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("the device that waited: %v", err)
	}
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "two" {
		t.Errorf("the device that waited: got %d %q, want 200 two", resp.StatusCode, body)
	}
	if now := property(t, "MainPID"); now == before {
		t.Errorf("the daemon is still pid %s", now)
	}
}

func testWatchdog(t *testing.T, two string) {
	override(t, credential+"WatchdogSec=2\nRestartSec=100ms\n")
	must(t, "systemctl", "restart", "mfpgate.service")
	must(t, "systemctl", "kill", "--kill-whom=main", "-s", "STOP", "mfpgate.service")
	until(t, "a restart by the watchdog", func() bool {
		n, err := strconv.Atoi(property(t, "NRestarts"))
		return err == nil && n >= 1 && property(t, "ActiveState") == "active"
	})
	if status, body := fetch(t, two); status != 200 || body != "two" {
		t.Errorf("after the restart: got %d %q, want 200 two", status, body)
	}
}

func testJournal(t *testing.T) {
	for _, tt := range []struct{ priority, event string }{{"6", "daemon.started"}, {"3", "config.refused"}} {
		said := must(t, "journalctl", "-q", "-u", "mfpgate.service", "-o", "cat", "PRIORITY="+tt.priority, "--grep", tt.event)
		for line := range strings.SplitSeq(said, "\n") {
			if !strings.HasPrefix(line, "{") {
				t.Errorf("priority %s: got %q, want JSON without its prefix", tt.priority, line)
			}
		}
	}
}

func testPlain(t *testing.T) {
	text := config("443")
	write(t, configFile, text[:strings.Index(text, "cloud:")])
	override(t, "LimitNOFILE=1024:4096\n")
	must(t, "systemctl", "restart", "mfpgate.service")
	must(t, "systemctl", "reload", "mfpgate.service")
	limits, err := os.ReadFile("/proc/" + property(t, "MainPID") + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "Max open files") && f[3] != "4096" {
			t.Errorf("the daemon's descriptor limit: got %s, want the hard one, 4096", f[3])
		}
	}
}

func testAddress(t *testing.T) {
	const other, socket = "127.0.0.1:3129", "/etc/systemd/system/mfpgate.socket.d/test.conf"
	restart := func() {
		t.Helper()
		must(t, "systemctl", "restart", "mfpgate.socket")
		until(t, "the service follows its socket", func() bool { return property(t, "ActiveState") == "active" })
	}
	write(t, socket, "[Socket]\nListenStream=\nListenStream="+other+"\n")
	must(t, "systemctl", "daemon-reload")
	restart()
	if said := must(t, "mfpgate", "status"); !strings.Contains(said, other) || !strings.Contains(said, "listen-overruled") {
		t.Errorf("with relay.listen left as it was: got\n%s\nwant the socket's address, and that it overrules", said)
	}
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	must(t, "systemctl", "daemon-reload")
	restart()
	if said := must(t, "mfpgate", "status"); !strings.Contains(said, ":3128") || strings.Contains(said, "DEGRADED") {
		t.Errorf("with the addresses alike: got\n%s\nwant nothing degraded", said)
	}
}

// The unit allows one second, the configuration more: the daemon must ask for it.
func testStop(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() { // ends with the listener and the tunnel
		if c, err := echo.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(echo.Addr().String())
	// A tunnel that pauses for linger is taken for idle, and a drain does not wait for it.
	write(t, configFile, strings.Replace(config(port), "linger: 50ms", "linger: 30s", 1))
	override(t, credential+"TimeoutStopSec=1\n")
	must(t, "systemctl", "restart", "mfpgate.service")

	tunnel, err := net.DialTimeout("tcp", relay, soon)
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	if err := tunnel.SetDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(tunnel)
	fmt.Fprintf(tunnel, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", echo.Addr())
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %v, %v, want 200", resp, err)
	}
	must(t, "systemctl", "stop", "--no-block", "mfpgate.socket") // and the service with it, or a device would start that again
	until(t, "the daemon drains", func() bool { return property(t, "SubState") == "stop-sigterm" })
	for began := time.Now(); time.Since(began) < 2*time.Second; {
		if _, err := io.WriteString(tunnel, "x"); err != nil {
			t.Fatalf("the tunnel, %s into the stop: %v", time.Since(began), err)
		}
		if _, err := in.ReadByte(); err != nil {
			t.Fatalf("the tunnel, %s into the stop: %v, want it to live on", time.Since(began), err)
		}
	}
	_ = tunnel.Close()
	until(t, "the daemon ends", func() bool { return property(t, "ActiveState") != "deactivating" })
	if state, result, code := property(t, "ActiveState"), property(t, "Result"), property(t, "ExecMainStatus"); state != "inactive" || result != "success" || code != "0" {
		t.Errorf("after the stop: %s, %s, exit %s, want inactive, success, exit 0", state, result, code)
	}
}
