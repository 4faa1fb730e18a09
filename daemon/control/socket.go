package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens the unix socket at path, mode 0660. A socket that a dead daemon left is replaced; one that answers is not.
func Listen(path string) (*net.UnixListener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("control socket %s: another mfpgate answers on it; stop that one first", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// Peers lets only connections through whose other side runs as root, as this process's user, or in its group. refused is
// told of the others' user ids.
func Peers(l *net.UnixListener, refused func(uid uint32)) net.Listener {
	return &peers{UnixListener: l, refused: refused}
}

type peers struct {
	*net.UnixListener
	refused func(uid uint32)
}

func (p *peers) Accept() (net.Conn, error) {
	for {
		conn, err := p.AcceptUnix()
		if err != nil {
			return nil, err
		}
		peer, err := credentials(conn)
		if err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid() || int(peer.Gid) == os.Getegid()) {
			return conn, nil
		}
		_ = conn.Close()
		if err == nil {
			p.refused(peer.Uid)
		}
	}
}

func credentials(conn *net.UnixConn) (peer *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if outer := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); outer != nil {
		return nil, outer
	}
	return peer, err
}

// Client calls the API over the unix socket at path.
func Client(path string) *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}
