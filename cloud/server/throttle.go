package server

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// One source may be wrong about an operator's password this often at once, and then once every interval.
const (
	wrongBurst   = 5
	wrongEvery   = 30 * time.Second
	maxThrottled = 4096 // sources remembered; beyond it, who has failed least is forgotten first
)

// throttle is the generic cell rate algorithm over failures: per source it keeps the one time at which all will be forgotten.
// Passwords have 130 random bits, so it is not they that it protects, but the log and the disk.
type throttle struct {
	clock mfpgate.Clock

	mu    sync.Mutex
	clear map[string]time.Time
}

// wait is how long the source must wait; 0 lets it try.
func (t *throttle) wait(source string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear, ok := t.clear[source]
	if !ok {
		return 0
	}
	return max(0, clear.Sub(t.clock.Now())-(wrongBurst-1)*wrongEvery)
}

// failed counts a wrong password.
func (t *throttle) failed(source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	clear, ok := t.clear[source]
	if !ok {
		t.makeRoom(now)
	}
	if clear.Before(now) {
		clear = now
	}
	t.clear[source] = clear.Add(wrongEvery)
}

func (t *throttle) makeRoom(now time.Time) {
	if len(t.clear) < maxThrottled {
		return
	}
	var least string
	for source, clear := range t.clear {
		switch {
		case !clear.After(now):
			delete(t.clear, source)
		case least == "" || clear.Before(t.clear[least]):
			least = source
		}
	}
	if len(t.clear) >= maxThrottled {
		delete(t.clear, least)
	}
}

// sourceOf is who is throttled: an IPv4 address, or the /64 of an IPv6 address, since its host may take any address in it.
func sourceOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.String()
	}
	if prefix, err := addr.Prefix(64); err == nil {
		return prefix.String()
	}
	return host
}
