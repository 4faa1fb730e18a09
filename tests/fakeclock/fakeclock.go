// Package fakeclock is a clock that stands still until a test moves it.
package fakeclock

import (
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Clock implements mfpgate.Clock. The zero value is not usable; see New.
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*timer]struct{}
	armed  *sync.Cond
}

// New returns a clock that shows start.
func New(start time.Time) *Clock {
	c := &Clock{now: start, timers: map[*timer]struct{}{}}
	c.armed = sync.NewCond(&c.mu)
	return c
}

// Now returns the time that the test has set.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on and fires every timer that is due by then.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for t := range c.timers {
		if !t.at.After(c.now) {
			delete(c.timers, t)
			t.fire(c.now)
		}
	}
}

// AwaitTimers blocks until at least n timers are armed, so that a test advances only once the code under test waits.
func (c *Clock) AwaitTimers(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.timers) < n {
		c.armed.Wait()
	}
}

// AfterFunc arms a timer that calls f.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	t := &timer{clock: c, ch: make(chan time.Time, 1), call: f}
	t.Reset(d)
	return t.Stop
}

// NewTimer arms a timer d after the clock's present.
func (c *Clock) NewTimer(d time.Duration) mfpgate.Timer {
	t := &timer{clock: c, ch: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

type timer struct {
	clock *Clock
	at    time.Time
	ch    chan time.Time
	call  func() // instead of ch
}

func (t *timer) fire(now time.Time) {
	if t.call != nil {
		go t.call() // whoever armed it waits for it
		return
	}
	t.ch <- now
}

func (t *timer) C() <-chan time.Time { return t.ch }

func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.stop()
}

func (t *timer) stop() bool {
	_, armed := t.clock.timers[t]
	delete(t.clock.timers, t)
	select {
	case <-t.ch:
	default:
	}
	return armed
}

func (t *timer) Reset(d time.Duration) bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	armed := t.stop()
	t.at = t.clock.now.Add(d)
	if d <= 0 {
		t.fire(t.clock.now)
		return armed
	}
	t.clock.timers[t] = struct{}{}
	t.clock.armed.Broadcast()
	return armed
}
