package soak_test

import (
	"bytes"
	"os"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/need"
)

// clock goes as the machine's does, and leaps to what somebody waits for once nothing has moved on the bus for a while.
type clock struct {
	moved func() int64 // how much has, in all
	busy  func() bool  // the bus has something to do

	mu     sync.Mutex
	ahead  time.Duration // of the machine's clock
	timers map[*timer]struct{}
	end    chan struct{}
	ended  chan struct{}
}

const (
	beat = time.Millisecond
	// tick is a timer that nobody leaps to: it comes again and again.
	tick = 4 * time.Millisecond
)

// still is for how long nothing moves before time leaps.
func still() time.Duration {
	if need.Racing {
		return 5 * time.Millisecond
	}
	return 4 * time.Millisecond
}

// waits reports whether every goroutine but the caller's waits for something. One that is to run, and gets no processor, must not be
// taken for one that waits, nor one in libusb, where the events' alone waits for long: a request of endpoint 0 ends by itself.
func waits() bool {
	at := []metrics.Sample{{Name: "/sched/goroutines/running:goroutines"}, {Name: "/sched/goroutines/runnable:goroutines"},
		{Name: "/sched/goroutines/not-in-go:goroutines"}}
	metrics.Read(at)
	return at[0].Value.Uint64() <= 1 && at[1].Value.Uint64() == 0 && at[2].Value.Uint64() <= 1
}

// asleep reports whether no thread of the process but the caller's has something to do: those of C, and those that are in a system call,
// are none of the scheduler's above.
func asleep() bool {
	const tasks = "/proc/self/task/"
	busy := 0
	threads, _ := os.ReadDir(tasks)
	for _, thread := range threads {
		stat, _ := os.ReadFile(tasks + thread.Name() + "/stat") // there is none of a thread that has ended
		if _, state, _ := bytes.Cut(stat, []byte(") ")); len(state) > 0 && state[0] == 'R' {
			if busy++; busy > 1 {
				return false
			}
		}
	}
	return true
}

// idle reports whether nothing is under way. What goes from the bus to a thread, and on to a goroutine, or back, is nowhere for a moment:
// what was looked at first is looked at again.
func (c *clock) idle(moved int64) bool {
	rests := func() bool { return waits() && !c.busy() }
	return rests() && asleep() && rests() && c.moved() == moved
}

func newClock(moved func() int64, busy func() bool) *clock {
	c := &clock{moved: moved, busy: busy, timers: map[*timer]struct{}{}, end: make(chan struct{}), ended: make(chan struct{})}
	go c.run() // stop waits for it
	return c
}

func (c *clock) stop() {
	close(c.end)
	<-c.ended
}

func (c *clock) run() {
	defer close(c.ended)
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	last, since, before := int64(-1), time.Now(), time.Now()
	for {
		select {
		case <-c.end:
			return
		case <-ticks.C:
		}
		now, moved := time.Now(), c.moved()
		switch {
		case moved != last, now.Sub(before) > 4*beat: // this goroutine was late, and others may be
			last, since = moved, now
		case !waits():
			since = since.Add(now.Sub(before))
		}
		before = now
		leap := now.Sub(since) >= still() && c.idle(last)
		if leap {
			since = now
		}
		c.fire(leap)
	}
}

// fire fires what is due, after a leap to the next that is not.
func (c *clock) fire(leap bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if leap {
		var next time.Time
		for t := range c.timers {
			if t.of != tick && (next.IsZero() || t.at.Before(next)) {
				next = t.at
			}
		}
		if next.After(now) {
			c.ahead += next.Sub(now)
			now = next
		}
	}
	for t := range c.timers {
		if !t.at.After(now) {
			delete(c.timers, t)
			t.fire(now)
		}
	}
}

func (c *clock) now() time.Time { return time.Now().Add(c.ahead) }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *clock) NewTimer(d time.Duration) mfpgate.Timer {
	t := &timer{clock: c, due: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

func (c *clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	t := &timer{clock: c, due: make(chan time.Time, 1), call: f}
	t.Reset(d)
	return t.Stop
}

type timer struct {
	clock *clock
	at    time.Time
	of    time.Duration
	due   chan time.Time
	call  func() // in place of due
}

// fire needs the clock's lock.
func (t *timer) fire(now time.Time) {
	if t.call != nil {
		go t.call() // whoever armed it waits for it
		return
	}
	t.due <- now
}

func (t *timer) C() <-chan time.Time { return t.due }

func (t *timer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.disarm()
}

func (t *timer) disarm() bool {
	_, armed := t.clock.timers[t]
	delete(t.clock.timers, t)
	select {
	case <-t.due:
	default:
	}
	return armed
}

func (t *timer) Reset(d time.Duration) bool {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	armed := t.disarm()
	now := c.now()
	t.at, t.of = now.Add(d), d
	if d <= 0 {
		t.fire(now)
		return armed
	}
	c.timers[t] = struct{}{}
	return armed
}
