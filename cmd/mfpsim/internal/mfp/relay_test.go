package mfp_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
)

// relay is a CONNECT proxy that misbehaves as told.
type relay struct {
	url *url.URL

	mu       sync.Mutex
	refuse   int    // so many CONNECTs get 503 with Retry-After: 1
	cut      int64  // a tunnel ends after so many bytes to the device; 0: never
	cuts     int    // how many tunnels may still be cut
	stall    int64  // a tunnel carries no more than so many bytes to the device, and stays; 0: all
	password string // if set, needed
	clients  map[string]int
}

func newRelay(t *testing.T) *relay {
	r := &relay{clients: map[string]int{}}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	must(t, err)
	r.url = u
	return r
}

func (r *relay) set(change func(*relay)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// admit returns the status for a CONNECT and how many bytes its tunnel may carry.
func (r *relay) admit(req *http.Request) (status int, limit int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	host, _, _ := net.SplitHostPort(req.RemoteAddr)
	r.clients[host]++
	_, password, _ := (&http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}).BasicAuth()
	switch {
	case req.Method != http.MethodConnect:
		return http.StatusMethodNotAllowed, 0
	case password != r.password:
		return http.StatusProxyAuthRequired, 0
	case r.refuse > 0:
		r.refuse--
		return http.StatusServiceUnavailable, 0
	}
	return http.StatusOK, r.cut
}

func (r *relay) stalls() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stall
}

func (r *relay) mayCut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cuts--
	return r.cuts >= 0
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	status, limit := r.admit(req)
	if status != http.StatusOK {
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Proxy-Status", "relay; error=connection_limit_reached")
		}
		w.WriteHeader(status)
		return
	}
	origin, err := net.Dial("tcp", req.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer origin.Close()
	device, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer device.Close()
	if _, err := io.WriteString(device, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(origin, device) // ends when either end closes
		_ = origin.Close()
	})
	if stall := r.stalls(); stall > 0 {
		_, _ = io.CopyN(device, origin, stall)
		up.Wait() // until the device has had enough
		return
	}
	if limit > 0 {
		if n, _ := io.CopyN(device, origin, limit); n < limit || r.mayCut() {
			_ = device.Close()
			_ = origin.Close()
			up.Wait()
			return
		}
	}
	_, _ = io.Copy(device, origin)
	_ = device.Close()
	_ = origin.Close()
	up.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
