package slots_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/proxy/slots"
)

func TestASlotIsHeldWhileAConnectionIsSetUpAndForLingerAfterItsLastByte(t *testing.T) {
	bubble(t, options(), func(s *site) {
		c := s.connect("a")
		s.wantCount("0/0/0 of 2")
		s.setUp(s.ctx, c).want(nil)
		s.advance(time.Hour) // a very slow dial
		s.wantCount("1/0/0 of 2")
		c.Established()
		s.advance(5*time.Second - 2)
		s.wantCount("1/0/0 of 2")
		s.move(c).want(nil)
		s.advance(5*time.Second - 2)
		s.wantCount("1/0/0 of 2")
		s.advance(2)
		s.wantCount("0/0/0 of 2")
		s.move(c).want(nil) // a free slot is taken at once
		s.wantCount("1/0/0 of 2")
	})
}

func TestMovementOfOneConnectionHoldsTheSlotThroughSetUpOfAnother(t *testing.T) {
	bubble(t, options(), func(s *site) {
		a, dial := s.open("a"), s.connect("a")
		s.setUp(s.ctx, dial).want(nil)
		s.advance(time.Minute)
		s.move(a).want(nil)
		s.advance(time.Second)
		dial.Close() // the dial came to nothing
		s.wantCount("1/0/0 of 2")
		s.advance(4 * time.Second)
		s.wantCount("0/0/0 of 2")
	})
}

func TestASetUpThatComesToNothingFreesTheSlotOfASilentDeviceAtOnce(t *testing.T) {
	bubble(t, options(), func(s *site) {
		s.open("a")
		dial := s.connect("a")
		s.setUp(s.ctx, dial).want(nil)
		s.advance(time.Minute)
		dial.Close()
		s.wantCount("0/0/0 of 2")
	})
}

func TestTheLastConnectionFreesTheSlotAtOnce(t *testing.T) {
	bubble(t, options(), func(s *site) {
		a, b := s.open("a"), s.open("a")
		a.Close()
		s.wantCount("1/0/0 of 2")
		b.Close()
		s.wantCount("0/0/0 of 2")
		if s.Size() != 0 {
			t.Error("a device without a connection is remembered")
		}
		s.move(b).want(slots.ErrClosed)
		s.setUp(s.ctx, b).want(slots.ErrClosed)
		b.Established()
		s.wantCount("0/0/0 of 2")
	})
}

func TestAWaiterIsServedAsSoonAsASlotLapses(t *testing.T) {
	bubble(t, options(), func(s *site) {
		a := s.open("a")
		s.open("b")
		w := s.setUp(s.ctx, s.connect("c"))
		s.advance(time.Second)
		s.move(a).want(nil)
		s.advance(4*time.Second - time.Millisecond)
		w.waits()
		s.advance(time.Millisecond) // b lapses; a would a second later
		w.want(nil)
		w = s.setUp(s.ctx, s.connect("d"))
		s.advance(time.Second - time.Millisecond)
		w.waits()
		s.advance(10 * time.Millisecond) // the shortest step of Run
		w.want(nil)
	})
}

func TestAWaiterIsServedWhenTheOneThatWasBeingSetUpGoesQuiet(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		c := s.connect("a")
		s.setUp(s.ctx, c).want(nil)
		w := s.setUp(s.ctx, s.connect("b"))
		s.advance(time.Second)
		c.Established() // only now is it known when the slot may lapse
		s.advance(5 * time.Second)
		w.want(nil)
	})
}

func TestAnIdleGatewaySleeps(t *testing.T) {
	o := options()
	o.Capacity = func(now time.Time) (int, time.Time) { return 2, now.Add(time.Minute) } // a step each minute
	bubble(t, o, func(s *site) {
		a, b := s.open("a"), s.open("b")
		before := s.clock.armed.Load()
		for range 1000 {
			s.advance(10 * time.Second)
			s.move(a).want(nil)
			s.move(b).want(nil)
		}
		if got := s.clock.armed.Load() - before; got != 0 {
			t.Errorf("%d timers in 10,000 s of service without a queue, want none", got)
		}
		a.Close()
		b.Close()
		s.advance(time.Hour)
		if got := s.clock.armed.Load() - before; got != 0 {
			t.Errorf("%d timers in an idle hour, want none", got)
		}
	})
}

func TestAQueueCostsFewTimers(t *testing.T) {
	o := options()
	o.QueueTimeout = time.Hour
	bubble(t, o, func(s *site) {
		s.setUp(s.ctx, s.connect("a")).want(nil)
		s.setUp(s.ctx, s.connect("b")).want(nil)
		before := s.clock.armed.Load()
		s.setUp(s.ctx, s.connect("c")).waits()
		for range 600 {
			s.advance(time.Second)
		}
		if got := s.clock.armed.Load() - before; got > 25 {
			t.Errorf("%d timers in 600 s of waiting, want one for the wait and one each 30 s", got)
		}
	})
}

func TestCapacityFollowsTheCalendar(t *testing.T) {
	o := options()
	edges := []time.Time{monday.Add(time.Minute), monday.Add(70 * time.Second)}
	o.QueueTimeout = time.Hour
	o.Capacity = func(now time.Time) (int, time.Time) {
		switch {
		case now.Before(edges[0]):
			return 3, edges[0]
		case now.Before(edges[1]):
			return 1, edges[1]
		}
		return 2, time.Time{}
	}
	bubble(t, o, func(s *site) {
		var conns []*slots.Conn
		for _, d := range []slots.Key{"a", "b", "c"} {
			c := s.connect(d)
			s.setUp(s.ctx, c).want(nil)
			conns = append(conns, c)
		}
		w := s.setUp(s.ctx, s.connect("d"))
		s.advance(time.Minute)
		s.wantCount("3/1/0 of 1") // no holder is cut
		conns[0].Close()
		conns[1].Close()
		s.wantCount("1/1/0 of 1") // and no grant until below
		w.waits()
		s.advance(10 * time.Second)
		w.want(nil) // at the edge, although nobody came or left
		s.wantCount("2/0/0 of 2")
	})
}

func TestAStepOfTheWallClockOverAnEdgeIsNoticed(t *testing.T) {
	o := options()
	o.QueueTimeout = time.Hour
	edge := monday.Add(10 * time.Hour)
	o.Capacity = func(now time.Time) (int, time.Time) {
		if now.Before(edge) {
			return 1, edge
		}
		return 2, time.Time{}
	}
	bubble(t, o, func(s *site) {
		s.setUp(s.ctx, s.connect("a")).want(nil)
		w := s.setUp(s.ctx, s.connect("b"))
		w.waits()
		s.clock.step.Store(int64(10 * time.Hour)) // no timer knows of it
		s.advance(30 * time.Second)
		w.want(nil)
	})
}

func TestAClockThatIsSetBackOverAnEdgeIsNoticed(t *testing.T) {
	o := options()
	edge := monday.Add(time.Hour)
	o.Capacity = func(now time.Time) (int, time.Time) {
		if now.Before(edge) {
			return 5, edge
		}
		return 1, time.Time{}
	}
	bubble(t, o, func(s *site) {
		s.wantCount("0/0/0 of 5")
		s.clock.step.Store(int64(2 * time.Hour))
		s.wantCount("0/0/0 of 1")
		s.clock.step.Store(0)
		s.wantCount("0/0/0 of 5")
	})
}

func TestTwoSetUpsOfOneConnectionAreOverByOneEstablished(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		busy, c := s.open("busy"), s.connect("a")
		w1, w2 := s.setUp(s.ctx, c), s.setUp(s.ctx, c)
		busy.Close()
		synctest.Wait()
		w1.want(nil)
		w2.want(nil)
		s.setUp(s.ctx, c).want(nil)
		c.Established()
		s.advance(5 * time.Second)
		s.wantCount("0/0/0 of 1")
	})
}

// Run wakes at most each 10 ms, so a slot may have lapsed although nobody has taken it back yet.
func TestALapsedSlotIsNotMovedInWhileOthersWait(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		a := s.open("a")
		w := s.setUp(s.ctx, s.connect("b"))
		s.clock.step.Store(int64(5 * time.Second)) // Run does not see it pass
		wa := s.move(a)
		w.want(nil)
		wa.waits()
	})
}

func TestReconfigureKeepsHoldersAndLooksAtWaitersAnew(t *testing.T) {
	bubble(t, options(), func(s *site) {
		a, b := s.connect("a"), s.connect("b")
		s.setUp(s.ctx, a).want(nil)
		s.setUp(s.ctx, b).want(nil)
		wc, wd := s.setUp(s.ctx, s.connect("c")), s.setUp(s.ctx, s.connect("d"))

		o := s.options
		o.Capacity = always(3)
		s.Reconfigure(o)
		synctest.Wait()
		wc.want(nil)
		wd.waits()

		o.Capacity = always(1)
		s.Reconfigure(o)
		s.wantCount("3/1/0 of 1")
		a.Close()
		b.Close()
		synctest.Wait()
		s.wantCount("1/1/0 of 1")
		wd.waits()

		s.advance(8 * time.Second)
		o.QueueTimeout = 10 * time.Second
		s.Reconfigure(o)
		synctest.Wait()
		wd.waits()
		s.advance(2 * time.Second) // 10 s since it came, not since the reload
		wd.refused(slots.ReasonQueueTimeout)

		if diff := cmp.Diff([]slots.Key{"a", "b", "c"}, s.grants); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
	})
}
