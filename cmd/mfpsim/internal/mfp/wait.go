package mfp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	backoffBase = time.Second
	backoffCap  = time.Minute
)

// backoff is AWS's "full jitter": a wait of 0 to a bound that doubles with each failure in a row.
type backoff struct {
	jitter   func(time.Duration) time.Duration
	failures int
}

// next is the wait after one more failure: never shorter than Retry-After, and spread after it too, because all devices
// that were refused together were told the same.
func (b *backoff) next(retryAfter time.Duration) time.Duration {
	bound := min(backoffBase<<min(b.failures, 10), backoffCap)
	b.failures++
	if retryAfter > 0 {
		return retryAfter + b.jitter(min(bound, retryAfter))
	}
	return b.jitter(bound)
}

func (b *backoff) reset() { b.failures = 0 }

// ErrStalled ends a transfer that brought no byte for a while.
var ErrStalled = errors.New("no data arrived for too long")

// watchdog cancels its context when it is not kicked for d. The caller calls stop, which waits for its goroutine.
func watchdog(parent context.Context, clock mfpgate.Clock, d time.Duration) (ctx context.Context, kick, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	timer := clock.NewTimer(d)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			cancel(fmt.Errorf("%w (%s)", ErrStalled, d))
		case <-ctx.Done():
		}
	})
	return ctx, func() { timer.Reset(d) }, func() { cancel(nil); wg.Wait() }
}
