package rig

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Origin is a TCP server on the loopback that a test gives its behaviour.
type Origin struct {
	Address string // 127.0.0.1:port
	Port    string

	mu    sync.Mutex
	conns map[*net.TCPConn]struct{}
	total int
}

// Allow is the line of a configuration that lets devices reach these ports of the loopback, by address and as localhost.
func Allow(ports ...string) string {
	list := strings.Join(ports, ", ")
	return "  allow: [{host: 127.0.0.0/8, ports: [" + list + "], private: true}, {host: localhost, ports: [" + list + "], private: true}]\n"
}

// HTTP serves handler on the loopback, TLS where secure, until the test ends. Port is its port.
func HTTP(t testing.TB, secure bool, handler http.HandlerFunc) (server *httptest.Server, port string) {
	t.Helper()
	server = httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients here break off on purpose
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	_, port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return server, port
}

// Listen runs serve for each connection, with the Deadline on it, until the test ends.
func Listen(t testing.TB, serve func(*net.TCPConn)) *Origin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &Origin{Address: l.Addr().String(), conns: map[*net.TCPConn]struct{}{}}
	_, o.Port, _ = net.SplitHostPort(o.Address)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			c := conn.(*net.TCPConn)
			o.mu.Lock()
			o.conns[c] = struct{}{}
			o.total++
			o.mu.Unlock()
			_ = c.SetDeadline(time.Now().Add(2 * Deadline))
			running.Go(func() {
				serve(c)
				_ = c.Close()
				o.mu.Lock()
				delete(o.conns, c)
				o.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		o.mu.Lock()
		for c := range o.conns {
			_ = c.Close()
		}
		o.mu.Unlock()
		running.Wait()
	})
	return o
}

// Total returns how many connections have come; Open how many are there.
func (o *Origin) Total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// Open returns how many connections are being served.
func (o *Origin) Open() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns)
}
