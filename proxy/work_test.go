package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/telemetry"
)

// why is the reason of a refusal, or "".
func why(err error) mfpgate.Reason {
	if no, ok := errors.AsType[mfpgate.Refused](err); ok {
		return no.Why()
	}
	return ""
}

func work(t *testing.T, r *proxy.Relay, id mfpgate.DeviceID) *proxy.Work {
	t.Helper()
	w, err := r.Work(t.Context(), id, "printer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func fetch(w *proxy.Work, url string) ([]byte, error) {
	c := http.Client{Transport: &http.Transport{DialContext: w.Dial, DisableKeepAlives: true}}
	res, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// office is a relay of one slot before an origin with firmware, and what it told of transfers.
func office(t *testing.T, change func(*proxy.Options, *proxy.Policy)) (r *proxy.Relay, origin *httptest.Server, told chan proxy.Transfer, log *journal) {
	t.Helper()
	firmware := bytes.Repeat([]byte("f"), 3<<20)
	origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(firmware) }))
	t.Cleanup(origin.Close)
	told, log = make(chan proxy.Transfer, 10), &journal{}
	pattern, err := mfpgate.ParseHostPattern("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	policy := &proxy.Policy{Allow: []mfpgate.AllowRule{{Host: pattern, Ports: []uint16{portOf(t, origin)}, Private: true}},
		Capacity: func(time.Time) (int, time.Time) { return 1, time.Time{} }, QueueTimeout: 50 * time.Millisecond, Linger: time.Minute,
		DialTimeout: time.Minute, Idle: time.Hour, HeadTimeout: time.Minute}
	options := proxy.Options{Name: "test", Clock: mfpgate.SystemClock{}, Log: telemetry.NewLogger(log, mfpgate.SystemClock{}, &telemetry.Level{}, false),
		Metrics: telemetry.NewMetrics(), Devices: anybody{}, Descriptors: 4096, Transferred: func(x proxy.Transfer) { told <- x }}
	if change != nil {
		change(&options, policy)
	}
	r, _ = start(t, options, policy)
	return r, origin, told, log
}

func TestWorkIsToldAsATransferOfItsDevice(t *testing.T) {
	var metrics *telemetry.Metrics
	r, origin, told, log := office(t, func(o *proxy.Options, p *proxy.Policy) { metrics, p.Rate = o.Metrics, 100<<20 })
	began := time.Now()
	w := work(t, r, "dev_usb")
	if err := w.SetUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := fetch(w, origin.URL)
	if err != nil || len(got) != 3<<20 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	select {
	case x := <-told:
		t.Errorf("told before the work was over: %+v", x)
	default:
	}
	if err := w.Move(t.Context()); err != nil {
		t.Error(err)
	}
	w.Close()
	w.Close()
	x := <-told
	if x.Device != "dev_usb" || x.Down < 3<<20 || x.Up == 0 || x.Began.Before(began) || x.Ended.Before(x.Began) {
		t.Errorf("told: %+v", x)
	}
	if n := metrics.Value("mfpgate_relay_bytes_total", "direction", "down", "path", "copy"); n < 3<<20 {
		t.Errorf("%v bytes are counted", n)
	}
	if n := metrics.Value("mfpgate_relay_requests_total", "outcome", "served"); n != 1 {
		t.Errorf("%v requests are counted, want 1", n)
	}
	if text := log.String(); strings.Count(text, `"relay.served"`) != 1 || !strings.Contains(text, `"dev_usb"`) {
		t.Errorf("the log says %s", text)
	}
}

func TestWorkTakesItsDevicesTurn(t *testing.T) {
	r, _, _, _ := office(t, func(_ *proxy.Options, p *proxy.Policy) { p.Linger, p.Connections = 20*time.Millisecond, 1 })
	first, second := work(t, r, "dev_1"), work(t, r, "dev_2")
	if err := first.SetUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Slots(); s.Served != 1 {
		t.Errorf("%d devices hold a slot", s.Served)
	}
	if err := second.SetUp(t.Context()); why(err) != "queue-timeout" || mfpgate.RetryDelay(err) <= 0 {
		t.Errorf("with no room: %v, again in %s", err, mfpgate.RetryDelay(err))
	}
	if err := first.Move(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Paper is out: the first says nothing any more, and the second has its turn.
	for deadline := time.Now().Add(patience); ; {
		err := second.SetUp(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if err := first.Move(t.Context()); why(err) != "queue-timeout" {
		t.Errorf("the first wants to go on while the second holds the slot: %v", err)
	}
	second.Close()
	if err := first.Move(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := r.Work(t.Context(), "dev_1", ""); why(err) != "device-connections" {
		t.Errorf("more connections than a device may have: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := second.SetUp(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever left: %v", err)
	}
}

func TestWorkGoesNowhereElse(t *testing.T) {
	for _, c := range []struct {
		rule   string
		change func(*proxy.Options, *proxy.Policy)
		want   mfpgate.Reason
	}{
		{"no rule", func(_ *proxy.Options, p *proxy.Policy) { p.Allow = nil }, proxy.NotAllowed},
		{"the guard", func(_ *proxy.Options, p *proxy.Policy) { p.Allow[0].Private = false }, destination.ReasonLoopback},
		{"the device's region", func(o *proxy.Options, _ *proxy.Policy) { o.Routes = nowhere{} }, mfpgate.RegionMoved},
		{"an upstream that is away", func(_ *proxy.Options, p *proxy.Policy) { p.Upstream = &proxy.Upstream{URL: away(t)} }, proxy.UpstreamAway},
	} {
		r, origin, told, log := office(t, c.change)
		w := work(t, r, "dev_usb")
		if _, err := fetch(w, origin.URL); why(err) != c.want {
			t.Errorf("%s: %v, want %s", c.rule, err, c.want)
		}
		w.Close()
		if list := r.Refusals(); len(list) != 1 || list[0].Reason != c.want || list[0].Device != "dev_usb" {
			t.Errorf("%s: refusals %+v", c.rule, list)
		}
		if n := strings.Count(log.String(), `"relay.refused"`); n != 1 || len(told) != 0 {
			t.Errorf("%s: %d refusals in the log, %d transfers", c.rule, n, len(told))
		}
	}
}

// away is the URL of a proxy that is not there.
func away(t *testing.T) *url.URL {
	t.Helper()
	gone := httptest.NewServer(nil)
	defer gone.Close()
	u, err := url.Parse(gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

type nowhere struct{}

func (nowhere) Route(mfpgate.DeviceID, mfpgate.Host, uint16, bool) mfpgate.Route {
	return mfpgate.Route{Action: mfpgate.RouteBlock, Reason: mfpgate.RegionMoved, Region: "us", Epoch: 1}
}

func TestWorkInTheWorld(t *testing.T) {
	w := newWorld(t, nil)
	job := work(t, w.relay, "dev_usb")
	client := http.Client{Transport: &http.Transport{DialContext: job.Dial, TLSClientConfig: &tls.Config{RootCAs: w.roots}, DisableKeepAlives: true}}
	res, err := client.Get("https://" + w.jp.secure() + "/")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || !strings.HasPrefix(string(body), "jp got GET / ") {
		t.Errorf("by the relay's name server: %q, %v", body, err)
	}
	_ = res.Body.Close()
	if got := <-w.reached; !strings.HasPrefix(got, "dev_usb jp.cloud.test:") {
		t.Errorf("reached: %s", got)
	}
	res, err = client.Get("https://" + w.us.secure() + "/hang")
	if err != nil {
		t.Fatal(err)
	}
	w.atlas.set(map[string]mfpgate.Route{"us.cloud.test": {Action: mfpgate.RouteBlock, Reason: mfpgate.RegionMoved}})
	w.relay.Reroute(0)
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("a connection goes on after the device has moved")
	}
	_ = res.Body.Close()
}

func TestWorkEndsWithItsContextAndTheRelay(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r, _, _, _ := office(t, func(_ *proxy.Options, p *proxy.Policy) {
		p.Allow[0].Ports = []uint16{uint16(silent.Addr().(*net.TCPAddr).Port)}
	})
	ctx, cancel := context.WithCancel(t.Context())
	w, err := r.Work(ctx, "dev_usb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	conn, err := w.Dial(t.Context(), "tcp", silent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a read outlives the work")
	}
	drained, end := context.WithCancel(t.Context())
	end()
	r.Drain(drained)
	if _, err := r.Work(t.Context(), "dev_usb", ""); why(err) != proxy.Stopping {
		t.Errorf("while the relay stops: %v", err)
	}
}
