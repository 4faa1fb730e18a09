package dnssd

import (
	"bytes"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Times to live, in seconds (RFC 6762 §10): of records that name a host, and of others.
const (
	hostTTL  = 120
	otherTTL = 4500
	plainTTL = 10 // in answers to plain DNS clients (§6.7)
)

// flush is the cache-flush bit of a record's class, and the unicast-response bit of a question's (RFC 6762 §10.2, §5.4).
const flush = 1 << 15

const enumeration = "_services._dns-sd._udp.local."

// normal is a record as it comes out of a packet, so that names and texts compare with those that others send.
func normal(rr dns.RR) (dns.RR, bool) {
	buf := make([]byte, 8192)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, false
	}
	out, _, err := dns.UnpackRR(buf[:n], 0)
	return out, err == nil
}

// data are the bytes of a record's rdata, without compression (RFC 6762 §8.2).
func data(rr dns.RR) []byte {
	buf := make([]byte, 10240)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil
	}
	_, at, err := dns.UnpackDomainName(buf[:n], 0)
	if err != nil || at+10 > n {
		return nil
	}
	return buf[at+10 : n]
}

func class(rr dns.RR) uint16 { return rr.Header().Class &^ flush }

func lower(name string) string { return strings.ToLower(name) }

// same says whether two records are one but for TTL and cache-flush bit.
func same(a, b dns.RR) bool {
	if a.Header().Rrtype != b.Header().Rrtype || class(a) != class(b) || lower(a.Header().Name) != lower(b.Header().Name) {
		return false
	}
	switch a := a.(type) { // names compare without regard to case
	case *dns.PTR:
		b, ok := b.(*dns.PTR)
		return ok && lower(a.Ptr) == lower(b.Ptr)
	case *dns.SRV:
		b, ok := b.(*dns.SRV)
		return ok && a.Port == b.Port && a.Priority == b.Priority && a.Weight == b.Weight && lower(a.Target) == lower(b.Target)
	}
	return bytes.Equal(data(a), data(b))
}

func header(name string, kind, class uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: class, Ttl: ttl}
}

func pointer(from, to string) dns.RR {
	return &dns.PTR{Hdr: header(from, dns.TypePTR, dns.ClassINET, otherTTL), Ptr: to}
}

func unique(rr dns.RR) bool { return rr.Header().Class&flush != 0 }

// unit is what belongs together in one packet.
type unit []dns.RR

// hostUnit are a host's addresses on a link.
func hostUnit(host string, addresses []netip.Addr) (u unit) {
	for _, a := range addresses {
		if a.Is4() {
			u = append(u, &dns.A{Hdr: header(host, dns.TypeA, dns.ClassINET|flush, hostTTL), A: a.AsSlice()})
		} else {
			u = append(u, &dns.AAAA{Hdr: header(host, dns.TypeAAAA, dns.ClassINET|flush, hostTTL), AAAA: a.WithZone("").AsSlice()})
		}
	}
	return u
}

// instance is the full name of a service.
func instance(label string, s Service) string { return escape(label) + "." + s.Type + ".local." }

// serviceUnit are a service's records.
func serviceUnit(label string, s Service, host string) (u unit) {
	name, kind := instance(label, s), s.Type+".local."
	all := []dns.RR{pointer(kind, name)}
	for _, sub := range s.Subtypes {
		all = append(all, pointer(sub+"._sub."+kind, name))
	}
	texts := []string{""} // RFC 6763 §6.1: never none
	if s.Text != nil {
		if pairs := Texts(s.Text(strings.TrimSuffix(host, "."))); len(pairs) > 0 {
			texts = nil
			for _, pair := range pairs {
				texts = append(texts, escapeText(pair))
			}
		}
	}
	all = append(all, pointer(enumeration, kind),
		&dns.SRV{Hdr: header(name, dns.TypeSRV, dns.ClassINET|flush, hostTTL), Port: s.Port, Target: host},
		&dns.TXT{Hdr: header(name, dns.TypeTXT, dns.ClassINET|flush, otherTTL), Txt: texts})
	for _, rr := range all {
		if rr, ok := normal(rr); ok {
			u = append(u, rr)
		}
	}
	return u
}

// with is a copy of the records with another TTL.
func (u unit) with(ttl uint32) (out unit) {
	for _, rr := range u {
		rr := dns.Copy(rr)
		rr.Header().Ttl = ttl
		out = append(out, rr)
	}
	return out
}

// plain is a copy as plain DNS has it (RFC 6762 §6.7), where NSEC would be DNSSEC's.
func (u unit) plain() (out unit) {
	for _, rr := range u.with(plainTTL) {
		if rr.Header().Rrtype != dns.TypeNSEC {
			rr.Header().Class &^= flush
			out = append(out, rr)
		}
	}
	return out
}

// nsec says which types a name has, and that there are no others (RFC 6762 §6.1).
func nsec(name string, of unit) (dns.RR, bool) {
	var types []uint16
	ttl := uint32(otherTTL)
	for _, kind := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeAAAA, dns.TypeSRV} { // in the order of their numbers
		for _, rr := range of {
			if h := rr.Header(); h.Rrtype == kind && lower(h.Name) == lower(name) {
				types = append(types, kind)
				ttl = min(ttl, h.Ttl)
				break
			}
		}
	}
	if len(types) == 0 {
		return nil, false
	}
	return &dns.NSEC{Hdr: header(name, dns.TypeNSEC, dns.ClassINET|flush, ttl), NextDomain: name, TypeBitMap: types}, true
}
