package destination

import (
	"encoding/binary"
	"net/netip"

	"github.com/mfpgate/mfpgate"
)

// block is one entry of a registry and the verdict on it; an empty reason is an exception inside a wider block.
type block struct {
	prefix netip.Prefix
	reason mfpgate.Reason
}

func on(prefix string, reason mfpgate.Reason) block {
	return block{netip.MustParsePrefix(prefix), reason}
}

// blocks4 follows https://www.iana.org/assignments/iana-ipv4-special-registry and, for 224.0.0.0/4, RFC 5771. The first
// match counts. Not listed because the registry says globally reachable: 192.31.196.0/24 and 192.175.48.0/24 (AS112),
// 192.52.193.0/24 (AMT). 192.0.0.9 and .10 are too, but are anycast addresses of port control and TURN: no cloud is there.
var blocks4 = []block{
	on("169.254.169.254/32", ReasonMetadata), // AWS, Azure, Google, OpenStack and most others
	on("100.100.100.200/32", ReasonMetadata), // Alibaba
	on("168.63.129.16/32", ReasonMetadata),   // Azure's wire server, in public space
	on("0.0.0.0/8", ReasonUnspecified),       // RFC 791 section 3.2; Linux takes 0.0.0.0 for the loopback
	on("10.0.0.0/8", ReasonPrivate),          // RFC 1918
	on("100.64.0.0/10", ReasonShared),        // RFC 6598
	on("127.0.0.0/8", ReasonLoopback),        // RFC 1122 section 3.2.1.3
	on("169.254.0.0/16", ReasonLinkLocal),    // RFC 3927
	on("172.16.0.0/12", ReasonPrivate),       // RFC 1918
	on("192.0.0.0/24", ReasonReserved),       // RFC 6890 section 2.1
	on("192.0.2.0/24", ReasonDocumentation),  // RFC 5737
	on("192.88.99.0/24", ReasonReserved),     // RFC 7526, deprecated 6to4 relays
	on("192.168.0.0/16", ReasonPrivate),      // RFC 1918
	on("198.18.0.0/15", ReasonBenchmark),     // RFC 2544
	on("198.51.100.0/24", ReasonDocumentation),
	on("203.0.113.0/24", ReasonDocumentation),
	on("224.0.0.0/4", ReasonMulticast),
	on("255.255.255.255/32", ReasonBroadcast), // RFC 8190
	on("240.0.0.0/4", ReasonReserved),         // RFC 1112 section 4
}

// blocks6 follows https://www.iana.org/assignments/iana-ipv6-special-registry and iana-ipv6-address-space: only 2000::/3
// is assigned as global unicast, so all the rest is refused. The first match counts. Of what the registry calls globally
// reachable inside 2001::/23, AMT and AS112 are let through; anycast addresses of port control and TURN, and identifiers
// (ORCHIDv2, RFC 7343; drones, RFC 9374) are not: no cloud is there.
var blocks6 = []block{
	on("fd00:ec2::254/128", ReasonMetadata),  // AWS
	on("fd20:ce::254/128", ReasonMetadata),   // Google
	on("::/128", ReasonUnspecified),          // RFC 4291 section 2.5.2
	on("::1/128", ReasonLoopback),            // RFC 4291 section 2.5.3
	on("::/96", ""),                          // RFC 4291 section 2.5.5.1, IPv4-compatible: see embedded
	on("64:ff9b::/96", ""),                   // RFC 6052, NAT64: see embedded
	on("64:ff9b:1::/48", ReasonPrivate),      // RFC 8215, NAT64 of this network
	on("100::/64", ReasonDiscard),            // RFC 6666
	on("fc00::/7", ReasonPrivate),            // RFC 4193
	on("fe80::/10", ReasonLinkLocal),         // RFC 4291 section 2.5.6
	on("fec0::/10", ReasonPrivate),           // RFC 3879, deprecated site-local
	on("ff00::/8", ReasonMulticast),          // RFC 4291 section 2.7
	on("2001::/32", ""),                      // RFC 4380, Teredo: see embedded
	on("2001:2::/48", ReasonBenchmark),       // RFC 5180
	on("2001:3::/32", ""),                    // RFC 7450
	on("2001:4:112::/48", ""),                // RFC 7535
	on("2001::/23", ReasonReserved),          // RFC 2928
	on("2001:db8::/32", ReasonDocumentation), // RFC 3849
	on("3fff::/20", ReasonDocumentation),     // RFC 9637
	on("2000::/3", ""),                       // RFC 4291 section 2.4, with 2002::/16 (RFC 3056, 6to4): see embedded
	on("::/0", ReasonReserved),               // among them ::ffff:0:0:0/96 (RFC 2765) and 5f00::/16 (RFC 9602)
}

// Judge says why an address must not be reached under a rule that allows no private ones; "" means public. An address that
// embeds IPv4 addresses is public only if all of those are, so that sites behind DNS64 work. A zone is ignored, and the
// zero Addr is unspecified.
func Judge(addr netip.Addr) mfpgate.Reason {
	if !addr.IsValid() {
		return ReasonUnspecified
	}
	addr = addr.WithZone("").Unmap()
	if addr.Is4() {
		return look(blocks4, addr)
	}
	if reason := look(blocks6, addr); reason != "" {
		return reason
	}
	inner, n := embedded(addr)
	for _, v4 := range inner[:n] {
		if reason := look(blocks4, v4); reason != "" {
			return reason
		}
	}
	return ""
}

func look(blocks []block, addr netip.Addr) mfpgate.Reason {
	for i := range blocks {
		if blocks[i].prefix.Contains(addr) {
			return blocks[i].reason
		}
	}
	return ""
}

var (
	compatible = netip.MustParsePrefix("::/96")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

// embedded returns the IPv4 addresses that an unmapped IPv6 address carries to a translator or a tunnel's end.
func embedded(addr netip.Addr) (inner [3]netip.Addr, n int) {
	if addr.Is4() {
		return inner, 0
	}
	b := addr.As16()
	add := func(v4 [4]byte) {
		inner[n] = netip.AddrFrom4(v4)
		n++
	}
	switch {
	case compatible.Contains(addr), nat64.Contains(addr), localNAT64.Contains(addr):
		add([4]byte(b[12:]))
	case sixToFour.Contains(addr): // RFC 3056 section 2
		add([4]byte(b[2:6]))
	case teredo.Contains(addr): // RFC 4380 section 4: the server, and the client with every bit inverted
		add([4]byte(b[4:8]))
		add([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	}
	// RFC 5214 section 6.1, ISATAP under any prefix; the universal bit does not matter.
	if binary.BigEndian.Uint32(b[8:])&^(2<<24) == 0x00005efe {
		add([4]byte(b[12:]))
	}
	return inner, n
}

// lasting reports whether no rule lifts the reason: nobody can be connected to at such an address, or it is the relay.
func lasting(r mfpgate.Reason) bool {
	switch r {
	case ReasonUnspecified, ReasonMulticast, ReasonBroadcast, ReasonSelf:
		return true
	}
	return false
}
