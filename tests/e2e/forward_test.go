package e2e_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/port"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// say is an origin that answers each connection's first request with exactly this text, and keeps the request.
func say(t *testing.T, answer string) (origin *rig.Origin, heads chan string) {
	heads = make(chan string, 16)
	return rig.Listen(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		var head strings.Builder
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = in.ReadString('\n'); err != nil {
				return
			}
			head.WriteString(line)
		}
		heads <- head.String()
		_, _ = io.WriteString(c, answer)
	}), heads
}

func TestAPlainRequestGoesOnAsItIs(t *testing.T) {
	origin, heads := say(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	conn.Send("GET http://" + origin.Address + "/a%2Fb;c?d=%20+e HTTP/1.1\r\n" +
		"Host: " + origin.Address + "\r\n" +
		"Accept-Encoding: br;q=0.5, gzip\r\nRange: bytes=5-\r\nIf-None-Match: \"x\"\r\nUser-Agent: MFP/1.0\r\n" +
		"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\n" +
		"Proxy-Authorization: Basic YTpi\r\nMfpgate-Device: \"dev_forged\";created=1;key=\"a\";sig=:AAAA:\r\nVia: 1.0 printer\r\nX-End: 2\r\n\r\n")
	if resp, _ := conn.Answer("GET"); resp.StatusCode != http.StatusOK {
		t.Errorf("got %s", resp.Status)
	}
	lines := strings.Split(strings.TrimSuffix(rig.Wait(t, "the origin has the request", heads), "\r\n\r\n"), "\r\n")
	got := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		got[name] += value
	}
	if lines[0] != "GET /a%2Fb;c?d=%20+e HTTP/1.1" {
		t.Errorf("the request line is %q", lines[0])
	}
	if via := got["Via"]; !regexp.MustCompile(`^1\.0 printer(, )?1\.1 mfpgate-e2e-[a-z0-9]+$`).MatchString(via) {
		t.Errorf("Via is %q", via)
	}
	delete(got, "Via")
	want := map[string]string{"Host": origin.Address, "Accept-Encoding": "br;q=0.5, gzip", "Range": "bytes=5-", "If-None-Match": `"x"`,
		"User-Agent": "MFP/1.0", "X-End": "2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields at the origin (-want +got):\n%s", diff)
	}
}

func TestAClientWithoutAUserAgentGetsNone(t *testing.T) {
	origin, heads := say(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	conn.Send("GET http://" + origin.Address + "/ HTTP/1.1\r\nHost: " + origin.Address + "\r\n\r\n")
	conn.Answer("GET")
	head := rig.Wait(t, "the origin has the request", heads)
	for _, name := range []string{"User-Agent", "Accept-Encoding", "X-Forwarded-For"} {
		if strings.Contains(head, name) {
			t.Errorf("the relay added %s:\n%s", name, head)
		}
	}
}

func TestAnAnswerComesBackAsItIs(t *testing.T) {
	var packed strings.Builder
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("firmware"))
	_ = z.Close()
	origin, _ := say(t, "HTTP/1.1 206 Partial Content\r\nContent-Encoding: gzip\r\nETag: \"v1-gz\"\r\nContent-Range: bytes 5-9/10\r\n"+
		"Content-Length: "+fmt.Sprint(packed.Len())+"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"+
		"Date: Tue, 02 Jan 2024 00:00:00 GMT\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic realm=\"evil\"\r\n"+
		"Upgrade: h2c\r\n\r\n"+packed.String())
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	conn.Send("GET http://" + origin.Address + "/ HTTP/1.1\r\nHost: " + origin.Address + "\r\n\r\n")
	resp, body := conn.Answer("GET")
	if body != packed.String() {
		t.Errorf("body is %q, want %q", body, packed.String())
	}
	if via := resp.Header.Get("Via"); !strings.HasPrefix(via, "1.1 mfpgate-e2e-") {
		t.Errorf("Via is %q", via)
	}
	resp.Header.Del("Via")
	want := http.Header{"Content-Encoding": {"gzip"}, "Etag": {`"v1-gz"`}, "Content-Range": {"bytes 5-9/10"}, "Content-Length": {fmt.Sprint(packed.Len())},
		"Last-Modified": {"Mon, 01 Jan 2024 00:00:00 GMT"}, "Set-Cookie": {"a=1", "b=2"}, "Date": {"Tue, 02 Jan 2024 00:00:00 GMT"}}
	if diff := cmp.Diff(want, resp.Header); diff != "" {
		t.Errorf("fields at the client (-want +got):\n%s", diff)
	}
	if resp.StatusCode != http.StatusPartialContent {
		t.Errorf("status is %s", resp.Status)
	}
}

// Whatever breaks off at the origin must look broken to the client: firmware that ends early must not look whole.
func TestATruncatedAnswerStaysTruncated(t *testing.T) {
	long := strings.Repeat("firmware", 8<<10) // more than buffers hold
	for _, c := range []struct{ rule, answer string }{
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + long + "\r\n"},
		{"chunked inside a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + long},
		{"counted", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + long},
	} {
		t.Run(c.rule, func(t *testing.T) {
			origin, _ := say(t, c.answer)
			g := rig.Start(t, rig.Allow(origin.Port))
			for _, version := range []string{"1.1", "1.0"} {
				conn := g.Raw(t)
				conn.Send("GET http://" + origin.Address + "/ HTTP/" + version + "\r\nHost: " + origin.Address + "\r\n\r\n")
				all, err := conn.Rest()
				if version == "1.1" && strings.HasSuffix(all, "0\r\n\r\n") {
					t.Errorf("HTTP/1.1: the relay ended the chunks")
				}
				// To HTTP/1.0 only the length or a reset can tell.
				if version == "1.0" && err == nil && !strings.Contains(all, "Content-Length: 100000") {
					t.Errorf("HTTP/1.0: the answer looks whole: %d bytes", len(all))
				}
			}
			e := g.Log.Event(t, event.RelayServed)
			if e.Str(field.Outcome) != "origin-broken" {
				t.Errorf("event is %v", e)
			}
		})
	}
}

// A request's framing is the client's: a POST without content is no chunked one.
func TestTheFramingOfARequestStays(t *testing.T) {
	origin, heads := say(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	g := rig.Start(t, rig.Allow(origin.Port))
	for _, c := range []struct{ rule, method, fields, content, want string }{
		{"no content", "GET", "", "", ""},
		{"no content in an unusual method", "REPORT", "", "", ""},
		{"an empty POST", "POST", "Content-Length: 0\r\n", "", "Content-Length: 0"},
		{"a counted POST", "POST", "Content-Length: 3\r\n", "abc", "Content-Length: 3"},
		{"a chunked POST", "POST", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"},
	} {
		conn := g.Raw(t)
		conn.Send(c.method + " http://" + origin.Address + "/ HTTP/1.1\r\nHost: " + origin.Address + "\r\n" + c.fields + "\r\n" + c.content)
		conn.Answer(c.method)
		var got []string
		for line := range strings.SplitSeq(rig.Wait(t, "the origin has the request", heads), "\r\n") {
			if strings.HasPrefix(line, "Content-Length") || strings.HasPrefix(line, "Transfer-Encoding") {
				got = append(got, line)
			}
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%s: the origin got %q, want %q", c.rule, got, c.want)
		}
	}
}

// An origin may close a connection that it kept open, at any time: the relay tries again, once, what may be tried again.
func TestAStaleConnectionToTheOriginIsReplaced(t *testing.T) {
	origin := rig.Listen(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_ = req.Body.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, _ = in.Peek(1) // the second request of the connection is cut off
	})
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	for range 3 {
		conn.Send("GET http://" + origin.Address + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, body := conn.Answer("GET"); resp.StatusCode != http.StatusOK || body != "ok" {
			t.Fatalf("%s %q", resp.Status, body)
		}
	}
	if n := origin.Total(); n != 3 {
		t.Errorf("three requests made %d connections", n)
	}
}

func TestAClientThatLeavesADownload(t *testing.T) {
	gone := make(chan struct{})
	origin := rig.Listen(t, func(c *net.TCPConn) {
		defer close(gone)
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
		for err := error(nil); err == nil; {
			_, err = c.Write(make([]byte, 64<<10))
		}
	})
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	conn.Send("GET http://" + origin.Address + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
	conn.Expect("HTTP/1.1 200 OK")
	conn.Reset()
	rig.Wait(t, "the origin's connection is closed", gone)
	g.Log.Event(t, event.RelayServed, field.Outcome, "client-left")
}

func TestTheRelayGuessesNoContentType(t *testing.T) {
	origin, _ := say(t, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>")
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	conn.Send("GET http://" + origin.Address + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, body := conn.Answer("GET")
	if got, there := resp.Header["Content-Type"]; there || body != "<html>" {
		t.Errorf("Content-Type %q, body %q", got, body)
	}
}

func TestMethodsAndAnswersWithoutContent(t *testing.T) {
	_, port := rig.HTTP(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		case "/302":
			http.Redirect(w, r, "http://192.0.2.7/", http.StatusFound)
		default:
			w.Header().Set("Content-Length", "5")
			if r.Method != http.MethodHead {
				_, _ = io.WriteString(w, "hello")
			}
		}
	})
	g := rig.Start(t, rig.Allow(port))
	conn := g.Raw(t)
	for _, c := range []struct {
		method, path string
		status       int
		length, body string
	}{
		{"GET", "/", 200, "5", "hello"},
		{"HEAD", "/", 200, "5", ""},
		{"GET", "/204", 204, "", ""},
		{"GET", "/304", 304, "", ""},
		{"DELETE", "/", 200, "5", "hello"},
		{"GET", "/302", 302, "", "<a href=\"http://192.0.2.7/\">Found</a>.\n\n"}, // the relay follows no redirect
	} {
		conn.Send(c.method + " http://127.0.0.1:" + port + c.path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, body := conn.Answer(c.method)
		if resp.StatusCode != c.status || body != c.body || c.length != "" && resp.Header.Get("Content-Length") != c.length {
			t.Errorf("%s %s: %s %v %q", c.method, c.path, resp.Status, resp.Header, body)
		}
	}
}

func TestALoopIsRefused(t *testing.T) {
	first, second := port.Free(t, "127.0.0.1"), port.Free(t, "127.0.0.1")
	g := rig.Start(t, "  listen: [\""+first+"\"]\n"+rig.Allow("80", "443")+"  upstream: {url: \"http://"+second+"\"}\n  timeouts: {dial: 5s}\n")
	rig.Start(t, "  listen: [\""+second+"\"]\n"+rig.Allow("80", "443")+"  upstream: {url: \"http://"+first+"\"}\n  timeouts: {dial: 5s}\n")
	for method, request := range map[string]string{
		"GET":     "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
		"CONNECT": rig.ConnectRequest("127.0.0.1:443"),
	} {
		conn := rig.Raw(t, first)
		conn.Send(request)
		resp, body := conn.Answer(method)
		// The loop is seen where it closes; for a CONNECT the relay in between says what it was told.
		want := map[string]string{"GET": "508 Loop Detected", "CONNECT": "502 Bad Gateway"}[method]
		if resp.Status != want {
			t.Errorf("%s in a loop got %s %s", method, resp.Status, body)
		}
		g.Log.Event(t, event.RelayRefused, field.Reason, "loop", field.Method, method)
	}
}

// After plain requests a connection may still become a tunnel, and after a refused CONNECT still carry requests.
func TestOneConnectionCarriesRequestsAndThenATunnel(t *testing.T) {
	_, port := rig.HTTP(t, false, hello)
	tcp := rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(port, tcp.Port))
	conn := g.Raw(t)
	get := "GET http://127.0.0.1:" + port + "/x HTTP/1.1\r\nHost: x\r\n\r\n"
	conn.Connect("192.0.2.7:443")
	for range 2 {
		conn.Send(get)
		if resp, body := conn.Answer("GET"); resp.StatusCode != http.StatusOK || body != "GET /x 0" {
			t.Fatalf("%s %q", resp.Status, body)
		}
	}
	conn.Send(get + rig.ConnectRequest(tcp.Address) + "early") // all in one segment
	if resp, body := conn.Answer("GET"); resp.StatusCode != http.StatusOK || body != "GET /x 0" {
		t.Fatalf("%s %q", resp.Status, body)
	}
	if resp, body := conn.Answer("CONNECT"); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", resp.Status, body)
	}
	conn.Expect("early")
	conn.Send("late")
	conn.Expect("late")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	conn.ExpectEnd()
	rig.Until(t, "the relay has no connection", func() bool { return g.Status(t).Relay.Connections == 0 })
}
