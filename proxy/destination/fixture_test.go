package destination_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

// nameserver is a DNS server on the loopback. answer gives the addresses for a name; false is no answer at all.
type nameserver struct {
	conn    net.PacketConn
	queries atomic.Int64 // questions for A records
	answer  func(name string, query int) (addrs []string, rcode dnsmessage.RCode, answers bool)
	wg      sync.WaitGroup

	patience time.Duration // how long its resolver waits for an answer
}

func serveDNS(t testing.TB, answer func(name string, query int) ([]string, dnsmessage.RCode, bool)) *nameserver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameserver{conn: conn, answer: answer, patience: 5 * time.Second}
	s.wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := s.reply(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		s.wg.Wait()
	})
	return s
}

func always(addrs ...string) func(string, int) ([]string, dnsmessage.RCode, bool) {
	return func(string, int) ([]string, dnsmessage.RCode, bool) { return addrs, dnsmessage.RCodeSuccess, true }
}

func (s *nameserver) reply(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	n := int(s.queries.Load())
	if q.Type == dnsmessage.TypeA {
		n = int(s.queries.Add(1))
	}
	if q.Type == dnsmessage.TypeAAAA && strings.HasPrefix(q.Name.String(), "only-a.") {
		return nil
	}
	addrs, rcode, answers := s.answer(q.Name.String(), n)
	if !answers {
		return nil
	}
	reply := dnsmessage.Message{Questions: m.Questions}
	reply.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RCode: rcode}
	for _, text := range addrs {
		addr := netip.MustParseAddr(text)
		head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET}
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func (s *nameserver) resolver() *net.Resolver {
	return destination.ResolverVia(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}, s.patience)
}

// dialer is a Dialer of the machine's own clock and interfaces that asks s; s may be nil for literal addresses.
func dialer(s *nameserver) *destination.Dialer {
	d := &destination.Dialer{
		Clock: mfpgate.SystemClock{},
		Box:   &destination.Box{Clock: mfpgate.SystemClock{}},
	}
	if s != nil {
		d.Resolver = s.resolver()
	}
	return d
}

// origin accepts and holds connections on address until the test ends.
func origin(t testing.TB, address string) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// silent is a listener with a full queue on addr: the kernel drops every further SYN, as a firewall would.
func silent(t testing.TB, addr string, port uint16) uint16 {
	t.Helper()
	socket := func() int {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(fd) })
		return fd
	}
	fd := socket()
	at := &syscall.SockaddrInet4{Addr: netip.MustParseAddr(addr).As4(), Port: int(port)}
	if err := syscall.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at.Port = name.(*syscall.SockaddrInet4).Port
	for range 4 {
		if err := syscall.Connect(socket(), at); err != nil && err != syscall.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return uint16(at.Port)
}

func budget(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// noLeaks is called first in a test, so that it looks after every other cleanup.
func noLeaks(t *testing.T) {
	leak := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, leak) })
}
