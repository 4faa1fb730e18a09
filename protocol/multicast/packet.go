package multicast

import (
	"net/netip"
)

// Family is a version of IP; as a set, a bit each.
type Family uint8

// The two families. A link speaks one or both.
const (
	IPv4 Family = 1 << iota
	IPv6
)

// What RFC 6762 fixes (§3, §17, §11).
const (
	Port      = 5353
	MaxPacket = 9000 // bytes
	Hops      = 255
)

// Packet is one datagram that came to port 5353.
type Packet struct {
	Data      []byte
	From      netip.AddrPort
	Interface int  // the index of the interface that it came in by
	TTL       int  // or hop limit, as it came
	Multicast bool // it was sent to the group
}
