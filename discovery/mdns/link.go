package mdns

import (
	"container/heap"
	"hash/maphash"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// link is what one interface's network shows. RFC 6762 §14 wants a cache for each.
type link struct {
	q        *Querier
	ifi      net.Interface
	prefixes []netip.Prefix
	families Family

	instances map[string]*instance // by name in lower case
	hosts     map[string]*host     // those that instances' SRV records name
	queue     queue

	series  series
	hint    hint
	heard   []overheard // by service
	gatherd time.Duration
	tokens  float64
	filled  time.Duration
	blocked time.Duration // until then the bound on queries holds all back
	sent    [256]uint64   // hashes of the last packets: they come back
	sentAt  int
}

// series is the plan of asking for the services: at once, after 1 s, and then at intervals that double (RFC 6762 §5.2).
type series struct {
	at       time.Duration
	interval time.Duration // before at; 0: none was asked yet
	unicast  bool          // the first question may be answered to us alone (RFC 6762 §5.4)
}

// hint is an instance that another querier knows and this one does not. What another says it knows is no answer (RFC 6762
// §7.1), but a reason to ask. Without that, a querier on the same host that asks in step with us could keep devices from us:
// avahi takes both for one, and does not answer us for 0.7 s what the other knew.
type hint struct {
	at    time.Duration // when to ask; 0: no hint
	next  time.Duration // before that no hint is taken
	pause time.Duration // doubles, as the series' interval does: a hint may be a lie
}

// hinted plans a question for after the responders have forgotten what the other knew.
func (l *link) hinted() {
	h := &l.hint
	if h.at > 0 || l.q.now < h.next {
		return
	}
	h.at = l.q.now + time.Second + l.jitter()
	h.pause = min(max(2*time.Second, 2*h.pause), maxInterval)
	h.next = l.q.now + h.pause
}

// overheard is when another querier asked for a service, and whether that has spared us a question already.
type overheard struct {
	at     [both + 1]time.Duration // by family: the devices of one may not hear the other
	spared bool
}

func (o *overheard) justNow(l *link) bool {
	for _, f := range []Family{IPv4, IPv6} {
		if l.families&f != 0 && !justNow(l, o.at[f]) {
			return false
		}
	}
	return true
}

// instance is one service instance on one link. It lives as long as its PTR does.
type instance struct {
	key     string
	name    string
	service int
	ptr     set
	srv     set
	txt     set
	host    *host // that of the SRV record
}

// host is a name with addresses. It lives as long as an instance names it.
type host struct {
	key     string
	name    string
	a, aaaa set
	users   []*instance
}

func newLink(q *Querier, i net.Interface) *link {
	return &link{q: q, ifi: i, instances: map[string]*instance{}, hosts: map[string]*host{}, heard: make([]overheard, len(q.services)),
		tokens: burst, filled: q.now}
}

// start begins the series.
func (l *link) start(unicast bool) {
	l.series = series{at: l.q.now + l.jitter(), unicast: unicast}
	l.hint = hint{}
}

// jitter is what RFC 6762 §5.2 puts before a first question: 20 to 120 ms.
func (l *link) jitter() time.Duration {
	return 20*time.Millisecond + time.Duration(l.q.Rand.Int64N(int64(100*time.Millisecond)))
}

// gather is when what is missing now is asked for: soon, in one packet with what else is missed till then.
func (l *link) gather() time.Duration {
	if l.gatherd <= l.q.now {
		l.gatherd = l.q.now + l.jitter()
	}
	return l.gatherd
}

// tick does what is due on the link, and returns when something will be.
func (l *link) tick() time.Duration {
	now := l.q.now
	if now >= l.blocked && l.next() <= now {
		l.work()
	}
	return max(l.next(), l.blocked)
}

func (l *link) next() time.Duration {
	next := l.series.at
	if l.hint.at > 0 {
		next = min(next, l.hint.at)
	}
	if len(l.queue) > 0 {
		next = min(next, l.queue[0].due)
	}
	return next
}

// work ends what has expired and asks for what is due.
func (l *link) work() {
	now := l.q.now
	l.refill()
	ask := newQuestions(l)
	if l.series.at <= now {
		ask.series = true
		ask.all()
	}
	if l.hint.at > 0 && l.hint.at <= now {
		ask.all()
	}
	// Refreshes that are nearly due come along: at most 1 % of the longest time that the link's records have.
	ahead := now + l.lifetime(uint32(briskTTL/time.Second))/100
	var later []*set
	for len(l.queue) > 0 && l.queue[0].due <= ahead && !ask.full() {
		s := heap.Pop(&l.queue).(*set) //nolint:errcheck,forcetypeassert // only sets are in it
		ended := s.due <= now && s.expire()
		if ended {
			l.removed(s)
		}
		switch {
		case ended && len(s.records) == 0:
			later = append(later, s) // the rest of the device may go at the same moment
		case s.wants() && !s.unasked():
			ask.add(s)
		default:
			later = append(later, s)
		}
	}
	ask.send()
	for _, s := range later {
		s.plan()
	}
}

// unasked spares a question that another querier just asked (RFC 6762 §7.3). It does so once in a row, so that nobody can
// silence us.
func (s *set) unasked() bool {
	if s.spared = !s.spared && justNow(s.link, s.heard); s.spared {
		s.link.q.Count(QuerySuppressed, 1)
		s.asked()
	}
	return s.spared
}

func justNow(l *link, at time.Duration) bool {
	return at > 0 && l.q.now-at <= time.Second
}

// learn takes an answer: who there is, then what they are, then where, whatever the order in the packet. So nothing is
// kept that no instance of our services leads to.
func (l *link) learn(f Family, m *dns.Msg) {
	records := slices.Concat(m.Answer, m.Extra)
	for _, rr := range records {
		if ptr, ok := rr.(*dns.PTR); ok && inClass(rr) {
			l.learnPTR(f, ptr)
		}
	}
	for _, rr := range records {
		if in := l.instances[lower(rr.Header().Name)]; in != nil && inClass(rr) {
			l.learnInstance(f, in, rr)
		}
	}
	for _, rr := range records {
		if h := l.hosts[lower(rr.Header().Name)]; h != nil && inClass(rr) {
			l.learnHost(f, h, rr)
		}
	}
}

// flush is the cache-flush bit of a record's class, and the unicast-response bit of a question's (RFC 6762 §10.2, §5.4).
const flush = 1 << 15

func inClass(rr dns.RR) bool { return rr.Header().Class&^flush == dns.ClassINET }

func (l *link) learnPTR(f Family, ptr *dns.PTR) {
	service := l.q.serviceOf(ptr.Hdr.Name)
	if service < 0 || !instanceOf(ptr.Ptr, l.q.services[service].name) {
		return
	}
	key := lower(ptr.Ptr)
	in := l.instances[key]
	if in == nil {
		if ptr.Hdr.Ttl == 0 {
			return
		}
		if len(l.instances) >= maxInstances {
			l.q.Count(OutOfBounds, 1)
			return
		}
		in = &instance{key: key, name: ptr.Ptr, service: service}
		in.ptr = set{link: l, in: in, kind: dns.TypePTR, index: -1}
		in.srv = set{link: l, in: in, kind: dns.TypeSRV, index: -1}
		in.txt = set{link: l, in: in, kind: dns.TypeTXT, index: -1}
		l.instances[key] = in
		in.srv.plan()
		in.txt.plan()
	}
	in.ptr.put(ptr, in.name, 0, f)
	l.q.changed[key] = struct{}{}
}

func (l *link) learnInstance(f Family, in *instance, rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.SRV:
		in.srv.put(rr, rr.Target, rr.Port, f)
		l.resolve(in)
	case *dns.TXT:
		data, ok := textData(rr.Txt)
		if !ok {
			l.q.Count(OutOfBounds, 1)
			return
		}
		in.txt.put(rr, data, 0, f)
	case *dns.NSEC:
		in.txt.deny(rr)
	}
	l.q.changed[in.key] = struct{}{}
}

func (l *link) learnHost(f Family, h *host, rr dns.RR) {
	changed := true
	switch rr := rr.(type) {
	case *dns.A:
		if a, ok := netip.AddrFromSlice(rr.A.To4()); ok && l.usable(a) {
			changed = h.a.put(rr, string(a.AsSlice()), 0, f)
		}
	case *dns.AAAA:
		if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok && l.usable(a) {
			changed = h.aaaa.put(rr, string(a.AsSlice()), 0, f)
		}
	case *dns.NSEC:
		h.a.deny(rr)
		h.aaaa.deny(rr)
	}
	if changed {
		l.touch(h)
	}
}

func (l *link) touch(h *host) {
	for _, in := range h.users {
		l.q.changed[in.key] = struct{}{}
	}
}

// deny takes a responder's word that it has no records of the set's type, so that nobody asks for them while that holds.
func (s *set) deny(rr *dns.NSEC) {
	for _, t := range rr.TypeBitMap {
		if t == s.kind {
			return
		}
	}
	if len(s.records) == 0 && rr.Hdr.Ttl > 0 {
		s.absent = s.link.q.now + s.link.lifetime(rr.Hdr.Ttl)
		s.plan()
	}
}

// current is the record to go by: of several, which a name should not have, the one that was heard last.
func (s *set) current() *record {
	var best *record
	for i := range s.records {
		if r := &s.records[i]; best == nil || r.born > best.born {
			best = r
		}
	}
	return best
}

// resolve ties the instance to the host that its SRV record names.
func (l *link) resolve(in *instance) {
	key := ""
	r := in.srv.current()
	if r != nil {
		key = lower(r.data)
	}
	if in.host != nil && in.host.key == key {
		return
	}
	l.release(in)
	if r == nil || r.data == "." {
		return
	}
	h := l.hosts[key]
	if h == nil {
		h = &host{key: key, name: r.data}
		h.a = set{link: l, at: h, kind: dns.TypeA, index: -1}
		h.aaaa = set{link: l, at: h, kind: dns.TypeAAAA, index: -1}
		l.hosts[key] = h
		h.a.plan()
		h.aaaa.plan()
	}
	h.users = append(h.users, in)
	in.host = h
}

func (l *link) release(in *instance) {
	h := in.host
	if h == nil {
		return
	}
	in.host = nil
	h.users = slices.DeleteFunc(h.users, func(u *instance) bool { return u == in })
	if len(h.users) == 0 {
		h.a.forget()
		h.aaaa.forget()
		delete(l.hosts, h.key)
	}
}

// removed follows up the end of a record of s.
func (l *link) removed(s *set) {
	if s.at != nil {
		l.touch(s.at)
		return
	}
	l.q.changed[s.in.key] = struct{}{}
	switch {
	case s.kind == dns.TypeSRV:
		l.resolve(s.in)
	case s.kind == dns.TypePTR && len(s.records) == 0:
		l.release(s.in)
		s.in.ptr.forget()
		s.in.srv.forget()
		s.in.txt.forget()
		delete(l.instances, s.in.key)
	}
}

// isOwn says whether a packet is a query of ours that came back. Its sender's address cannot tell: an avahi beside us has
// the same.
func (l *link) isOwn(data []byte) bool {
	if len(data) > 2 && data[2]&0x80 != 0 {
		return false
	}
	sum := maphash.Bytes(l.q.seed, data)
	for i, s := range l.sent {
		if s == sum {
			l.sent[i] = 0 // it comes once: the next of the kind is another querier's
			return true
		}
	}
	return false
}

func (l *link) remember(data []byte) {
	l.sent[l.sentAt%len(l.sent)] = maphash.Bytes(l.q.seed, data)
	l.sentAt++
}
