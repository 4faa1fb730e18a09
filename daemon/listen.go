package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// sockets are every listener of the daemon.
type sockets struct {
	relay   []*net.TCPListener
	portal  net.Listener // nil: off
	metrics net.Listener // nil: off
	control *net.UnixListener
	path    string
}

// portalConnections keeps the portal from taking descriptors that tunnels need.
const portalConnections = 256

// listen takes systemd's sockets where it passes any ("relay" and "portal", by FileDescriptorName) and opens the others.
func (d *Daemon) listen() (_ *sockets, err error) {
	s := &sockets{}
	defer func() {
		if err != nil {
			s.closeAll()
		}
	}()
	passed, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	cfg := d.config.Load()
	if err := knownSockets(passed, cfg.Portal.Listen != ""); err != nil {
		return nil, err
	}
	for _, l := range passed["relay"] {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return nil, fmt.Errorf("systemd passed %s as relay; make it a TCP socket (ListenStream=)", l.Addr().Network())
		}
		s.relay = append(s.relay, tcp)
	}
	if len(s.relay) == 0 {
		for _, address := range cfg.Relay.Listen {
			l, err := plainTCP.Listen(context.Background(), "tcp", address)
			if err != nil {
				return nil, fmt.Errorf("relay.listen: %w", err)
			}
			s.relay = append(s.relay, l.(*net.TCPListener))
		}
	} else if said := overruled(cfg.Relay.Listen, s.relay); said != "" {
		d.health.set(ListenOverruled, said)
		d.log.Warn().Str(field.Text, said).Msg(event.DaemonDegraded)
	}
	if cfg.Portal.Listen != "" {
		if given := passed["portal"]; len(given) > 0 {
			s.portal = given[0]
		} else if s.portal, err = net.Listen("tcp", cfg.Portal.Listen); err != nil {
			return nil, fmt.Errorf("portal.listen: %w", err)
		}
		s.portal = netutil.LimitListener(s.portal, portalConnections)
		if err := d.openPortal(cfg); err != nil {
			return nil, err
		}
	}
	if cfg.Metrics.Listen != "" {
		if s.metrics, err = net.Listen("tcp", cfg.Metrics.Listen); err != nil {
			return nil, fmt.Errorf("metrics.listen: %w", err)
		}
	}
	s.path = ControlSocket(d.Getenv, cfg.StateDir)
	s.control, err = control.Listen(s.path)
	return s, err
}

// knownSockets refuses what nobody would accept from: its clients would wait in the backlog for ever.
func knownSockets(passed map[string][]net.Listener, portal bool) error {
	for name, list := range passed {
		switch {
		case name != "relay" && name != "portal":
			return fmt.Errorf("systemd passed %s as %q; set FileDescriptorName= of its socket unit to relay or portal", list[0].Addr(), name)
		case name == "portal" && !portal:
			return fmt.Errorf("systemd passed %s for the portal, which is off; set portal.listen, or stop and disable mfpgate-portal.socket", list[0].Addr())
		case name == "portal" && len(list) > 1:
			return fmt.Errorf("systemd passed %d sockets for the portal, which takes one; leave one ListenStream= in mfpgate-portal.socket", len(list))
		}
	}
	return nil
}

// ListenOverruled is the degradation while systemd's sockets and relay.listen name different addresses.
const ListenOverruled mfpgate.Reason = "listen-overruled"

// overruled says how the sockets differ from relay.listen, or nothing if they do not. The sockets win: they exist before
// the file is read, and devices may be waiting on them.
func overruled(configured []string, passed []*net.TCPListener) string {
	want, got := map[string]bool{}, map[string]bool{}
	for _, address := range configured {
		want[anyHost(address)] = true
	}
	for _, l := range passed {
		got[anyHost(l.Addr().String())] = true
	}
	if maps.Equal(want, got) {
		return ""
	}
	return fmt.Sprintf("relay.listen says %s, but systemd's socket is in force: %s; write its addresses to relay.listen, or change them with: systemctl edit mfpgate.socket",
		strings.Join(slices.Sorted(maps.Keys(want)), ", "), strings.Join(slices.Sorted(maps.Keys(got)), ", "))
}

// anyHost writes the unspecified addresses as what they have in common, ":port".
func anyHost(address string) string {
	a, err := netip.ParseAddrPort(address)
	switch {
	case err != nil:
		return address
	case a.Addr().IsUnspecified():
		return fmt.Sprintf(":%d", a.Port())
	}
	return a.String()
}

// plainTCP leaves out Multipath TCP, Go's default for listeners, which printers do not speak and every accept would pay
// for.
var plainTCP = func() (c net.ListenConfig) {
	c.SetMultipathTCP(false)
	// Accepted sockets inherit what the listener has: set once, and not four times for each connection.
	c.KeepAlive = -1
	c.Control = func(_, _ string, raw syscall.RawConn) (err error) {
		outer := raw.Control(func(fd uintptr) { err = keepAlive(int(fd)) })
		return errors.Join(outer, err)
	}
	return c
}()

// keepAlive finds a device that has gone within two minutes.
func keepAlive(fd int) error {
	return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4))
}

// ControlSocket is where the daemon with this state directory listens for the command line.
func ControlSocket(getenv func(string) string, stateDir string) string {
	if dir := getenv("RUNTIME_DIRECTORY"); dir != "" {
		return filepath.Join(dir, "control.sock")
	}
	return filepath.Join(stateDir, "control.sock")
}

func (s *sockets) where() Listening {
	w := Listening{Control: s.path}
	for _, l := range s.relay {
		w.Relay = append(w.Relay, l.Addr())
	}
	if s.portal != nil {
		w.Portal = s.portal.Addr()
	}
	if s.metrics != nil {
		w.Metrics = s.metrics.Addr()
	}
	return w
}

func (s *sockets) closeAll() {
	for _, l := range s.relay {
		_ = l.Close()
	}
	s.closePages()
}

func (s *sockets) closePages() {
	for _, l := range []net.Listener{s.portal, s.metrics} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.control != nil {
		if err := s.control.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			_ = os.Remove(s.path)
		}
	}
}
