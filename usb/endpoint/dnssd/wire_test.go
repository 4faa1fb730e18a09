package dnssd_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/multicast"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

// wire is a network without loss. Whoever is on it hears what everybody sends, and so does the sender.
type wire struct {
	mu    sync.Mutex
	conns []*conn
	heard []heard
	began time.Time
}

// heard is a packet that was on the wire.
type heard struct {
	at   time.Duration
	from netip.Addr
	to   netip.AddrPort // not valid: all
	*dns.Msg
}

// conn is a host's way to the wire.
type conn struct {
	w       *wire
	at      netip.Addr
	joined  map[int]bool // interfaces; all are on the wire
	packets chan multicast.Packet
}

var eth0 = net.Interface{Index: 2, Name: "eth0", Flags: net.FlagUp | net.FlagMulticast | net.FlagRunning}

func newWire() *wire { return &wire{began: time.Now()} }

func (c *conn) Join(i net.Interface, f multicast.Family) error {
	if f != multicast.IPv4 {
		return errors.New("no such family here")
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.joined[i.Index] = true
	return nil
}

func (c *conn) Leave(i net.Interface, f multicast.Family) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if f == multicast.IPv4 {
		delete(c.joined, i.Index)
	}
}

func (c *conn) Send(_ net.Interface, _ multicast.Family, packet []byte) error {
	c.w.carry(c.at, 5353, netip.AddrPort{}, packet)
	return nil
}

func (c *conn) SendTo(_ net.Interface, to netip.AddrPort, packet []byte) error {
	c.w.carry(c.at, 5353, to, packet)
	return nil
}

func (c *conn) Packets() <-chan multicast.Packet { return c.packets }

func (c *conn) Close() error { return nil }

func (w *wire) carry(from netip.Addr, port uint16, to netip.AddrPort, packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &dns.Msg{}
	if err := m.Unpack(packet); err != nil {
		panic(err)
	}
	w.heard = append(w.heard, heard{time.Since(w.began), from, to, m})
	if to.IsValid() {
		return
	}
	for _, c := range w.conns {
		for index := range c.joined {
			c.packets <- multicast.Packet{Data: slices.Clone(packet), From: netip.AddrPortFrom(from, port), Interface: index, TTL: 255, Multicast: true}
		}
	}
}

// say sends a message as another host does.
func (w *wire) say(from string, m *dns.Msg) {
	packet, err := m.Pack()
	if err != nil {
		panic(err)
	}
	at := netip.MustParseAddrPort(from)
	w.carry(at.Addr(), at.Port(), netip.AddrPort{}, packet)
	synctest.Wait()
}

// since returns what was on the wire since n packets were, from a host if that is named.
func (w *wire) since(n int, from string) (out []heard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.heard[n:] {
		if from == "" || h.from == netip.MustParseAddr(from) {
			out = append(out, h)
		}
	}
	return out
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.heard)
}

// host is a machine with a responder.
type host struct {
	*dnssd.Responder
	conn  *conn
	links []dnssd.Interface
	stop  func()
	mu    sync.Mutex
	names []string
}

func (w *wire) host(t *testing.T, name, address string) *host {
	t.Helper()
	at := netip.MustParsePrefix(address + "/24")
	h := &host{conn: &conn{w: w, at: at.Addr(), joined: map[int]bool{}, packets: make(chan multicast.Packet, 4096)}}
	h.links = []dnssd.Interface{{Interface: eth0, Prefixes: []netip.Prefix{at}}}
	r, err := dnssd.New(dnssd.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Host: name, Rand: rand.New(rand.NewPCG(1, uint64(at.Addr().As4()[3]))),
		Interfaces: func() ([]dnssd.Interface, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.links, nil
		},
		Open: func() (dnssd.Conn, error) { return h.conn, nil }})
	if err != nil {
		t.Fatal(err)
	}
	h.Responder = r
	w.mu.Lock()
	w.conns = append(w.conns, h.conn)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) publish(t *testing.T, name string, services ...dnssd.Service) (withdraw func()) {
	t.Helper()
	if services == nil {
		services = []dnssd.Service{{Type: "_ipp._tcp", Subtypes: []string{"_print", "_universal"}, Port: 61000,
			Text: func(at string) []string {
				return []string{"txtvers=1", "rp=ipp/print", "note=é\\\"", "adminurl=http://" + at + ":61000/"}
			}}}
	}
	withdraw, err := h.Publish(dnssd.Publication{Name: name, Services: services, Named: func(n string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.names = append(h.names, n)
	}})
	if err != nil {
		t.Fatal(err)
	}
	return withdraw
}

func (h *host) named() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.names)
}

// after lets time go by.
func after(d time.Duration) {
	_ = mfpgate.Wait(context.Background(), mfpgate.SystemClock{}, d)
	synctest.Wait()
}

func question(name string, kind uint16) *dns.Msg {
	m := &dns.Msg{}
	m.Question = []dns.Question{{Name: name, Qtype: kind, Qclass: dns.ClassINET}}
	return m
}

func records(t *testing.T, lines ...string) (out []dns.RR) {
	t.Helper()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

func response(answers ...dns.RR) *dns.Msg {
	m := &dns.Msg{Answer: answers}
	m.Response, m.Authoritative = true, true
	return m
}
