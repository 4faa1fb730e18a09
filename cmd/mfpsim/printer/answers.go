package printer

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Pace of what is sent: so many messages, then a rest, so that a querier's socket buffer holds them.
const (
	burst = 32
	rest  = 10 * time.Millisecond
)

// origin is where a query came from.
type origin struct {
	socket *mdnsSocket
	iface  int
	peer   netip.AddrPort
}

// legacy is a querier that is none of multicast DNS, and wants an answer as from any DNS server (RFC 6762 §6.7).
func (o origin) legacy(port uint16) bool { return o.peer.Port() != port }

// query takes one message. Foreign bytes come in here.
func (r *responder) query(packet []byte, from origin) {
	if len(packet) < 12 || packet[2]&0x80 != 0 {
		return // most of what arrives is responses, our own too
	}
	var m dns.Msg
	if err := m.Unpack(packet); err != nil || m.Response || m.Opcode != dns.OpcodeQuery || len(m.Question) > maxQuestions {
		return
	}
	if len(m.Question) > 0 {
		r.site.stats.dnssd.Add(1)
	}
	if from.legacy(r.o.Port) {
		r.answerLegacy(&m, from)
		return
	}
	p := r.gather(&m, from.peer)
	if p == nil {
		return // more of its known answers come
	}
	units, shared := r.answers(p.questions, p.known)
	if len(units) == 0 {
		return
	}
	// Also those who would take the answer by unicast (QU) get it by multicast: nobody keeps when a record was sent last
	// (RFC 6762 §5.4), and of several sockets of one machine only one would get a unicast (§15.1).
	send := func() { r.multicast(units, from.iface) }
	if !shared {
		r.site.agenda.in(0, send)
		return
	}
	r.site.agenda.in(time.Duration(20+r.site.dice.intN(100))*time.Millisecond, send) // RFC 6762 §6
}

// gather returns the query once it is complete. One that says that more known answers come (TC) is answered by the
// agenda, 400 to 500 ms after the last of them, or by the first message without TC.
func (r *responder) gather(m *dns.Msg, peer netip.AddrPort) *pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pending[peer]
	if p == nil {
		p = &pending{known: map[string]uint32{}}
	}
	for _, rr := range m.Answer {
		if ptr, ok := rr.(*dns.PTR); ok && len(p.known) < maxKnown {
			p.known[known(ptr)] = ptr.Hdr.Ttl
		}
	}
	if room := maxQuestions - len(p.questions); room > 0 {
		p.questions = append(p.questions, m.Question[:min(room, len(m.Question))]...)
	}
	if !m.Truncated || r.pending[peer] == nil && len(r.pending) >= maxPending {
		delete(r.pending, peer)
		return p
	}
	first := r.pending[peer] == nil
	r.pending[peer] = p
	wait := time.Duration(400+r.site.dice.intN(100)) * time.Millisecond
	p.due = r.site.now().Add(wait)
	if first {
		r.site.agenda.in(wait, func() { r.complete(peer, p) })
	}
	return nil
}

// complete answers a query whose last known answers have not come.
func (r *responder) complete(peer netip.AddrPort, p *pending) {
	r.mu.Lock()
	if r.pending[peer] != p {
		r.mu.Unlock()
		return // answered
	}
	if wait := p.due.Sub(r.site.now()); wait > 0 {
		r.mu.Unlock()
		r.site.agenda.in(wait, func() { r.complete(peer, p) })
		return
	}
	delete(r.pending, peer)
	r.mu.Unlock()
	units, _ := r.answers(p.questions, p.known)
	r.multicast(units, 0)
}

// known is a shared record's identity.
func known(p *dns.PTR) string { return strings.ToLower(p.Hdr.Name) + "\x00" + strings.ToLower(p.Ptr) }

// answers are the records that questions ask for, without those that the querier knows with half of their time left
// (RFC 6762 §7.1). shared says that other responders may answer, too.
func (r *responder) answers(questions []dns.Question, knownTTL map[string]uint32) (units []unit, shared bool) {
	fresh := func(rr dns.RR) bool {
		p, ok := rr.(*dns.PTR)
		return !ok || knownTTL[known(p)] < p.Hdr.Ttl/2
	}
	for _, q := range questions {
		name := dns.CanonicalName(q.Name)
		if class := q.Qclass &^ (1 << 15); class != dns.ClassINET && class != dns.ClassANY {
			continue
		}
		asksPTR := q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY
		r.mu.Lock()
		named := r.byName[name]
		r.mu.Unlock()
		switch {
		case named != nil:
			if u := named.named(name, q.Qtype); len(u.answers) > 0 {
				units = append(units, u)
			}
		case name == enumeration && asksPTR:
			shared = true
			for _, s := range r.offered() {
				if rr := pointer(enumeration, s.typeName(), otherTTL); fresh(rr) {
					units = append(units, unit{answers: []dns.RR{rr}})
				}
			}
		case asksPTR:
			found := r.browse(name, fresh)
			units, shared = append(units, found...), shared || len(found) > 0
		}
	}
	return units, shared
}

// offered are the services that any printer has.
func (r *responder) offered() (all []service) {
	for _, s := range services {
		for _, p := range r.present() {
			if s.offered(p.view()) {
				all = append(all, s)
				break
			}
		}
	}
	return all
}

// present are the announced printers that are on.
func (r *responder) present() []*Printer {
	var all []*Printer
	for _, p := range r.site.Printers() {
		if p.announced() && p.is() == on {
			all = append(all, p)
		}
	}
	return all
}

// browse lists the instances of a type or subtype.
func (r *responder) browse(name string, fresh func(dns.RR) bool) (units []unit) {
	for _, s := range services {
		asked := name == s.typeName()
		for _, sub := range s.subtypes {
			asked = asked || name == subtype(sub, s)
		}
		if !asked {
			continue
		}
		for _, p := range r.present() {
			v := p.view()
			if !s.offered(v) {
				continue
			}
			p.stats.dnssd.Add(1)
			if rr := pointer(name, v.instance(s), otherTTL); fresh(rr) {
				units = append(units, unit{answers: []dns.RR{rr}, extras: append([]dns.RR{v.srv(s), v.txt(s)}, v.addresses()...)})
			}
		}
	}
	return units
}

// named answers for one name of the printer's own.
func (p *Printer) named(name string, kind uint16) (u unit) {
	v := p.view()
	if v.power != on {
		p.unanswered()
		return u
	}
	p.stats.dnssd.Add(1)
	add := func(rr dns.RR) {
		if kind == dns.TypeANY || kind == rr.Header().Rrtype {
			u.answers = append(u.answers, rr)
		}
	}
	if name == dns.CanonicalName(v.host()) {
		for _, rr := range v.addresses() {
			add(rr)
		}
		return u
	}
	for _, s := range v.offers() {
		if name == dns.CanonicalName(v.instance(s)) {
			add(v.srv(s))
			add(v.txt(s))
			if len(u.answers) > 0 && kind != dns.TypeTXT {
				u.extras = v.addresses()
			}
		}
	}
	return u
}

// answerLegacy answers in one message: with the question, for at most ten seconds, without cache-flush bits.
func (r *responder) answerLegacy(m *dns.Msg, from origin) {
	units, _ := r.answers(m.Question, nil)
	if len(units) == 0 {
		return
	}
	for _, u := range units {
		for _, rr := range append(u.answers[:len(u.answers):len(u.answers)], u.extras...) {
			rr.Header().Class &^= 1 << 15
			rr.Header().Ttl = min(rr.Header().Ttl, 10)
		}
	}
	answer := pack(units, r.o.PacketSize-len("question")-questionsSize(m.Question))
	if len(answer) == 0 {
		return
	}
	first := answer[0]
	first.Id, first.Question, first.Truncated = m.Id, m.Question, len(answer) > 1
	r.send([]*dns.Msg{first}, func(packet *dns.Msg) { from.socket.unicast(packet, from) })
}

func questionsSize(all []dns.Question) (n int) {
	for _, q := range all {
		n += len(q.Name) + 5
	}
	return n
}

// multicast sends on one interface, or on all (0).
func (r *responder) multicast(units []unit, iface int) {
	r.send(pack(units, r.o.PacketSize), func(m *dns.Msg) {
		for _, s := range r.sockets {
			s.multicast(m, iface)
		}
	})
}

// send keeps the pace.
func (r *responder) send(packets []*dns.Msg, one func(*dns.Msg)) {
	now := packets[:min(burst, len(packets))]
	for _, m := range now {
		one(m)
	}
	if later := packets[len(now):]; len(later) > 0 {
		r.site.agenda.in(rest, func() { r.send(later, one) })
	}
}

// pack distributes units over messages of at most limit bytes. Extras that do not fit a message with their answers are
// left out, and the answers of a unit that is too large (an announcement) part.
func pack(units []unit, limit int) (packets []*dns.Msg) {
	var m *dns.Msg
	put := func(u unit) bool {
		answers, extras := len(m.Answer), len(m.Extra)
		m.Answer, m.Extra = append(m.Answer, u.answers...), append(m.Extra, u.extras...)
		if m.Len() <= limit {
			return true
		}
		m.Answer, m.Extra = m.Answer[:answers], m.Extra[:extras]
		return false
	}
	flush := func() {
		m = &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
		packets = append(packets, m)
	}
	place := func(u unit) bool {
		if m != nil && put(u) {
			return true
		}
		if m == nil || len(m.Answer) > 0 {
			flush()
		}
		return put(u)
	}
	for _, u := range units {
		if place(u) || len(u.extras) > 0 && place(unit{answers: u.answers}) {
			continue
		}
		for _, rr := range u.answers {
			if !place(unit{answers: []dns.RR{rr}}) {
				m.Answer = append(m.Answer, rr) // a record is sent, however large (RFC 6762 §17)
			}
		}
	}
	return packets
}
