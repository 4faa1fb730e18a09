package lan

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/tests/need"
)

// Listen opens a TCP port of the host for the test's own process, at an address without a name. It is closed with the test.
func (h *Host) Listen(t testing.TB, address string) (l net.Listener) {
	t.Helper()
	err := h.visit(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ListenPacket opens a UDP port of the host for the test's own process, of IPv4, beside others that have it if it is a port
// of multicast. It joins the groups that are given. It is closed with the test.
func (h *Host) ListenPacket(t testing.TB, port int, groups ...netip.Addr) *net.UDPConn {
	t.Helper()
	var conn net.PacketConn
	share := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			for _, g := range groups {
				if err == nil {
					err = unix.SetsockoptIPMreq(int(fd), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: g.As4(), Interface: h.V4.As4()})
				}
			}
			if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 255)
			}
		})
		return err
	}}
	err := h.visit(func() (err error) {
		conn, err = share.ListenPacket(context.Background(), "udp4", "0.0.0.0:"+strconv.Itoa(port))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

// Announce tells the network of a service that the test's own process, or nobody, serves: "_ipp._tcp". It returns when the
// name is the host's, which avahi-daemon may have changed, as another has the one that was wanted.
func (h *Host) Announce(t testing.TB, name, service string, port int, txt ...string) {
	t.Helper()
	publish := need.Program(t, "avahi-publish")
	h.Avahi(t)
	h.start(t, "avahi-publish "+name, "Established under name", nil, publish, append([]string{"-s", name, service, strconv.Itoa(port)}, txt...)...)
}

// Swap gives two hosts each other's IPv4 address, as a DHCP server would that lost its leases, and has both announce it
// (RFC 5227 §2.3).
func (l *LAN) Swap(t testing.TB, a, b *Host) {
	t.Helper()
	mine, theirs := a.V4, b.V4
	a.configure(t, "address del "+mine.String()+"/24 dev eth0")
	b.Readdress(t, mine)
	a.V4 = theirs
	a.configure(t, "address add "+theirs.String()+"/24 dev eth0", multicast)
	a.claim(t)
	b.claim(t)
}

// claim is an ARP Announcement of the host's address.
func (h *Host) claim(t testing.TB) {
	t.Helper()
	v4 := h.V4.As4()
	frame := []byte{255, 255, 255, 255, 255, 255}
	frame = append(frame, h.MAC...)
	frame = append(frame, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	frame = append(append(frame, h.MAC...), v4[:]...)
	frame = append(append(frame, 0, 0, 0, 0, 0, 0), v4[:]...)
	err := h.visit(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: eth0.Index, Halen: 6})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// LinkLocalOnly takes all addresses away but fe80::/10.
func (h *Host) LinkLocalOnly(t testing.TB) {
	t.Helper()
	h.configure(t, "address del "+h.V4.String()+"/24 dev eth0", "address del "+h.V6.String()+"/64 dev eth0")
	h.V4, h.V6 = netip.Addr{}, netip.Addr{}
}

// Freeze stops the printer in the middle of whatever it does: it takes connections and answers none.
func (p *Printer) Freeze(t testing.TB) { p.signal(t, syscall.SIGSTOP) }

// Thaw lets it go on.
func (p *Printer) Thaw(t testing.TB) { p.signal(t, syscall.SIGCONT) }

func (p *Printer) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.program.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
