package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/tests/need"
)

// What clients make of each answer of the routes. It is why plain requests are forwarded and not redirected, and CONNECT is
// blocked where the certificate of the target lacks the name.
func TestCurlAtTheBorder(t *testing.T) {
	curl := need.Program(t, "curl")
	w := newWorld(t, nil)
	us := func(r mfpgate.Route) map[string]mfpgate.Route { return map[string]mfpgate.Route{w.us.name: r} }
	const (
		failedTLS   = 60 // CURLE_PEER_FAILED_VERIFICATION
		failedProxy = 56 // CURLE_RECV_ERROR, for any answer to CONNECT but 2xx
	)
	for _, tt := range []struct {
		rule   string
		routes map[string]mfpgate.Route
		args   []string
		exit   int
		want   []string // in what it got, or says of it
		not    string
	}{
		{"what no route names passes", nil, []string{"https://" + w.us.secure() + "/a"}, 0, []string{"us got GET /a for us.cloud.test"}, ""},
		{"CONNECT is led to a host whose certificate has the name", us(mfpgate.Route{Action: mfpgate.RouteForward, To: w.jp.secure()}),
			[]string{"-d", "scan", "https://" + w.us.secure() + "/a"}, 0, []string{"jp got POST /a for us.cloud.test: scan"}, ""},
		{"CONNECT led to a host whose certificate lacks the name fails at the client", us(mfpgate.Route{Action: mfpgate.RouteForward, To: w.kr.secure()}),
			[]string{"https://" + w.us.secure() + "/"}, failedTLS, []string{"SSL: no alternative certificate subject name matches"}, "got"},
		{"CONNECT that is blocked says why", us(mfpgate.Route{Action: mfpgate.RouteBlock, Reason: mfpgate.RegionName}),
			[]string{"https://" + w.us.secure() + "/"}, failedProxy,
			[]string{"HTTP/1.1 403 Forbidden", `Proxy-Status: test; error=http_request_denied; details="region-name"`}, "got"},
		{"CONNECT is never redirected", us(mfpgate.Route{Action: mfpgate.RouteRedirect, To: w.jp.secure()}),
			[]string{"-L", "https://" + w.us.secure() + "/"}, failedProxy, []string{"HTTP/1.1 403 Forbidden", `details="region-name"`}, "Location"},
		{"CONNECT to an address is blocked as the route says", map[string]mfpgate.Route{w.us.address: {Action: mfpgate.RouteBlock, Reason: mfpgate.RegionLiteral}},
			[]string{"-k", fmt.Sprintf("https://%s:%d/", w.us.address, w.us.tls)}, failedProxy,
			[]string{"HTTP/1.1 403 Forbidden", `error=destination_ip_prohibited; details="region-literal"`}, "got"},
		{"CONNECT to another address passes as the route says", map[string]mfpgate.Route{w.us.address: {Action: mfpgate.RouteBlock}},
			[]string{"-k", fmt.Sprintf("https://%s:%d/", w.jp.address, w.jp.tls)}, 0, []string{"jp got GET"}, ""},
		{"an action that the relay does not know is a block", us(mfpgate.Route{Action: "quarantine"}),
			[]string{"https://" + w.us.secure() + "/"}, failedProxy, []string{`details="region-moved"`}, "got"},
		{"a plain request is forwarded and keeps its Host", us(mfpgate.Route{Action: mfpgate.RouteForward, To: w.jp.insecure()}),
			[]string{"-d", "scan", "http://" + w.us.insecure() + "/a?b=c"}, 0, []string{"jp got POST /a?b=c for us.cloud.test: scan"}, ""},
		{"a plain request is blocked", us(mfpgate.Route{Action: mfpgate.RouteBlock, Reason: mfpgate.RegionMoved}),
			[]string{"http://" + w.us.insecure() + "/"}, 0, []string{"HTTP/1.1 403 Forbidden", `details="region-moved"`}, "got GET"},
		{"308 is not followed without -L", us(mfpgate.Route{Action: mfpgate.RouteRedirect, To: w.jp.insecure(), Reason: mfpgate.RegionMoved}),
			[]string{"-d", "scan", "http://" + w.us.insecure() + "/a/%2Fb?c=%20d"}, 0,
			[]string{"HTTP/1.1 308 Permanent Redirect", "Location: http://" + w.jp.insecure() + "/a/%2Fb?c=%20d", `Proxy-Status: test; details="region-moved"`}, "got POST"},
		{"308 is followed with -L, and the content kept", us(mfpgate.Route{Action: mfpgate.RouteRedirect, To: w.jp.insecure()}),
			[]string{"-L", "-d", "scan", "http://" + w.us.insecure() + "/a"}, 0, []string{"jp got POST /a for jp.cloud.test: scan"}, ""},
		{"a route by connect alone is one of CONNECT", map[string]mfpgate.Route{w.us.name + " connect": {Action: mfpgate.RouteBlock}},
			[]string{"http://" + w.us.insecure() + "/"}, 0, []string{"us got GET"}, ""},
		{"nobody is led to a host that he may not reach", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteForward, To: w.jp.secure()},
			w.jp.name: {Action: mfpgate.RouteBlock, Reason: mfpgate.RegionRedirected}},
			[]string{"https://" + w.us.secure() + "/"}, failedProxy, []string{`details="region-redirected"`}, "got"},
		{"a target that is none is a block", us(mfpgate.Route{Action: mfpgate.RouteForward, To: "jp.cloud.test"}),
			[]string{"https://" + w.us.secure() + "/"}, failedProxy, []string{`details="region-map"`}, "got"},
		{"a route lifts no rule", us(mfpgate.Route{Action: mfpgate.RouteForward, To: w.jp.secure()}),
			[]string{"https://us.cloud.test:9/"}, failedProxy, []string{`details="destination-not-allowed"`}, "got"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w.atlas.set(tt.routes)
			args := append([]string{"-sS", "-v", "--max-time", "20", "--noproxy", "", "--proxy", "http://" + w.at, "--cacert", w.ca}, tt.args...)
			var got bytes.Buffer
			cmd := exec.Command(curl, args...)
			cmd.Stdout, cmd.Stderr = &got, &got
			_ = cmd.Run()
			if exit := cmd.ProcessState.ExitCode(); exit != tt.exit {
				t.Errorf("curl ends with %d, want %d", exit, tt.exit)
			}
			for _, want := range tt.want {
				if !strings.Contains(got.String(), want) {
					t.Errorf("curl does not show %q", want)
				}
			}
			if tt.not != "" && strings.Contains(got.String(), tt.not) {
				t.Errorf("curl shows %q", tt.not)
			}
			if t.Failed() {
				t.Logf("%s", got.String())
			}
		})
	}
}

// Go's client, which most of the site's programs use.
func TestGoAtTheBorder(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct {
		rule  string
		route mfpgate.Route
		url   string
		want  string // in the answer or the error
	}{
		{"CONNECT led to a host whose certificate has the name", mfpgate.Route{Action: mfpgate.RouteForward, To: w.jp.secure()}, "https://" + w.us.secure(), "jp got POST"},
		{"CONNECT led to a host whose certificate lacks the name", mfpgate.Route{Action: mfpgate.RouteForward, To: w.kr.secure()}, "https://" + w.us.secure(),
			"x509: certificate is valid for kr.cloud.test, not us.cloud.test"},
		{"CONNECT blocked", mfpgate.Route{Action: mfpgate.RouteBlock}, "https://" + w.us.secure(), "Forbidden"},
		{"a plain POST forwarded", mfpgate.Route{Action: mfpgate.RouteForward, To: w.jp.insecure()}, "http://" + w.us.insecure(), "jp got POST / for us.cloud.test: scan"},
		{"a plain POST redirected is followed with its content", mfpgate.Route{Action: mfpgate.RouteRedirect, To: w.jp.insecure()}, "http://" + w.us.insecure(), "jp got POST / for jp.cloud.test: scan"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w.atlas.set(map[string]mfpgate.Route{w.us.name: tt.route})
			got := ""
			resp, err := w.client(t).Post(tt.url, "text/plain", strings.NewReader("scan"))
			if err != nil {
				got = err.Error()
			} else {
				b, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				got = string(b)
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// openssl s_client chooses its server name freely.
func TestServerNamesAtTheBorder(t *testing.T) {
	openssl := need.Program(t, "openssl")
	w := newWorld(t, nil)
	for _, tt := range []struct {
		rule   string
		routes map[string]mfpgate.Route
		to     region
		args   []string
		ok     bool
		reason mfpgate.Reason // of the cut
	}{
		{"another name passes under sni: any", nil, w.front, []string{"-servername", w.us.name}, true, ""},
		{"a name of the wrong region is cut under sni: any", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteBlock}}, w.front,
			[]string{"-servername", w.us.name}, false, mfpgate.RegionHidden},
		{"so is one that would be led elsewhere", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteForward, To: w.jp.secure()}}, w.front,
			[]string{"-servername", w.us.name}, false, mfpgate.RegionHidden},
		{"a name is one in any case", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteBlock}}, w.front,
			[]string{"-servername", "US.Cloud.Test"}, false, mfpgate.RegionHidden},
		{"a name of the wrong region is that before it is another than asked for", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteBlock}}, w.jp,
			[]string{"-servername", w.us.name}, false, mfpgate.RegionHidden},
		{"another name is cut by the rule", nil, w.jp, []string{"-servername", w.us.name}, false, proxy.SNIMismatch},
		{"the name that was asked for is judged by CONNECT", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteForward, To: w.jp.secure()}}, w.us,
			[]string{"-servername", w.us.name}, true, ""},
		{"an address with a name of the wrong region behind it", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteBlock}},
			region{name: w.us.address, tls: w.us.tls}, []string{"-servername", w.us.name}, false, mfpgate.RegionHidden},
		{"no name is none of another region", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteBlock}}, w.front, []string{"-noservername"}, true, ""},
		{"a hello in small records", map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteBlock}}, w.front,
			[]string{"-servername", w.us.name, "-max_send_frag", "512"}, false, mfpgate.RegionHidden},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			w.atlas.set(tt.routes)
			cut := w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(tt.reason))
			args := append([]string{"s_client", "-proxy", w.at, "-connect", tt.to.secure(), "-CAfile", w.ca}, tt.args...)
			out, _ := exec.Command(openssl, args...).CombinedOutput()
			if ok := bytes.Contains(out, []byte("Verify return code: 0 (ok)")) && bytes.Contains(out, []byte("BEGIN CERTIFICATE")); ok != tt.ok {
				t.Errorf("a session: %v, want %v\n%s", ok, tt.ok, out)
			}
			if tt.reason == "" {
				return
			}
			wait(t, "a tunnel is cut with "+string(tt.reason), func() bool {
				return w.metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(tt.reason)) == cut+1
			})
			if listed := w.relay.Refusals(); tt.reason == mfpgate.RegionHidden && (len(listed) == 0 || listed[0].Reason != tt.reason) {
				t.Errorf("the refusals do not begin with it: %+v", listed)
			}
		})
	}
}

// A device that no move has led may go to another region's hosts. It is counted, once for each connection.
func TestDevicesAbroadAreCounted(t *testing.T) {
	w := newWorld(t, nil)
	w.atlas.set(map[string]mfpgate.Route{w.us.name: {Region: "us"}})
	for i, tt := range []struct {
		rule string
		do   func()
		want float64
	}{
		{"a tunnel to a host of its own region", func() { w.tunnel(t, "127.0.0.2", w.jp.secure()) }, 0},
		{"a tunnel to another region", func() {
			if got, err := w.tunnel(t, "127.0.0.2", w.us.insecure()).ask(); err != nil || !strings.HasPrefix(got, "us got GET") {
				t.Errorf("%q, %v", got, err)
			}
		}, 1},
		{"a plain request there", func() {
			resp, err := w.client(t).Get("http://" + w.us.insecure())
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Error(resp.Status)
			}
		}, 2},
		{"a host that regions share, with the other's name in the ClientHello", func() {
			session := tls.Client(w.tunnel(t, "127.0.0.2", w.front.secure()), &tls.Config{RootCAs: w.roots, ServerName: w.us.name})
			if err := session.Handshake(); err != nil {
				t.Fatal(err)
			}
		}, 3},
	} {
		tt.do()
		if n := w.metrics.Value("mfpgate_route_mismatches_total"); n != tt.want {
			t.Errorf("%d %s: %v mismatches are counted, want %v", i, tt.rule, n, tt.want)
		}
	}
	if n := w.metrics.Value("mfpgate_region_blocks_total", "region", "us"); n != 0 {
		t.Errorf("%v blocks are counted where all passes", n)
	}
}

// A block is in the log with its region, counted, and listed; a forwarded exchange says where it went.
func TestTheBorderIsRecorded(t *testing.T) {
	w := newWorld(t, nil)
	get := func(url string) {
		if resp, err := w.client(t).Get(url); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	w.atlas.set(map[string]mfpgate.Route{w.us.name: {Action: mfpgate.RouteBlock, Reason: mfpgate.RegionMoved}})
	get("https://" + w.us.secure())
	get("http://" + w.us.insecure())
	if n := w.metrics.Value("mfpgate_region_blocks_total", "region", "us"); n != 2 {
		t.Errorf("%v blocks are counted, want 2", n)
	}
	if n := w.metrics.Value("mfpgate_route_mismatches_total"); n != 2 {
		t.Errorf("%v mismatches are counted, want 2", n)
	}
	listed := w.relay.Refusals()
	if len(listed) != 2 || listed[0].Reason != mfpgate.RegionMoved || listed[0].Destination != w.us.insecure() || listed[1].Destination != w.us.secure() {
		t.Errorf("the refusals are %+v", listed)
	}
	if log := w.log.String(); strings.Count(log, "residency.blocked") != 2 || !strings.Contains(log, `"region":"us","epoch":7,"reason":"region-moved"`) {
		t.Errorf("the log is\n%s", log)
	}
	for range 2 {
		if got, want := <-w.blocked, "dev_127001 us.cloud.test of us: region-moved"; got != want {
			t.Errorf("blocked %q, want %q", got, want)
		}
	}
	if len(w.reached) != 0 {
		t.Errorf("something was reached: %s", <-w.reached)
	}

	w.atlas.set(map[string]mfpgate.Route{w.us.name + " connect": {Action: mfpgate.RouteForward, To: w.jp.secure()},
		w.us.name: {Action: mfpgate.RouteForward, To: w.jp.insecure()}})
	for _, to := range []string{"https://" + w.us.secure(), "http://" + w.us.insecure()} {
		resp, err := w.client(t).Get(to)
		if err != nil {
			t.Fatal(err)
		}
		if tunnels := w.relay.Tunnels(); strings.HasPrefix(to, "https") &&
			(len(tunnels) != 1 || tunnels[0].Label.Destination != w.us.secure() || tunnels[0].Label.Forwarded != w.jp.secure()) {
			t.Errorf("the tunnels are %+v", tunnels)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if n := w.metrics.Value("mfpgate_route_mismatches_total"); n != 4 {
		t.Errorf("%v mismatches are counted, want 4", n)
	}
	wait(t, "the plain request's event says where it went", func() bool {
		return strings.Contains(w.log.String(), fmt.Sprintf(`"forwarded":%q`, w.jp.insecure()))
	})
	if len(w.reached) != 0 {
		t.Errorf("a host is reached that the device did not ask for: %s", <-w.reached)
	}
	for _, to := range []string{"https://" + w.jp.secure(), "http://" + w.jp.insecure()} {
		get(to)
		_, at, _ := strings.Cut(to, "//")
		if got, want := <-w.reached, "dev_127001 "+at+" true"; got != want {
			t.Errorf("reached %q, want %q", got, want)
		}
	}
	if len(w.blocked) != 0 {
		t.Errorf("something was blocked: %s", <-w.blocked)
	}
}
