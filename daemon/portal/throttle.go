package portal

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// The pace of logins. One source may be wrong five times at once and then twice a minute. One name may be tried from many
// sources, so it gets more: enough that a stranger does not lock its owner out by the way, too few to guess a password.
const (
	sourceBurst = 5
	sourceEvery = 30 * time.Second
	nameBurst   = 20
	nameEvery   = 6 * time.Second
)

// maxThrottled bounds memory; beyond it, who has failed least is forgotten first.
const maxThrottled = 4096

// throttle lets burst failures through for each key, and then one every interval. It is the generic cell rate algorithm:
// per key it keeps the one time at which all failures will be forgotten.
type throttle struct {
	clock mfpgate.Clock
	burst int
	every time.Duration
	limit int // of keys

	mu    sync.Mutex
	clear map[string]time.Time
}

func newThrottle(clock mfpgate.Clock, burst int, every time.Duration) *throttle {
	return &throttle{clock: clock, burst: burst, every: every, limit: maxThrottled, clear: map[string]time.Time{}}
}

// take counts an attempt as failed before it is made, so that many at once gain nothing. A positive wait refuses it.
func (t *throttle) take(key string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	clear, ok := t.clear[key]
	if clear.Before(now) {
		clear = now
	}
	if wait := clear.Sub(now) - time.Duration(t.burst-1)*t.every; wait > 0 {
		return wait
	}
	if !ok {
		t.makeRoom(now)
	}
	t.clear[key] = clear.Add(t.every)
	return 0
}

// giveBack takes back what take counted, after an attempt that did not fail.
func (t *throttle) giveBack(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if clear, ok := t.clear[key]; ok {
		t.clear[key] = clear.Add(-t.every)
	}
}

func (t *throttle) makeRoom(now time.Time) {
	if len(t.clear) < t.limit {
		return
	}
	var least string
	for key, clear := range t.clear {
		switch {
		case !clear.After(now):
			delete(t.clear, key)
		case least == "" || clear.Before(t.clear[least]):
			least = key
		}
	}
	if len(t.clear) >= t.limit {
		delete(t.clear, least)
	}
}

// source is who is throttled: an IPv4 address, or the /64 of an IPv6 address, since its host may take any address in it.
// Forwarding headers do not count: anybody can write them.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return host
	}
	return prefix.String()
}
