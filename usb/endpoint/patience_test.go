package endpoint_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

// late is a clock that makes deadlines of a minute come in a part of a second.
type late struct{ mfpgate.SystemClock }

func (late) Now() time.Time { return time.Now().Add(-time.Minute + 300*time.Millisecond) }

func TestASlowClientDoesNotHoldThePrinter(t *testing.T) {
	ended := make(chan error, 1)
	p := serve(t, newEndpoints(t, func(o *endpoint.Options) { o.Clock = late{} }), "a", roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet { // a client that does not read
			body, w := io.Pipe()
			go func() {
				_, err := io.Copy(w, zeros{})
				ended <- err
			}()
			return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: body}, nil
		}
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
		return nil, err
	}))
	r, body := exchange(t, p, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
	if err := <-ended; err == nil || r.StatusCode != 408 {
		t.Errorf("a client that stops sending: %v, %d %q", err, r.StatusCode, body)
	}
	c, err := net.Dial("tcp", p.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	select {
	case <-ended:
	case <-time.After(deadline):
		t.Error("a client that does not read holds the printer")
	}
	drips, err := net.Dial("tcp", p.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer drips.Close()
	_, _ = io.WriteString(drips, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
	again, end := time.NewTicker(20*time.Millisecond), time.After(deadline)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_, _ = drips.Write([]byte("x"))
			continue
		case <-ended:
		case <-end:
			t.Error("a client that sends a byte now and then holds the printer")
		}
		break
	}
}

// A printer without paper may be waited for longer than any client.
func TestAPrinterMayTakeItsTime(t *testing.T) {
	p := serve(t, newEndpoints(t, func(o *endpoint.Options) { o.Clock = late{} }), "a", roundTripper(func(r *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(700 * time.Millisecond): // a client's patience is 300 ms
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, err
		}
	}))
	for range 2 { // on one connection
		r, err := http.Post(p.URL(), "application/ipp", strings.NewReader("document"))
		if err != nil || r.StatusCode != 200 {
			t.Fatal(r, err)
		}
		_ = r.Body.Close()
	}
}
