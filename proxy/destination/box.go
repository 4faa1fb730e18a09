package destination

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
)

// interfacesAge is how old the list of the machine's own addresses may be. Reading it costs a netlink dump: a fraction of a millisecond.
const interfacesAge = 5 * time.Second

// Box is the machine that the relay runs on. The fields must not change after the first use; it is safe for concurrent use.
type Box struct {
	Clock mfpgate.Clock // required
	// Listeners returns the addresses that the relay listens on now, with the port in use. A wildcard address stands for
	// every address of the machine at that port. It is asked per address, so it must be quick. Nil: none.
	Listeners func() []netip.AddrPort
	// Interfaces returns the machine's own addresses; nil asks the kernel. Its answer is kept for 5 seconds.
	Interfaces func() ([]netip.Addr, error)

	own atomic.Pointer[ownAddresses]
	mu  sync.Mutex // held while own is read anew
}

type ownAddresses struct {
	at  time.Time
	set map[netip.Addr]struct{}
}

// Own reports whether addr is this machine's, by its interfaces or as a loopback one; the list is at most 5 seconds old. While the
// machine's addresses cannot be read and never could be, the loopback ones alone are.
func (b *Box) Own(addr netip.Addr) bool {
	if addr = addr.WithZone("").Unmap(); addr.IsLoopback() {
		return true
	}
	own, err := b.addresses()
	if err != nil {
		return false
	}
	_, yes := own.set[addr]
	return yes
}

// judge says whether addr, which is unmapped and without zone, or an IPv4 address that it embeds, is this machine's. The
// error is that the machine's addresses cannot be read and never could be.
func (b *Box) judge(addr netip.Addr, port uint16) (mfpgate.Reason, error) {
	own, err := b.addresses()
	if err != nil {
		return ReasonInterfaces, err
	}
	var listeners []netip.AddrPort
	if b.Listeners != nil {
		listeners = b.Listeners()
	}
	reason := own.judge(addr, port, listeners)
	inner, n := embedded(addr)
	for _, v4 := range inner[:n] {
		if r := own.judge(v4, port, listeners); r == ReasonSelf || reason == "" {
			reason = r
		}
	}
	return reason, nil
}

func (o *ownAddresses) judge(addr netip.Addr, port uint16, listeners []netip.AddrPort) mfpgate.Reason {
	_, own := o.set[addr]
	for _, l := range listeners {
		if l.Port() != port {
			continue
		}
		at := l.Addr().WithZone("").Unmap()
		// All of 127.0.0.0/8 is the machine's though its interfaces show one address; a connection to an unspecified
		// address goes to the loopback.
		if at == addr || addr.IsUnspecified() || at.IsUnspecified() && (own || addr.IsLoopback()) {
			return ReasonSelf
		}
	}
	if own {
		return ReasonOwn
	}
	return ""
}

// addresses returns a list that is at most 5 seconds old, or the last one if there is no newer to be had. One caller
// reads it anew while the others go on with the old one.
func (b *Box) addresses() (*ownAddresses, error) {
	last := b.own.Load()
	if last != nil && (b.Clock.Now().Sub(last.at) < interfacesAge || !b.mu.TryLock()) {
		return last, nil
	}
	if last == nil {
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if newer := b.own.Load(); newer != last {
		return newer, nil
	}
	read := b.Interfaces
	if read == nil {
		read = machineAddresses
	}
	addrs, err := read()
	if err != nil {
		if last == nil {
			return nil, fmt.Errorf("read this machine's addresses: %w", err)
		}
		b.own.Store(&ownAddresses{at: b.Clock.Now(), set: last.set})
		return last, nil
	}
	next := &ownAddresses{at: b.Clock.Now(), set: make(map[netip.Addr]struct{}, len(addrs))}
	for _, addr := range addrs {
		next.set[addr.WithZone("").Unmap()] = struct{}{}
	}
	b.own.Store(next)
	return next, nil
}

func machineAddresses() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(nets))
	for _, n := range nets {
		if ipnet, ok := n.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(ipnet.IP); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, nil
}
