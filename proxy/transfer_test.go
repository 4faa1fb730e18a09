package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/telemetry"
)

// serve runs a relay that goes to 127.0.0.1 alone until the test ends, and returns its address.
func serve(t *testing.T, port uint16, change func(*proxy.Options, *proxy.Policy)) string {
	t.Helper()
	pattern, err := mfpgate.ParseHostPattern("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	policy := &proxy.Policy{Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AdmitUnknown: true,
		Allow:    []mfpgate.AllowRule{{Host: pattern, Ports: []uint16{port}, Private: true, AnySNI: true}},
		Capacity: func(time.Time) (int, time.Time) { return 1, time.Time{} }, QueueTimeout: time.Minute, Linger: time.Minute,
		DialTimeout: time.Minute, Idle: time.Hour, HeadTimeout: time.Minute}
	options := proxy.Options{Name: "test", Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(),
		Devices: anybody{}, Descriptors: 4096}
	change(&options, policy)
	_, at := start(t, options, policy)
	return at
}

// start runs a relay until the test ends, and returns it with its address.
func start(t *testing.T, options proxy.Options, policy *proxy.Policy) (*proxy.Relay, string) {
	t.Helper()
	relay, err := proxy.New(options, policy)
	if err != nil {
		t.Fatal(err)
	}
	door, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = relay.Run(ctx) })
	serving.Go(func() {
		if err := relay.Serve([]*net.TCPListener{door}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		drained, end := context.WithCancel(context.Background())
		end()
		relay.Drain(drained)
		cancel()
		serving.Wait()
	})
	return relay, door.Addr().String()
}

// from is a client with an address of its own.
func from(address string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
}

func portOf(t *testing.T, s *httptest.Server) uint16 {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(port)
}

// Each tunnel and each plain request that had its way is told once, with who it was and what came down.
func TestTransfersAreTold(t *testing.T) {
	firmware := bytes.Repeat([]byte("f"), 100_000)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(firmware) }))
	defer origin.Close()
	told := make(chan proxy.Transfer, 10)
	began := time.Now()
	at := serve(t, portOf(t, origin), func(o *proxy.Options, _ *proxy.Policy) { o.Transferred = func(x proxy.Transfer) { told <- x } })
	through := &url.URL{Scheme: "http", Host: at}

	plain := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through), DialContext: from("127.0.0.2").DialContext, DisableKeepAlives: true}}
	resp, err := plain.Get(origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || len(b) != len(firmware) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	_ = resp.Body.Close()
	check(t, <-told, proxy.Transfer{Device: "dev_127002", Down: int64(len(firmware))}, began)

	conn, err := from("127.0.0.3").Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	request := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", origin.Listener.Addr())
	r := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	check(t, <-told, proxy.Transfer{Device: "dev_127003", Up: int64(len(request)), Down: int64(len(answer))}, began)

	refused, err := plain.Get("http://127.0.0.1:1/") // no rule allows it
	if err != nil {
		t.Fatal(err)
	}
	_ = refused.Body.Close()
	select {
	case x := <-told:
		t.Errorf("a refusal is told as a transfer: %+v", x)
	default:
	}
}

func check(t *testing.T, got, want proxy.Transfer, began time.Time) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(proxy.Transfer{}, "Began", "Ended")); diff != "" {
		t.Errorf("transfer (-want +got):\n%s", diff)
	}
	if got.Began.Before(began) || got.Ended.Before(got.Began) || got.Ended.After(time.Now()) {
		t.Errorf("it lasted from %v to %v, in a test that began at %v", got.Began, got.Ended, began)
	}
}

// With the relay at its capacity, the device whose slot is planned now is let in before one that came earlier.
func TestTheRelayServesAPlannedDeviceFirst(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	defer origin.Close()
	var metrics *telemetry.Metrics
	at := serve(t, portOf(t, origin), func(o *proxy.Options, p *proxy.Policy) {
		metrics = o.Metrics
		p.Planned = func(device mfpgate.DeviceID, _ time.Time) bool { return device == "dev_127004" }
	})
	answered := make(chan string, 2)
	connect := func(address string) net.Conn {
		conn, err := from(address).Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", origin.Listener.Addr())
		return conn
	}
	holder := connect("127.0.0.2")
	if resp, err := http.ReadResponse(bufio.NewReader(holder), &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	var waiting sync.WaitGroup
	for i, address := range []string{"127.0.0.3", "127.0.0.4"} {
		conn := connect(address)
		waiting.Go(func() {
			if resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != 200 {
				t.Errorf("%s: %v, %v", address, resp, err)
			}
			answered <- address
			_ = conn.Close()
		})
		for deadline := time.Now().Add(30 * time.Second); metrics.Value("mfpgate_relay_devices", "state", "queued") != float64(i+1); {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not wait", address)
			}
		}
	}
	_ = holder.Close()
	waiting.Wait()
	if first := <-answered; first != "127.0.0.4" {
		t.Errorf("%s was served first, want the one that is planned", first)
	}
	if n := metrics.Value("mfpgate_relay_queue_planned_turns_total"); n != 1 {
		t.Errorf("%v turns before others, want 1", n)
	}
}
