package destination

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// Policy holds the allow rules in the form in which the relay asks. It is immutable and safe for concurrent use.
type Policy struct {
	names   map[string][]mfpgate.AllowRule       // an exact name
	domains map[string][]mfpgate.AllowRule       // what stands behind "*."
	nets    map[netip.Prefix][]mfpgate.AllowRule // addresses and networks
	lengths []netip.Prefix                       // one zero prefix per family and length in nets, longest first
}

// NewPolicy builds a policy. Rules with the same pattern complement each other; where they overlap the earlier wins.
func NewPolicy(rules []mfpgate.AllowRule) *Policy {
	p := &Policy{
		names:   map[string][]mfpgate.AllowRule{},
		domains: map[string][]mfpgate.AllowRule{},
		nets:    map[netip.Prefix][]mfpgate.AllowRule{},
	}
	for _, rule := range rules {
		pattern := rule.Host.String()
		if prefix, ok := parsePrefix(pattern); ok {
			p.nets[prefix] = append(p.nets[prefix], rule)
			if zero := zeroPrefix(prefix); !slices.Contains(p.lengths, zero) {
				p.lengths = append(p.lengths, zero)
			}
		} else if domain, ok := strings.CutPrefix(pattern, "*."); ok {
			p.domains[domain] = append(p.domains[domain], rule)
		} else if pattern != "" {
			p.names[pattern] = append(p.names[pattern], rule)
		}
	}
	slices.SortFunc(p.lengths, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
	return p
}

func parsePrefix(pattern string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(pattern); err == nil {
		return prefix, true
	}
	addr, err := netip.ParseAddr(pattern)
	return netip.PrefixFrom(addr, addr.BitLen()), err == nil
}

// zeroPrefix stands for the family and the length of a prefix.
func zeroPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), p.Bits())
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), p.Bits())
}

// Allow returns the most specific rule that names host and port: an exact name before a longer wildcard before a shorter
// one, a longer network prefix before a shorter one. False means refused. It does not allocate.
func (p *Policy) Allow(host mfpgate.Host, port uint16) (mfpgate.AllowRule, bool) {
	if addr, ok := host.Address(); ok {
		return p.allowAddress(addr, port)
	}
	name := host.String()
	if rule, ok := pick(p.names[name], port); ok {
		return rule, true
	}
	for {
		_, parent, ok := strings.Cut(name, ".")
		if !ok {
			return mfpgate.AllowRule{}, false
		}
		if rule, ok := pick(p.domains[parent], port); ok {
			return rule, true
		}
		name = parent
	}
}

// allowAddress looks the address up under each prefix length that a rule has, as a router does.
func (p *Policy) allowAddress(addr netip.Addr, port uint16) (mfpgate.AllowRule, bool) {
	for _, length := range p.lengths {
		if length.Addr().BitLen() != addr.BitLen() {
			continue
		}
		prefix, err := addr.Prefix(length.Bits())
		if err != nil {
			continue
		}
		if rule, ok := pick(p.nets[prefix], port); ok {
			return rule, true
		}
	}
	return mfpgate.AllowRule{}, false
}

func pick(rules []mfpgate.AllowRule, port uint16) (mfpgate.AllowRule, bool) {
	for i := range rules {
		if slices.Contains(rules[i].Ports, port) {
			return rules[i], true
		}
	}
	return mfpgate.AllowRule{}, false
}
