package print

import (
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// maxBuckets is how many keys of one kind are remembered; beyond it, the one that has taken least is forgotten first.
const maxBuckets = 4096

// buckets are the generic cell rate algorithm by key: burst at once, then one every interval. Each keeps the one time at which
// it will be as though nothing had been taken.
type buckets struct {
	clock mfpgate.Clock
	burst int
	every time.Duration

	mu    sync.Mutex
	clear map[string]time.Time
}

func newBuckets(clock mfpgate.Clock, burst int, every time.Duration) *buckets {
	return &buckets{clock: clock, burst: burst, every: every, clear: map[string]time.Time{}}
}

// take takes one, before what it is for is tried, so that nobody tries more at a time than the burst. If there is none it says
// how long to wait.
func (b *buckets) take(key string) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	clear := b.clear[key]
	if clear.Before(now) {
		clear = now
	}
	if wait = clear.Sub(now) - time.Duration(b.burst-1)*b.every; wait > 0 {
		return wait
	}
	if _, known := b.clear[key]; !known {
		b.makeRoom(now)
	}
	b.clear[key] = clear.Add(b.every)
	return 0
}

// give puts one back that was taken for what turned out to be right. What was taken before stays.
func (b *buckets) give(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if clear, ok := b.clear[key]; ok {
		b.clear[key] = clear.Add(-b.every)
	}
}

func (b *buckets) makeRoom(now time.Time) {
	if len(b.clear) < maxBuckets {
		return
	}
	least := ""
	for key, clear := range b.clear {
		switch {
		case !clear.After(now):
			delete(b.clear, key)
		case least == "" || clear.Before(b.clear[least]):
			least = key
		}
	}
	if len(b.clear) >= maxBuckets {
		delete(b.clear, least)
	}
}

// wrongCodes bound how many codes are tried: with 1000 codes open and 60 tries a minute, somebody hits one of them in a quarter
// of an hour with a chance of 3.5e-5. Only administrators get to try at all.
type wrongCodes struct{ account, source, all *buckets }

func newWrongCodes(clock mfpgate.Clock) wrongCodes {
	return wrongCodes{newBuckets(clock, 5, time.Minute), newBuckets(clock, 15, 15*time.Second), newBuckets(clock, 60, time.Second)}
}

// take takes one of each, or none and says how long to wait.
func (w wrongCodes) take(account, source string) time.Duration {
	for i, b := range []struct {
		*buckets
		key string
	}{{w.account, account}, {w.source, source}, {w.all, ""}} {
		if wait := b.take(b.key); wait > 0 {
			if i > 0 {
				w.account.give(account)
			}
			if i > 1 {
				w.source.give(source)
			}
			return wait
		}
	}
	return 0
}

// give puts back what was taken for a code that is one.
func (w wrongCodes) give(account, source string) {
	w.account.give(account)
	w.source.give(source)
	w.all.give("")
}
