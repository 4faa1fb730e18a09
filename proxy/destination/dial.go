package destination

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	dnsTimeout = 5 * time.Second
	// queryTimeout makes two servers, each asked twice, fail within dnsTimeout. With resolv.conf's 5 seconds a server that
	// drops AAAA questions, as old forwarders do, would cost the answer that came for A.
	queryTimeout = time.Second
	// stagger is the connection attempt delay that RFC 8305 section 5 recommends.
	stagger = 250 * time.Millisecond
	// maxAddresses bounds what a hostile or lavish DNS answer can make the relay try.
	maxAddresses = 16
)

// keepAlive finds a dead peer within two minutes, which is sooner than most NATs forget a quiet connection.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}

// Dialer makes the connections of the relay. The fields must not change after the first use; it is safe for concurrent use.
type Dialer struct {
	Resolver   *net.Resolver // required; NewResolver gives the usual one
	Clock      mfpgate.Clock // required; paces the attempts. Limits on the kernel's and the resolver's work are real time.
	Box        *Box          // required
	Timeout    time.Duration // for all connection attempts together, after the name is resolved; 0 means 10 s
	DNSTimeout time.Duration // 0 means 5 s
}

// NewResolver returns a resolver that asks the servers of /etc/resolv.conf itself: unlike getaddrinfo it can be cancelled.
func NewResolver() *net.Resolver {
	return ResolverVia((&net.Dialer{}).DialContext, queryTimeout)
}

// ResolverVia returns a resolver that reaches its servers through dial and waits for each answer at most timeout. A query
// ends when nobody waits for it any more; net.Resolver alone would hold its socket until resolv.conf's timeout.
func ResolverVia(dial func(ctx context.Context, network, address string) (net.Conn, error), timeout time.Duration) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		limited, cancel := context.WithTimeout(ctx, timeout) // ctx ends with the exchange
		conn, err := dial(limited, network, address)
		if err != nil {
			cancel()
			return nil, err
		}
		context.AfterFunc(limited, func() {
			_ = conn.SetDeadline(time.Unix(1, 0))
			cancel()
		})
		return conn, nil
	}}
}

// Dial connects to host and port under the rule that allowed them, and returns the first connection made. All allowed
// addresses of the host are tried in the order of RFC 8305. The error is a *Refusal, or wraps context.Canceled if ctx was
// cancelled.
func (d *Dialer) Dial(ctx context.Context, rule mfpgate.AllowRule, host mfpgate.Host, port uint16) (*net.TCPConn, error) {
	var room [maxAddresses]netip.Addr
	addrs := room[:1]
	if addr, ok := host.Address(); ok {
		addrs[0] = addr.Unmap()
	} else {
		var err error
		if addrs, err = d.resolve(ctx, host.String(), room[:0]); err != nil {
			return nil, err
		}
	}
	addrs, refusal := d.allowed(addrs, port, rule.Private)
	if refusal != nil {
		return nil, refusal
	}
	timeout := d.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var conn *net.TCPConn
	var err error
	if len(addrs) == 1 {
		conn, err = connect(inner, netip.AddrPortFrom(addrs[0], port))
	} else {
		conn, err = d.race(inner, cancel, addrs, port)
	}
	if err == nil {
		return conn, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, fmt.Errorf("dial %s: %w", host, ctx.Err())
	}
	return nil, &Refusal{Reason: Classify(err), Err: err}
}

// CheckLiteral judges a host that is an address as Dial would, without dialling; a name passes. It is for the way through an
// upstream proxy, which resolves names itself. The error is a *Refusal.
func (d *Dialer) CheckLiteral(rule mfpgate.AllowRule, host mfpgate.Host, port uint16) error {
	addr, literal := host.Address()
	if !literal {
		return nil
	}
	if _, refusal := d.allowed([]netip.Addr{addr.Unmap()}, port, rule.Private); refusal != nil {
		return refusal
	}
	return nil
}

// resolve asks once, for both families, and appends at most 16 addresses to room, the families taking turns.
func (d *Dialer) resolve(ctx context.Context, name string, room []netip.Addr) ([]netip.Addr, error) {
	timeout := d.DNSTimeout
	if timeout == 0 {
		timeout = dnsTimeout
	}
	inner, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The root's dot keeps resolv.conf's search list away from names that stand in a rule in full: cloud.example must not
	// become cloud.example.branch.corp. A single label means nothing without that list.
	query := name
	if slices.Contains([]byte(name), '.') {
		query += "."
	}
	addrs, err := d.Resolver.LookupNetIP(inner, "ip", query)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, fmt.Errorf("resolve %s: %w", name, ctx.Err())
		}
		reason := ReasonDNSError
		var dns *net.DNSError
		switch {
		case inner.Err() != nil, errors.As(err, &dns) && dns.IsTimeout:
			reason = ReasonDNSTimeout
		case dns != nil && dns.IsNotFound:
			reason = ReasonNoAddress
		}
		return nil, &Refusal{Reason: reason, Err: err}
	}
	addrs = interleave(addrs, room)
	if len(addrs) == 0 {
		return nil, &Refusal{Reason: ReasonNoAddress}
	}
	return addrs, nil
}

// interleave appends the distinct addresses of a resolver's answer to room while it has capacity. The resolver has sorted
// them by RFC 6724; RFC 8305 section 4 wants the families in turn, starting with that of the first.
func interleave(answer, room []netip.Addr) []netip.Addr {
	var i [2]int // the next candidate of each family
	family := 0  // 0 is the family of the first address
	next := func(family int) (netip.Addr, bool) {
		for ; i[family] < len(answer); i[family]++ {
			addr := answer[i[family]].WithZone("").Unmap() // LookupNetIP returns IPv4 addresses mapped
			same := addr.Is4() == answer[0].Unmap().Is4()
			if same == (family == 0) && !slices.Contains(room, addr) {
				i[family]++
				return addr, true
			}
		}
		return netip.Addr{}, false
	}
	for len(room) < cap(room) {
		addr, ok := next(family)
		if !ok {
			if addr, ok = next(1 - family); !ok {
				break
			}
			family = 1 - family
		}
		room = append(room, addr)
		family = 1 - family
	}
	return room
}

// allowed keeps the addresses that the guard lets through, in place. With none left it refuses for the first one's reason.
func (d *Dialer) allowed(addrs []netip.Addr, port uint16, private bool) ([]netip.Addr, *Refusal) {
	var first *Refusal
	kept := addrs[:0]
	for _, addr := range addrs {
		reason, err := d.judge(addr, port, private)
		if reason == "" {
			kept = append(kept, addr)
		} else if first == nil {
			if err == nil {
				err = fmt.Errorf("%s is not allowed", addr)
			}
			first = &Refusal{Reason: reason, Err: err}
		}
	}
	if len(kept) > 0 {
		return kept, nil
	}
	return nil, first
}

func (d *Dialer) judge(addr netip.Addr, port uint16, private bool) (mfpgate.Reason, error) {
	own, err := d.Box.judge(addr, port)
	if err != nil || own == ReasonSelf {
		return own, err
	}
	reason := Judge(addr)
	switch {
	case lasting(reason):
		return reason, nil
	case private:
		return "", nil
	case reason != "":
		return reason, nil
	}
	return own, nil
}

// connect makes one attempt, in this goroutine. It goes through DialContext and not DialTCP, because DialTCP binds to port
// 0 first, and a bound port is taken from all destinations at once: the machine would run out at 28,000 tunnels.
func connect(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	dialer := net.Dialer{
		KeepAliveConfig: keepAlive,
		Control: func(_, address string, _ syscall.RawConn) error {
			if last, err := netip.ParseAddrPort(address); err != nil || last != to {
				return fmt.Errorf("about to connect to %s, but %s was judged", address, to)
			}
			return nil
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

type attempt struct {
	conn *net.TCPConn
	err  error
}

// race starts an attempt every 250 ms, or as soon as one fails, until one connects (RFC 8305 section 5). It returns when
// every attempt has ended. cancel ends ctx.
func (d *Dialer) race(ctx context.Context, cancel context.CancelFunc, addrs []netip.Addr, port uint16) (*net.TCPConn, error) {
	ended := make(chan attempt)
	running := 0
	start := func() {
		to := netip.AddrPortFrom(addrs[0], port)
		addrs = addrs[1:]
		running++
		go func() { // race receives from ended once for each
			conn, err := connect(ctx, to)
			ended <- attempt{conn, err}
		}()
	}
	timer := d.Clock.NewTimer(stagger)
	defer timer.Stop()
	var winner *net.TCPConn
	var failure error
	start()
	for running > 0 {
		tick := timer.C()
		if len(addrs) == 0 {
			tick = nil
		}
		select {
		case <-tick:
		case a := <-ended:
			running--
			switch {
			case a.err != nil:
				failure = telling(failure, a.err)
			case winner == nil:
				winner = a.conn
				cancel()
			default:
				_ = a.conn.Close()
			}
		}
		if len(addrs) > 0 && winner == nil && ctx.Err() == nil {
			start()
			timer.Reset(stagger)
		}
	}
	if winner != nil {
		return winner, nil
	}
	return nil, failure
}
