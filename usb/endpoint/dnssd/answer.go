package dnssd

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/protocol/multicast"
)

const (
	maxQuestions = 128 // of one packet
	maxWaiting   = 64  // answers of a link
)

// reply is an answer that waits for its moment.
type reply struct {
	due     time.Time
	from    netip.AddrPort
	answers unit
	alone   bool // the asker wants it for itself (RFC 6762 §5.4)
	more    bool // more of what the asker knows is to come (§7.2)
	probe   bool
}

// receive takes one packet from anybody.
func (r *Responder) receive(p multicast.Packet) {
	l := r.links[p.Interface]
	if l == nil || p.TTL != multicast.Hops && !l.onLink(p.From.Addr()) || r.own.has(maphash.Bytes(r.seed, p.Data), r.now) {
		return
	}
	var m dns.Msg
	if !plausible(p.Data) || m.Unpack(p.Data) != nil || m.Opcode != dns.OpcodeQuery {
		return
	}
	switch {
	case !m.Response:
		l.query(&m, p.From)
	case p.From.Port() == multicast.Port && m.Rcode == dns.RcodeSuccess:
		l.hear(&m)
	}
}

// plausible checks the size before anything is unpacked (RFC 6762 §17). The counts are bounded by what would fit: a
// question is at least 5 bytes, a record 11.
func plausible(data []byte) bool {
	if len(data) < 12 || len(data) > multicast.MaxPacket {
		return false
	}
	count := func(at int) int { return int(data[at])<<8 | int(data[at+1]) }
	return 5*count(4)+11*(count(6)+count(8)+count(10)) <= len(data)-12
}

func (l *link) onLink(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() ||
		slices.ContainsFunc(l.ifi.Prefixes, func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) })
}

// query takes a question, or what its asker knows besides.
func (l *link) query(m *dns.Msg, from netip.AddrPort) {
	if len(m.Question) == 0 || len(m.Question) > maxQuestions {
		for _, w := range l.waiting {
			if w.more && w.from == from {
				w.answers = unknown(w.answers, m.Answer)
				if !m.Truncated {
					w.more, w.due = false, l.r.now
				}
			}
		}
		return
	}
	if len(m.Ns) > 0 {
		l.tie(m)
	}
	plain := from.Port() != multicast.Port
	alone, shared := true, false
	var answers unit
	for _, q := range m.Question {
		alone = alone && q.Qclass&flush != 0
		for _, rr := range l.find(q) {
			if !slices.ContainsFunc(answers, func(have dns.RR) bool { return same(have, rr) }) {
				answers = append(answers, rr)
				shared = shared || !unique(rr)
			}
		}
	}
	answers = unknown(answers, m.Answer)
	switch {
	case len(answers) == 0:
		return
	case plain: // RFC 6762 §6.7
		reply := answerTo(m)
		reply.Question = slices.Clone(m.Question)
		for i := range reply.Question {
			reply.Question[i].Qclass &^= flush
		}
		reply.Answer, reply.Extra = answers.plain(), l.extras(answers).plain()
		if reply.Len() > packetMax {
			reply.Extra = nil
		}
		if len(reply.Answer) > 0 {
			l.sendTo(from, reply)
		}
		return
	case len(l.waiting) >= maxWaiting:
		return
	}
	w := &reply{from: from, answers: answers, alone: alone, probe: len(m.Ns) > 0, more: m.Truncated, due: l.r.now}
	jitter := time.Duration(l.r.o.Rand.Int64N(int64(100 * time.Millisecond)))
	switch {
	case w.probe:
	case w.more:
		w.due = l.r.now.Add(400*time.Millisecond + jitter)
	case shared:
		w.due = l.r.now.Add(20*time.Millisecond + jitter)
	}
	l.waiting = append(l.waiting, w)
}

// find is what is known on the link that answers a question.
func (l *link) find(q dns.Question) (found unit) {
	if c := q.Qclass &^ flush; c != dns.ClassINET && c != dns.ClassANY {
		return nil
	}
	name := lower(q.Name)
	for c, at := range l.standings {
		if at.phase == probing {
			continue
		}
		for _, u := range l.units(c) {
			before, mine := len(found), false
			for _, rr := range u {
				if lower(rr.Header().Name) != name {
					continue
				}
				mine = mine || unique(rr)
				if q.Qtype == dns.TypeANY || q.Qtype == rr.Header().Rrtype {
					found = append(found, rr)
				}
			}
			if mine && len(found) == before {
				if rr, ok := nsec(q.Name, u); ok {
					found = append(found, rr)
				}
			}
		}
	}
	return found
}

// unknown leaves out what the asker knows for more than half of its time (RFC 6762 §7.1).
func unknown(answers unit, known []dns.RR) unit {
	return slices.DeleteFunc(answers, func(rr dns.RR) bool {
		return slices.ContainsFunc(known, func(k dns.RR) bool { return k.Header().Ttl >= rr.Header().Ttl/2 && same(k, rr) })
	})
}

// extras are what an asker will want next: of an instance its place and text, of a place its addresses (RFC 6763 §12).
func (l *link) extras(answers unit) (out unit) {
	add := func(name string, kinds ...uint16) {
		for _, kind := range kinds {
			for _, rr := range l.find(dns.Question{Name: name, Qtype: kind, Qclass: dns.ClassINET}) {
				has := func(have dns.RR) bool { return same(have, rr) }
				if !slices.ContainsFunc(answers, has) && !slices.ContainsFunc(out, has) {
					out = append(out, rr)
				}
			}
		}
	}
	for _, rr := range answers {
		switch rr := rr.(type) {
		case *dns.PTR:
			if rr.Hdr.Name != enumeration {
				add(rr.Ptr, dns.TypeSRV, dns.TypeTXT)
				add(l.r.hostName(), dns.TypeA, dns.TypeAAAA)
			}
		case *dns.SRV:
			add(l.r.hostName(), dns.TypeA, dns.TypeAAAA)
		case *dns.A, *dns.AAAA:
			add(l.r.hostName(), dns.TypeA, dns.TypeAAAA)
		}
	}
	return out
}

// answer sends what waited: to the asker alone if it wants that and the link has heard it lately, else to all, but for what all heard
// just now (RFC 6762 §5.4, §6).
func (l *link) answer(w *reply) {
	if w.alone && !slices.ContainsFunc(w.answers, func(rr dns.RR) bool {
		return l.since(rr) > time.Duration(rr.Header().Ttl)*time.Second/4
	}) {
		m := answerTo(nil)
		m.Answer, m.Extra = w.answers, l.extras(w.answers)
		if m.Len() > packetMax {
			m.Extra = nil
		}
		if len(m.Answer) > 0 {
			l.sendTo(w.from, m)
		}
		return
	}
	least := time.Second
	if w.probe {
		least = probeInterval
	}
	fresh := slices.DeleteFunc(w.answers, func(rr dns.RR) bool { return l.since(rr) < least })
	if len(fresh) > 0 {
		l.multicast([]unit{fresh}, l.extras(fresh))
	}
}
