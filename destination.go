package mfpgate

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// AllowRule lets devices reach one family of destinations through the relay. What no rule allows is refused.
type AllowRule struct {
	Host    HostPattern
	Ports   []uint16      // at least one
	Idle    time.Duration // a tunnel is cut after this long without a byte in either direction; 0 takes relay.timeouts.idle
	AnySNI  bool          // a ClientHello may name another host than the CONNECT did
	TLSOnly bool          // the client's first bytes must be a TLS ClientHello
	Private bool          // the destination may have a private address
}

// Allows reports whether the rule names this host and port.
func (r AllowRule) Allows(host Host, port uint16) bool {
	return r.Host.Matches(host) && slices.Contains(r.Ports, port)
}

// String writes the rule as the log's "rule" names it.
func (r AllowRule) String() string { return r.Host.String() }

// ErrHost is returned for text that is neither a DNS name nor an address in its one canonical form.
var ErrHost = errors.New("not a host")

// Host is a destination in its one comparable form: an IP address, or a DNS name in lower-case A-labels (RFC 5890) without
// a trailing dot. The zero value is no host.
type Host struct {
	name string
	addr netip.Addr
}

// lookup maps names as browsers do (UTS 46), but lets hyphens stand third and fourth, as names of large clouds have them.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.CheckHyphens(false), idna.VerifyDNSLength(true))

// ParseHost reads a host as it stands in a URI without port, an IPv6 address with or without brackets. An address is taken
// only in its canonical form: the decimal, octal, hexadecimal and short spellings that inet_aton reads ("2130706433",
// "0x7f.1", "127.1", "010.0.0.1") are refused with ErrHost and never become a name, nor do addresses with a zone.
func ParseHost(s string) (Host, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return Host{}, fmt.Errorf("%w: %.64q; write an IPv6 address in brackets", ErrHost, s)
		}
		return Host{addr: addr}, nil
	}
	if mayBeAddress(s) {
		if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() != "" {
			return Host{}, fmt.Errorf("%w: %.64q; an address with a zone is not reachable through the relay", ErrHost, s)
		} else if err == nil {
			return Host{addr: addr}, nil
		}
	}
	name, err := lookup.ToASCII(strings.TrimSuffix(s, "."))
	if err == nil { // a name that its own A-labels do not lead back to could be compared in two forms
		name, err = lookup.ToASCII(name)
	}
	if err != nil || !utf8.ValidString(s) || name == "" || len(name) > 253 || strings.ContainsAny(name, ":/@[]%\\ \t\r\n") {
		return Host{}, fmt.Errorf("%w: %.64q; write a DNS name or an IP address", ErrHost, s)
	}
	// A last label of digits, or of 0x and hexadecimal digits, makes the whole an address for inet_aton and for the WHATWG
	// URL parser; no top-level domain looks so.
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return Host{}, fmt.Errorf("%w: %.64q; write an IPv4 address as four decimal numbers", ErrHost, s)
	}
	return Host{name: strings.Clone(name)}, nil // a host lives longer than the head that it stood in
}

// mayBeAddress spares a name the error of ParseAddr, on the path of every tunnel.
func mayBeAddress(s string) bool {
	return s != "" && '0' <= s[0] && s[0] <= '9' || strings.IndexByte(s, ':') >= 0
}

// Valid reports whether the host is not the zero value.
func (h Host) Valid() bool { return h.name != "" || h.addr.IsValid() }

// Address returns the host's address and true if it is a literal.
func (h Host) Address() (netip.Addr, bool) { return h.addr, h.addr.IsValid() }

// String returns the name or the address, an IPv6 address without brackets.
func (h Host) String() string {
	if h.addr.IsValid() {
		return h.addr.String()
	}
	return h.name
}

// Loopback reports whether what is sent to a host, named as in a URI without port and brackets, stays on this machine: localhost, and
// the addresses of RFC 1122 §3.2.1.3 and RFC 4291 §2.5.3. Names below localhost do not count: who resolves them may ask elsewhere.
func Loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

// HostPattern names hosts: one DNS name, every name below a domain ("*.cloud.example"), one address, or a network in CIDR
// form. A pattern of names never matches a literal address, nor one of addresses a name.
type HostPattern struct {
	name   string // exact name, or the domain with its leading dot
	prefix netip.Prefix
}

// ParseHostPattern reads a pattern. "*" alone is refused: the relay goes nowhere that nobody named.
func ParseHostPattern(s string) (HostPattern, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		if prefix != prefix.Masked() {
			return HostPattern{}, fmt.Errorf("%q has bits set behind its mask; write %q", s, prefix.Masked())
		}
		return HostPattern{prefix: prefix}, nil
	}
	domain, wild := strings.CutPrefix(s, "*.")
	host, err := ParseHost(domain)
	if err != nil || wild && host.addr.IsValid() {
		return HostPattern{}, fmt.Errorf("%q is no host pattern; write a name, *.domain, an address or a network", s)
	}
	if host.addr.IsValid() {
		return HostPattern{prefix: netip.PrefixFrom(host.addr, host.addr.BitLen())}, nil
	}
	if wild {
		return HostPattern{name: "." + host.name}, nil
	}
	return HostPattern{name: host.name}, nil
}

// Matches reports whether the pattern names host. "*.a.example" matches "b.a.example" and "c.b.a.example", not "a.example".
func (p HostPattern) Matches(h Host) bool {
	if h.addr.IsValid() {
		return p.prefix.IsValid() && p.prefix.Contains(h.addr)
	}
	if strings.HasPrefix(p.name, ".") {
		return len(h.name) > len(p.name) && strings.HasSuffix(h.name, p.name)
	}
	return p.name != "" && p.name == h.name
}

// Contains reports whether the pattern is one of addresses and names addr.
func (p HostPattern) Contains(addr netip.Addr) bool {
	return p.prefix.IsValid() && p.prefix.Contains(addr)
}

// String writes the pattern as it was read.
func (p HostPattern) String() string {
	switch {
	case p.prefix.IsSingleIP():
		return p.prefix.Addr().String()
	case p.prefix.IsValid():
		return p.prefix.String()
	case strings.HasPrefix(p.name, "."):
		return "*" + p.name
	default:
		return p.name
	}
}
