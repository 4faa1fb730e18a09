package slots_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/slots"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var monday = time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC)

// site is an Admission with a clock that the test moves. It lives in a synctest bubble, so that the test can wait until
// every goroutine has come to rest after a step.
type site struct {
	*slots.Admission
	t       *testing.T
	ctx     context.Context
	clock   *countingClock
	options slots.Options
	held    map[slots.Key]bool // by the trace: independent of Admission's own books
	grants  []slots.Key
	most    int
}

// options is a small site: two devices at once, 5 s of linger, 30 s of patience.
func options() slots.Options {
	return slots.Options{
		Capacity: always(2), Linger: 5 * time.Second, QueueTimeout: 30 * time.Second, QueueLimit: 100, Connections: 16,
	}
}

func always(n int) func(time.Time) (int, time.Time) {
	return func(time.Time) (int, time.Time) { return n, time.Time{} }
}

// bubble runs test with a site whose Run is running, and ends it.
func bubble(t *testing.T, o slots.Options, test func(s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		clock := &countingClock{Clock: fakeclock.New(monday)}
		o.Clock = clock
		s := &site{Admission: slots.New(o), t: t, ctx: ctx, clock: clock, options: o, held: map[slots.Key]bool{}}
		s.Trace(func(d slots.Key, held bool) {
			if s.held[d] == held {
				t.Errorf("device %s: held %v twice", d, held)
			}
			if s.held[d] = held; held {
				s.grants = append(s.grants, d)
			} else {
				delete(s.held, d)
			}
			s.most = max(s.most, len(s.held))
		})
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }() // ends below
		synctest.Wait()
		test(s)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v, want nil when its context ends", err)
		}
	})
}

// advance moves the clock and waits until all has come to rest.
func (s *site) advance(d time.Duration) {
	s.clock.Advance(d)
	synctest.Wait()
}

func (s *site) connect(device slots.Key) *slots.Conn {
	s.t.Helper()
	c, err := s.Connect(device)
	if err != nil {
		s.t.Fatalf("connect %s: %v", device, err)
	}
	return c
}

// open connects device and gets its tunnel established, which must not have to wait.
func (s *site) open(device slots.Key) *slots.Conn {
	s.t.Helper()
	c := s.connect(device)
	w := s.setUp(s.ctx, c)
	w.want(nil)
	c.Established()
	synctest.Wait()
	return c
}

// call is a SetUp or Move under way.
type call struct {
	t    *testing.T
	over atomic.Bool
	err  error
}

func (s *site) setUp(ctx context.Context, c *slots.Conn) *call {
	return s.start(func() error { return c.SetUp(ctx) })
}

func (s *site) move(c *slots.Conn) *call {
	return s.start(func() error { return c.Move(s.ctx) })
}

func (s *site) start(f func() error) *call {
	w := &call{t: s.t}
	go func() { // the bubble waits for it
		w.err = f()
		w.over.Store(true)
	}()
	synctest.Wait()
	return w
}

func (w *call) waits() {
	w.t.Helper()
	if w.over.Load() {
		w.t.Fatalf("returned %v, want it to wait", w.err)
	}
}

func (w *call) want(want error) {
	w.t.Helper()
	if !w.over.Load() {
		w.t.Fatalf("waits, want it to return %v", want)
	}
	if w.err != want {
		w.t.Fatalf("returned %v, want %v", w.err, want)
	}
}

// refused returns the Retry-After of a call that was refused for reason.
func (w *call) refused(reason mfpgate.Reason) time.Duration {
	w.t.Helper()
	if !w.over.Load() {
		w.t.Fatalf("waits, want it refused: %s", reason)
	}
	r, ok := w.err.(*slots.Refused)
	if !ok || r.Reason != reason {
		w.t.Fatalf("returned %v, want it refused: %s", w.err, reason)
	}
	if r.RetryAfter < time.Second || r.RetryAfter%time.Second != 0 {
		w.t.Fatalf("Retry-After is %v, want whole seconds from 1", r.RetryAfter)
	}
	return r.RetryAfter
}

// wantCount compares the counts of a snapshot: "served/queued/away of capacity".
func (s *site) wantCount(want string) {
	s.t.Helper()
	n := s.Count()
	if got := fmt.Sprintf("%d/%d/%d of %d", n.Served, n.Queued, n.Away, n.Capacity); got != want {
		s.t.Fatalf("served/queued/away is %s, want %s", got, want)
	}
}

// countingClock counts how often a timer was armed, which is at least as often as one fired. It can be set on, as by NTP,
// without its timers moving.
type countingClock struct {
	*fakeclock.Clock
	armed atomic.Int64
	step  atomic.Int64
}

func (c *countingClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.step.Load())) }

func (c *countingClock) NewTimer(d time.Duration) mfpgate.Timer {
	c.armed.Add(1)
	return countedTimer{c.Clock.NewTimer(d), c}
}

type countedTimer struct {
	mfpgate.Timer
	clock *countingClock
}

func (t countedTimer) Reset(d time.Duration) bool {
	t.clock.armed.Add(1)
	return t.Timer.Reset(d)
}
