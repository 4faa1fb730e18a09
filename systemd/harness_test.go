// Package systemd_test proves the units, and the daemon's side of the service manager's protocols on the real binary.
package systemd_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/mfpgate/mfpgate/daemon" // the binary is built from it: a change must not be answered from the test cache
)

// deadline is for a state that comes at once on an idle machine.
const deadline = 30 * time.Second

var binary string // built once by TestMain

func TestMain(m *testing.M) {
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mfpgate-systemd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "mfpgate")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/mfpgate").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// manager is the test's end of NOTIFY_SOCKET.
type manager struct {
	conn *net.UnixConn
	path string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "nm") // t.TempDir's paths are too long for a unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &manager{path: filepath.Join(dir, "notify")}
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.conn.Close() })
	return m
}

// next returns the next message's assignments; ok is false if none came within limit.
func (m *manager) next(t *testing.T, limit time.Duration) (message map[string]string, ok bool) {
	t.Helper()
	buf := make([]byte, 4096)
	if err := m.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	n, err := m.conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	message = map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\n"), "\n") {
		key, value, _ := strings.Cut(line, "=")
		message[key] = value
	}
	return message, true
}

// want fails unless the next message has key=value.
func (m *manager) want(t *testing.T, key, value string) map[string]string {
	t.Helper()
	got, ok := m.next(t, deadline)
	if !ok || got[key] != value {
		t.Fatalf("the next message: got %v, want one with %s=%s", got, key, value)
	}
	return got
}

// gateway is a running mfpgate serve.
type gateway struct {
	t      *testing.T
	cmd    *exec.Cmd
	config string
	events chan map[string]any // of the log; closed at its end
	stderr strings.Builder
	ended  chan error
}

// policy is a configuration that allows one port of this machine, with what the test adds.
func policy(dir string, port int, more string) string {
	return fmt.Sprintf(`site: {name: test, region: jp, time_zone: UTC}
state_dir: %s/state
relay:
  listen: ["127.0.0.1:0"]
  clients: [192.0.2.0/24, 127.0.0.0/8]
  allow: [{host: 127.0.0.1, ports: [%d], private: true}]
  capacity: {linger: 50ms}
%s`, dir, port, more)
}

// start runs the daemon with this environment and, as descriptors 3 and up, files. DESCRIPTORS is its limit of them.
func start(t *testing.T, text string, env []string, files ...*os.File) *gateway {
	t.Helper()
	g := &gateway{t: t, config: filepath.Join(t.TempDir(), "mfpgate.yaml"), events: make(chan map[string]any, 1024), ended: make(chan error, 1)}
	g.write(text)
	// LISTEN_PID is the daemon's own, which only a shell that becomes it can know beforehand.
	g.cmd = exec.Command("/bin/sh", "-c", `export LISTEN_PID=$$; ulimit -n ${DESCRIPTORS:-4096}; exec "$0" "$@"`, binary, "serve", "--config", g.config)
	g.cmd.Env = append([]string{"PATH=/usr/bin:/bin"}, env...)
	g.cmd.ExtraFiles = files
	g.cmd.Stderr = &g.stderr
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // ends with the daemon's output; ended waits for it
		defer close(read)
		defer close(g.events)
		for s := bufio.NewScanner(out); s.Scan(); {
			event := map[string]any{}
			if json.Unmarshal(s.Bytes(), &event) == nil {
				g.events <- event
			}
		}
	}()
	go func() { // ends with the daemon, which the cleanup kills
		<-read
		g.ended <- g.cmd.Wait()
	}()
	t.Cleanup(func() { _ = g.cmd.Process.Kill() })
	return g
}

func (g *gateway) write(text string) {
	g.t.Helper()
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatal(err)
	}
}

// event returns the next log event with this message.
func (g *gateway) event(message string) map[string]any {
	g.t.Helper()
	late := time.NewTimer(deadline)
	defer late.Stop()
	for {
		select {
		case e, ok := <-g.events:
			if !ok {
				g.t.Fatalf("the log ended without %s; stderr: %s", message, &g.stderr)
			}
			if e["message"] == message {
				return e
			}
		case <-late.C:
			g.t.Fatalf("no %s in the log", message)
		}
	}
}

// relay returns where the relay listens, from the log.
func (g *gateway) relay() string {
	g.t.Helper()
	return g.event("daemon.started")["listen"].([]any)[0].(string)
}

// end waits for the daemon's end and returns its exit code.
func (g *gateway) end() int {
	g.t.Helper()
	select {
	case <-g.ended:
		return g.cmd.ProcessState.ExitCode()
	case <-time.After(deadline):
		g.t.Fatal("the daemon did not end")
		return -1
	}
}

// ask sends a CONNECT for a port of this machine and returns the status.
func ask(t *testing.T, relay string, port int) (status int) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", relay, deadline)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return exchange(t, conn, fmt.Sprintf("CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%[1]d\r\n\r\n", port))
}

func exchange(t *testing.T, conn net.Conn, head string) (status int) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// listen opens a listener of the test's own, and returns it with its port. It is plain TCP, as systemd's sockets are; Go's
// own default is MPTCP.
func listen(t *testing.T) (*net.TCPListener, int) {
	t.Helper()
	var c net.ListenConfig
	c.SetMultipathTCP(false)
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener), l.Addr().(*net.TCPAddr).Port
}
