package printer

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// DNSSD says whether and how the site's printers announce themselves.
type DNSSD struct {
	Interfaces []string // by name; lo too; none: no DNS-SD
	IPv6       bool     // ff02::fb as well
	Port       uint16   // 0: 5353; a test may keep apart from the machine's other responders
	// PacketSize bounds a message in bytes: 0 is 1400, at most 9000 (RFC 6762 §17).
	PacketSize int
}

// Times to live (RFC 6762 §10): of records that name a host, and of others.
const (
	hostTTL  = 120  // seconds
	otherTTL = 4500 // seconds
)

// Bounds of what others can make the responder keep.
const (
	maxQuestions = 128     // in one message
	maxPending   = 64      // queriers whose known answers still arrive
	maxKnown     = 100_000 // known answers of one of them
)

// service is what a printer offers.
type service struct {
	name     string // _ipp._tcp
	subtypes []string
	offered  func(*view) bool
	port     func(*view) uint16
}

var services = []service{
	{"_ipp._tcp", []string{"_print", "_universal"}, func(v *view) bool { return !v.o.NoIPP }, func(v *view) uint16 { return v.ports.ipp }},
	{"_ipps._tcp", []string{"_print", "_universal"}, func(v *view) bool { return !v.o.NoIPP && v.ports.ipps != 0 }, func(v *view) uint16 { return v.ports.ipps }},
	{"_printer._tcp", nil, func(*view) bool { return true }, func(*view) uint16 { return 0 }}, // the flagship's placeholder
	{"_uscan._tcp", nil, func(v *view) bool { return v.o.Scanner }, func(v *view) uint16 { return v.ports.ipp }},
}

const enumeration = "_services._dns-sd._udp.local."

// responder answers for all printers of a site.
type responder struct {
	site    *Site
	o       DNSSD
	sockets []*mdnsSocket

	mu       sync.Mutex
	printers map[*Printer][]string // its keys in byName
	byName   map[string]*Printer   // instances and hosts, in canonical form
	pending  map[netip.AddrPort]*pending
	queue    []*Printer // to announce; drain runs while it is not empty
}

// pending is a query whose known answers come in several messages (RFC 6762 §7.2).
type pending struct {
	questions []dns.Question
	known     map[string]uint32 // TTL
	due       time.Time
}

func newResponder(s *Site) (*responder, error) {
	r := &responder{site: s, o: s.o.DNSSD, printers: map[*Printer][]string{}, byName: map[string]*Printer{}, pending: map[netip.AddrPort]*pending{}}
	if r.o.Port == 0 {
		r.o.Port = 5353
	}
	if r.o.PacketSize == 0 {
		r.o.PacketSize = 1400
	}
	if r.o.PacketSize < 512 || r.o.PacketSize > 9000 {
		return nil, fmt.Errorf("DNS-SD packet size %d: must be 512 to 9000", r.o.PacketSize)
	}
	var interfaces []net.Interface
	for _, name := range r.o.Interfaces {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return nil, fmt.Errorf("DNS-SD interface %s: %w", name, err)
		}
		interfaces = append(interfaces, *i)
	}
	for _, v6 := range []bool{false, true} {
		if v6 && !r.o.IPv6 {
			continue
		}
		socket, err := openMDNS(r.o.Port, interfaces, v6)
		if err != nil {
			r.closeSockets()
			return nil, fmt.Errorf("DNS-SD: %w", err)
		}
		r.sockets = append(r.sockets, socket)
	}
	for _, socket := range r.sockets {
		s.waiting = append(s.waiting, socket.run(r))
	}
	return r, nil
}

// add makes a printer's names known.
func (r *responder) add(p *Printer) error {
	v := p.view()
	keys := []string{dns.CanonicalName(v.host())}
	for _, s := range services {
		keys = append(keys, dns.CanonicalName(v.instance(s)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		if other := r.byName[key]; other != nil {
			return fmt.Errorf("DNS-SD name %s: %w", key, ErrTaken)
		}
	}
	for _, key := range keys {
		r.byName[key] = p
	}
	r.printers[p] = keys
	return nil
}

func (r *responder) remove(p *Printer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.printers[p] {
		delete(r.byName, key)
	}
	delete(r.printers, p)
}

// announce sends a printer's records now and a second later (RFC 6762 §8.3).
func (r *responder) announce(p *Printer) {
	r.enqueue(p)
	r.site.agenda.in(time.Second, func() { r.enqueue(p) })
}

// enqueue sends a printer's records at the pace of all that is sent.
func (r *responder) enqueue(p *Printer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, p)
	if len(r.queue) == 1 {
		r.site.agenda.in(0, r.drain)
	}
}

func (r *responder) drain() {
	r.mu.Lock()
	n := min(burst, len(r.queue))
	now := slices.Clone(r.queue[:n])
	r.mu.Unlock()
	for _, p := range now {
		if v := p.view(); v.power == on {
			r.multicast([]unit{v.all()}, 0)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue = r.queue[n:]; len(r.queue) > 0 {
		r.site.agenda.in(rest, r.drain)
	} else {
		r.queue = nil
	}
}

// goodbye withdraws the instances that a printer had; what else is known of them means nothing without (RFC 6762 §10.1).
func (r *responder) goodbye(before *view) {
	r.multicast([]unit{before.farewell()}, 0)
}

// close says goodbye for all and ends the sockets.
func (r *responder) close(printers []*Printer) {
	var units []unit
	for _, p := range printers {
		if v := p.view(); v.power == on && v.o.DNSSD {
			units = append(units, v.farewell())
		}
	}
	for _, packet := range pack(units, r.o.PacketSize) {
		for _, s := range r.sockets {
			s.multicast(packet, 0)
		}
	}
	r.closeSockets()
}

func (r *responder) closeSockets() {
	for _, s := range r.sockets {
		_ = s.conn.Close()
	}
}

// unit is what belongs into one message.
type unit struct{ answers, extras []dns.RR }

// label is a name as one DNS label: at most 63 bytes, whole characters.
func label(name string) string {
	for len(name) > 63 {
		runes := []rune(name)
		name = string(runes[:len(runes)-1])
	}
	return name
}

// escape writes a label as the codec reads names: with backslashes before what has a meaning in zone files.
func escape(label string) string {
	var b strings.Builder
	for i := range len(label) {
		switch c := label[i]; {
		case strings.IndexByte(`.\ '@;()"`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (v *view) host() string { return escape(label(v.o.Host)) + ".local." }

func (v *view) instance(s service) string { return escape(label(v.o.Name)) + "." + s.name + ".local." }

func pointer(from, to string, ttl uint32) dns.RR {
	return &dns.PTR{Hdr: dns.RR_Header{Name: from, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}, Ptr: to}
}

// unique is the header of a record that nobody else has: the cache-flush bit (RFC 6762 §10.2).
func unique(name string, kind uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET | 1<<15, Ttl: ttl}
}

func (v *view) srv(s service) dns.RR {
	return &dns.SRV{Hdr: unique(v.instance(s), dns.TypeSRV, hostTTL), Port: s.port(v), Target: v.host()}
}

func (v *view) addresses() (all []dns.RR) {
	for _, a := range v.o.Addresses {
		if a.Is4() {
			all = append(all, &dns.A{Hdr: unique(v.host(), dns.TypeA, hostTTL), A: a.AsSlice()})
		} else {
			all = append(all, &dns.AAAA{Hdr: unique(v.host(), dns.TypeAAAA, hostTTL), AAAA: a.AsSlice()})
		}
	}
	return all
}

func (v *view) txt(s service) dns.RR {
	var pairs []string
	switch s.name {
	case "_ipp._tcp", "_ipps._tcp":
		pairs = []string{
			"txtvers=1", "qtotal=1", "rp=" + ippPath[1:], "ty=" + v.makeAndModel(), "product=(" + v.makeAndModel() + ")", "priority=50",
			"pdl=application/octet-stream,application/pdf,image/pwg-raster,image/urf", "adminurl=" + v.uri("http", v.ports.ipp),
			"note=" + v.o.Location, "UUID=" + v.o.UUID, "usb_MFG=" + v.o.Make, "usb_MDL=" + v.o.Model, "Color=T", "Duplex=T", "kind=document",
		}
	case "_uscan._tcp":
		pairs = []string{
			"txtvers=1", "vers=2.63", "rs=eSCL", "ty=" + v.makeAndModel(), "note=" + v.o.Location, "uuid=" + v.o.UUID, "cs=color,grayscale",
			"is=platen,adf", "duplex=T", "pdl=application/pdf,image/jpeg", "adminurl=" + v.uri("http", v.ports.ipp),
		}
	default:
		pairs = []string{""}
	}
	for i := range pairs {
		pairs[i] = escapeText(pairs[i][:min(len(pairs[i]), 255)])
	}
	return &dns.TXT{Hdr: unique(v.instance(s), dns.TypeTXT, otherTTL), Txt: pairs}
}

// escapeText keeps a backslash from being read as the codec's own.
func escapeText(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

func (s service) typeName() string { return s.name + ".local." }

func subtype(name string, s service) string { return name + "._sub." + s.name + ".local." }

// offers are the services that the printer has.
func (v *view) offers() []service {
	return slices.DeleteFunc(slices.Clone(services), func(s service) bool { return !s.offered(v) })
}

// all is everything the printer announces.
func (v *view) all() (u unit) {
	for _, s := range v.offers() {
		u.answers = append(u.answers, pointer(s.typeName(), v.instance(s), otherTTL))
		for _, sub := range s.subtypes {
			u.answers = append(u.answers, pointer(subtype(sub, s), v.instance(s), otherTTL))
		}
		u.answers = append(u.answers, v.srv(s), v.txt(s))
	}
	u.answers = append(u.answers, v.addresses()...)
	return u
}

func (v *view) farewell() (u unit) {
	for _, s := range v.offers() {
		u.answers = append(u.answers, pointer(s.typeName(), v.instance(s), 0))
		for _, sub := range s.subtypes {
			u.answers = append(u.answers, pointer(subtype(sub, s), v.instance(s), 0))
		}
	}
	return u
}
