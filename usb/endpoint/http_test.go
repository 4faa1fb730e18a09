package endpoint_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// exchange sends raw bytes and reads one answer.
func exchange(t *testing.T, p *endpoint.Endpoint, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", request[:min(len(request), 200)], err)
	}
	body, _ := io.ReadAll(r.Body)
	return r, string(body)
}

func TestTheDoor(t *testing.T) {
	rt := printer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, r.RequestURI)
	}))
	p := serve(t, newEndpoints(t, nil), "a", rt)
	at := p.Address().String()
	_, port, _ := net.SplitHostPort(at)
	get := func(host string) string { return "GET /a%2Fb?c=d HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	const passed = "GET localhost /a%2Fb?c=d"
	for _, c := range []struct {
		rule, request string
		status        int
		body          string
	}{
		{"its address is its own", get(at), 200, passed},
		{"so is localhost", get("localhost:" + port), 200, passed},
		{"so is the other loopback", get("[::1]:" + port), 200, passed},
		{"so is the machine's name", get("Gate.example.:" + port), 200, passed},
		{"so is its name on the link", get("gate.local"), 200, passed},
		{"so is the published name", get("MFPGATE-gate.local:" + port), 200, passed},
		{"a name that was made to resolve to it is not", get("evil.example:" + port), 421, ""},
		{"nor is one that only begins like it", get("localhost.evil.example"), 421, ""},
		{"nor is another address", get("192.0.2.1:" + port), 421, ""},
		{"nor is nonsense", get("[::1]:]"), 421, ""},
		{"an old client names nobody", "GET /a%2Fb?c=d HTTP/1.0\r\n\r\n", 200, passed},
		{"no proxy", "CONNECT " + at + " HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 405, ""},
		{"no way to elsewhere", "GET http://evil.example/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 421, ""},
		{"nor by another scheme", "GET https://" + at + "/ HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 421, ""},
		{"an absolute URI to itself is one", "GET http://" + at + "/a%2Fb?c=d HTTP/1.1\r\nHost: " + at + "\r\n\r\n", 200, passed},
		{"no upgrade", "GET / HTTP/1.1\r\nHost: " + at + "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 501, ""},
		{"another site's page changes nothing", "POST / HTTP/1.1\r\nHost: " + at + "\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n", 403, ""},
		{"nor where the browser says so", "POST / HTTP/1.1\r\nHost: " + at + "\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n", 403, ""},
		{"its own page does", "POST /x HTTP/1.1\r\nHost: " + at + "\r\nOrigin: http://" + at + "\r\nContent-Length: 0\r\n\r\n", 200, "POST localhost /x"},
		{"a head has an end", "GET / HTTP/1.1\r\nHost: " + at + "\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", 431, ""},
		{"two Hosts are none", "GET / HTTP/1.1\r\nHost: " + at + "\r\nHost: localhost\r\n\r\n", 400, ""},
		{"two lengths are none", "POST / HTTP/1.1\r\nHost: " + at + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, ""},
	} {
		r, body := exchange(t, p, c.request)
		if r.StatusCode != c.status || c.body != "" && body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.rule, r.StatusCode, body, c.status, c.body)
		}
	}
}

func TestWhatThePrinterDoesNotAnswer(t *testing.T) {
	for _, c := range []struct {
		rule  string
		err   error
		want  int
		retry string
		text  string
	}{
		{"a printer that was unplugged", fmt.Errorf("send: %w", bus.ErrGone), 503, "30", "unplugged"},
		{"one that is being closed", ippusb.ErrClosed, 503, "30", "in a moment"},
		{"one that another program has", bus.ErrBusy, 503, "30", "Another program"},
		{"one that stalled, and is being reset", fmt.Errorf("%w: receive: %w", ippusb.ErrBroken, bus.ErrStalled), 503, "30", "resets"},
		{"one whose transfers fail", fmt.Errorf("%w: send: %w", ippusb.ErrBroken, bus.ErrFailed), 503, "30", "resets"},
		{"one that another request found out of step", fmt.Errorf("%w: malformed HTTP response", ippusb.ErrBroken), 503, "30", "resets"},
		{"one that is silent", fmt.Errorf("%w: receive: %w", ippusb.ErrBroken, ippusb.ErrTimeout), 504, "", "in time"},
		{"one that talks nonsense", fmt.Errorf("%w: %w: malformed HTTP response", ippusb.ErrBroken, ippusb.ErrProtocol), 502, "", "as HTTP wants"},
	} {
		p := serve(t, newEndpoints(t, nil), "a", roundTripper(func(*http.Request) (*http.Response, error) { return nil, c.err }))
		r, body := exchange(t, p, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if r.StatusCode != c.want || r.Header.Get("Retry-After") != c.retry || !strings.Contains(body, c.text) || strings.Contains(body, "malformed") {
			t.Errorf("%s: %d %q %q", c.rule, r.StatusCode, r.Header, body)
		}
		closeNow(t, p)
	}
}

func TestALocationThatTheClientCanFollow(t *testing.T) {
	where := ""
	p := serve(t, newEndpoints(t, nil), "a", printer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", where)
		w.WriteHeader(http.StatusCreated)
	})))
	got := map[string]string{}
	want := map[string]string{
		"http://localhost/eSCL/ScanJobs/1":     "/eSCL/ScanJobs/1",
		"http://127.0.0.1:80/eSCL/ScanJobs/1?": "/eSCL/ScanJobs/1?",
		"http://localhost":                     "/",
		"/eSCL/ScanJobs/1":                     "/eSCL/ScanJobs/1",
		"https://localhost/admin":              "https://localhost/admin", // not ours to serve
		"http://vendor.example/":               "http://vendor.example/",
	}
	for where = range want {
		r, _ := exchange(t, p, "POST /eSCL/ScanJobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		got[where] = r.Header.Get("Location")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Events and pages of a scan come in pieces; each is passed on when it comes.
func TestPiecesArePassedOnAsTheyCome(t *testing.T) {
	next := make(chan struct{})
	p := serve(t, newEndpoints(t, nil), "a", printer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "18") // known or not: it makes no difference
		for range 3 {
			_, _ = io.WriteString(w, "event\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})))
	r, err := http.Get(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewReader(r.Body)
	for range 3 {
		if line, err := lines.ReadString('\n'); line != "event\n" {
			t.Fatalf("%q %v", line, err)
		}
		next <- struct{}{}
	}
}

// An answer that breaks off must not look whole.
func TestAnAnswerThatBreaksOffBreaksOff(t *testing.T) {
	p := serve(t, newEndpoints(t, nil), "a", roundTripper(func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader("half"), &errReader{bus.ErrGone})
		return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(body)}, nil
	}))
	r, err := http.Get(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err == nil {
		t.Errorf("%q came without an error", body)
	}
}

type errReader struct{ err error }

func (e *errReader) Read([]byte) (int, error) { return 0, e.err }

// A printer that answers before it has the document still gets it whole: USB has no other way to end a request.
func TestAnEarlyAnswerDoesNotCutTheRequest(t *testing.T) {
	for _, size := range []int64{64 << 10, 4 << 20} { // net/http reads the rest of a small one itself, unless told not to
		earlyAnswer(t, size)
	}
}

func earlyAnswer(t *testing.T, size int64) {
	t.Helper()
	got := make(chan int64, 1)
	answered := make(chan struct{})
	p := serve(t, newEndpoints(t, nil), "a", roundTripper(func(r *http.Request) (*http.Response, error) {
		pr, pw := io.Pipe()
		go func() { // ends with the request's body
			_, _ = io.WriteString(pw, "early")
			<-answered
			n, _ := io.Copy(io.Discard, r.Body)
			got <- n
			_ = pw.Close()
		}()
		return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: pr}, nil
	}))
	c, err := net.Dial("tcp", p.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, p)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", size)
	in := bufio.NewReader(c)
	for line := ""; line != "early\r\n"; {
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	close(answered)
	if _, err := io.CopyN(c, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != size {
		t.Errorf("the printer got %d bytes, want %d", n, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
