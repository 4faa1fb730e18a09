package mdns

import (
	"net"

	"github.com/mfpgate/mfpgate/protocol/multicast"
)

// Family is a version of IP; as a set, a bit each.
type Family = multicast.Family

// The two families. A link speaks one or both.
const (
	IPv4 = multicast.IPv4
	IPv6 = multicast.IPv6
	both = IPv4 | IPv6
)

const (
	port      = multicast.Port
	maxPacket = multicast.MaxPacket
	hops      = multicast.Hops
)

// Packet is one datagram that came to port 5353.
type Packet = multicast.Packet

// Conn is the way to the links: the groups 224.0.0.251 and ff02::fb at port 5353 (RFC 6762 §3). Its methods are called by
// one goroutine.
type Conn interface {
	// Join makes the conn hear and speak a family on an interface; the error says that it cannot, for now.
	Join(ifi net.Interface, f Family) error
	// Leave undoes Join. The interface may be gone already.
	Leave(ifi net.Interface, f Family)
	// Send sends to the family's group by an interface, from port 5353.
	Send(ifi net.Interface, f Family, packet []byte) error
	// Packets is what comes in; it is the same channel at each call.
	Packets() <-chan Packet
	// Unicast says whether an answer that is sent to this host alone, at port 5353, comes to this Conn.
	Unicast(f Family) bool
	// Close ends all that the Conn started, and waits for it.
	Close() error
}
