package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
)

func block(hosts ...region) map[string]mfpgate.Route {
	routes := map[string]mfpgate.Route{}
	for _, h := range hosts {
		routes[h.name] = mfpgate.Route{Action: mfpgate.RouteBlock, Reason: mfpgate.RegionMoved}
	}
	return routes
}

// Tunnels into a region that a device has left have their grace, which a second look does not prolong. Others stay.
func TestOldTunnelsEndAfterTheirGrace(t *testing.T) {
	w := newWorld(t, nil)
	old := []caller{w.tunnel(t, "127.0.0.2", w.us.insecure()), w.tunnel(t, "127.0.0.3", w.us.insecure())}
	stays := w.tunnel(t, "127.0.0.2", w.jp.insecure())

	w.atlas.set(block(w.us))
	w.relay.Reroute(time.Hour)
	for _, c := range old {
		if !c.open(t) {
			t.Error("a tunnel is cut within its grace")
		}
	}
	if _, resp := w.connect(t, "127.0.0.2", w.us.insecure()); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a new tunnel within the grace of old ones: %s", resp.Status)
	}
	w.relay.Reroute(50 * time.Millisecond)
	w.relay.Reroute(time.Hour)
	for _, c := range old {
		c.ends(t)
	}
	if !stays.open(t) {
		t.Error("a tunnel into the device's own region is cut")
	}
	wait(t, "two tunnels ended because the device moved", func() bool {
		return w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(mfpgate.RegionMoved)) == 2
	})
	if n := w.metrics.Value("mfpgate_region_blocks_total", "region", "us"); n != 3 {
		t.Errorf("%v blocks are counted, want 3", n)
	}
	if listed := w.relay.Refusals(); len(listed) != 3 || listed[0].Reason != mfpgate.RegionMoved {
		t.Errorf("the refusals are %+v", listed)
	}
}

// What becomes allowed again within its grace lives, whether or not somebody looks again.
func TestATunnelThatMayStayAgainStays(t *testing.T) {
	w := newWorld(t, nil)
	unseen, seen, ends := w.tunnel(t, "127.0.0.2", w.us.insecure()), w.tunnel(t, "127.0.0.3", w.jp.insecure()), w.tunnel(t, "127.0.0.4", w.kr.insecure())
	w.atlas.set(block(w.us, w.jp, w.kr))
	w.relay.Reroute(100 * time.Millisecond)
	w.atlas.set(block(w.us, w.kr))
	w.relay.Reroute(time.Hour)
	w.atlas.set(block(w.kr))
	ends.ends(t) // in the same look as would have cut the others
	if !seen.open(t) || !unseen.open(t) {
		t.Error("a tunnel is cut that may stay again")
	}
	w.atlas.set(block(w.us))
	w.relay.Reroute(0)
	unseen.ends(t)
}

// A tunnel that would go elsewhere now is cut too.
func TestForwardedTunnelsFollowTheirRoute(t *testing.T) {
	w := newWorld(t, nil)
	to := func(r region) map[string]mfpgate.Route {
		return map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteForward, To: r.insecure(), Reason: mfpgate.RegionMoved}}
	}
	c := w.tunnel(t, "127.0.0.2", w.us.insecure())
	for _, tt := range []struct {
		label  string
		routes map[string]mfpgate.Route
	}{{"jp", to(w.jp)}, {"kr", to(w.kr)}, {"us", nil}} {
		w.atlas.set(tt.routes)
		w.relay.Reroute(0)
		c.ends(t)
		c = w.tunnel(t, "127.0.0.2", w.us.insecure())
		if got, err := c.ask(); err != nil || !strings.HasPrefix(got, tt.label+" got GET") {
			t.Errorf("%q, %v, want %s", got, err, tt.label)
		}
		w.relay.Reroute(0) // nothing has changed
		if !c.open(t) {
			t.Error("a tunnel is cut that is as its route says")
		}
	}
	if n := w.metrics.Value("mfpgate_region_blocks_total", "region", "us"); n != 0 {
		t.Errorf("%v blocks are counted where nothing was blocked", n)
	}
}

// The name in a ClientHello is judged for as long as the tunnel is open.
func TestNamesAreJudgedAgain(t *testing.T) {
	w := newWorld(t, nil)
	raw := w.tunnel(t, "127.0.0.2", w.front.secure())
	session := tls.Client(raw, &tls.Config{RootCAs: w.roots, ServerName: w.us.name})
	if err := session.Handshake(); err != nil {
		t.Fatal(err)
	}
	w.atlas.set(block(w.us))
	w.relay.Reroute(0)
	if _, err := session.Read(make([]byte, 1)); err == nil {
		t.Error("the session goes on")
	}
	wait(t, "the tunnel ended because of its server name", func() bool {
		return w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(mfpgate.RegionHidden)) == 1
	})
	if got, want := <-w.blocked, "dev_127002 us.cloud.test of us: region-server-name"; got != want {
		t.Errorf("blocked %q, want %q", got, want)
	}
}

// A plain request is cut as a tunnel is. One without an answer gets one.
func TestPlainRequestsAreCut(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		path   string
		route  mfpgate.Route
		status int
		reason mfpgate.Reason
	}{
		{"before the answer, blocked", "/mute", mfpgate.Route{Action: mfpgate.RouteBlock}, http.StatusForbidden, mfpgate.RegionMoved},
		{"before the answer, led elsewhere", "/mute", mfpgate.Route{Action: mfpgate.RouteForward, To: "jp.cloud.test:80"}, http.StatusServiceUnavailable, mfpgate.RegionSwitched},
		{"in the midst of it", "/hang", mfpgate.Route{Action: mfpgate.RouteBlock}, http.StatusOK, ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w := newWorld(t, nil)
			type answer struct {
				resp *http.Response
				err  error
			}
			answered := make(chan answer, 1)
			client := w.client(t)
			go func() { // received below
				resp, err := client.Get("http://" + w.us.insecure() + tt.path)
				answered <- answer{resp, err}
			}()
			var a answer
			if tt.path == "/hang" {
				a = <-answered
			} else {
				<-w.arrived
			}
			w.atlas.set(map[string]mfpgate.Route{w.us.name: tt.route})
			w.relay.Reroute(0)
			if tt.path == "/mute" {
				a = <-answered
			}
			if a.err != nil {
				t.Fatal(a.err)
			}
			_, err := io.Copy(io.Discard, a.resp.Body)
			_ = a.resp.Body.Close()
			if a.resp.StatusCode != tt.status || !strings.Contains(a.resp.Header.Get("Proxy-Status"), string(tt.reason)) {
				t.Errorf("%s, %s", a.resp.Status, a.resp.Header.Get("Proxy-Status"))
			}
			if tt.reason != "" {
				return
			}
			if err == nil {
				t.Error("a broken answer looks whole")
			}
			wait(t, "the request ended because the device moved", func() bool {
				return w.metrics.Value("mfpgate_relay_requests_total", "outcome", string(mfpgate.RegionMoved)) == 1
			})
		})
	}
}

// A device that waited for its slot while it was moved is judged when its turn comes.
func TestWhoWaitedIsJudgedAgain(t *testing.T) {
	w := newWorld(t, func(_ *proxy.Options, p *proxy.Policy) {
		p.Capacity = func(time.Time) (int, time.Time) { return 1, time.Time{} }
	})
	holder := w.tunnel(t, "127.0.0.2", w.jp.insecure())
	conn, err := from("127.0.0.3").Dial("tcp", w.at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", w.us.insecure())
	wait(t, "the device waits", func() bool { return w.metrics.Value("mfpgate_relay_devices", "state", "queued") == 1 })
	w.atlas.set(block(w.us))
	w.relay.Reroute(0)
	_ = holder.Close()
	answer := make([]byte, 16)
	if _, err := io.ReadFull(conn, answer); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 403") {
		t.Errorf("%q, %v", answer, err)
	}
}

// A switch while the relay connects is heeded before anything is sent, with no look of Reroute.
func TestASwitchWhileTheRelayConnects(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct {
		rule   string
		now    mfpgate.Route
		status int
		reason mfpgate.Reason
	}{
		{"blocked now", mfpgate.Route{Action: mfpgate.RouteBlock}, http.StatusForbidden, mfpgate.RegionMoved},
		{"led elsewhere now", mfpgate.Route{Action: mfpgate.RouteForward, To: w.jp.insecure()}, http.StatusServiceUnavailable, mfpgate.RegionSwitched},
	} {
		switched := func() { w.atlas.set(map[string]mfpgate.Route{w.us.name: tt.now}) }
		check := func(by string, resp *http.Response) {
			t.Helper()
			if resp.StatusCode != tt.status || !strings.Contains(resp.Header.Get("Proxy-Status"), string(tt.reason)) ||
				(resp.Header.Get("Retry-After") != "") != (tt.reason == mfpgate.RegionSwitched) {
				t.Errorf("%s, %s: %s %v", tt.rule, by, resp.Status, resp.Header)
			}
		}
		w.atlas.set(nil)
		w.resolving.Store(&switched)
		_, resp := w.connect(t, "127.0.0.2", w.us.insecure())
		check("CONNECT", resp)

		w.atlas.set(nil)
		resp, err := w.client(t).Post("http://"+w.us.insecure()+"/mute", "text/plain", strings.NewReader("scan"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		check("plain", resp)
		w.resolving.Store(nil)
	}
	if len(w.arrived) > 0 || len(w.reached) > 0 {
		t.Error("the old region was asked")
	}
	if n := w.metrics.Value("mfpgate_relay_dial_errors_total", "reason", string(mfpgate.RegionSwitched)); n != 0 {
		t.Errorf("%v dial errors are counted", n)
	}
}

// Whatever a keep-alive connection or the pool holds, each request goes where its route leads now.
func TestNoPooledConnectionCrossesTheBorder(t *testing.T) {
	w := newWorld(t, nil)
	client := w.client(t)
	for i := range 6 {
		want := "us got GET / for us.cloud.test"
		w.atlas.set(nil)
		if i%2 == 1 {
			want = "jp got GET / for us.cloud.test"
			w.atlas.set(map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteForward, To: w.jp.insecure()}})
		}
		resp, err := client.Get("http://" + w.us.insecure())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%q, %v, want %q", b, err, want)
		}
	}
	if w.us.open.Load() == 0 {
		t.Fatal("nothing is pooled")
	}
	w.atlas.set(block(w.us))
	w.relay.Reroute(time.Hour) // what nobody uses has no grace
	wait(t, "no connection to the old region is open", func() bool { return w.us.open.Load() == 0 })
}
