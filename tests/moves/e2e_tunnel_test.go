package moves_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

const (
	grace = 30 * time.Second // broker/region/route.Grace
	// late is what a cut may be late by, on two busy cores.
	late = 10 * time.Second
)

// movesPinned has a device that learns nothing: the relay alone keeps it from the region that it left. Its tunnels are watched by the
// second, from before the switch until the last is gone.
func (s *scene) movesPinned(t *testing.T) {
	d := s.device(mfp(pinned))
	h, id := s.hand(t, d), s.known(t, pinned)
	d.seen(t, "it is registered in us", func(e map[string]any) bool { return e["event"] == "used" && e["region"] == "us" })
	old := s.US.ServicesHost
	idle, err := h.tunnel(t, old, true)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := h.tunnel(t, old, false) // it has not even said hello
	if err != nil {
		t.Fatal(err)
	}
	watch := h.try(t, old)
	m := s.move(t, id)
	e := s.Log.Event(t, event.MoveSwitched, "move", m.ID)
	switched := time.Now()
	var refusal *refusedError
	eventually(t, "the relay refuses the old services", func() bool { refusal = watch.refused(); return refusal != nil }, func() any { return e })
	if refusal.status != http.StatusForbidden || !strings.Contains(refusal.proxyStatus, string(mfpgate.RegionName)) {
		t.Errorf("the refusal is %+v", refusal)
	}
	for _, conn := range []net.Conn{idle, silent} {
		ended := make(chan time.Time, 1)
		_ = conn.SetReadDeadline(switched.Add(grace + late))
		_, err := io.Copy(io.Discard, conn)
		ended <- time.Now()
		if after := (<-ended).Sub(switched); after > grace+late-time.Second {
			t.Errorf("a tunnel was open %v after the switch: %v", after, err)
		}
	}
	watch.end()
	if watch.after > 0 {
		t.Errorf("%d tunnels opened after one had been refused", watch.after)
	}
	if watch.before == 0 {
		t.Error("no tunnel opened before the switch")
	}
	t.Logf("%d tunnels opened before the switch, %d were refused after it", watch.before, watch.no)

	// Its own tunnel is cut as well, and it goes on asking.
	blocked := d.seen(t, "the relay keeps it from its services", func(e map[string]any) bool { return e["event"] == "blocked" })
	if blocked["reason"] != string(mfpgate.RegionName) {
		t.Errorf("it was blocked: %v", blocked)
	}
	// Its management server can be reached, and has its directive: it has acknowledged none.
	c := h.client(t, true)
	if status, text, err := h.call(t, c, http.MethodGet, "https://"+s.US.ManagementHost+api.DirectivePath, nil); err != nil || status != http.StatusOK {
		t.Errorf("its directive at its old management server: %d %s %v", status, text, err)
	}
	// The source holds a tombstone until the device has come.
	if status, text := h.services(t, "us", http.MethodPost, "check-ins", api.ServiceCheckIn{Epoch: 1}); status != http.StatusMisdirectedRequest || !strings.Contains(string(text), api.Moved) {
		t.Errorf("its services of before: %d %s", status, text)
	}
	if of := s.residence(t, id); of.State != mfpgate.ResidenceMoving || of.Enforcement != mfpgate.Enforced {
		t.Errorf("its residence is %+v", of)
	}
	// Everything that the relay carried of the device to the old services had begun before the switch.
	for _, e := range s.Log.Events(event.RelayClosed) {
		if e.Str("device") != string(id) || !strings.HasPrefix(e.Str("destination"), strings.Split(old, ":")[0]) {
			continue
		}
		ended, err := time.Parse(time.RFC3339, e.Str("time"))
		if err != nil {
			t.Fatal(err)
		}
		begun := ended.Add(-time.Duration(e.Int("duration_ms")) * time.Millisecond)
		if begun.After(switched.Add(time.Second)) || ended.After(switched.Add(grace+late)) {
			t.Errorf("a tunnel to %s was open from %v to %v; the switch was at %v", old, begun, ended, switched)
		}
	}
	if err := s.ctl(t, &m, "moves", "confirm-lost", string(m.ID)); err != nil {
		t.Fatal(err)
	}
	s.until(t, m.ID, mfpgate.MoveDone)
}

// tunnel opens one through the relay as the device; with hello its TLS is made, which is checked for the name.
func (h *hand) tunnel(t *testing.T, to string, hello bool) (net.Conn, error) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(h.d.address)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", h.s.relay())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", to)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = conn.Close()
		return nil, &refusedError{resp.StatusCode, resp.Header.Get("Proxy-Status")}
	}
	if !hello {
		return conn, nil
	}
	name, _, _ := strings.Cut(to, ":")
	secure := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: h.roots})
	return secure, secure.Handshake()
}

// refusedError is an answer to CONNECT.
type refusedError struct {
	status      int
	proxyStatus string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d %s", e.status, e.proxyStatus) }

// tries opens tunnels one after the other, and counts which opened before and after the first that was refused.
type tries struct {
	mu                sync.Mutex
	first             *refusedError
	before, after, no int
	stop, stopped     chan struct{}
}

func (h *hand) try(t *testing.T, to string) *tries {
	w := &tries{stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() { // end waits for it
		defer close(w.stopped)
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for {
			conn, err := h.tunnel(t, to, false)
			w.mu.Lock()
			switch refused, is := err.(*refusedError); {
			case is && refused.status == http.StatusForbidden:
				w.no++
				if w.first == nil {
					w.first = refused
				}
			case err == nil:
				_ = conn.Close()
				if w.first == nil {
					w.before++
				} else {
					w.after++
				}
			}
			w.mu.Unlock()
			select {
			case <-again.C:
			case <-w.stop:
				return
			}
		}
	}()
	t.Cleanup(w.end)
	return w
}

func (w *tries) refused() *refusedError {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

func (w *tries) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	<-w.stopped
}

// toServices counts the connections that the gateway has to a region's services, as `ss` would.
func (s *scene) toServices(t *testing.T, region string) (n int) {
	t.Helper()
	mine := map[string]bool{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.Gateway.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.Trim(to, "socket:[]")] = true
		}
	}
	host, port, err := net.SplitHostPort(s.host(region, false))
	if err != nil {
		t.Fatal(err)
	}
	ip := slices.Clone(net.ParseIP(host).To4())
	slices.Reverse(ip)
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && f[2] == fmt.Sprintf("%X:%04X", []byte(ip), number) && f[3] == "01" && mine[f[9]] {
			n++
		}
	}
	return n
}
