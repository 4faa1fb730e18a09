package multicast

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const (
	readBuffer = 4 << 20 // thousands of answers at once; the kernel gives as much of it as it allows

	// Package syscall has no names for these.
	soReusePort      = 0xf
	ipMulticastAll   = 49
	ipv6MulticastAll = 29
)

// group is where a family's mDNS is spoken.
func group(f Family) netip.Addr {
	if f == IPv4 {
		return netip.AddrFrom4([4]byte{224, 0, 0, 251})
	}
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0xfb})
}

// Sockets are the system's. All methods but Packets are for one goroutine.
//
// For each family and interface there is a socket that is bound to the group: every such socket of the machine gets a copy
// of what is sent to the group, so this one takes nothing from an avahi beside it, whoever came first; and there is no
// bound on memberships, as one socket has (net.ipv4.igmp_max_memberships). What is sent to the host alone reaches one socket
// only. That one is taken only if nobody has the Port, and an avahi that starts later takes it over: the kernel prefers
// the socket that was bound last.
type Sockets struct {
	groups  map[place]*socket
	alone   map[Family]*socket // where answers to this host alone come to us
	packets chan Packet
	closing chan struct{}
	readers sync.WaitGroup
}

type place struct {
	index  int
	family Family
}

// socket is of one family: either v4 or v6 is there.
type socket struct {
	net.PacketConn
	v4 *ipv4.PacketConn
	v6 *ipv6.PacketConn
}

// Open takes no interface yet. With alone the Sockets hear what is sent to this host alone, while no other program has the port; one
// of a process should.
func Open(alone bool) *Sockets {
	s := &Sockets{groups: map[place]*socket{}, alone: map[Family]*socket{}, packets: make(chan Packet, 64),
		closing: make(chan struct{})}
	if !alone {
		return s
	}
	for f, wildcard := range map[Family]netip.Addr{IPv4: netip.IPv4Unspecified(), IPv6: netip.IPv6Unspecified()} {
		if c, err := newSocket(f, wildcard, 0, false); err == nil {
			s.alone[f] = c
			s.serve(c)
		}
	}
	return s
}

// listen binds a socket to port 5353. It does so by hand: package net binds the wildcard where it is given a group. Linux wants the zone
// for the group of IPv6.
func listen(at netip.Addr, zone int, shared bool) (net.PacketConn, error) {
	domain, level, all := syscall.AF_INET, syscall.IPPROTO_IP, ipMulticastAll
	var address syscall.Sockaddr
	if at.Is4() {
		address = &syscall.SockaddrInet4{Port: Port, Addr: at.As4()}
	} else {
		domain, level, all = syscall.AF_INET6, syscall.IPPROTO_IPV6, ipv6MulticastAll
		address = &syscall.SockaddrInet6{Port: Port, Addr: at.As16(), ZoneId: uint32(zone)}
	}
	fd, err := syscall.Socket(domain, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket for %s: %w", at, err)
	}
	file := os.NewFile(uintptr(fd), "multicast")
	defer file.Close() //nolint:errcheck // FilePacketConn has its own descriptor
	set := func(level, option, value int) {
		if err == nil {
			if err = syscall.SetsockoptInt(fd, level, option, value); err != nil {
				err = fmt.Errorf("option %d of the socket for %s: %w", option, at, err)
			}
		}
	}
	if domain == syscall.AF_INET6 {
		set(level, syscall.IPV6_V6ONLY, 1)
	}
	if shared {
		set(syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
		set(syscall.SOL_SOCKET, soReusePort, 1) // beside stacks that set this one alone, and run as the same user
	}
	// Only what this socket joined, not what any other of the machine did: another interface's packets stay out.
	set(level, all, 0)
	if err != nil {
		return nil, err
	}
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, readBuffer) // less is slower, not wrong
	if err := syscall.Bind(fd, address); err != nil {
		return nil, fmt.Errorf("bind %s: %w", netip.AddrPortFrom(at, Port), err)
	}
	set(syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) // whoever comes later may bind beside it
	if err != nil {
		return nil, err
	}
	return net.FilePacketConn(file)
}

func newSocket(f Family, at netip.Addr, zone int, shared bool) (*socket, error) {
	c, err := listen(at, zone, shared)
	if err != nil {
		return nil, err
	}
	s := &socket{PacketConn: c}
	if f == IPv4 {
		s.v4 = ipv4.NewPacketConn(c)
		err = errors.Join(s.v4.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst|ipv4.FlagInterface, true),
			s.v4.SetMulticastTTL(Hops), s.v4.SetMulticastLoopback(true)) // a responder on this host hears us, too
	} else {
		s.v6 = ipv6.NewPacketConn(c)
		err = errors.Join(s.v6.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst|ipv6.FlagInterface, true),
			s.v6.SetMulticastHopLimit(Hops), s.v6.SetMulticastLoopback(true))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up %s: %w", at, err), c.Close())
	}
	return s, nil
}

func (c *socket) read(buf []byte) (p Packet, err error) {
	var n int
	var from net.Addr
	if c.v4 != nil {
		var cm *ipv4.ControlMessage
		if n, cm, from, err = c.v4.ReadFrom(buf); err == nil && cm != nil {
			p = Packet{Interface: cm.IfIndex, TTL: cm.TTL, Multicast: cm.Dst.IsMulticast()}
		}
	} else {
		var cm *ipv6.ControlMessage
		if n, cm, from, err = c.v6.ReadFrom(buf); err == nil && cm != nil {
			p = Packet{Interface: cm.IfIndex, TTL: cm.HopLimit, Multicast: cm.Dst.IsMulticast()}
		}
	}
	if u, ok := from.(*net.UDPAddr); ok {
		ap := u.AddrPort()
		p.From = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	p.Data = append([]byte(nil), buf[:n]...)
	return p, err
}

// serve reads from a socket until it is closed. Close waits for that.
func (s *Sockets) serve(c *socket) {
	s.readers.Go(func() {
		buf := make([]byte, MaxPacket+1) // one more, so that what is too long is seen to be
		for errs := 0; errs < 1000; {    // ICMP errors that queries brought back come one by one, among packets
			p, err := c.read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				errs++
				continue
			}
			errs = 0
			select {
			case s.packets <- p:
			case <-s.closing:
				return
			}
		}
	})
}

// Join makes them hear and speak a family on an interface. Joined already, it does nothing.
func (s *Sockets) Join(ifi net.Interface, f Family) error {
	if s.groups[place{ifi.Index, f}] != nil {
		return nil
	}
	c, err := newSocket(f, group(f), ifi.Index, true)
	if err != nil {
		return err
	}
	to := &net.UDPAddr{IP: group(f).AsSlice()}
	if f == IPv4 {
		err = errors.Join(c.v4.JoinGroup(&ifi, to), c.v4.SetMulticastInterface(&ifi))
	} else {
		err = errors.Join(c.v6.JoinGroup(&ifi, to), c.v6.SetMulticastInterface(&ifi))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("join %s on %s: %w", to.IP, ifi.Name, err), c.Close())
	}
	s.groups[place{ifi.Index, f}] = c
	s.serve(c)
	return nil
}

// Leave undoes Join. The interface may be gone already.
func (s *Sockets) Leave(ifi net.Interface, f Family) {
	if c := s.groups[place{ifi.Index, f}]; c != nil {
		delete(s.groups, place{ifi.Index, f})
		_ = c.Close()
	}
}

// Send sends to the family's group by an interface, from port 5353.
func (s *Sockets) Send(ifi net.Interface, f Family, packet []byte) error {
	c := s.groups[place{ifi.Index, f}]
	if c == nil {
		return net.ErrClosed
	}
	to := &net.UDPAddr{IP: group(f).AsSlice(), Port: Port}
	if f == IPv6 {
		to.Zone = ifi.Name
	}
	_, err := c.WriteTo(packet, to)
	return err
}

// SendTo sends to one host by an interface that is joined, from port 5353.
func (s *Sockets) SendTo(ifi net.Interface, to netip.AddrPort, packet []byte) error {
	f := IPv4
	if to.Addr().Is6() {
		f = IPv6
	}
	c := s.groups[place{ifi.Index, f}]
	if c == nil {
		return net.ErrClosed
	}
	_, err := c.WriteTo(packet, net.UDPAddrFromAddrPort(to))
	return err
}

// Packets is what comes in; it is the same channel at each call.
func (s *Sockets) Packets() <-chan Packet { return s.packets }

// Unicast says whether what is sent to this host alone, at port 5353, comes to them.
func (s *Sockets) Unicast(f Family) bool { return s.alone[f] != nil }

// Close ends all that they started, and waits for it.
func (s *Sockets) Close() error {
	close(s.closing)
	var errs []error
	for _, c := range s.alone {
		errs = append(errs, c.Close())
	}
	for _, c := range s.groups {
		errs = append(errs, c.Close())
	}
	s.readers.Wait()
	return errors.Join(errs...)
}
