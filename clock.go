package mfpgate

import (
	"context"
	"time"
)

// Clock is the only source of time. Wall time (Now) is for plans and records; durations are taken between two Now
// values, which carry the monotonic reading, so that a step of the wall clock does not change them.
type Clock interface {
	Now() time.Time
	// NewTimer fires once after d. The channel has capacity 1; Stop and Reset behave as those of time.Timer since
	// Go 1.23: no stale value is received after either returns.
	NewTimer(d time.Duration) Timer
	// AfterFunc calls f in a goroutine of its own after d. stop prevents that and reports true, or reports false if f
	// has been started already.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// Timer is the part of time.Timer that callers need.
type Timer interface {
	C() <-chan time.Time
	Stop() bool
	Reset(d time.Duration) bool
}

// SystemClock is the machine's own clock.
type SystemClock struct{}

// Now returns the machine's wall time with its monotonic reading.
func (SystemClock) Now() time.Time { return time.Now() }

// NewTimer starts a timer of the runtime.
func (SystemClock) NewTimer(d time.Duration) Timer { return systemTimer{time.NewTimer(d)} }

// AfterFunc starts a timer of the runtime.
func (SystemClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	return time.AfterFunc(d, f).Stop
}

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }

// Wait blocks for d or until ctx ends, and returns ctx's error in that case.
func Wait(ctx context.Context, clock Clock, d time.Duration) error {
	t := clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C():
		return nil
	}
}
