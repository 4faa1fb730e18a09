package slots

import (
	"math"
	"time"
)

// turns measures how fast the queue moves. Both sums fade with the same time constant, so their quotient is the recent
// rate without the bias of a cold start. Time in which nobody waits does not count: no turns are given then.
type turns struct {
	count  float64
	window float64 // nanoseconds
	at     int64
}

// elapse accounts the time up to now; waiting says whether somebody waited in it.
func (t *turns) elapse(now int64, waiting bool, fade time.Duration) {
	if waiting && now > t.at {
		d := float64(now - t.at)
		keep := math.Exp(-d / float64(max(fade, time.Second)))
		t.count *= keep
		t.window = t.window*keep + d
	}
	t.at = now
}

// retryAfter estimates when the device at position (1 is the next) gets its turn: whole seconds, at least one, at most
// limit rounded up.
func (t *turns) retryAfter(position int, limit time.Duration) time.Duration {
	most := max(1, math.Ceil(limit.Seconds()))
	wait := most
	if t.count > 0 {
		wait = math.Ceil(float64(position) * t.window / t.count / float64(time.Second))
	}
	return time.Duration(min(max(1, wait), most)) * time.Second
}
