package mdns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/mdns"
	"github.com/mfpgate/mfpgate/telemetry"
)

// deadline is generous: a test that waits for it has failed.
const deadline = 100 * time.Second

// responder answers on loopback as many devices do that are in different places: each answer is a packet of its own.
type responder struct {
	mu       sync.Mutex // of what the devices' records say
	t        testing.TB
	conn     *ipv4.PacketConn
	group    *net.UDPAddr
	devices  map[string][]dns.RR // by instance, in lower case
	answered atomic.Int64
	done     chan struct{}
}

func loopback(t testing.TB) net.Interface {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	return *lo
}

func respond(t testing.TB, devices ...[]string) *responder {
	t.Helper()
	lo := loopback(t)
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	c, err := net.ListenMulticastUDP("udp4", &lo, group)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	r := &responder{t: t, conn: ipv4.NewPacketConn(c), group: group, devices: map[string][]dns.RR{}, done: make(chan struct{})}
	for _, err := range []error{r.conn.SetMulticastInterface(&lo), r.conn.SetMulticastTTL(255), r.conn.SetMulticastLoopback(true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range devices {
		rrs := parse(t, d...)
		r.devices[strings.ToLower(rrs[0].(*dns.PTR).Ptr)] = rrs //nolint:forcetypeassert // copier's first
	}
	go r.serve()
	t.Cleanup(func() { _ = c.Close(); <-r.done })
	return r
}

func (r *responder) serve() {
	defer close(r.done)
	buf := make([]byte, 9000)
	known := map[string]bool{}
	var ask []dns.Question
	for {
		n, _, _, err := r.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:n]) != nil || m.Response {
			continue
		}
		ask = append(ask, m.Question...)
		for _, rr := range m.Answer {
			if ptr, ok := rr.(*dns.PTR); ok {
				known[strings.ToLower(ptr.Ptr)] = true
			}
		}
		if m.Truncated { // the known answers go on (RFC 6762 §7.2)
			continue
		}
		r.answer(ask, known)
		ask = nil
		clear(known)
	}
}

func (r *responder) answer(ask []dns.Question, known map[string]bool) {
	for _, q := range ask {
		if q.Qtype == dns.TypePTR {
			for name, d := range r.devices {
				if !known[name] && d[0].Header().Name == q.Name {
					r.say(d...)
				}
			}
		}
		if d := r.devices[strings.ToLower(q.Name)]; d != nil && q.Qtype == dns.TypeSRV {
			r.say(d[1:]...)
		}
	}
}

func (r *responder) say(rrs ...dns.RR) {
	r.answered.Add(1)
	r.mu.Lock()
	text := answer(r.t, rrs)
	r.mu.Unlock()
	if _, err := r.conn.WriteTo(text, nil, r.group); err != nil && !errors.Is(err, net.ErrClosed) { // a question may come as the test ends
		r.t.Error(err)
	}
}

// seen is what a real querier sights, by name.
type seen struct {
	mu   sync.Mutex
	all  map[string]mfpgate.Sighting
	n    map[mdns.Event]int
	more chan struct{}
}

// watch runs a querier of the system's sockets on loopback until the test ends.
func watch(t testing.TB, name string) *seen {
	t.Helper()
	s := &seen{all: map[string]mfpgate.Sighting{}, n: map[mdns.Event]int{}, more: make(chan struct{}, 1)}
	q, err := mdns.New(mdns.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(),
		Interfaces: func() ([]net.Interface, error) { return []net.Interface{loopback(t)}, nil },
		Sighted: func(x mfpgate.Sighting) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if strings.HasPrefix(x.Name, name) || x.Gone {
				s.all[string(x.ID)] = x
			}
			select {
			case s.more <- struct{}{}:
			default:
			}
		},
		Count: func(e mdns.Event, n int) { s.mu.Lock(); s.n[e] += n; s.mu.Unlock() }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// await waits until ok says so of what was sighted.
func (s *seen) await(t testing.TB, what string, ok func(map[string]mfpgate.Sighting) bool) {
	t.Helper()
	end := time.After(deadline)
	for {
		s.mu.Lock()
		good := ok(s.all)
		s.mu.Unlock()
		if good {
			return
		}
		select {
		case <-s.more:
		case <-end:
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Fatalf("no %s; have %d sightings, %v", what, len(s.all), s.n)
		}
	}
}

func TestFoundOverRealSockets(t *testing.T) {
	name := fmt.Sprintf("Probe-%d", os.Getpid())
	goroutines := runtime.NumGoroutine()
	t.Run("devices", func(t *testing.T) {
		r := respond(t, copier(name+`-Canon\ iR-ADV\ \232\164\135\229\144\136\230\169\159`, "10.192.2.9"), copier(name+"-b", "fd00::9"))
		first, second := watch(t, name), watch(t, name) // beside each other, as ours is beside avahi
		for _, s := range []*seen{first, second} {
			id := "dns-sd:" + name + "-Canon iR-ADV 複合機._ipp._tcp.local"
			s.await(t, "sighting of both", func(all map[string]mfpgate.Sighting) bool {
				x := all[id]
				return len(all) == 2 && len(x.Endpoints) == 1 && x.Endpoints[0].Address.String() == "10.192.2.9:631" && x.Endpoints[0].Path == "ipp/print"
			})
		}
		for _, d := range r.devices {
			r.mu.Lock() // it may be saying it
			d[0].Header().Ttl = 0
			r.mu.Unlock()
			r.say(d[0])
		}
		for _, s := range []*seen{first, second} {
			s.await(t, "goodbye", func(all map[string]mfpgate.Sighting) bool {
				gone := 0
				for _, x := range all {
					if x.Gone {
						gone++
					}
				}
				return gone == 2
			})
		}
	})
	for end := time.After(deadline); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		select {
		case <-end:
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		default:
		}
	}
}

// TestThousandsAreFoundWithinBounds: 2,000 devices answer all at once.
func TestThousandsAreFoundWithinBounds(t *testing.T) {
	name := fmt.Sprintf("Crowd-%d", os.Getpid())
	const devices = 2000
	crowd := make([][]string, devices)
	for i := range crowd {
		crowd[i] = copier(fmt.Sprintf("%s-%04d", name, i), fmt.Sprintf("10.192.2.%d", 1+i%250))
	}
	r := respond(t, crowd...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	s := watch(t, name)
	s.await(t, "sighting of all", func(all map[string]mfpgate.Sighting) bool { return len(all) == devices })
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d devices in %v; %d packets sent, %d heard, %d by the devices; %d bytes a device with the test's copies",
		devices, took.Round(time.Millisecond), s.n[mdns.QuerySent], s.n[mdns.AnswerReceived], r.answered.Load(),
		int64(after.HeapAlloc-before.HeapAlloc)/devices)
	if sent := s.n[mdns.QuerySent]; sent > 256+240 {
		t.Errorf("%d packets sent", sent)
	}
}
