package snmp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// minBits6 is how long an IPv6 prefix must be: nobody can ask a whole subnet of 2^64 addresses.
const minBits6 = 113

// CheckRanges says whether Scan takes the prefixes: each IPv6 prefix is longer than /112, and together they have at most
// MaxAddresses addresses. The error names the prefix and what to write.
func CheckRanges(prefixes []netip.Prefix) error {
	_, err := disjoint(prefixes)
	return err
}

// disjoint drops what lies in another prefix, and checks the bounds.
func disjoint(prefixes []netip.Prefix) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, p := range prefixes {
		if !p.IsValid() {
			return nil, fmt.Errorf("snmp: an invalid prefix; write an address, a slash and a length")
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		if p = p.Masked(); p.Addr().Is6() && p.Bits() < minBits6 {
			return nil, fmt.Errorf("snmp: %s is too wide to be asked address by address; write a prefix longer than /112, or rely on DNS-SD", p)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) })
	var kept []netip.Prefix
	total := 0
	for _, p := range all {
		if slices.ContainsFunc(kept, p.Overlaps) {
			continue // of two that overlap, one lies in the other, and the wider came first
		}
		host := p.Addr().BitLen() - p.Bits()
		if host > 16 || total+1<<host > MaxAddresses {
			return nil, fmt.Errorf("snmp: with %s the ranges have more than %d addresses; write narrower ones", p, MaxAddresses)
		}
		total += 1 << host
		kept = append(kept, p)
	}
	return kept, nil
}

// addresses are those of the prefixes that a device can have: of an IPv4 prefix shorter than /31 neither the network's own
// address nor the broadcast address, of an IPv6 prefix shorter than /127 not the routers' anycast address (RFC 4291 §2.6.1).
func addresses(prefixes []netip.Prefix) ([]netip.Addr, error) {
	kept, err := disjoint(prefixes)
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, p := range kept {
		n := 1 << (p.Addr().BitLen() - p.Bits())
		first, last := 0, n-1
		if n > 2 {
			first++
			if p.Addr().Is4() {
				last--
			}
		}
		addr := p.Addr()
		for i := range n {
			if i >= first && i <= last {
				all = append(all, addr)
			}
			addr = addr.Next()
		}
	}
	return all, nil
}
