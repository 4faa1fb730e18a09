package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/net/netutil"

	"github.com/mfpgate/mfpgate/daemon/control"
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
	for _, l := range passed["relay"] {
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return nil, fmt.Errorf("systemd passed %s as relay; make it a TCP socket (ListenStream=)", l.Addr().Network())
		}
		s.relay = append(s.relay, tcp)
	}
	if len(s.relay) == 0 {
		for _, address := range cfg.Relay.Listen {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return nil, fmt.Errorf("relay.listen: %w", err)
			}
			s.relay = append(s.relay, l.(*net.TCPListener))
		}
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
