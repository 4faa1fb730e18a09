package portal_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/telemetry"
)

// wire is a server with the daemon's own time limits, reached over pipes that hold nothing: what is not read is not written.
type wire struct {
	t     *testing.T
	conns chan net.Conn
	near  []net.Conn
	*door
}

func (w *wire) Accept() (net.Conn, error) {
	conn, ok := <-w.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (w *wire) Close() error   { return nil }
func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443} }

// onWire runs f in a bubble whose time passes by itself.
func onWire(t *testing.T, f func(t *testing.T, w *wire)) {
	synctest.Test(t, func(t *testing.T) {
		g := portaltest.Registering()
		p, err := portal.New(portal.Options{Gateway: g, Accounts: g, API: control.Handler(g, "1"), Clock: mfpgate.SystemClock{},
			Log: telemetry.NewLogger(io.Discard, mfpgate.SystemClock{}, new(telemetry.Level), false)})
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{t, make(chan net.Conn), nil, &door{t: t, gateway: g, portal: p, from: "10.1.2.3:40000"}}
		server := &http.Server{Handler: p, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(w) }() // awaited below
		defer func() {
			for _, conn := range w.near {
				_ = conn.Close()
			}
			close(w.conns)
			<-ended
			synctest.Wait()
			if n := g.Listeners(); n != 0 {
				t.Errorf("%d streams go on after their end", n)
			}
		}()
		f(t, w)
	})
}

// follow opens a stream as the door's browser does, and returns its body after the answer's head.
func (w *wire) follow(path string) (*http.Response, net.Conn) {
	w.t.Helper()
	near, far := net.Pipe()
	w.conns <- far
	if _, err := fmt.Fprintf(near, "GET %s HTTP/1.1\r\nHost: gate.example\r\nCookie: %s=%s\r\n\r\n", path, w.cookie.Name, w.cookie.Value); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(near), &http.Request{Method: http.MethodGet})
	if err != nil {
		w.t.Fatal(err)
	}
	w.near = append(w.near, near)
	return resp, near
}

// ear reads a stream, and counts.
type ear struct {
	events, beats atomic.Int32
	over          chan struct{} // closed at the stream's end
}

func listen(resp *http.Response) *ear {
	e := &ear{over: make(chan struct{})}
	go func() { // until the stream ends, at the latest with its connection, which onWire's bubble waits for
		defer close(e.over)
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			switch {
			case lines.Text() == "event: changed":
				e.events.Add(1)
			case strings.HasPrefix(lines.Text(), ":"):
				e.beats.Add(1)
			}
		}
	}()
	return e
}

func (e *ear) ended() bool {
	synctest.Wait()
	select {
	case <-e.over:
		return true
	default:
		return false
	}
}

// hears waits, and says what has come meanwhile.
func (e *ear) hears(t *testing.T, d time.Duration) (events, beats int) {
	t.Helper()
	pass(t, d)
	synctest.Wait()
	return int(e.events.Swap(0)), int(e.beats.Swap(0))
}

func pass(t *testing.T, d time.Duration) {
	t.Helper()
	if err := mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, d); err != nil {
		t.Fatal(err)
	}
}

func TestAStreamTellsOfChanges(t *testing.T) {
	onWire(t, func(t *testing.T, w *wire) {
		w.enterAs("sato")
		resp, _ := w.follow("/registrations/events")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s, %v", resp.Status, resp.Header)
		}
		e := listen(resp)
		expect := func(rule string, wait time.Duration, events, beats int) {
			t.Helper()
			if n, m := e.hears(t, wait); n != events || m != beats {
				t.Errorf("%s: %d events and %d heartbeats, want %d and %d", rule, n, m, events, beats)
			}
		}
		state := func(id string, s mfpgate.RegistrationState) {
			w.gateway.Change(id, func(r *mfpgate.Registration) { r.State = s })
		}
		expect("at first, for what was missed", time.Second, 1, 0)
		state("reg_admin", mfpgate.RegistrationRedeeming)
		expect("a change", time.Second, 1, 0)
		state("reg_abe", mfpgate.RegistrationRedeeming)
		expect("another user's change", time.Second, 0, 0)
		for range 500 {
			state("reg_admin", mfpgate.RegistrationCertifying)
		}
		if n, _ := e.hears(t, 2*time.Second); n < 1 || n > 2 {
			t.Errorf("500 changes at once are %d events", n)
		}
		state("reg_admin", mfpgate.RegistrationRegistered)
		expect("the last state", time.Second, 1, 0)
		expect("heartbeats, beyond the server's time for an answer", 5*time.Minute, 0, 20)
		state("reg_failed", mfpgate.RegistrationRequested)
		expect("a change after that", time.Second, 1, 0)
	})
}

func TestAStreamOfOneRegistrationTellsOfIt(t *testing.T) {
	onWire(t, func(t *testing.T, w *wire) {
		w.enterAs("mori")
		resp, _ := w.follow("/registrations/reg_admin/events")
		e := listen(resp)
		e.hears(t, time.Second)
		for _, c := range []struct {
			id   string
			want int
		}{{"reg_failed", 0}, {"reg_admin", 1}} {
			w.gateway.Change(c.id, func(r *mfpgate.Registration) { r.Attempt++ })
			if n, _ := e.hears(t, time.Second); n != c.want {
				t.Errorf("a change of %s: %d events, want %d", c.id, n, c.want)
			}
		}
	})
}

func TestAStreamEndsWithItsSession(t *testing.T) {
	for _, c := range []struct {
		rule   string
		end    func(w *wire)
		atOnce bool
	}{
		{"a logout", func(w *wire) { w.ask("POST", "/logout", "") }, true},
		{"a removed account", func(w *wire) { _ = w.gateway.RemoveUser(w.t.Context(), "sato") }, false},
		{"another role", func(w *wire) {
			w.gateway.SetAccount("sato", control.User{Role: control.RoleAdministrator, Email: "sato@example.co.jp"})
		}, false},
		{"a new password", func(w *wire) {
			_ = w.gateway.AddUser(w.t.Context(), control.User{Name: "sato", Role: control.RoleUser, Email: "sato@example.co.jp"}, "another horse battery")
		}, false},
		{"the idle time, which the stream does not extend", func(w *wire) { pass(w.t, portal.IdleTimeout) }, true},
	} {
		onWire(t, func(t *testing.T, w *wire) {
			w.enterAs("sato")
			resp, _ := w.follow("/registrations/events")
			e := listen(resp)
			e.hears(t, time.Second)
			c.end(w)
			if c.atOnce && !e.ended() {
				t.Errorf("%s does not end it at once", c.rule)
			}
			w.gateway.Change("reg_admin", func(r *mfpgate.Registration) { r.Attempt++ })
			if n, _ := e.hears(t, time.Second); n != 0 || !e.ended() {
				t.Errorf("after %s it tells of %d changes, and is over: %v", c.rule, n, e.ended())
			}
		})
	}
}

func TestASlowReaderIsCut(t *testing.T) {
	onWire(t, func(t *testing.T, w *wire) {
		w.enterAs("sato")
		_, conn := w.follow("/registrations/events")
		pass(t, 9*time.Second)
		if n := w.gateway.Listeners(); n != 1 {
			t.Errorf("after 9 s %d streams are open", n)
		}
		pass(t, 2*time.Second)
		if n := w.gateway.Listeners(); n != 0 {
			t.Errorf("after 11 s %d streams are open", n)
		}
		_ = conn.Close()
	})
}

func TestStreamsAreBounded(t *testing.T) {
	onWire(t, func(t *testing.T, w *wire) {
		w.enterAs("sato")
		var open []net.Conn
		for i := range 8 {
			resp, conn := w.follow("/registrations/events")
			if resp.StatusCode != 200 {
				t.Fatalf("stream %d: %s", i+1, resp.Status)
			}
			listen(resp)
			open = append(open, conn)
		}
		if resp, conn := w.follow("/registrations/reg_admin/events"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "15" {
			t.Errorf("one too many: %s", resp.Status)
		} else {
			_ = conn.Close()
		}
		_ = open[0].Close()
		synctest.Wait()
		if resp, _ := w.follow("/registrations/events"); listen(resp) != nil && resp.StatusCode != 200 {
			t.Errorf("after one has ended: %s", resp.Status)
		}
		w.cookie = nil // another browser: a login ends the session that was before it in the same one
		w.enterAs("mori")
		if resp, _ := w.follow("/registrations/events"); listen(resp) != nil && resp.StatusCode != 200 {
			t.Errorf("another account's first: %s", resp.Status)
		}
		for i := range 15 { // 9 are open; 119 more are the most of all
			name := fmt.Sprintf("user%d", i)
			w.from = fmt.Sprintf("10.2.%d.1:40000", i)
			if err := w.gateway.AddUser(t.Context(), control.User{Name: name}, "correct horse battery"); err != nil {
				t.Fatal(err)
			}
			w.cookie = nil
			w.enterAs(name)
			for j := range 8 {
				want := 200
				if 9+i*8+j >= 128 {
					want = 503
				}
				resp, _ := w.follow("/registrations/events")
				if resp.StatusCode != want {
					t.Fatalf("stream %d of all: %s, want %d", 9+i*8+j+1, resp.Status, want)
				}
				listen(resp)
			}
		}
	})
}

func TestAStreamNeedsAController(t *testing.T) {
	d := newDoor(t, portaltest.Registering())
	d.enter()
	if w := httptest.NewRecorder(); w.Body.Len() != 0 || text(t, d.ask("GET", "/registrations/events", "")) != "" {
		t.Error("a stream whose writes cannot be bounded says something")
	}
}
