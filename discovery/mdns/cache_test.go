package mdns_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/discovery/mdns"
)

func (s *sim) want(when string, want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.take()); diff != "" {
		s.t.Errorf("%s: -want +got\n%s", when, diff)
	}
}

const at9 = "Copier._ipp._tcp.local ipp://10.1.0.9:631/ipp/print"

func TestGoodbyeEndsASecondLater(t *testing.T) { // RFC 6762 §10.1
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(time.Second)
		s.hear(copier("Copier", "10.1.0.9")...)
		s.want("announced", at9)
		goodbye := "_ipp._tcp.local. 0 IN PTR copier._IPP._tcp.local." // names have no case
		s.hear(goodbye)
		s.pass(900 * time.Millisecond)
		s.want("0.9 s after goodbye")
		s.hear(copier("Copier", "10.1.0.9")...)
		s.pass(2 * time.Second)
		s.want("announced again in time")
		s.hear(goodbye)
		s.pass(1100 * time.Millisecond)
		s.want("after goodbye", "Copier._ipp._tcp.local gone")
		n := len(s.queries)
		s.pass(time.Hour)
		for _, q := range s.asked(n) {
			if asked, _ := q.asks(ipp, dns.TypePTR); !asked || len(q.Question) > 1 {
				t.Errorf("asked for what said goodbye: %v", q.Question)
			}
		}
	})
}

func TestGoodbyeOfEverythingAtOnce(t *testing.T) {
	bubble(t, func(_ *testing.T, s *sim) {
		s.run().pass(time.Second)
		device := copier("Copier", "10.1.0.9")
		s.hear(device...)
		s.take()
		for i := range device {
			device[i] = strings.NewReplacer(" 4500 ", " 0 ", " 120 ", " 0 ").Replace(device[i])
		}
		s.hear(device...)
		s.pass(time.Hour)
		s.want("goodbye", "Copier._ipp._tcp.local gone")
	})
}

func TestCacheFlushHasASecondOfGrace(t *testing.T) { // RFC 6762 §10.2
	bubble(t, func(_ *testing.T, s *sim) {
		s.run().pass(time.Second)
		s.hear(copier("Copier", "10.1.0.9")...)
		s.want("announced", at9)
		s.hear("copier.local. 120 CH A 10.1.0.10") // within the second: another record of the same set
		s.pass(10 * time.Second)
		s.want("two addresses", at9+" ipp://10.1.0.10:631/ipp/print")
		s.hear("copier.local. 120 CH A 10.1.0.11")
		s.want("moved", at9+" ipp://10.1.0.10:631/ipp/print ipp://10.1.0.11:631/ipp/print")
		s.pass(1100 * time.Millisecond)
		s.want("after the second", "Copier._ipp._tcp.local ipp://10.1.0.11:631/ipp/print")
		s.hear("_ipp._tcp.local. 4500 CH PTR Other._ipp._tcp.local.") // shared: the bit is wrong, and flushes nobody
		s.pass(3 * time.Second)
		s.want("a flushing PTR")
	})
}

func TestWhoNeverStopsChangingIsHeldBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(time.Second)
		s.hear(copier("Copier", "10.1.0.9")...)
		for i := range 1000 { // 10 s
			s.hear(fmt.Sprintf(`Copier._ipp._tcp.local. 4500 CH TXT "note=Floor %d"`, i))
			s.pass(10 * time.Millisecond)
		}
		s.pass(2 * time.Second)
		if n := len(s.sighted); n < 10 || n > 20 {
			t.Errorf("%d sightings in 12 s", n)
		}
		if got := s.sighted[len(s.sighted)-1].Location; got != "Floor 999" {
			t.Errorf("the last is of %q", got)
		}
	})
}

func TestOneInstanceOnTwoLinksIsOneSighting(t *testing.T) {
	bubble(t, func(_ *testing.T, s *sim) {
		s.setInterfaces(eth0, eth1)
		s.families = mdns.IPv4 | mdns.IPv6
		s.run().pass(time.Second)
		s.hearOn(eth0, mdns.IPv4, copier("Copier", "10.1.0.9")...)
		s.want("first link", at9)
		s.hearOn(eth1, mdns.IPv6, copier("Copier", "fe80::9")...)
		s.want("second link", at9+" ipp://[fe80::9%eth1]:631/ipp/print")
		s.setInterfaces(eth0)
		s.pass(16 * time.Second)
		s.want("second link gone", at9)
		s.setInterfaces()
		s.pass(16 * time.Second)
		s.want("both gone", "Copier._ipp._tcp.local gone")
		n := len(s.queries)
		s.setInterfaces(eth1)
		s.pass(16 * time.Second)
		if got := s.asked(n); len(got) == 0 || got[0].index != eth1.Index {
			t.Errorf("a new interface was not asked on: %v", got)
		}
	})
}

func TestASendErrorStopsNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		s.setInterfaces(eth0, eth1)
		s.broken[eth0.Index] = true
		s.run().pass(10 * time.Second)
		if len(s.queries) != 4 || s.counts[mdns.SendFailed] != 4 {
			t.Errorf("%d queries on the sound link, %d failed; want 4 each", len(s.queries), s.counts[mdns.SendFailed])
		}
		delete(s.broken, eth0.Index)
		s.pass(10 * time.Second)
		if len(s.queries) != 6 {
			t.Errorf("%d queries after the link healed", len(s.queries))
		}
	})
}

func TestPortZeroIsNoEndpoint(t *testing.T) { // Bonjour Printing: the flagship name
	bubble(t, func(t *testing.T, s *sim) {
		s.services = []string{"_printer._tcp.local"}
		s.run().pass(time.Second)
		for _, line := range copier("Copier", "10.1.0.9") {
			s.hear(strings.ReplaceAll(strings.ReplaceAll(line, "_ipp", "_printer"), "SRV 0 0 631", "SRV 0 0 0"))
		}
		if len(s.sighted) != 1 || s.sighted[0].Identity.Model != "Rigworks Composite 100" || len(s.sighted[0].Endpoints) > 0 {
			t.Errorf("got %+v", s.sighted)
		}
	})
}

func TestOnlyTheLinkIsBelieved(t *testing.T) { // RFC 6762 §6, §11
	good := mdns.Packet{From: source(mdns.IPv4, 5353), Interface: eth0.Index, TTL: 255, Multicast: true}
	for _, tc := range []struct {
		rule string
		edit func(*mdns.Packet)
		want int
	}{
		{"multicast from port 5353 with TTL 255 is", func(*mdns.Packet) {}, 1},
		{"a unicast answer is", func(p *mdns.Packet) { p.Multicast = false }, 1},
		{"another source port is not", func(p *mdns.Packet) { p.From = source(mdns.IPv4, 40000) }, 0},
		{"a packet that came through a router is not", func(p *mdns.Packet) { p.TTL = 254 }, 0},
		{"a link-local source needs no TTL", func(p *mdns.Packet) { p.TTL, p.From = 1, source(mdns.IPv6, 5353) }, 1},
		{"an interface that was not asked for is not", func(p *mdns.Packet) { p.Interface = 1 }, 0},
		{"an error code is not", func(p *mdns.Packet) { p.Data[3] |= 3 }, 0},
		{"an oversized packet is not", func(p *mdns.Packet) { p.Data = append(p.Data, make([]byte, 9000)...) }, 0},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *sim) {
				s.run().pass(time.Second)
				p := good
				p.Data = answer(t, parse(t, copier("Copier", "10.1.0.9")...))
				tc.edit(&p)
				s.inject(p)
				if got := len(s.sighted); got != tc.want {
					t.Errorf("%d sightings, want %d", got, tc.want)
				}
			})
		})
	}
}

func TestAnothersQuestionIsOurs(t *testing.T) { // RFC 6762 §7.3
	ask := func(s *sim, known ...string) {
		m := &dns.Msg{Question: []dns.Question{{Name: ipp, Qtype: dns.TypePTR, Qclass: dns.ClassINET}}, Answer: parse(s.t, known...)}
		data, err := m.Pack()
		if err != nil {
			s.t.Fatal(err)
		}
		s.inject(mdns.Packet{Data: data, From: netip.MustParseAddrPort("10.1.0.77:5353"), Interface: eth0.Index, TTL: 255, Multicast: true})
	}
	for _, tc := range []struct {
		rule  string
		known []string
		want  int // queries of ours at the 1 s and 3 s places
	}{
		{"a question asked just now is not asked again", nil, 1},
		{"one with answers that we do not know is, and once more each time", []string{"_ipp._tcp.local. 4500 IN PTR Stranger._ipp._tcp.local."}, 4},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *sim) {
				s.run().pass(500 * time.Millisecond)
				ask(s, tc.known...)
				s.pass(2 * time.Second)
				ask(s, tc.known...) // a second time in a row would silence us
				s.pass(2 * time.Second)
				if got := len(s.queries) - 1; got != tc.want {
					t.Errorf("%d queries, want %d", got, tc.want)
				}
			})
		})
	}
}

func TestHintsAreTakenAtGrowingIntervals(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		m := &dns.Msg{Question: []dns.Question{{Name: ipp, Qtype: dns.TypePTR, Qclass: dns.ClassINET}},
			Answer: parse(t, "_ipp._tcp.local. 4500 IN PTR Lie._ipp._tcp.local.")}
		data, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		s.run()
		for range 3600 {
			s.inject(mdns.Packet{Data: data, From: netip.MustParseAddrPort("10.1.0.77:5353"), Interface: eth0.Index, TTL: 255, Multicast: true})
			s.pass(time.Second)
		}
		if got := len(s.queries); got < 18 || got > 26 { // 12 or 13 of the series, and as many again
			t.Errorf("%d queries in an hour of false hints", got)
		}
	})
}

func TestWhatOneLinkShowsIsBounded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(time.Second)
		const flood, minutes = 10_000, 10
		for i := 0; i < flood; i += 50 {
			var rrs []dns.RR
			for j := i; j < i+50; j++ {
				rrs = append(rrs, &dns.PTR{Hdr: dns.RR_Header{Name: ipp, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 4500},
					Ptr: fmt.Sprintf("Ghost-%d.%s", j, ipp)})
			}
			s.packets <- mdns.Packet{Data: answer(t, rrs), From: source(mdns.IPv4, 5353), Interface: eth0.Index, TTL: 255}
		}
		synctest.Wait()
		if got := s.counts[mdns.OutOfBounds]; got != flood-8192 {
			t.Errorf("%d records out of bounds, want %d", got, flood-8192)
		}
		for minute := range minutes { // questions for 16,384 records that nobody has
			n := len(s.queries)
			s.pass(time.Minute)
			if got := len(s.asked(n)); got > 240+256 {
				t.Errorf("%d packets in minute %d", got, minute)
			}
		}
		if got := len(s.queries); got > minutes*240+256+2 {
			t.Errorf("%d packets in %d minutes", got, minutes)
		}
		t.Logf("%d packets in %d minutes", len(s.queries), minutes)
		if len(s.sighted) > 0 {
			t.Errorf("%d ghosts sighted", len(s.sighted))
		}
	})
}

// Whoever takes a sighting asks at its endpoints: nobody on the link may choose hosts elsewhere for that.
func TestAnnouncedAddressesAreOfTheSite(t *testing.T) {
	for address, want := range map[string]int{"10.1.0.9": 1, "172.20.0.9": 1, "fd00::9": 1, "fe80::9": 1,
		"169.254.169.254": 0, "127.0.0.1": 0, "::1": 0, "224.0.0.251": 0, "::ffff:127.0.0.1": 0} {
		bubble(t, func(t *testing.T, s *sim) {
			s.run().pass(time.Second)
			s.hear(copier("Copier", address)...)
			s.pass(30 * time.Second)
			if len(s.sighted) == 0 || len(s.sighted[len(s.sighted)-1].Endpoints) != want {
				t.Errorf("%s: want %d endpoints, got %+v", address, want, s.sighted)
			}
		})
	}
}
