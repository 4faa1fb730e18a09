package mdns

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// The bounds on what is sent on one link, counted in packets of both families.
const (
	perSecond   = 4            // 240 a minute over time
	burst       = 256          // and at once, after a rest
	maxTrain    = 64           // known answers of one question; what does not fit is answered again
	maxSize     = 1400         // bytes of a message, so that no packet is split on the way (RFC 6762 §17)
	perPacket   = maxSize / 10 // more questions than fit
	maxInterval = time.Hour
)

// questions are what is to be asked at one time on one link.
type questions struct {
	l        *link
	series   bool
	services []bool
	ptrs     []*set // those whose refresh the services' questions are
	sets     []*set
}

func newQuestions(l *link) *questions {
	return &questions{l: l, services: make([]bool, len(l.q.services))}
}

func (a *questions) all() {
	for i := range a.services {
		a.services[i] = true
	}
}

func (a *questions) add(s *set) {
	if s.kind == dns.TypePTR {
		a.services[s.in.service] = true
		a.ptrs = append(a.ptrs, s)
		return
	}
	a.sets = append(a.sets, s)
}

// send asks as much as the bound allows. The rest stays due, and waits until the bound allows more.
func (a *questions) send() {
	gone := func(s *set) bool { return s.dead } // with a PTR or SRV that ended at the same time
	a.ptrs, a.sets = slices.DeleteFunc(a.ptrs, gone), slices.DeleteFunc(a.sets, gone)
	if a.askServices() {
		a.askSets()
		return
	}
	for _, s := range slices.Concat(a.ptrs, a.sets) {
		s.enqueue()
	}
}

// full says that more would not be asked now in any case, so that a crowd of sets is not looked through for each packet
// that the bound allows.
func (a *questions) full() bool { return float64(len(a.sets)) > (a.l.tokens+1)*perPacket }

// refill counts what the bound allows by now.
func (l *link) refill() {
	l.tokens = min(burst, l.tokens+perSecond*(l.q.now-l.filled).Seconds())
	l.filled = l.q.now
}

// hold puts off all of the link's questions until n packets may be sent.
func (l *link) hold(n float64) {
	l.blocked = l.q.now + time.Duration((n-l.tokens)/perSecond*float64(time.Second)) + time.Millisecond
	l.q.Count(QueryPutOff, 1)
}

// askServices sends the services' questions with the known answers (RFC 6762 §7.1, §7.2), or reports that there is no room.
func (a *questions) askServices() bool {
	l := a.l
	first := a.series && l.series.interval == 0
	for i := range a.services {
		o := &l.heard[i]
		if a.services[i] && !first {
			if o.spared = !o.spared && o.justNow(l); o.spared {
				a.services[i] = false
				l.q.Count(QuerySuppressed, 1)
			}
		}
	}
	if slices.Contains(a.services, true) {
		trains := map[Family][]*dns.Msg{}
		cost := 0
		for _, f := range []Family{IPv4, IPv6} {
			if l.families&f != 0 {
				trains[f] = a.train(f, first && l.series.unicast && l.q.conn.Unicast(f))
				cost += len(trains[f])
			}
		}
		if float64(cost) > l.tokens {
			l.hold(float64(cost))
			return false
		}
		for _, f := range []Family{IPv4, IPv6} {
			for _, m := range trains[f] {
				l.send(f, m)
			}
		}
	}
	if l.hint.at <= l.q.now {
		l.hint.at = 0
	}
	if a.series {
		l.series.interval = min(max(time.Second, 2*l.series.interval), maxInterval)
		l.series.at = l.q.now + l.series.interval
	}
	for _, s := range a.ptrs {
		s.asked()
	}
	return true
}

// train is the question and as many packets as the known answers need: all but the last say that more come.
func (a *questions) train(f Family, unicast bool) []*dns.Msg {
	l := a.l
	m := &dns.Msg{Compress: true}
	size := headerSize
	for i, s := range l.q.services {
		if a.services[i] {
			m.Question = append(m.Question, question(s.name, dns.TypePTR, unicast))
			size += questionSize(s.name)
		}
	}
	train := []*dns.Msg{m}
	for _, in := range l.instances {
		r := in.ptr.current()
		// Only what is still more than half fresh (RFC 6762 §7.1), and what this family's responders know of.
		if !a.services[in.service] || r == nil || r.dying || r.from&f == 0 || r.until-l.q.now <= r.ttl/2 {
			continue
		}
		name := l.q.services[in.service].name
		need := 14 + len(in.name) - len(name) // name and service are pointers, but for the first
		if size+need+len(name) > maxSize {
			if len(train) == maxTrain {
				break
			}
			m.Truncated = true
			m = &dns.Msg{Compress: true}
			train = append(train, m)
			size = headerSize + len(l.q.services)*len(name)
		}
		size += need
		m.Answer = append(m.Answer, &dns.PTR{Ptr: in.name, Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypePTR,
			Class: dns.ClassINET, Ttl: uint32((r.until - l.q.now) / time.Second)}}) //nolint:gosec // at most 2 h
	}
	return train
}

const headerSize = 12

// questionSize is at least what a question takes: an escaped name is no shorter than the packed one.
func questionSize(name string) int { return len(name) + 1 + 4 }

func question(name string, kind uint16, unicast bool) dns.Question {
	q := dns.Question{Name: name, Qtype: kind, Qclass: dns.ClassINET}
	if unicast {
		q.Qclass |= flush
	}
	return q
}

// askSets sends the questions for single names, many in a packet.
func (a *questions) askSets() {
	l := a.l
	type packet struct {
		m    *dns.Msg
		size int
	}
	open := map[Family]*packet{}
	reserved := 0.0
	for i, s := range a.sets {
		f := s.family()
		size := questionSize(s.name())
		p := open[f]
		if p == nil || p.size+size > maxSize {
			if l.tokens-reserved < 1 {
				l.hold(reserved + 1)
				for _, s := range a.sets[i:] {
					s.enqueue()
				}
				break
			}
			if p != nil {
				l.send(f, p.m)
				reserved--
			}
			p = &packet{m: &dns.Msg{Compress: true}, size: headerSize}
			open[f] = p
			reserved++
		}
		p.m.Question = append(p.m.Question, question(s.name(), s.kind, false))
		p.size += size
		s.asked()
		if len(s.records) == 0 && s.tried == patience {
			l.unanswered(s)
		}
	}
	for f, p := range open {
		l.send(f, p.m)
	}
}

// family is where to ask for a name: where its instance was heard, and by turns if that was on both.
func (s *set) family() Family {
	var heard Family
	turn := s.tried
	in := s.in
	if s.at != nil {
		in = s.at.users[0]
	}
	if r := in.ptr.current(); r != nil {
		heard = r.from
	}
	if r := s.current(); r != nil {
		turn = r.asked
	}
	switch heard &= s.link.families; {
	case heard == both || heard == 0:
		if f := Family(1 << (turn % 2)); s.link.families&f != 0 {
			return f
		}
		return s.link.families
	default:
		return heard
	}
}

// send packs and sends one packet, and pays for it.
func (l *link) send(f Family, m *dns.Msg) {
	l.tokens--
	data, err := m.Pack()
	if err == nil {
		l.remember(data)
		err = l.q.conn.Send(l.ifi, f, data)
	}
	if l.q.hinder(l.ifi.Name, "send "+familyName(f), err) {
		l.q.Count(SendFailed, 1)
		return
	}
	l.q.Count(QuerySent, 1)
}

// overhear notes what another querier of the link asks by multicast. It counts only if the answers that the other knows are
// known here, too: else we would miss some (RFC 6762 §7.3). Those of a truncated query are not all there.
func (l *link) overhear(f Family, m *dns.Msg) {
	for _, q := range m.Question {
		if q.Qclass != dns.ClassINET || !l.knowsAnswers(q, m.Answer) || m.Truncated {
			continue
		}
		if service := l.q.serviceOf(q.Name); service >= 0 && q.Qtype == dns.TypePTR {
			l.heard[service].at[f] = l.q.now
		} else if s := l.find(q.Name, q.Qtype); s != nil {
			s.heard = l.q.now
		}
	}
}

func (l *link) knowsAnswers(q dns.Question, answers []dns.RR) bool {
	for _, rr := range answers {
		h := rr.Header()
		if h.Rrtype != q.Qtype || lower(h.Name) != lower(q.Name) {
			continue
		}
		ptr, ok := rr.(*dns.PTR)
		if !ok {
			return false // other types: rare enough to ask ourselves
		}
		if l.instances[lower(ptr.Ptr)] == nil {
			if l.q.serviceOf(h.Name) >= 0 {
				l.hinted()
			}
			return false
		}
	}
	return true
}

func (l *link) find(name string, kind uint16) *set {
	if in := l.instances[lower(name)]; in != nil {
		switch kind {
		case dns.TypeSRV:
			return &in.srv
		case dns.TypeTXT:
			return &in.txt
		}
	}
	if h := l.hosts[lower(name)]; h != nil {
		switch kind {
		case dns.TypeA:
			return &h.a
		case dns.TypeAAAA:
			return &h.aaaa
		}
	}
	return nil
}
