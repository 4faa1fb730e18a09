package endpoint

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Bounds of connections to one endpoint.
const (
	maxConns     = 64
	maxPerHost   = 32
	maxStrangers = 8 // all hosts together that may not use it; they are told so
)

// door knows who may come in.
type door struct {
	clients func(netip.Addr) bool
	share   atomic.Pointer[Share]

	mu        sync.Mutex
	conns     int
	strangers int
	hosts     map[string]int
}

// welcome says whether share and address let a client in; which user of this machine it is, peer.mine says.
func (d *door) welcome(from netip.Addr) bool {
	share := d.share.Load()
	return share != nil && (from.IsLoopback() || *share == LAN && d.clients(from.WithZone("")))
}

// enter gives a connection its place, or has none. The gateway's own user has one, however many others hold theirs: it bounds itself.
func (d *door) enter(from netip.Addr, mine func() bool) (leave func(), ok bool) {
	stranger, host := !d.welcome(from) || *d.share.Load() == Off && !mine(), from.String()
	if from.Is6() { // a network of IPv6 is one host's
		if p, err := from.WithZone("").Prefix(64); err == nil {
			host = p.String()
		}
	}
	own := from.IsLoopback() && mine()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !own && (d.conns >= maxConns || d.hosts[host] >= maxPerHost || stranger && d.strangers >= maxStrangers) {
		return nil, false
	}
	d.conns++
	d.hosts[host]++
	if stranger {
		d.strangers++
	}
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conns--
		if d.hosts[host]--; d.hosts[host] == 0 {
			delete(d.hosts, host)
		}
		if stranger {
			d.strangers--
		}
	}), true
}

// limited is a listener behind a door. It is closed by whoever is first: we, or the server.
type limited struct {
	net.Listener
	door  *door
	close func() error
}

func newLimited(l net.Listener, d *door) *limited {
	return &limited{Listener: l, door: d, close: sync.OnceValue(l.Close)}
}

// Close may be called more than once.
func (l *limited) Close() error { return l.close() }

// full is what a connection gets that is one too many.
const full = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 10\r\nConnection: close\r\n\r\n" +
	"Too many connections to this printer. Try again in a moment.\n"

// Accept lets in, or sends away.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addrOf(c.RemoteAddr())
		at := addrOf(c.LocalAddr())
		mine := sync.OnceValue(func() bool { return ownUser(from, at) })
		if leave, ok := l.door.enter(from.Addr(), mine); ok {
			return &counted{Conn: c, leave: leave, peer: peer{from: from, at: at, mine: mine}}, nil
		}
		_, _ = c.Write([]byte(full)) // it fits into the socket's buffer
		_ = c.Close()
	}
}

// counted is a connection that has a place.
type counted struct {
	net.Conn
	leave func()
	peer  peer
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// addrOf is an address of TCP.
func addrOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// peer is the other end of a connection.
type peer struct {
	from, at netip.AddrPort
	mine     func() bool // of the gateway's own user, on this machine
}

type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	if in, ok := c.(*counted); ok {
		ctx = context.WithValue(ctx, peerKey{}, &in.peer)
	}
	return ctx
}

func peerOf(r *http.Request) *peer {
	p, _ := r.Context().Value(peerKey{}).(*peer)
	return p
}
