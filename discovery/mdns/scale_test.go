package mdns_test

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/discovery/mdns"
)

// crowd answers for n devices, each by a packet of its own, as long as they are on.
func (s *sim) crowd(n int) (off func()) {
	type device struct {
		ptr, srv, host []byte // answers to questions for each
		in             string
	}
	byName := map[string]*device{}
	for i := range n {
		rrs := parse(s.t, copier(fmt.Sprintf("MFP-%04d", i), fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250))...)
		d := &device{ptr: answer(s.t, rrs), srv: answer(s.t, rrs[1:]), host: answer(s.t, rrs[3:]), in: rrs[1].Header().Name}
		byName[d.in], byName[rrs[3].Header().Name] = d, d
	}
	known := map[string]bool{}
	asked := map[string]bool{}
	s.reply = func(q query) {
		say := func(data []byte) {
			s.packets <- mdns.Packet{Data: data, From: source(q.family, 5353), Interface: q.index, TTL: 255, Multicast: true}
		}
		for _, rr := range q.Answer {
			known[rr.(*dns.PTR).Ptr] = true //nolint:forcetypeassert // a panic is a failure
		}
		said := map[*device]bool{} // one answer to a packet, as responders gather them (RFC 6762 §6)
		for _, question := range q.Question {
			asked[question.Name] = true
			d := byName[question.Name]
			if d == nil || said[d] || question.Qtype == dns.TypeAAAA {
				continue
			}
			said[d] = true
			if question.Qtype == dns.TypeA {
				say(d.host)
			} else {
				say(d.srv)
			}
		}
		if q.Truncated {
			return
		}
		for name, d := range byName {
			if asked[ipp] && name == d.in && !known[name] {
				say(d.ptr)
			}
		}
		clear(known)
		clear(asked)
	}
	return func() { s.reply = nil }
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestThousandsAreWatchedWithinBounds: what 2,000 devices cost once they are known, in virtual time.
func TestThousandsAreWatchedWithinBounds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, s *sim) {
		const devices, hours = 2000, 2
		s.families = mdns.IPv4 | mdns.IPv6
		off := s.crowd(devices)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s.run().pass(time.Minute)
		if got := len(s.sighted); got < devices || got > 2*devices {
			t.Errorf("%d sightings in the first minute", got)
		}
		first := len(s.queries)
		s.pass(15 * time.Minute)
		n, heard, used := len(s.queries), s.counts[mdns.AnswerReceived], cpu()
		s.pass(hours * time.Hour)
		sent := len(s.asked(n))
		used = cpu() - used
		heard = s.counts[mdns.AnswerReceived] - heard
		for _, line := range s.take() {
			if strings.HasSuffix(line, "gone") {
				t.Fatalf("%s, and it answered", line)
			}
		}
		s.queries, s.sighted = nil, nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		t.Logf("%d packets in the first minute, then %.1f a minute, and %.1f answers; %v of CPU an hour with the devices'; %d bytes a device",
			first, float64(sent)/hours/60, float64(heard)/hours/60, used/hours, int64(after.HeapAlloc-before.HeapAlloc)/devices)
		if first > 256+240 || sent > hours*60*60 {
			t.Errorf("%d packets in the first minute, %d in %d hours after", first, sent, hours)
		}
		off()
		s.pass(time.Hour)
		if got := len(s.sighted); got < devices {
			t.Errorf("%d of %d gone an hour after all were switched off", got, devices)
		}
	})
}
