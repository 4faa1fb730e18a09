package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Gateway is one running mfpgate.
type Gateway struct {
	Log     *Log
	Dir     string // of the configuration, and of state/
	Config  string // the configuration's path
	Socket  string // the control socket
	Address string // of the relay
	Metrics string // address of /metrics
	Portal  string // address of the portal, where the configuration has it on 127.0.0.2

	ctx    context.Context
	cmd    *exec.Cmd
	stderr bytes.Buffer // read after done
	done   chan struct{}
	ended  bool // the test has seen the end
}

// Option changes how a gateway's process starts.
type Option func(*exec.Cmd)

// Files starts it with a limit of n open files.
func Files(n int) Option {
	return func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `ulimit -n "$0"; exec "$@"`, strconv.Itoa(n)}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
		cmd.Path = "/bin/sh"
	}
}

// Start runs a gateway. The text is what stands under relay: in its configuration, indented by two, and then any other
// keys; listen and clients are given unless it has them.
func Start(t testing.TB, relay string, options ...Option) *Gateway {
	t.Helper()
	return StartIn(t, Dir(t), relay, options...)
}

// StartIn runs a gateway on a folder of Dir, where its state may be already.
func StartIn(t testing.TB, dir, relay string, options ...Option) *Gateway {
	t.Helper()
	g := Launch(t, dir, relay, options...)
	g.AwaitReady(t)
	return g
}

// Launch starts the process and does not wait until it serves.
func Launch(t testing.TB, dir, relay string, options ...Option) *Gateway {
	t.Helper()
	g := &Gateway{ctx: t.Context(), Log: &Log{}, Dir: dir, Socket: filepath.Join(dir, "state", "control.sock"), done: make(chan struct{})}
	g.Configure(t, relay)
	g.cmd = exec.Command(Binary(t), "serve", "--config", g.Config)
	g.cmd.Dir = dir
	g.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GORACE=halt_on_error=0 atexit_sleep_ms=0"}
	g.cmd.Stdout, g.cmd.Stderr = g.Log, &g.stderr
	Unprivileged(g.cmd)
	for _, o := range options {
		o(g.cmd)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // the cleanup waits for it
		_ = g.cmd.Wait()
		close(g.done)
	}()
	t.Cleanup(func() { g.cleanup(t) })
	return g
}

// AwaitReady waits until the gateway serves, and learns its addresses.
func (g *Gateway) AwaitReady(t testing.TB) {
	t.Helper()
	var started Event
	Until(t, "the gateway has started", func() bool {
		for _, e := range g.Log.Events(event.DaemonStarted) {
			started = e
			return true
		}
		select {
		case <-g.done:
			g.ended = true
			t.Fatalf("the gateway ended: %v\n%s\n%s", g.cmd.ProcessState, g.stderr.String(), g.Log.Text())
		default:
		}
		return false
	})
	relays := map[string]bool{}
	for _, a := range started[field.Listen].([]any) {
		g.Address = a.(string)
		relays[g.Address] = true
	}
	for _, a := range listening(t, g.PID()) {
		switch {
		case relays[a]:
		case strings.HasPrefix(a, "127.0.0.2:"):
			g.Portal = a
		default:
			g.Metrics = a
		}
	}
}

// Configure writes the configuration anew; SIGHUP puts it in force.
func (g *Gateway) Configure(t testing.TB, relay string) {
	t.Helper()
	text := "site: {name: e2e, region: jp}\nstate_dir: " + filepath.Join(g.Dir, "state") + "\nmetrics: {listen: \"127.0.0.1:0\"}\nrelay:\n"
	for key, value := range map[string]string{"listen": `["127.0.0.1:0"]`, "clients": "[127.0.0.0/8, \"::1\"]"} {
		if !strings.Contains(relay, "\n  "+key+":") && !strings.HasPrefix(relay, "  "+key+":") {
			text += "  " + key + ": " + value + "\n"
		}
	}
	g.Config = WriteFile(t, g.Dir, "mfpgate.yaml", text+strings.TrimPrefix(relay, "\n"))
}

// Reload puts another configuration in force.
func (g *Gateway) Reload(t testing.TB, relay string) {
	t.Helper()
	before := g.Log.Count(event.ConfigReloaded)
	g.Configure(t, relay)
	g.Signal(t, syscall.SIGHUP)
	Until(t, "the configuration is reloaded", func() bool { return g.Log.Count(event.ConfigReloaded) > before })
}

// PID returns the process's id.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Signal sends the process a signal.
func (g *Gateway) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Exit waits for the process to end and returns its exit code, -1 for a signal, and what it wrote to standard error.
func (g *Gateway) Exit(t testing.TB) (code int, stderr string) {
	t.Helper()
	Wait(t, "the gateway has ended", g.done)
	g.ended = true
	return g.cmd.ProcessState.ExitCode(), g.stderr.String()
}

// Stop tells the gateway to stop and expects that it does so without a complaint.
func (g *Gateway) Stop(t testing.TB) {
	t.Helper()
	g.Signal(t, syscall.SIGTERM)
	if code, stderr := g.Exit(t); code != 0 || stderr != "" {
		t.Errorf("the gateway exited with %d: %s", code, stderr)
	}
}

// Kill ends the process as a power cut would.
func (g *Gateway) Kill(t testing.TB) {
	t.Helper()
	g.Signal(t, syscall.SIGKILL)
	g.Exit(t)
}

func (g *Gateway) cleanup(t testing.TB) {
	if !g.ended {
		Until(t, "the gateway has ended", func() bool { // the second signal cuts the drain
			_ = g.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-g.done:
				return true
			default:
				return false
			}
		})
		code, stderr := g.Exit(t)
		if code != 0 || stderr != "" {
			t.Errorf("the gateway exited with %d: %s", code, stderr)
		}
	}
	if len(g.Log.bad) > 0 {
		t.Errorf("the log has lines that are no events: %q", g.Log.bad)
	}
	if t.Failed() {
		t.Logf("log of %s:\n%s", g.Config, g.Log.Text())
	}
}

// Run runs mfpgate with args until it ends, and returns its exit code and outputs.
func Run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(Binary(t), args...)
	Unprivileged(cmd)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); !exited {
			t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), complaint.String()
}

// Status asks the running gateway.
func (g *Gateway) Status(t testing.TB) control.Status {
	t.Helper()
	var s control.Status
	g.API(t, "status", &s)
	return s
}

// Slots returns which devices are served, wait or rest.
func (g *Gateway) Slots(t testing.TB) []control.Slot {
	t.Helper()
	var list struct{ Items []control.Slot }
	g.API(t, "slots", &list)
	return list.Items
}

// API reads one resource of the control API.
func (g *Gateway) API(t testing.TB, resource string, into any) {
	t.Helper()
	client := control.Client(g.Socket)
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://mfpgate/api/v1/" + resource)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// Metric reads one series, written as in the text format: name or name{label="value"}. It is 0 if there is none.
func (g *Gateway) Metric(t testing.TB, series string) float64 {
	t.Helper()
	// One connection per read: the gateway's own descriptors and goroutines are what some tests count.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Get("http://" + g.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			if _, err := fmt.Sscan(value, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// Descriptors returns how many files the gateway has open.
func (g *Gateway) Descriptors(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// Client returns a net/http client that uses the relay.
func (g *Gateway) Client(t testing.TB) *http.Client { return ClientVia(t, g.Address, nil) }

// Raw connects to the relay, from a source address if one is given.
func (g *Gateway) Raw(t testing.TB, source ...string) *Conn {
	t.Helper()
	return Raw(t, g.Address, source...)
}

// DialFrom connects to the relay from a source address of 127.0.0.0/8, which is a device of its own.
func (g *Gateway) DialFrom(source string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.DialContext(g.ctx, "tcp", g.Address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * Deadline))
	return conn.(*net.TCPConn), nil
}

// Context ends with the test.
func (g *Gateway) Context() context.Context { return g.ctx }
