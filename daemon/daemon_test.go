package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/peers"
)

// value is what stands behind a series; comments have none.
var value = regexp.MustCompile(`^([^#].*) \S+\n$`)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	_, _ = peers.Locate("promtool") // while there is a network to download it from; who needs it says what was missing
	lan.Alone()
	m.Run()
}

// gateway is a daemon in this process.
type gateway struct {
	daemon.Listening
	signals chan os.Signal
	log     *bytes.Buffer
	ended   chan error
}

// start runs a daemon on free ports; port is where the test's origin listens.
func start(t *testing.T, port string) *gateway {
	t.Helper()
	return startIn(t, t.TempDir(), port, "")
}

// startIn runs a daemon on the state of dir, with more lines of configuration.
func startIn(t *testing.T, dir, port, more string) *gateway {
	t.Helper()
	return startWith(t, dir, port, more, func(*daemon.Options) {})
}

// startWith runs it with other options.
func startWith(t *testing.T, dir, port, more string, with func(*daemon.Options)) *gateway {
	t.Helper()
	file := filepath.Join(dir, "mfpgate.yaml")
	err := os.WriteFile(file, fmt.Appendf(nil, `site: {name: golden, region: jp}
state_dir: %s
relay:
  listen: ["127.0.0.1:0"]
  clients: [127.0.0.0/8]
  allow: [{host: 127.0.0.1, ports: [%s], private: true}]
metrics: {listen: "127.0.0.1:0"}
%s`, filepath.Join(dir, "state"), port, more), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{signals: make(chan os.Signal, 2), log: &bytes.Buffer{}, ended: make(chan error, 1)}
	ready := make(chan daemon.Listening, 1)
	o := daemon.Options{ConfigFile: file, Clock: mfpgate.SystemClock{}, Output: g.log, Signals: g.signals,
		Getenv: func(string) string { return "" }, Build: daemon.Build{Version: "v0", Revision: "r", GoVersion: "go"},
		Ready: func(l daemon.Listening) { ready <- l }}
	with(&o)
	d, err := daemon.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	go func() { g.ended <- d.Run(context.Background()) }()
	select {
	case g.Listening = <-ready:
	case err := <-g.ended:
		t.Fatal(err)
	}
	return g
}

func (g *gateway) stop(t *testing.T) {
	t.Helper()
	g.signals <- syscall.SIGTERM
	select {
	case err := <-g.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("the daemon does not stop\n%s", g.log)
	}
}

func (g *gateway) client() *http.Client {
	proxy := &url.URL{Scheme: "http", Host: g.Relay[0].String()}
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
}

func (g *gateway) metrics(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + g.Metrics.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMetricsAreTheGoldenOnes pins every name, type, help and label of ours, and has Prometheus' own tool judge them.
func TestMetricsAreTheGoldenOnes(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer origin.Close()
	tls := httptest.NewTLSServer(origin.Config.Handler)
	defer tls.Close()
	_, port, err := net.SplitHostPort(origin.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, port)
	defer g.stop(t)
	for _, to := range []string{origin.URL, tls.URL /* not allowed */} {
		if resp, err := g.client().Get(to); err == nil {
			_ = resp.Body.Close()
		}
	}
	tunnel, err := net.Dial("tcp", g.Relay[0].String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(tunnel, "CONNECT 127.0.0.1:%s HTTP/1.1\r\nHost: o\r\n\r\nGET / HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n", port)
	if answer, err := io.ReadAll(tunnel); err != nil || !strings.HasSuffix(string(answer), "hello") {
		t.Fatalf("through the tunnel: %q, %v", answer, err)
	}
	_ = tunnel.Close()
	var text string
	await(t, "the tunnel and the request are counted", func() bool {
		text = g.metrics(t, "/metrics")
		return strings.Contains(text, `tunnels_total{outcome="closed"} 1`) && strings.Contains(text, `requests_total{outcome="served"} 1`) &&
			strings.Contains(text, `transfers_total{kind="unclassified"} 2`) // no delivery is planned
	})

	var ours []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "mfpgate_") {
			ours = append(ours, value.ReplaceAllString(line, "$1\n"))
		}
	}
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(ours, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Collect(strings.Lines(string(want))), ours); diff != "" {
		t.Errorf("-golden +got; -update if it is meant\n%s", diff)
	}

	tool := exec.Command(peers.Path(t, "promtool"), "check", "metrics")
	tool.Stdin = strings.NewReader(text)
	if out, err := tool.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestReadyzFollowsTheState(t *testing.T) {
	g := start(t, "1")
	if got := g.metrics(t, "/readyz"); got != "ok\n" {
		t.Errorf("readyz: %q", got)
	}
	if got := g.metrics(t, "/healthz"); got != "ok\n" {
		t.Errorf("healthz: %q", got)
	}
	g.stop(t)
}

// TestTheContractBoundsTheCapacity plays the cloud: its limit holds while it is below the configuration's, and stays when
// the cloud goes away.
func TestTheContractBoundsTheCapacity(t *testing.T) {
	var away atomic.Bool
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case away.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path != "/v1/gateways/g-1/contract" || r.Header.Get("Authorization") != "Bearer secret":
			w.WriteHeader(http.StatusNotFound)
		default:
			contract := api.DefaultContract("g-1")
			contract.MaxConcurrent = 3
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(contract)
		}
	}))
	defer cloud.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("cloud: {url: %q, gateway_id: g-1, token: {file: %s}}\n", cloud.URL, filepath.Join(dir, "token"))
	g := startIn(t, dir, "1", more)
	await(t, "the contract's limit", func() bool { return strings.Contains(g.metrics(t, "/metrics"), "mfpgate_relay_capacity_devices 3\n") })
	g.stop(t)

	away.Store(true)
	g = startIn(t, dir, "1", more)
	defer g.stop(t)
	await(t, "the cloud is away", func() bool { return strings.Contains(g.metrics(t, "/readyz"), "cloud-away") })
	if text := g.metrics(t, "/metrics"); !strings.Contains(text, "mfpgate_relay_capacity_devices 3\n") {
		t.Error("the contract is forgotten while the cloud is away")
	}
}

func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !reached(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestStopLeavesNothing starts and stops a daemon under load and counts what is left.
func TestStopLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	_, port, err := net.SplitHostPort(origin.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, port)
	var conns []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", g.Relay[0].String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		fmt.Fprintf(c, "CONNECT 127.0.0.1:%s HTTP/1.1\r\nHost: o\r\n\r\n", port)
		if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 200"))); err != nil {
			t.Fatal(err)
		}
	}
	g.stop(t)
	for _, c := range conns {
		_ = c.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	// Badger keeps a goroutine of glog's for the life of the process.
	goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}
