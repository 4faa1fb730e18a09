package printer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// sockets are those of one printer, or those that all share.
type sockets struct {
	site  *Site
	ports ports
	raw   []*net.TCPListener
	ipp   []net.Listener
	agent []*agent
	web   *http.Server
}

// open listens at each address on the same ports.
func (s *Site) open(addresses []netip.Addr, want ports) (_ *sockets, err error) {
	k := &sockets{site: s, ports: want}
	k.web = &http.Server{
		Handler: http.HandlerFunc(s.serveIPP), ErrorLog: log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	for _, address := range addresses {
		if err := k.listen(address, &k.ports.ipp, nil); err != nil {
			return nil, err
		}
		if s.o.TLS != nil {
			if err := k.listen(address, &k.ports.ipps, s.o.TLS); err != nil {
				return nil, err
			}
		}
		conn, err := s.config().ListenPacket(context.Background(), family("udp", address), endpoint(address, k.ports.snmp))
		if err != nil {
			return nil, fmt.Errorf("listen for SNMP: %w", err)
		}
		k.ports.snmp = conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		a, err := newAgent(s, conn.(*net.UDPConn), address.Is6())
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		k.agent = append(k.agent, a)
	}
	return k, nil
}

func (k *sockets) listen(address netip.Addr, port *uint16, config *tls.Config) error {
	l, err := k.site.config().Listen(context.Background(), family("tcp", address), endpoint(address, *port))
	if err != nil {
		return fmt.Errorf("listen for IPP: %w", err)
	}
	*port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	k.raw = append(k.raw, l.(*net.TCPListener))
	l = &door{Listener: l, site: k.site}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	k.ipp = append(k.ipp, l)
	return nil
}

// config narrows sockets to one interface where the kernel lets the caller (SO_BINDTODEVICE, without privilege since
// Linux 5.7). Where it does not, connections to addresses of no printer are reset all the same.
func (s *Site) config() *net.ListenConfig {
	config := &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if s.o.Interface == "" {
			return nil
		}
		return c.Control(func(fd uintptr) { _ = syscall.BindToDevice(int(fd), s.o.Interface) })
	}}
	config.SetMultipathTCP(false) // its sockets take no filter
	return config
}

func family(network string, address netip.Addr) string {
	if address.Is6() {
		return network + "6"
	}
	return network + "4"
}

func endpoint(address netip.Addr, port uint16) string {
	return net.JoinHostPort(address.String(), strconv.Itoa(int(port)))
}

// run starts all that serve.
func (k *sockets) run() {
	for _, l := range k.ipp {
		k.site.start(func(context.Context) { _ = k.web.Serve(l) }) // ends with close, always by an error
	}
	for _, a := range k.agent {
		k.site.start(func(context.Context) { a.run() })
	}
}

func (k *sockets) close() {
	for _, l := range k.ipp {
		_ = l.Close() // also those that Serve has not seen
	}
	_ = k.web.Close()
	for _, a := range k.agent {
		_ = a.conn.Close()
	}
}

// openOwn opens a printer's own sockets, on the ports that it had before.
func (p *Printer) openOwn() error {
	p.mu.Lock()
	addresses, want := p.o.Addresses, p.ports
	p.mu.Unlock()
	o := p.site.o
	want = ports{cmp.Or(want.ipp, o.IPPPort), cmp.Or(want.ipps, o.IPPSPort), cmp.Or(want.snmp, o.SNMPPort)}
	k, err := p.site.open(addresses, want)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.own, p.ports = k, k.ports
	p.mu.Unlock()
	k.run()
	return nil
}

func (p *Printer) closeOwn() {
	p.mu.Lock()
	k := p.own
	p.own = nil
	p.mu.Unlock()
	if k != nil {
		k.close()
	}
}

// door lets in the connections whose printer is on, and knows them, so that the printer can drop them.
type door struct {
	net.Listener
	site *Site
}

func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p := d.site.at(local(c.LocalAddr())); p != nil && p.admit(c) {
			return &connection{Conn: c, of: p}, nil
		}
		reset(c)
	}
}

func local(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

func (p *Printer) admit(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.power == off || p.o.NoIPP {
		p.unanswered()
		return false
	}
	if p.conns == nil {
		p.conns = map[net.Conn]struct{}{}
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Printer) unanswered() {
	p.stats.unanswered.Add(1)
	p.site.stats.unanswered.Add(1)
}

type connection struct {
	net.Conn
	of *Printer
}

// Close lets the printer forget it.
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// filter makes the kernel lose what would open a connection to an unplugged printer.
func (s *Site) filter() {
	var lost []netip.Addr
	for _, p := range s.Printers() {
		v := p.view()
		if v.power == unplugged {
			lost = append(lost, v.o.Addresses...)
		}
		p.mu.Lock()
		k := p.own
		p.mu.Unlock()
		if k != nil && v.power == unplugged {
			k.lose([]syscall.SockFilter{{Code: syscall.BPF_RET}})
		} else if k != nil {
			k.lose(nil)
		}
	}
	if s.shared != nil {
		s.shared.lose(losing(lost))
	}
}

// losing is a classic BPF program that drops the packets to some IPv4 addresses; nil drops none. A listening socket's
// filter sees the packets that open connections, and connections made before keep the filter of that time.
func losing(addresses []netip.Addr) []syscall.SockFilter {
	const (
		destination = 0xfff00000 + 16 // SKF_NET_OFF and the offset in the IPv4 header
		most        = 2000            // the kernel takes 4096 instructions
	)
	program := []syscall.SockFilter{{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, K: destination}}
	for _, a := range addresses {
		if !a.Is4() || len(program) > 2*most {
			continue
		}
		b := a.As4()
		program = append(program,
			syscall.SockFilter{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, Jf: 1, K: uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])},
			syscall.SockFilter{Code: syscall.BPF_RET})
	}
	if len(program) == 1 {
		return nil
	}
	return append(program, syscall.SockFilter{Code: syscall.BPF_RET, K: 0xffffffff})
}

// lose sets the filter of the sockets that listen. Where the kernel refuses one, connections open and stay silent.
func (k *sockets) lose(program []syscall.SockFilter) {
	for _, l := range k.raw {
		if k.site.shared != nil && l.Addr().(*net.TCPAddr).IP.To4() == nil {
			continue // the offsets are IPv4's
		}
		raw, err := l.SyscallConn()
		if err != nil {
			continue
		}
		_ = raw.Control(func(fd uintptr) {
			if program == nil {
				_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_DETACH_FILTER, 0)
				return
			}
			prog := syscall.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
			_, _, _ = syscall.Syscall6(syscall.SYS_SETSOCKOPT, fd, syscall.SOL_SOCKET, syscall.SO_ATTACH_FILTER,
				uintptr(unsafe.Pointer(&prog)), unsafe.Sizeof(prog), 0)
		})
	}
}
