package mdns_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/mdns"
	"github.com/mfpgate/mfpgate/telemetry"
)

// query is what the querier sent.
type query struct {
	at     time.Duration // since the start
	index  int
	family mdns.Family
	size   int
	*dns.Msg
}

// asks says whether a query has a question, and whether for a unicast answer.
func (q query) asks(name string, kind uint16) (asked, unicast bool) {
	for _, question := range q.Question {
		if question.Name == name && question.Qtype == kind {
			return true, question.Qclass&(1<<15) != 0
		}
	}
	return false, false
}

// sim is a querier on links that the test is the rest of. It runs in a synctest bubble.
type sim struct {
	t          *testing.T
	querier    *mdns.Querier
	packets    chan mdns.Packet
	start      time.Time
	interfaces []net.Interface
	families   mdns.Family
	broken     map[int]bool // indexes where Send fails
	reply      func(query)  // called for each query

	mu       sync.Mutex // guards what follows while the querier runs
	queries  []query
	sighted  []mfpgate.Sighting
	counts   map[mdns.Event]int
	stop     func()
	services []string
}

var (
	eth0 = net.Interface{Index: 1_000_001, Name: "eth0", Flags: net.FlagUp | net.FlagMulticast | net.FlagRunning}
	eth1 = net.Interface{Index: 1_000_002, Name: "eth1", Flags: net.FlagUp | net.FlagMulticast | net.FlagRunning}
)

const ipp = "_ipp._tcp.local."

func newSim(t *testing.T) *sim {
	return &sim{t: t, packets: make(chan mdns.Packet, 16384), interfaces: []net.Interface{eth0}, families: mdns.IPv4,
		counts: map[mdns.Event]int{}, broken: map[int]bool{}, services: []string{"_ipp._tcp.local"}}
}

// run starts the querier; the test ends it.
func (s *sim) run() *sim {
	s.t.Helper()
	s.start = time.Now()
	q, err := mdns.New(mdns.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Rand: rand.New(rand.NewPCG(1, 2)),
		Services: s.services, Open: func() (mdns.Conn, error) { return s, nil },
		Interfaces: func() ([]net.Interface, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.interfaces), nil
		},
		Sighted: func(x mfpgate.Sighting) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sighted = append(s.sighted, x)
		},
		Count: func(e mdns.Event, n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.counts[e] += n
		}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.querier = q
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
	s.t.Cleanup(s.stop)
	return s
}

func (s *sim) Join(_ net.Interface, f mdns.Family) error {
	if s.families&f == 0 {
		return errors.New("no such family here")
	}
	return nil
}
func (s *sim) Leave(net.Interface, mdns.Family)  {}
func (s *sim) Packets() <-chan mdns.Packet       { return s.packets }
func (s *sim) Unicast(mdns.Family) bool          { return true }
func (s *sim) Close() error                      { return nil }
func (s *sim) setInterfaces(to ...net.Interface) { s.mu.Lock(); s.interfaces = to; s.mu.Unlock() }
func (s *sim) since() time.Duration              { return time.Since(s.start) }
func (s *sim) asked(from int) []query            { return s.queries[from:] }
func (s *sim) hear(rrs ...string)                { s.hearOn(eth0, mdns.IPv4, rrs...) }
func (s *sim) inject(p mdns.Packet)              { s.packets <- p; synctest.Wait() }
func (s *sim) sightings() (got []string)         { return describe(s.t, s.sighted) }
func (s *sim) take() (got []string)              { got = s.sightings(); s.sighted = nil; return got }
func source(f mdns.Family, port uint16) (a netip.AddrPort) {
	if f == mdns.IPv6 {
		return netip.AddrPortFrom(netip.MustParseAddr("fe80::9%eth0"), port)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("10.1.0.9"), port)
}

// pass lets time pass. What the querier does meanwhile comes after what the test did, and before what it does next; the lock
// tells the race detector.
func (s *sim) pass(d time.Duration) {
	s.meet()
	<-time.After(d)
	synctest.Wait()
	s.meet()
}

func (s *sim) meet() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

func (s *sim) Send(i net.Interface, f mdns.Family, packet []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken[i.Index] {
		return errors.New("network is unreachable")
	}
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		s.t.Errorf("query: %v", err)
	}
	q := query{at: s.since(), index: i.Index, family: f, size: len(packet), Msg: m}
	s.queries = append(s.queries, q)
	// The group brings every packet back to whoever sent it.
	s.packets <- mdns.Packet{Data: packet, From: source(f, 5353), Interface: i.Index, TTL: 255, Multicast: true}
	if s.reply != nil {
		s.reply(q)
	}
	return nil
}

// parse reads records in zone-file form; the class CH stands for IN with the cache-flush bit.
func parse(t testing.TB, rrs ...string) []dns.RR {
	t.Helper()
	var all []dns.RR
	for _, text := range rrs {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if rr.Header().Class == dns.ClassCHAOS {
			rr.Header().Class = dns.ClassINET | 1<<15
		}
		all = append(all, rr)
	}
	return all
}

// answer packs a response.
func answer(t testing.TB, rrs []dns.RR) []byte {
	t.Helper()
	m := &dns.Msg{Compress: true, Answer: rrs}
	m.Response, m.Authoritative = true, true
	data, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (s *sim) hearOn(i net.Interface, f mdns.Family, rrs ...string) {
	s.t.Helper()
	s.inject(mdns.Packet{Data: answer(s.t, parse(s.t, rrs...)), From: source(f, 5353), Interface: i.Index, TTL: 255, Multicast: true})
}

// copier is a device that says all in one packet.
func copier(name string, address string) []string {
	in, host := name+"._ipp._tcp.local.", strings.ToLower(strings.ReplaceAll(name, `\ `, "-"))+".local."
	kind := "A"
	if strings.Contains(address, ":") {
		kind = "AAAA"
	}
	return []string{
		"_ipp._tcp.local. 4500 IN PTR " + in,
		in + " 120 CH SRV 0 0 631 " + host,
		in + ` 4500 CH TXT "txtvers=1" "rp=ipp/print" "ty=Rigworks Composite 100" "UUID=0a1b2c3d-0000-1000-8000-001122334455" "note=Floor 2"`,
		host + " 120 CH " + kind + " " + address,
	}
}

// describe writes sightings in one line each.
func describe(t testing.TB, all []mfpgate.Sighting) (got []string) {
	t.Helper()
	for _, x := range all {
		if x.Answered {
			t.Errorf("%s: Answered, but nobody asked the endpoint", x.ID)
		}
		line := strings.TrimPrefix(string(x.ID), "dns-sd:")
		if x.Gone {
			got = append(got, line+" gone")
			continue
		}
		for _, e := range x.Endpoints {
			line += fmt.Sprintf(" %s://%s/%s", e.Protocol, e.Address, e.Path)
		}
		got = append(got, line)
	}
	return got
}
