package systemd_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/port"
)

// sockets returns n listening sockets as systemd would pass them, with their addresses.
func sockets(t *testing.T, n int) (files []*os.File, at []string) {
	t.Helper()
	for range n {
		l, _ := listen(t)
		file, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		files, at = append(files, file), append(at, l.Addr().String())
	}
	return files, at
}

func passed(names ...string) []string {
	return []string{fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES=" + strings.Join(names, ":")}
}

func TestTheRelayServesSystemdsSockets(t *testing.T) {
	_, port := listen(t)
	files, at := sockets(t, 2)
	g := start(t, policy(t.TempDir(), port, ""), passed("relay", "relay"), files...)
	if said := g.event("daemon.degraded")["text"].(string); !strings.Contains(said, "127.0.0.1:0") || !strings.Contains(said, at[1]) {
		t.Errorf("sockets that differ from relay.listen: got %q, want both addresses named", said)
	}
	if got := g.relay(); got != at[0] {
		t.Errorf("the relay listens on %s, want systemd's %s", got, at[0])
	}
	for _, address := range at {
		if got := ask(t, address, port); got != 200 {
			t.Errorf("through systemd's socket %s: got %d, want 200", address, got)
		}
	}
}

// Between two daemons nobody accepts, and a device must not notice.
func TestADeviceThatCallsDuringARestartWaits(t *testing.T) {
	origin, port := listen(t)
	go func() { // ends with the listener
		for {
			c, err := origin.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	files, at := sockets(t, 1)
	text := strings.Replace(policy(t.TempDir(), port, ""), "127.0.0.1:0", at[0], 1)
	g := start(t, text, passed("relay"), files...)
	g.relay()
	g.signal(syscall.SIGTERM)
	if code := g.end(); code != 0 {
		t.Fatalf("exit after SIGTERM: got %d, want 0; stderr: %s", code, &g.stderr)
	}

	waiting, err := net.DialTimeout("tcp", at[0], deadline)
	if err != nil {
		t.Fatalf("between two daemons: %v, want a connection that waits", err)
	}
	defer waiting.Close()
	start(t, text, passed("relay"), files...)
	if got := exchange(t, waiting, fmt.Sprintf("CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n", port)); got != 200 {
		t.Errorf("the device that waited: got %d, want 200", got)
	}
}

func TestASocketThatNobodyWouldServeIsRefused(t *testing.T) {
	for _, tt := range []struct {
		rule  string
		names []string
		want  string
	}{
		{"a name that is neither relay nor portal", []string{"mfpgate.socket"}, "FileDescriptorName="},
		{"a portal that is off", []string{"relay", "portal"}, "portal.listen"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			_, port := listen(t)
			files, _ := sockets(t, len(tt.names))
			m := newManager(t)
			g := start(t, policy(t.TempDir(), port, ""), append(passed(tt.names...), "NOTIFY_SOCKET="+m.path), files...)
			if code := g.end(); code != 1 || !strings.Contains(g.stderr.String(), tt.want) {
				t.Errorf("exit %d, stderr %q, want 1 and %s named", code, &g.stderr, tt.want)
			}
			if message, ok := m.next(t, time.Millisecond); ok {
				t.Errorf("got %v, want no READY=1", message)
			}
		})
	}
}

// systemd's own implementation of the protocol starts the daemon at the first connection.
func TestSocketActivationBySystemd(t *testing.T) {
	activate := need.Program(t, "systemd-socket-activate")
	address := port.Free(t, "127.0.0.1")
	_, port := listen(t)
	g := &gateway{t: t, config: t.TempDir() + "/mfpgate.yaml"}
	g.write(policy(t.TempDir(), port, ""))
	g.cmd = exec.Command(activate, "-l", address, "--fdname=relay", binary, "serve", "--config", g.config)
	said, err := g.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.cmd.Process.Kill(); _ = g.cmd.Wait() })
	for s := bufio.NewScanner(said); s.Scan() && !strings.Contains(s.Text(), "Listening on"); {
	}
	conn, err := net.DialTimeout("tcp", address, deadline)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := exchange(t, conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); got != http.StatusOK {
		t.Errorf("the connection that started the daemon: got %d, want 200", got)
	}
}
