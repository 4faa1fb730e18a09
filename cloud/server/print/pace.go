package print

import (
	"sync"
	"time"
)

const (
	slower    = 5 * time.Second  // RFC 8628 §3.5
	slowest   = 60 * time.Second // who is told more often is not made to wait longer
	maxPaces  = maxCodes
	paceGrace = 10 // one part in so many: what a network takes off the time between two polls
)

// pace is how fast the client of one code may poll.
type pace struct {
	interval time.Duration
	answered time.Time // when the last poll came that was answered; slow_down is no answer
}

// paces hold clients to their interval (RFC 8628 §3.5). A poll too early raises the interval and does not move the time from
// which it counts: were it to, a client that comes a little early each time would be refused for ever.
type paces struct {
	interval time.Duration

	mu sync.Mutex
	of map[string]pace
}

func newPaces(interval time.Duration) paces { return paces{interval: interval, of: map[string]pace{}} }

// early tells whether a poll of a code that nobody has decided comes too early, and notes it.
func (p *paces) early(code string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.of[code]
	if !known {
		if len(p.of) >= maxPaces { // more than there can be codes: all but these have ended
			clear(p.of)
		}
		at.interval = p.interval
	}
	early := known && now.Sub(at.answered) < at.interval-at.interval/paceGrace
	if early {
		at.interval = min(at.interval+slower, max(slowest, p.interval))
	} else {
		at.answered = now
	}
	p.of[code] = at
	return early
}

// drop forgets a code that was decided or has ended.
func (p *paces) drop(code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, code)
}
