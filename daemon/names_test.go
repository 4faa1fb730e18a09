package daemon_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
)

// nameserver says of every name that it has that address, and returns where it listens.
func nameserver(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan struct{})
	s := &dns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: netip.MustParseAddr(address).AsSlice()}}
		}
		_ = w.WriteMsg(a)
	})}
	go func() { // the cleanup waits for it
		defer close(ended)
		_ = s.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-ended
	})
	return conn.LocalAddr().String()
}

// A reload has the relay ask other name servers, and take what they say at once.
func TestNameServersAreReloaded(t *testing.T) {
	port := ""
	for _, at := range []string{"127.0.0.1", "127.0.0.2"} {
		l, err := net.Listen("tcp", net.JoinHostPort(at, port))
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, at) }))
		_ = origin.Listener.Close()
		origin.Listener = l
		origin.Start()
		t.Cleanup(origin.Close)
	}
	dir := t.TempDir()
	g := startIn(t, dir, port, "")
	defer g.stop(t)
	for _, at := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.1"} {
		text := fmt.Appendf(nil, `site: {name: golden, region: jp}
state_dir: %s
relay:
  listen: ["127.0.0.1:0"]
  clients: [127.0.0.0/8]
  allow: [{host: origin.test, ports: [%s], private: true}]
  dns_servers: [%q]
metrics: {listen: "127.0.0.1:0"}
`, filepath.Join(dir, "state"), port, nameserver(t, at))
		if err := os.WriteFile(filepath.Join(dir, "mfpgate.yaml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		g.signals <- syscall.SIGHUP
		got := ""
		for began := time.Now(); got != at; {
			if time.Since(began) > 30*time.Second {
				t.Fatalf("the origin is %q, want %s", got, at)
			}
			if err := mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, 20*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			resp, err := g.client().Get("http://origin.test:" + port)
			if err != nil {
				continue
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				got = string(body)
			}
		}
	}
}
