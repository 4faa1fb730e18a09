package ippusb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// heard sends one request to a printer and returns the bytes that it saw.
func heard(t *testing.T, change func(*ippusb.Options), req *http.Request) string {
	t.Helper()
	seen := make(chan string, 1)
	r := plug(t, 1, func(p *peer) {
		if _, _, err := p.hear(); err != nil {
			seen <- "malformed: " + err.Error() + "\n" + p.seen.String()
			return
		}
		p.say(okay)
		seen <- p.seen.String()
	}).open(t, change)
	resp, err := r.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	return <-seen
}

func TestWhatThePrinterSees(t *testing.T) {
	for rule, tc := range map[string]struct {
		quirks ippusb.Quirks
		method string
		header http.Header
		body   io.Reader
		size   int64
		want   string
	}{
		"a head is the printer's own": {method: "GET", want: "GET /x?y=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		"what is for one connection is stripped": {method: "GET", header: http.Header{
			"Connection": {"X-Mine, close"}, "X-Mine": {"1"}, "Keep-Alive": {"5"}, "Te": {"trailers"}, "Trailer": {"X"}, "Proxy-Authorization": {"x"},
			"proxy-Connection": {"x"}, "Expect": {"100-continue"}, "Accept": {"*/*"}, "transfer-encoding": {"gzip"}, "Content-Length": {"7"}, "Host": {"evil"},
		}, want: "GET /x?y=1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"},
		"a value cannot end the head": {method: "GET", header: http.Header{"X-A": {"1\r\nX-B: 2"}, "X C": {"3"}},
			want: "GET /x?y=1 HTTP/1.1\r\nHost: localhost\r\nX-A: 1  X-B: 2\r\n\r\n"},
		"a small body is announced":            {method: "POST", body: strings.NewReader("abc"), size: 3, want: "POST /x?y=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"},
		"a small body of unknown length too":   {method: "POST", body: io.MultiReader(strings.NewReader("abc")), size: -1, want: "POST /x?y=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"},
		"no body of a method that expects one": {method: "POST", want: "POST /x?y=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"},
		"an empty body":                        {method: "PUT", body: io.MultiReader(), size: -1, want: "PUT /x?y=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"},
		"a quirk sets Connection": {quirks: ippusb.Quirks{Connection: "close"}, method: "GET", header: http.Header{"Connection": {"keep-alive"}},
			want: "GET /x?y=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"},
	} {
		t.Run(rule, func(t *testing.T) {
			req := request(t.Context(), tc.method, "/x?y=1", nil)
			if tc.header != nil {
				req.Header = tc.header
			}
			req.Proto, req.ProtoMinor = "HTTP/1.0", 0
			if tc.body != nil {
				req.Body, req.ContentLength = io.NopCloser(tc.body), tc.size
			}
			got := heard(t, func(o *ippusb.Options) { o.Quirks = tc.quirks }, req)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLargeBodiesAreChunked(t *testing.T) {
	for _, size := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, 131050, 16<<10 + 131050, 1 << 20} {
		body := big(size)
		for _, length := range []int64{int64(size), -1} {
			t.Run(fmt.Sprint(size, length), func(t *testing.T) {
				var got []byte
				var req *http.Request
				r := plug(t, 1, answering(func(_ *peer, q *http.Request, b []byte) string { req, got = q, b; return okay })).open(t, nil)
				q := request(t.Context(), "POST", "/", nil)
				q.Body, q.ContentLength = io.NopCloser(strings.NewReader(body)), length
				resp, err := r.RoundTrip(q)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if string(got) != body {
					t.Errorf("%d bytes arrived, which are not the %d that were sent", len(got), len(body))
				}
				if chunked := len(req.TransferEncoding) > 0; chunked != (size >= 16<<10) {
					t.Errorf("transfer encoding %v, length %d", req.TransferEncoding, req.ContentLength)
				}
			})
		}
	}
}

func TestRefusesWhatUSBCannotDo(t *testing.T) {
	for rule, change := range map[string]func(*http.Request){
		"CONNECT":               func(r *http.Request) { r.Method = "CONNECT" },
		"Upgrade":               func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
		"a method of two words": func(r *http.Request) { r.Method = "GET /" },
		"a target of two words": func(r *http.Request) { r.URL.Opaque = "/ HTTP/1.1\r\nX: y" },
		"no URL":                func(r *http.Request) { r.URL = nil },
		"a length without body": func(r *http.Request) { r.Body, r.ContentLength = nil, 4 },
	} {
		t.Run(rule, func(t *testing.T) {
			r := plug(t, 1, fixed(okay)).open(t, nil)
			body := &closing{Reader: strings.NewReader("x"), closed: make(chan struct{})}
			req := request(t.Context(), "POST", "/", body)
			change(req)
			if _, err := r.RoundTrip(req); !errors.Is(err, ippusb.ErrRefused) {
				t.Errorf("got %v", err)
			}
			if req.Body != nil {
				<-body.closed
			}
			if n := r.outs[0].Total(); n != 0 {
				t.Errorf("the printer was bothered with %d bytes", n)
			}
			r.mustGet(t)
		})
	}
}

// closing says when it was closed, and panics if that happens twice.
type closing struct {
	io.Reader
	closed chan struct{}
}

func (c *closing) Close() error { close(c.closed); return nil }

// TestABodyThatFails: what the printer sees is well-formed, and the client is told.
func TestABodyThatFails(t *testing.T) {
	for rule, tc := range map[string]struct {
		body func() io.Reader
		size int64
		want string // in the error
		sent bool   // the printer sees a request, cut short
	}{
		"a small one":                    {func() io.Reader { return failing("abc") }, 10, "it broke", false},
		"a small one that is too short":  {func() io.Reader { return strings.NewReader("abc") }, 10, "unexpected EOF", false},
		"a small one that is too long":   {func() io.Reader { return strings.NewReader("abcdef") }, 4, "longer than the 4 bytes", false},
		"a large one":                    {func() io.Reader { return failing(big(40000)) }, -1, "it broke", true},
		"a large one that is too short":  {func() io.Reader { return strings.NewReader(big(40000)) }, 50000, "unexpected EOF", true},
		"a large one that is too long":   {func() io.Reader { return strings.NewReader(big(50000)) }, 40000, "longer than the 40000 bytes", true},
		"a small one that panics":        {func() io.Reader { return panicking{} }, -1, "panicked: oh", false},
		"a large one that panics":        {func() io.Reader { return io.MultiReader(strings.NewReader(big(40000)), panicking{}) }, -1, "panicked: oh", true},
		"one that says more than it has": {func() io.Reader { return lying{} }, -1, "are in", false},
		"one that never says anything":   {func() io.Reader { return empty{} }, -1, "no data or error", false},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []byte
				r := plug(t, 1, answering(func(_ *peer, q *http.Request, b []byte) string {
					if q.Method == "POST" { // the answer is longer than what is read ahead, and nobody gets it
						got = b
						return "HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + big(50000)
					}
					return okay
				})).open(t, nil)
				req := request(t.Context(), "POST", "/", nil)
				req.Body, req.ContentLength = io.NopCloser(tc.body()), tc.size
				_, err := r.RoundTrip(req)
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got error %v, want %q", err, tc.want)
				}
				r.mustGet(t)
				if len(got) > 0 != tc.sent || !strings.HasPrefix(big(50000), string(got)) || tc.size >= 0 && int64(len(got)) > tc.size {
					t.Errorf("the printer got %d bytes", len(got))
				}
			})
		})
	}
}

// TestTaken: a body that wants to know learns how much of it the printer took, and nothing of what goes around it.
func TestTaken(t *testing.T) {
	for _, tc := range []struct{ bytes, announced, want int }{
		{100, 100, 100},
		{100, -1, 100},
		{2 << 20, 2 << 20, 2 << 20},
		{2 << 20, -1, 2 << 20},
		{40000, 50000, 40000}, // it breaks off
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 1, fixed(okay)).open(t, nil)
				body := &taker{Reader: strings.NewReader(big(tc.bytes))}
				req := request(t.Context(), "POST", "/", nil)
				req.Body, req.ContentLength = body, int64(tc.announced)
				_, err := r.RoundTrip(req)
				synctest.Wait()
				if broke := tc.bytes < tc.announced; (err != nil) != broke || !body.told || body.taken != tc.want {
					t.Errorf("%v; told of %d bytes, want %d", err, body.taken, tc.want)
				}
			})
		})
	}
}

// taker is what one goroutine at a time tells.
type taker struct {
	io.Reader
	told  bool
	taken int
}

func (*taker) Close() error  { return nil }
func (b *taker) Taken(n int) { b.told, b.taken = true, b.taken+n }

func failing(text string) io.Reader {
	return io.MultiReader(strings.NewReader(text), readFunc(func([]byte) (int, error) { return 0, errors.New("it broke") }))
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("oh") }

type lying struct{}

func (lying) Read(p []byte) (int, error) { return len(p) + 1, nil }

type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, nil }

// TestVanishedClientEndsItsRequest: the printer sees a last chunk, and the interface is there for the next.
func TestVanishedClientEndsItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []byte
		r := plug(t, 1, answering(func(_ *peer, q *http.Request, b []byte) string {
			if q.Method == "POST" {
				got = b
			}
			return okay
		})).open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		in, out := io.Pipe()
		go func() {
			_, _ = out.Write([]byte(big(50000))) // and then nothing more
			cancel()
		}()
		if _, err := r.RoundTrip(request(ctx, "POST", "/", in)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		r.mustGet(t)
		if len(got) < 16<<10 || !strings.HasPrefix(big(50000), string(got)) {
			t.Errorf("the printer got %d bytes", len(got))
		}
		if _, err := out.Write([]byte("x")); err == nil {
			t.Error("the body was not closed")
		}
	})
}

// TestABodyThatNobodyEnds: neither its Read nor its Close returns before the client lets it. The interface does not wait for that.
func TestABodyThatNobodyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, 1, fixed(okay)).open(t, nil)
		free := make(chan struct{})
		for _, head := range []string{"", big(20000)} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			req := request(ctx, "POST", "/", nil)
			req.Body = stuck{io.MultiReader(strings.NewReader(head), readFunc(func([]byte) (int, error) { <-free; return 0, io.EOF })), free}
			if _, err := r.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			r.mustGet(t)
			cancel()
		}
		r.Close()
		close(free)
	})
}

type stuck struct {
	io.Reader
	free chan struct{}
}

func (s stuck) Close() error { <-s.free; return nil }

func TestZeroLengthPackets(t *testing.T) {
	for quirk, want := range map[bool]int{false: 0, true: 1} {
		t.Run(fmt.Sprint(quirk), func(t *testing.T) {
			r := plug(t, 1, fixed(okay))
			r.outs[0].NeedShort(quirk)
			r.open(t, func(o *ippusb.Options) { o.Quirks.ZLPSend, o.AnswerTimeout = quirk, 20*time.Second })
			req := request(t.Context(), "POST", "/", nil)
			body := strings.Repeat("x", 1024-len("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n"))
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), -1
			resp, err := r.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if n := r.outs[0].ZeroPackets(); r.outs[0].Total() != 1024 || n != want {
				t.Errorf("%d zero-length packets behind %d bytes, want %d", n, r.outs[0].Total(), want)
			}
			resp, err = r.RoundTrip(request(t.Context(), "POST", "/", io.MultiReader(strings.NewReader(big(1<<20)))))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if n := r.outs[0].ZeroPackets(); n != want {
				t.Errorf("a whole piece of a large body is %d times a multiple of a packet", n-want)
			}
		})
	}
}
