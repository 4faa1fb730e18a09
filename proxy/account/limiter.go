package account

import (
	"net/netip"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	// A source may fail 10 times in a row, then once in 6 seconds: a device with an old password stays below what hurts,
	// and a dictionary takes years.
	failureBurst    = 10
	failureInterval = 6 * time.Second
	// maxSources bounds the memory, to about 1 MiB.
	maxSources = 8192
	// maxPending is how many checks of one source may be under way: more than the connections of a device that starts, and
	// few enough that guesses in parallel gain nothing.
	maxPending = 32
)

// Limiter slows down sources whose passwords are wrong. It is safe for concurrent use; the zero value is not usable.
type Limiter struct {
	clock mfpgate.Clock

	mu sync.Mutex
	// forgiven is when the last failure of a source will be forgotten, if none follows: the theoretical arrival time of
	// the generic cell rate algorithm (ITU-T I.371), which needs nothing else.
	forgiven map[netip.Addr]time.Time
	pending  map[netip.Addr]int // checks under way; never 0
}

// NewLimiter returns a limiter that knows of no failures.
func NewLimiter(clock mfpgate.Clock) *Limiter {
	return &Limiter{clock: clock, forgiven: map[netip.Addr]time.Time{}, pending: map[netip.Addr]int{}}
}

// Begin asks whether credentials of the source may be checked now. With 0 they may, and the caller must End; else it is
// what Retry-After says.
func (l *Limiter) Begin(source netip.Addr) (wait time.Duration) {
	if wait := l.Wait(source); wait > 0 {
		return wait
	}
	source = network(source)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[source] >= maxPending {
		return time.Second
	}
	l.pending[source]++
	return 0
}

// End notes the outcome of a check that Begin allowed.
func (l *Limiter) End(source netip.Addr, failed bool) {
	if failed {
		l.Failed(source)
	}
	source = network(source)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending[source]--; l.pending[source] <= 0 {
		delete(l.pending, source)
	}
}

// Wait returns how long the source has to wait before its credentials are looked at again; 0 means not at all. It is what
// Retry-After says, rounded up to seconds.
func (l *Limiter) Wait(source netip.Addr) time.Duration {
	source = network(source)
	l.mu.Lock()
	defer l.mu.Unlock()
	at, failed := l.forgiven[source]
	if !failed {
		return 0
	}
	// The next failure must fit in: it adds one interval to what is not yet forgotten.
	return max(0, at.Sub(l.clock.Now())-(failureBurst-1)*failureInterval)
}

// Failed notes that the source has presented a wrong user or password.
func (l *Limiter) Failed(source netip.Addr) {
	source = network(source)
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	at, known := l.forgiven[source]
	if !known && len(l.forgiven) >= maxSources {
		l.forgetOne(now)
	}
	if at.Before(now) {
		at = now
	}
	// Checks that ran at the same time may fail together; they do not add up to more than a doubled burst.
	l.forgiven[source] = minTime(at.Add(failureInterval), now.Add(2*failureBurst*failureInterval))
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// forgetOne makes room. It looks at a few sources, which the map gives in random order, and forgets the one that would be
// forgotten first; a full sweep per failure would be what an attacker with many addresses wants.
func (l *Limiter) forgetOne(now time.Time) {
	const sample = 8
	var first netip.Addr
	var earliest time.Time
	seen := 0
	for source, at := range l.forgiven {
		if !first.IsValid() || at.Before(earliest) {
			first, earliest = source, at
		}
		if seen++; seen == sample || at.Before(now) {
			break
		}
	}
	delete(l.forgiven, first)
}

// network is what one source can easily change its address within: nothing in IPv4, 64 bits in IPv6.
func network(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return addr
}
