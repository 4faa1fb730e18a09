package mdns

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/multicast"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Services are those that printers, copiers and scanners are found by.
func Services() []string {
	return []string{"_ipp._tcp.local", "_ipps._tcp.local", "_printer._tcp.local", "_pdl-datastream._tcp.local",
		"_uscan._tcp.local", "_uscans._tcp.local"}
}

// Event is something that Options.Count is told of.
type Event string

// The events. Each is a packet unless it says otherwise.
const (
	QuerySent       Event = "query-sent"
	QuerySuppressed Event = "query-suppressed" // a question that another querier of the link asked just then (RFC 6762 §7.3)
	QueryPutOff     Event = "query-put-off"    // questions that wait because the bound on queries is reached
	SendFailed      Event = "send-failed"
	AnswerReceived  Event = "answer-received"
	Malformed       Event = "malformed"
	OffLink         Event = "off-link"      // not from port 5353, or not from the link (RFC 6762 §6, §11)
	OutOfBounds     Event = "out-of-bounds" // a record that is left out because a bound is reached
)

// Options are what a querier is built from. Only Clock and Sighted are needed.
type Options struct {
	Clock mfpgate.Clock
	Log   telemetry.Logger
	Rand  *rand.Rand // for jitter; used by Run alone. nil: seeded by the system
	// Services are asked for; those in "local" alone. nil: Services().
	Services []string
	// Interfaces are listened on. They are looked at again every 15 s. nil: those of the system that are up, multicast and have an address,
	// without loopback.
	Interfaces func() ([]net.Interface, error)
	// Sighted gets what is found, one call after another, from Run's goroutine. It must not block for long: packets wait.
	Sighted func(mfpgate.Sighting)
	// Count, if it is there, is told how often something happened. It is called as Sighted is.
	Count func(e Event, n int)
	// Open makes the way to the links. nil: the system's sockets.
	Open func() (Conn, error)
}

// Querier asks without end which devices there are. It is built by New and works while Run does.
type Querier struct {
	Options
	services []service
	refresh  chan struct{} // capacity 1
	seed     maphash.Seed

	// All below belongs to Run.
	started   time.Time
	now       time.Duration // since started
	conn      Conn
	links     map[int]*link // by the index of the interface
	hindered  map[string]bool
	polled    time.Duration
	refreshed time.Duration
	shown     map[string]*shown   // by the instance's name in lower case
	changed   map[string]struct{} // instances to look at before Run waits again
	held      map[string]struct{} // those that change too often, to look at when release comes
	release   time.Duration
}

// service is a name that is asked for.
type service struct {
	name     string // fully qualified, in lower case
	plain    string // without the last dot
	protocol mfpgate.Protocol
}

var protocols = map[string]mfpgate.Protocol{
	"_ipp": mfpgate.ProtocolIPP, "_ipps": mfpgate.ProtocolIPPS, "_printer": mfpgate.ProtocolLPD,
	"_pdl-datastream": mfpgate.ProtocolAppSocket, "_uscan": mfpgate.ProtocolESCL, "_uscans": mfpgate.ProtocolESCLS,
}

// New checks the options. It opens nothing.
func New(o Options) (*Querier, error) {
	if o.Clock == nil || o.Sighted == nil {
		return nil, fmt.Errorf("mdns: Options need a Clock and Sighted")
	}
	if o.Services == nil {
		o.Services = Services()
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) //nolint:gosec // jitter
	}
	if o.Interfaces == nil {
		o.Interfaces = multicastInterfaces
	}
	if o.Open == nil {
		o.Open = func() (Conn, error) { return multicast.Open(true), nil }
	}
	if o.Count == nil {
		o.Count = func(Event, int) {}
	}
	q := &Querier{Options: o, refresh: make(chan struct{}, 1), seed: maphash.MakeSeed()}
	for _, name := range o.Services {
		s := service{name: strings.ToLower(dns.Fqdn(name))}
		s.plain = strings.TrimSuffix(s.name, ".")
		labels := dns.SplitDomainName(s.name)
		if _, ok := dns.IsDomainName(s.name); !ok || len(labels) != 3 || labels[2] != "local" {
			return nil, fmt.Errorf("mdns: service %q: want a name like _ipp._tcp.local", name)
		}
		known := false
		if s.protocol, known = protocols[labels[0]]; !known {
			return nil, fmt.Errorf("mdns: service %q: no protocol is known for it; know %s", name, strings.Join(Services(), ", "))
		}
		if !slices.Contains(q.services, s) {
			q.services = append(q.services, s)
		}
	}
	return q, nil
}

const (
	pollInterval = 15 * time.Second
	refreshLimit = 10 * time.Second
)

// Refresh asks everything again now, as if Run had just begun, but keeps what is known. Within 10 s of the start or of an
// earlier call it does nothing: the questions of that time are still being asked. It is safe for concurrent use.
func (q *Querier) Refresh() {
	select {
	case q.refresh <- struct{}{}:
	default:
	}
}

// Run asks and listens until ctx ends, and then returns nil. What fails on an interface is logged once and tried again; it
// ends nothing. It leaves no goroutine behind. What was sighted is not withdrawn when it ends. It must not be called twice
// at a time.
func (q *Querier) Run(ctx context.Context) error {
	conn, err := q.Open()
	if err != nil {
		return fmt.Errorf("open mdns: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	q.conn, q.started, q.now = conn, q.Clock.Now(), 0
	q.links, q.hindered = map[int]*link{}, map[string]bool{}
	q.shown, q.changed, q.held = map[string]*shown{}, map[string]struct{}{}, map[string]struct{}{}
	q.polled, q.refreshed = 0, 0
	q.poll()
	timer := q.Clock.NewTimer(q.tick())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-conn.Packets():
			q.setNow()
			q.receive(p)
		case <-q.refresh:
			q.setNow()
			q.restart()
		case <-timer.C():
			q.setNow()
		}
		timer.Reset(q.tick())
	}
}

func (q *Querier) setNow() { q.now = q.Clock.Now().Sub(q.started) }

// tick does all that is due, and returns how long nothing will be.
func (q *Querier) tick() time.Duration {
	if q.now >= q.polled+pollInterval {
		q.poll()
	}
	next := q.polled + pollInterval
	for _, l := range q.links {
		next = min(next, l.tick())
	}
	if len(q.held) > 0 && q.now >= q.release {
		maps.Copy(q.changed, q.held)
		clear(q.held)
	}
	q.show()
	if len(q.held) > 0 {
		next = min(next, q.release)
	}
	return max(next-q.now, time.Millisecond)
}

func (q *Querier) restart() {
	if q.now < q.refreshed+refreshLimit {
		return
	}
	q.refreshed = q.now
	for _, l := range q.links {
		l.start(false)
	}
}

// receive takes one packet from anybody.
func (q *Querier) receive(p Packet) {
	l := q.links[p.Interface]
	if l == nil {
		return // an interface that is not ours, as loopback
	}
	f := IPv6
	if p.From.Addr().Is4() {
		f = IPv4
	}
	if p.From.Port() != port || p.TTL != hops && !l.onLink(p.From.Addr()) {
		q.Count(OffLink, 1)
		return
	}
	if l.isOwn(p.Data) {
		return
	}
	var m dns.Msg
	if !plausible(p.Data) || m.Unpack(p.Data) != nil || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		q.Count(Malformed, 1)
		return
	}
	if m.Response {
		q.Count(AnswerReceived, 1)
		l.learn(f, &m)
		return
	}
	if p.Multicast {
		l.overhear(f, &m)
	}
}

// plausible checks the size before anything is unpacked (RFC 6762 §17). The counts are bounded by what would fit: a
// question is at least 5 bytes, a record 11.
func plausible(data []byte) bool {
	if len(data) < 12 || len(data) > maxPacket {
		return false
	}
	count := func(at int) int { return int(data[at])<<8 | int(data[at+1]) }
	return 5*count(4)+11*(count(6)+count(8)+count(10)) <= len(data)-12
}

// onLink says whether an address belongs to the link's own prefixes, or to no other link.
func (l *link) onLink(a netip.Addr) bool {
	if a.IsLinkLocalUnicast() {
		return true
	}
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
