package destination

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
)

// ResolverOf returns a resolver that asks these servers in place of those of /etc/resolv.conf; none gives NewResolver's. The
// machine's hosts file and, for single labels, its search list still count. The first server is asked until it is silent,
// cannot be reached or fails, and then the next in turn, so that a name is found while one of two servers is away.
func ResolverOf(servers []netip.AddrPort) *net.Resolver {
	if len(servers) == 0 {
		return NewResolver()
	}
	return ResolverVia((&nameservers{list: slices.Clone(servers)}).dial, queryTimeout)
}

// nameservers takes turns: net.Resolver knows those of /etc/resolv.conf alone, and asks again, but dial does not learn why.
type nameservers struct {
	list []netip.AddrPort
	at   atomic.Uint32 // the one in use, counted on and on
}

func (s *nameservers) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	at := s.at.Load()
	next := func() { s.at.CompareAndSwap(at, at+1) } // questions for both families fail at once, and step on once
	conn, err := (&net.Dialer{}).DialContext(ctx, network, s.list[int(at)%len(s.list)].String())
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) {
			next()
		}
		return nil, err
	}
	if udp, ok := conn.(*net.UDPConn); ok {
		return &question{UDPConn: udp, ctx: ctx, next: next}, nil
	}
	return conn, nil
}

// question is one query by UDP. It stays a net.PacketConn, by which net.Resolver tells how to frame.
type question struct {
	*net.UDPConn
	ctx  context.Context // of this one query: a struct may hold what lives no longer
	next func()
}

// rcode is the last four bits of a message's fourth byte (RFC 1035 §4.1.1).
const (
	serverFailure = 2
	serverRefuses = 5
)

// Read notes whether the server answers, and with what.
func (q *question) Read(b []byte) (int, error) {
	n, err := q.UDPConn.Read(b)
	switch {
	case err != nil && !errors.Is(q.ctx.Err(), context.Canceled):
		q.next()
	case err == nil && n > 3 && (b[3]&0xf == serverFailure || b[3]&0xf == serverRefuses):
		q.next()
	}
	return n, err
}
