package mdns_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/discovery/mdns"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T, s *sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newSim(t)) })
}

func TestQueriesAreRepeatedAtGrowingIntervals(t *testing.T) { // RFC 6762 §5.2, §5.4
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(6 * time.Hour)
		if first := s.queries[0].at; first < 20*time.Millisecond || first > 120*time.Millisecond {
			t.Errorf("the first query came after %v", first)
		}
		want := time.Second
		for i, q := range s.queries {
			if asked, unicast := q.asks(ipp, dns.TypePTR); !asked || unicast != (i == 0) {
				t.Errorf("query %d asks %v, for unicast %v", i, asked, unicast)
			}
			if i == 0 {
				continue
			}
			if got := q.at - s.queries[i-1].at; got != want {
				t.Errorf("interval %d is %v, want %v", i, got, want)
			}
			want = min(2*want, time.Hour)
		}
		if n := len(s.queries); n < 14 || s.queries[2].at > 3200*time.Millisecond {
			t.Errorf("%d queries, the third at %v", n, s.queries[2].at)
		}
	})
}

func TestRefreshAsksAgainAndIsLimited(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(time.Minute)
		n := len(s.queries)
		for range 100 {
			s.querier.Refresh()
			synctest.Wait()
		}
		s.pass(3500 * time.Millisecond)
		if got := len(s.asked(n)); got != 3 {
			t.Errorf("%d queries in 3.5 s after a hundred calls, want 3", got)
		}
	})
}

func TestKnownAnswersAreSaid(t *testing.T) { // RFC 6762 §7.1
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(500 * time.Millisecond)
		s.hear(copier(`Copier\ 2F`, "10.1.0.9")...)
		s.pass(time.Hour)
		for _, q := range s.queries {
			asked, _ := q.asks(ipp, dns.TypePTR)
			fresh := q.at > 500*time.Millisecond && q.at < 500*time.Millisecond+2250*time.Second
			if asked && (len(q.Answer) == 1) != fresh {
				t.Errorf("at %v: known answers %v, want them: %v", q.at, q.Answer, fresh)
			}
			if len(q.Answer) == 1 {
				ptr, ok := q.Answer[0].(*dns.PTR)
				left := (4500*time.Second - (q.at - 500*time.Millisecond)).Truncate(time.Second)
				if !ok || ptr.Ptr != `Copier\ 2F._ipp._tcp.local.` || time.Duration(ptr.Hdr.Ttl)*time.Second != left {
					t.Errorf("at %v: %v, want its TTL to be %v", q.at, ptr, left)
				}
			}
		}
	})
}

func TestManyKnownAnswersGoInSeveralPackets(t *testing.T) { // RFC 6762 §7.2
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(500 * time.Millisecond)
		for i := range 200 {
			s.hear(copier(fmt.Sprintf("MFP-%04d", i), "10.1.0.9")...)
		}
		n := len(s.queries)
		s.pass(time.Second)
		train := slices.DeleteFunc(s.asked(n), func(q query) bool { // those for AAAA, which the devices have not
			return len(q.Question) > 0 && q.Question[0].Qtype != dns.TypePTR
		})
		known := map[string]bool{}
		for i, q := range train {
			if q.Truncated != (i < len(train)-1) || (len(q.Question) > 0) != (i == 0) || q.size > 1472 {
				t.Errorf("packet %d of %d: TC %v, %d questions, %d bytes", i, len(train), q.Truncated, len(q.Question), q.size)
			}
			for _, rr := range q.Answer {
				known[rr.(*dns.PTR).Ptr] = true //nolint:forcetypeassert // a panic is a failure
			}
		}
		if len(known) != 200 || len(train) < 3 || len(train) > 8 {
			t.Errorf("%d known answers in %d packets", len(known), len(train))
		}
	})
}

func TestRecordsAreRefreshedBeforeTheyEnd(t *testing.T) { // RFC 6762 §5.2
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(10 * time.Second)
		heard := s.since()
		s.hear(copier("Copier", "10.1.0.9")...)
		s.take()
		s.pass(119 * time.Second)
		var got []time.Duration
		for _, q := range s.queries {
			if asked, _ := q.asks("Copier._ipp._tcp.local.", dns.TypeSRV); asked {
				got = append(got, q.at-heard)
			}
		}
		if len(got) != 4 {
			t.Fatalf("SRV asked for at %v, want four times", got)
		}
		for i, at := range got {
			share := at.Seconds() / 120
			if want := 0.80 + 0.05*float64(i); share < want-0.02 || share > want+0.02 {
				t.Errorf("question %d at %.1f %% of the life, want %.0f±2", i, 100*share, 100*want)
			}
		}
		s.pass(2 * time.Second)
		if diff := cmp.Diff([]string{"Copier._ipp._tcp.local gone"}, s.take()); diff != "" {
			t.Errorf("after the end of SRV: -want +got\n%s", diff)
		}
		s.hear(copier("Copier", "10.1.0.9")...)
		if diff := cmp.Diff([]string{"Copier._ipp._tcp.local ipp://10.1.0.9:631/ipp/print"}, s.take()); diff != "" {
			t.Errorf("back: -want +got\n%s", diff)
		}
	})
}

func TestAnsweredRecordsStay(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		device := parse(t, copier("Copier", "10.1.0.9")...)
		s.reply = func(q query) {
			var rrs []dns.RR
			for _, rr := range device {
				if asked, _ := q.asks(rr.Header().Name, rr.Header().Rrtype); asked && len(q.Answer) == 0 {
					rrs = append(rrs, rr)
				}
			}
			if len(rrs) > 0 {
				s.packets <- mdns.Packet{Data: answer(t, rrs), From: source(mdns.IPv4, 5353), Interface: eth0.Index, TTL: 255, Multicast: true}
			}
		}
		s.run().pass(12 * time.Hour)
		got := s.take()
		if i := slices.IndexFunc(got, func(x string) bool { return x != "Copier._ipp._tcp.local ipp://10.1.0.9:631/ipp/print" }); i >= 0 {
			t.Errorf("sighting %d: %s", i, got[i])
		}
		// A sign of life each time that SRV, TXT or PTR is refreshed, at most every 3 minutes: SRV every 96 s or so.
		if n := len(got); n < 200 || n > 240 {
			t.Errorf("%d sightings in 12 hours", n)
		}
	})
}

func TestMissingRecordsAreAskedForTogether(t *testing.T) {
	bubble(t, func(t *testing.T, s *sim) {
		s.run().pass(10 * time.Second)
		n := len(s.queries)
		s.hear("_ipp._tcp.local. 4500 IN PTR One._ipp._tcp.local.", "_ipp._tcp.local. 4500 IN PTR Two._ipp._tcp.local.")
		s.pass(130 * time.Millisecond)
		if got := s.asked(n); len(got) != 1 || len(got[0].Question) != 4 {
			t.Fatalf("asked %v, want SRV and TXT of both in one packet", got)
		}
		s.hear("One._ipp._tcp.local. 120 CH SRV 0 0 631 one.local.", "one.local. 120 CH A 10.1.0.1")
		if len(s.sighted) > 0 {
			t.Errorf("sighted before its TXT record was asked for three times: %v", s.take())
		}
		s.pass(10 * time.Second)
		if diff := cmp.Diff([]string{"One._ipp._tcp.local ipp://10.1.0.1:631/"}, s.take()); diff != "" {
			t.Errorf("without TXT: -want +got\n%s", diff)
		}
		s.pass(50 * time.Minute)
		times := 0
		for _, q := range s.asked(n) {
			if asked, _ := q.asks("Two._ipp._tcp.local.", dns.TypeSRV); asked {
				times++
			}
		}
		if times < 6 || times > 9 {
			t.Errorf("SRV that nobody has was asked for %d times in 50 minutes", times)
		}
	})
}
