package throttle

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// MaxKeys is how many keys are remembered; beyond it, the one that has taken least is forgotten first.
const MaxKeys = 4096

// Throttle is safe for concurrent use.
type Throttle struct {
	clock mfpgate.Clock
	burst int
	every time.Duration

	mu    sync.Mutex
	clear map[string]time.Time // when it will be as though nothing had been taken
}

// New makes a throttle that lets burst, one at least, through at once, and then one every interval.
func New(clock mfpgate.Clock, burst int, every time.Duration) *Throttle {
	return &Throttle{clock: clock, burst: burst, every: every, clear: map[string]time.Time{}}
}

// Take takes one. Called before what it is for is tried, it lets nobody try more at a time than the burst. If there is none it
// takes nothing, and says how long to wait.
func (t *Throttle) Take(key string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	taken := t.taken(key, now)
	if wait := t.wait(taken); wait > 0 {
		return wait
	}
	if _, known := t.clear[key]; !known {
		t.makeRoom(now)
	}
	t.clear[key] = now.Add(taken + t.every)
	return 0
}

// Wait is what Take would say, and takes nothing: for those who must not hold one another up while none of them fails.
func (t *Throttle) Wait(key string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait(t.taken(key, t.clock.Now()))
}

// taken is how long it lasts until all is there again.
func (t *Throttle) taken(key string, now time.Time) time.Duration {
	clear, known := t.clear[key]
	if !known {
		return 0
	}
	return max(clear.Sub(now), 0)
}

func (t *Throttle) wait(taken time.Duration) time.Duration {
	return max(taken-time.Duration(t.burst-1)*t.every, 0)
}

// GiveBack puts one back that was taken for what turned out to be right. Those that were taken before stay.
func (t *Throttle) GiveBack(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if clear, known := t.clear[key]; known {
		t.clear[key] = clear.Add(-t.every)
	}
}

func (t *Throttle) makeRoom(now time.Time) {
	if len(t.clear) < MaxKeys {
		return
	}
	least := ""
	for key, clear := range t.clear {
		switch {
		case !clear.After(now):
			delete(t.clear, key)
		case least == "" || clear.Before(t.clear[least]):
			least = key
		}
	}
	if len(t.clear) >= MaxKeys {
		delete(t.clear, least)
	}
}

// Source is who is throttled of those who come over the network, from a RemoteAddr of net/http: an IPv4 address, or the /64 of an
// IPv6 address, since its host may take any address in it. Forwarding headers do not count: anybody can write them.
func Source(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if address = address.Unmap().WithZone(""); address.Is4() {
		return address.String()
	}
	if prefix, err := address.Prefix(64); err == nil {
		return prefix.String()
	}
	return host
}
