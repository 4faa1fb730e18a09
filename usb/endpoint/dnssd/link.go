package dnssd

import (
	"bytes"
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/protocol/multicast"
)

// phase is how far a claim is on a link.
type phase int

const (
	probing phase = iota
	announcing
	settled
)

// standing is where a claim stands on a link.
type standing struct {
	phase phase
	sent  int
	due   time.Time // of the next packet; none in phase settled
}

// What RFC 6762 §8 wants of probes and announcements.
const (
	probes        = 3
	probeInterval = 250 * time.Millisecond
	announcements = 2
	announceAgain = time.Second
)

// Bounds of what is sent on a link.
const (
	perSecond = 50
	burst     = 100
	packetMax = 1400 // bytes, unless one record is larger
)

// link is one interface's network.
type link struct {
	r         *Responder
	ifi       Interface
	addresses []netip.Addr // that are published
	families  multicast.Family
	standings map[*claim]*standing
	waiting   []*reply
	last      map[string]time.Time // when a record was multicast
	tokens    float64
	filled    time.Time
}

// claim begins with a claim on the link.
func (l *link) claim(c *claim, wait time.Duration) {
	jitter := time.Duration(l.r.o.Rand.Int64N(int64(probeInterval)))
	l.standings[c] = &standing{due: l.r.now.Add(wait + jitter)}
}

func (l *link) next(next time.Time) time.Time {
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, at := range l.standings {
		if at.phase != settled {
			earlier(at.due)
		}
	}
	for _, w := range l.waiting {
		earlier(w.due)
	}
	return next
}

func (l *link) work() {
	for c, at := range l.standings {
		if at.phase != settled && !at.due.After(l.r.now) {
			l.step(c, at)
		}
	}
	var later []*reply
	for _, w := range l.waiting {
		if w.due.After(l.r.now) {
			later = append(later, w)
		} else {
			l.answer(w)
		}
	}
	l.waiting = later
}

// step sends what is due of a claim.
func (l *link) step(c *claim, at *standing) {
	if at.phase == probing && at.sent < probes {
		l.probe(c)
		at.sent++
		at.due = l.r.now.Add(probeInterval)
		return
	}
	if at.phase == probing {
		*at = standing{phase: announcing}
		l.r.won(c)
	}
	l.multicast(l.units(c), nil)
	if at.sent++; at.sent == announcements {
		at.phase = settled
	}
	at.due = l.r.now.Add(announceAgain)
}

// units are a claim's records on the link.
func (l *link) units(c *claim) []unit {
	if c.isHost {
		return []unit{hostUnit(l.r.hostName(), l.addresses)}
	}
	return c.units
}

// farewell withdraws a claim's records, but for the types of services, which others may have (RFC 6762 §10.1).
func (l *link) farewell(c *claim) {
	var units []unit
	for _, u := range l.units(c) {
		mine := slices.DeleteFunc(slices.Clone(u), func(rr dns.RR) bool { return rr.Header().Name == enumeration })
		units = append(units, unit(mine).with(0))
	}
	l.multicast(units, nil)
}

// probe asks whether anybody has a claim's names. What would be published stands in the authority section (RFC 6762 §8.2).
func (l *link) probe(c *claim) {
	for _, u := range l.units(c) {
		m := &dns.Msg{Compress: true}
		for _, rr := range u {
			if !unique(rr) {
				continue
			}
			rr := dns.Copy(rr)
			rr.Header().Class &^= flush
			if name := rr.Header().Name; len(m.Question) == 0 {
				m.Question = []dns.Question{{Name: name, Qtype: dns.TypeANY, Qclass: dns.ClassINET}}
			}
			m.Ns = append(m.Ns, rr)
		}
		if len(m.Question) > 0 {
			l.send(m)
		}
	}
}

// multicast sends answers, in as few packets as they fit into, and extras with the last if there is room.
func (l *link) multicast(units []unit, extras unit) {
	m := answerTo(nil)
	for _, u := range units {
		for _, rr := range u {
			l.last[key(rr)] = l.r.now
			m.Answer = append(m.Answer, rr)
			if n := len(m.Answer); n > 1 && m.Len() > packetMax {
				m.Answer = m.Answer[:n-1]
				l.send(m)
				m = answerTo(nil)
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	if len(m.Answer) == 0 {
		return
	}
	m.Extra = extras
	if m.Len() > packetMax {
		m.Extra = nil
	}
	l.send(m)
}

// answerTo is an empty answer: to nobody, or to a plain DNS client.
func answerTo(q *dns.Msg) *dns.Msg {
	m := &dns.Msg{Compress: true}
	m.Response, m.Authoritative = true, true
	if q != nil {
		m.Id, m.Question = q.Id, q.Question
	}
	return m
}

func key(rr dns.RR) string {
	h := rr.Header()
	return lower(h.Name) + "\x00" + string(rune(h.Rrtype)) + string(data(rr))
}

// since is how long ago a record was multicast on the link.
func (l *link) since(rr dns.RR) time.Duration {
	at, ok := l.last[key(rr)]
	if !ok {
		return 1 << 62
	}
	return l.r.now.Sub(at)
}

func (l *link) allowed() bool {
	l.tokens = min(burst, l.tokens+perSecond*l.r.now.Sub(l.filled).Seconds())
	l.filled = l.r.now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

func (l *link) send(m *dns.Msg) {
	packet, err := m.Pack()
	if err != nil || len(packet) > multicast.MaxPacket || !l.allowed() {
		return
	}
	l.r.own.add(maphash.Bytes(l.r.seed, packet), l.r.now)
	for _, f := range []multicast.Family{multicast.IPv4, multicast.IPv6} {
		if l.families&f != 0 {
			err := l.r.conn.Send(l.ifi.Interface, f, packet)
			l.r.hinder(l.ifi.Name, "send by "+familyName(f), err)
		}
	}
}

func (l *link) sendTo(to netip.AddrPort, m *dns.Msg) {
	if packet, err := m.Pack(); err == nil && len(packet) <= multicast.MaxPacket && l.allowed() {
		_ = l.r.conn.SendTo(l.ifi.Interface, to, packet) // it may have gone
	}
}

// hear takes another's answer: is it to one of our names?
func (l *link) hear(m *dns.Msg) {
	for _, rr := range slices.Concat(m.Answer, m.Extra) {
		h := rr.Header()
		if class(rr) != dns.ClassINET || h.Ttl == 0 || h.Rrtype == dns.TypeNSEC || l.r.ours(rr) {
			continue
		}
		for _, c := range slices.Collect(maps.Keys(l.standings)) {
			at := l.standings[c]
			if at == nil || !l.contests(c, rr, at.phase == probing) {
				continue
			}
			if at.phase == probing {
				l.r.lost(c)
			} else { // RFC 6762 §9: whose it is, probing will show
				l.claim(c, l.r.conflict(c))
			}
		}
	}
}

// contests says whether a record is another's of a name that we want alone.
func (l *link) contests(c *claim, rr dns.RR, anyType bool) bool {
	named := false
	for _, u := range l.units(c) {
		for _, mine := range u {
			if !unique(mine) || lower(mine.Header().Name) != lower(rr.Header().Name) {
				continue
			}
			if same(mine, rr) {
				return false
			}
			named = named || anyType || c.isHost || mine.Header().Rrtype == rr.Header().Rrtype
		}
	}
	return named
}

// ours says whether a record states one of the machine's own addresses: two of its interfaces may be on one network (RFC 6762 §14).
func (r *Responder) ours(rr dns.RR) bool {
	var a netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		a, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a, _ = netip.AddrFromSlice(rr.AAAA.To16())
	default:
		return false
	}
	for _, l := range r.links {
		if slices.ContainsFunc(l.ifi.Prefixes, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return true
		}
	}
	return false
}

// tie looks whether another probes for a name at the same time, and has the better right to it (RFC 6762 §8.2).
func (l *link) tie(m *dns.Msg) {
	for c, at := range l.standings {
		if at.phase != probing {
			continue
		}
		for _, u := range l.units(c) {
			var mine, theirs []dns.RR
			for _, rr := range u {
				if unique(rr) {
					mine = append(mine, rr)
				}
			}
			for _, rr := range m.Ns {
				if len(mine) > 0 && lower(rr.Header().Name) == lower(mine[0].Header().Name) {
					theirs = append(theirs, rr)
				}
			}
			if len(theirs) > 0 && compare(mine, theirs) < 0 {
				*at = standing{due: l.r.now.Add(time.Second)}
			}
		}
	}
}

// compare orders two sets of records as RFC 6762 §8.2.1 has it: by class, type and data.
func compare(a, b []dns.RR) int {
	order := func(a, b dns.RR) int {
		if c := int(class(a)) - int(class(b)); c != 0 {
			return c
		}
		if t := int(a.Header().Rrtype) - int(b.Header().Rrtype); t != 0 {
			return t
		}
		return bytes.Compare(data(a), data(b))
	}
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.CompareFunc(a, b, order)
}
