package mdns

import (
	"container/heap"
	"time"

	"github.com/miekg/dns"
)

// record is what is known of one resource record. Times are since the querier's start.
type record struct {
	data  string // PTR, SRV: the target as it was written; TXT: the strings, each behind its length; A, AAAA: the address's bytes
	port  uint16 // SRV
	asked uint8  // refresh questions since it was heard
	dying bool   // withdrawn: it ends at until, whatever is asked
	from  Family // families that it was heard on
	ttl   time.Duration
	born  time.Duration // when it was heard last
	next  time.Duration // when to ask for it again
	until time.Duration
}

// set is the records of one name and type on one link, and the plan of asking for them.
type set struct {
	link    *link
	in      *instance // PTR, SRV, TXT
	at      *host     // A, AAAA
	records []record
	due     time.Duration // when the set wants something: a question, or an end
	index   int           // in the link's heap; -1: not in it
	kind    uint16
	tried   uint8         // questions for a set of which nothing is there
	dead    bool          // its instance or host is gone
	spared  bool          // the last question was another querier's
	absent  time.Duration // until then the responder said that there is none (RFC 6762 §6.1)
	heard   time.Duration // when another querier asked the same
}

// name is what to ask for.
func (s *set) name() string {
	if s.at != nil {
		return s.at.name
	}
	return s.in.name
}

// The bounds on what one link can make the querier keep.
const (
	maxInstances = 8192
	maxAddresses = 16   // of one host and family; SRV and TXT records are one each
	maxTXT       = 8192 // bytes; RFC 6763 §6.2 wants 1300 at most
	maxTTL       = 2 * time.Hour
	minTTL       = 30 * time.Second // less would be asked for all the time
	graceful     = time.Second      // RFC 6762 §10.1, §10.2
	// Up to brisk instances are watched as closely as their TTL wants, usually 120 s. Beyond, the time grows with their
	// number, so that questions for them and the devices' answers, which the whole link hears, do not.
	brisk    = 256
	briskTTL = 120 * time.Second
)

// lifetime is how long to hold a record.
func (l *link) lifetime(ttl uint32) time.Duration {
	least := max(minTTL, briskTTL*time.Duration(len(l.instances))/brisk)
	return min(max(time.Duration(ttl)*time.Second, least), maxTTL)
}

// put takes a record that was heard. It reports whether the facts changed.
func (s *set) put(rr dns.RR, data string, port uint16, f Family) (changed bool) {
	l := s.link
	now := l.q.now
	h := rr.Header()
	var known *record
	for i := range s.records {
		if r := &s.records[i]; r.port == port && s.same(r.data, data) {
			known = r
		}
	}
	if h.Ttl == 0 { // goodbye
		if known != nil {
			known.dying, known.until = true, min(known.until, now+graceful)
			s.plan()
		}
		return false
	}
	// A PTR of a service is shared by all devices, so that none may flush it (RFC 6762 §10.2).
	if h.Class&flush != 0 && s.kind != dns.TypePTR {
		for i := range s.records {
			if r := &s.records[i]; r != known && r.born < now-graceful {
				r.dying, r.until = true, min(r.until, now+graceful)
			}
		}
	}
	if known == nil {
		switch unique := s.kind == dns.TypeSRV || s.kind == dns.TypeTXT; {
		case unique && len(s.records) == 2: // one is in its second of grace, and there is one more change
			s.records = append(s.records[:0], *s.current())
		case len(s.records) >= maxAddresses:
			l.q.Count(OutOfBounds, 1)
			return false
		}
		s.records = append(s.records, record{data: data, port: port})
		known, changed = &s.records[len(s.records)-1], true
	}
	known.ttl = l.lifetime(h.Ttl)
	known.born, known.until = now, now+known.ttl
	known.dying, known.asked = false, 0
	known.from |= f
	known.next = l.refreshAt(known)
	s.tried, s.absent = 0, 0
	s.plan()
	return changed
}

// same compares data: names without regard to case (RFC 6762 §16), the rest to the byte.
func (s *set) same(a, b string) bool {
	if s.kind == dns.TypePTR || s.kind == dns.TypeSRV {
		return lower(a) == lower(b)
	}
	return a == b
}

// refreshAt is when to ask for a record the next time: at 80, 85, 90 and 95 % of its life, and up to 2 % later or 1 %
// sooner, so that a link's queriers do not ask in step (RFC 6762 §5.2).
func (l *link) refreshAt(r *record) time.Duration {
	if r.asked >= 4 {
		return r.until
	}
	share := 0.80 + 0.05*float64(r.asked) + 0.03*l.q.Rand.Float64() - 0.01
	return max(r.born+time.Duration(share*float64(r.ttl)), l.q.now+time.Second)
}

// early is how much before its time a record's question may be asked, so that many fit into one packet: 1 %.
func (r *record) early() time.Duration { return r.ttl / 100 }

// plan puts the set where its time is in the heap.
func (s *set) plan() {
	s.due = 0
	for i, r := range s.records {
		at := r.until
		if !r.dying && r.asked < 4 {
			at = min(at, r.next)
		}
		if i == 0 || at < s.due {
			s.due = at
		}
	}
	if len(s.records) == 0 {
		s.due = max(s.absent, s.link.retry(s))
	}
	s.enqueue()
}

func (s *set) enqueue() {
	if s.dead {
		return
	}
	if s.index < 0 {
		heap.Push(&s.link.queue, s)
		return
	}
	heap.Fix(&s.link.queue, s.index)
}

// forget takes the set out for good.
func (s *set) forget() {
	s.dead = true
	if s.index >= 0 {
		heap.Remove(&s.link.queue, s.index)
	}
}

// retry is when to ask for what is not there: soon, and then after 1 s, 3 s, 9 s, up to an hour.
func (l *link) retry(s *set) time.Duration {
	if s.tried == 0 {
		return l.gather()
	}
	pause := time.Second
	for range s.tried - 1 {
		pause = min(3*pause, maxInterval)
	}
	return l.q.now + pause
}

// expire removes what has ended. A record whose refresh could not be asked, as the bound on queries was reached, is held
// until it was: that is our silence, not the device's.
func (s *set) expire() (removed bool) {
	now := s.link.q.now
	kept := s.records[:0]
	for _, r := range s.records {
		if r.until > now {
			kept = append(kept, r)
			continue
		}
		if !r.dying && r.asked < 2 {
			r.until, r.next = now+10*time.Second, now
			kept = append(kept, r)
			continue
		}
		removed = true
	}
	s.records = kept
	return removed
}

// asked notes that a question for the set was sent.
func (s *set) asked() {
	now := s.link.q.now
	for i := range s.records {
		if r := &s.records[i]; r.next <= now+r.early() {
			r.asked++
			r.next = s.link.refreshAt(r)
		}
	}
	if len(s.records) == 0 && s.tried < 255 {
		s.tried++
	}
	s.plan()
}

// wants says whether a question for the set is due, or nearly.
func (s *set) wants() bool {
	now := s.link.q.now
	if len(s.records) == 0 {
		return s.due <= now
	}
	for i := range s.records {
		if r := &s.records[i]; !r.dying && r.asked < 4 && r.next <= now+r.early() {
			return true
		}
	}
	return false
}

// queue is a heap of sets by due.
type queue []*set

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	s := x.(*set) //nolint:errcheck,forcetypeassert // only sets are in it
	s.index = len(*q)
	*q = append(*q, s)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.index = -1
	return s
}
