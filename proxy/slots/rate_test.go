package slots_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate/proxy/slots"
)

func TestTakeHoldsADeviceToItsRate(t *testing.T) {
	o := options()
	o.Rate = 1 << 20 // per second
	bubble(t, o, func(s *site) {
		a1, a2, b := s.connect("a"), s.connect("a"), s.connect("b")
		take := func(c *slots.Conn, n int) *call { return s.start(func() error { return c.Take(s.ctx, n) }) }

		first, second, other := take(a1, 1<<20), take(a2, 1<<19), take(b, 1<<18)
		s.advance(250*time.Millisecond - 1)
		other.waits()
		s.advance(1)
		other.want(nil) // another device has its own rate
		s.advance(750*time.Millisecond - 1)
		first.waits()
		s.advance(1)
		first.want(nil)
		s.advance(500*time.Millisecond - 1)
		second.waits() // both connections share the device's rate
		s.advance(1)
		second.want(nil)

		s.advance(time.Hour)
		take(a1, 100<<10).want(nil) // a silent time is good for 100 ms of bytes, not for more
		take(a1, 100<<10).waits()
		s.advance(time.Second)
	})
}

func TestReconnectionGainsNothingOfTheRate(t *testing.T) {
	o := options()
	o.Rate = 1 << 20
	bubble(t, o, func(s *site) {
		for range 3 {
			c := s.connect("a")
			w := s.start(func() error { return c.Take(s.ctx, 1<<20) })
			s.advance(999 * time.Millisecond)
			w.waits()
			s.advance(time.Millisecond)
			w.want(nil)
			c.Close()
		}
	})
}

func TestTakeWithoutARateOrTooMuch(t *testing.T) {
	bubble(t, options(), func(s *site) {
		c := s.connect("a")
		if err := c.Take(s.ctx, slots.MaxTake); err != nil {
			t.Errorf("without a rate: %v", err)
		}
		if err := c.Take(s.ctx, slots.MaxTake+1); err == nil {
			t.Error("more than MaxTake was taken")
		}
	})
}

func TestTakeThatIsGivenUpIsNotCharged(t *testing.T) {
	o := options()
	o.Rate = 1 << 20
	bubble(t, o, func(s *site) {
		c := s.connect("a")
		ctx, cancel := context.WithCancel(s.ctx)
		w := s.start(func() error { return c.Take(ctx, 1<<20) })
		cancel()
		synctest.Wait()
		w.want(context.Canceled)
		w = s.start(func() error { return c.Take(s.ctx, 1<<20) })
		s.advance(time.Second)
		w.want(nil)
	})
}

func TestANewRateHoldsForThoseWhoWait(t *testing.T) {
	o := options()
	o.Rate = 1 << 10 // a typing error of the administrator
	bubble(t, o, func(s *site) {
		c := s.connect("a")
		w := s.start(func() error { return c.Take(s.ctx, 1<<20) })
		w.waits()
		o := s.options
		o.Rate = 1 << 20
		s.Reconfigure(o)
		synctest.Wait()
		s.advance(time.Second)
		w.want(nil)
	})
}
