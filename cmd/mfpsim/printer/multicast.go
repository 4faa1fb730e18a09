package printer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// mdnsSocket is one address family's socket, on the chosen interfaces.
type mdnsSocket struct {
	conn  *net.UDPConn
	group *net.UDPAddr
	on    []int // interfaces
	read  func([]byte) (n, iface int, peer net.Addr, err error)
	write func(data []byte, iface int, to *net.UDPAddr) error
}

const (
	reusePort = 0xf // SO_REUSEPORT, which package syscall lacks on some architectures
	mdnsTTL   = 255 // RFC 6762 §11
	maxPacket = 9000
)

func openMDNS(port uint16, interfaces []net.Interface, v6 bool) (s *mdnsSocket, err error) {
	// Other responders of the machine have the port too; those of the same user may have asked for SO_REUSEPORT.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) {
			err = errors.Join(syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
				syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1))
		})
		return err
	}}
	network, address, group := "udp4", netip.IPv4Unspecified(), net.IPv4(224, 0, 0, 251)
	if v6 {
		network, address, group = "udp6", netip.IPv6Unspecified(), net.ParseIP("ff02::fb")
	}
	packets, err := config.ListenPacket(context.Background(), network, endpoint(address, port))
	if err != nil {
		return nil, err
	}
	conn := packets.(*net.UDPConn)
	_ = conn.SetReadBuffer(1 << 20) // as much of it as the kernel allows: known answers of thousands come at once
	s = &mdnsSocket{conn: conn, group: &net.UDPAddr{IP: group, Port: int(port)}}
	for _, i := range interfaces {
		s.on = append(s.on, i.Index)
	}
	if v6 {
		err = s.setup6(ipv6.NewPacketConn(conn), interfaces)
	} else {
		err = s.setup4(ipv4.NewPacketConn(conn), interfaces)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

func (s *mdnsSocket) setup4(pc *ipv4.PacketConn, interfaces []net.Interface) error {
	// Left to itself the kernel gives multicast on lo the source 0.0.0.0, which others ignore.
	sources := map[int]net.IP{}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			return fmt.Errorf("addresses of %s: %w", i.Name, err)
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && sources[i.Index] == nil {
				sources[i.Index] = n.IP
			}
		}
		if err := pc.JoinGroup(&i, s.group); err != nil {
			return fmt.Errorf("join %s on %s: %w", s.group.IP, i.Name, err)
		}
	}
	s.read = func(b []byte) (int, int, net.Addr, error) {
		n, cm, peer, err := pc.ReadFrom(b)
		if cm == nil {
			return n, 0, peer, err
		}
		return n, cm.IfIndex, peer, err
	}
	s.write = func(b []byte, iface int, to *net.UDPAddr) error {
		_, err := pc.WriteTo(b, &ipv4.ControlMessage{IfIndex: iface, Src: sources[iface]}, to)
		return err
	}
	return errors.Join(pc.SetControlMessage(ipv4.FlagInterface, true), pc.SetMulticastTTL(mdnsTTL), pc.SetTTL(mdnsTTL), pc.SetMulticastLoopback(true))
}

func (s *mdnsSocket) setup6(pc *ipv6.PacketConn, interfaces []net.Interface) error {
	for _, i := range interfaces {
		if err := pc.JoinGroup(&i, s.group); err != nil {
			return fmt.Errorf("join %s on %s: %w", s.group.IP, i.Name, err)
		}
	}
	s.read = func(b []byte) (int, int, net.Addr, error) {
		n, cm, peer, err := pc.ReadFrom(b)
		if cm == nil {
			return n, 0, peer, err
		}
		return n, cm.IfIndex, peer, err
	}
	s.write = func(b []byte, iface int, to *net.UDPAddr) error {
		_, err := pc.WriteTo(b, &ipv6.ControlMessage{IfIndex: iface}, to)
		return err
	}
	return errors.Join(pc.SetControlMessage(ipv6.FlagInterface, true), pc.SetMulticastHopLimit(mdnsTTL), pc.SetHopLimit(mdnsTTL), pc.SetMulticastLoopback(true))
}

// run reads until the socket is closed.
func (s *mdnsSocket) run(r *responder) func(context.Context) {
	return func(context.Context) {
		buffer := make([]byte, maxPacket)
		for {
			n, iface, peer, err := s.read(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			udp, ok := peer.(*net.UDPAddr)
			if err != nil || !ok || !slices.Contains(s.on, iface) {
				continue
			}
			r.query(buffer[:n], origin{socket: s, iface: iface, peer: udp.AddrPort()})
		}
	}
}

// multicast sends on one interface, or on all (0). What cannot be sent is lost, as multicast may be.
func (s *mdnsSocket) multicast(m *dns.Msg, iface int) {
	data, err := m.Pack()
	if err != nil {
		return
	}
	for _, i := range s.on {
		if iface == 0 || i == iface {
			_ = s.write(data, i, s.group)
		}
	}
}

func (s *mdnsSocket) unicast(m *dns.Msg, to origin) {
	if data, err := m.Pack(); err == nil {
		_ = s.write(data, to.iface, net.UDPAddrFromAddrPort(to.peer))
	}
}
