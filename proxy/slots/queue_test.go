package slots_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/proxy/slots"
)

func TestOnePlacePerDeviceAndAllItsConnectionsAreReleasedTogether(t *testing.T) {
	bubble(t, options(), func(s *site) {
		a, b := s.open("a"), s.open("b")
		c1, c2, d := s.connect("c"), s.connect("c"), s.connect("d")
		w1, w2, wd := s.setUp(s.ctx, c1), s.setUp(s.ctx, c2), s.setUp(s.ctx, d)
		s.wantCount("2/2/0 of 2")
		a.Close()
		synctest.Wait()
		w1.want(nil)
		w2.want(nil)
		wd.waits()
		s.wantCount("2/1/0 of 2")
		b.Close()
		synctest.Wait()
		wd.want(nil)
		for _, c := range []*slots.Conn{c1, c2, d} {
			c.Close()
		}
		s.wantCount("0/0/0 of 2")
	})
}

func TestTheQueueIsFirstComeFirstServedAndAFreeSlotNeverGoesToANewcomer(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		holder := s.open("holder")
		var waiting []*slots.Conn
		want := []slots.Key{"holder"}
		for i := range 10 {
			c := s.connect(slots.Key(fmt.Sprint("d", i)))
			s.setUp(s.ctx, c)
			waiting, want = append(waiting, c), append(want, slots.Key(fmt.Sprint("d", i)))
		}
		holder.Close()
		synctest.Wait()
		for i, c := range waiting {
			late := s.connect("late") // comes at the very moment at which a slot gets free
			c.Close()
			w := s.setUp(s.ctx, late)
			if i < len(waiting)-1 {
				w.waits()
			}
			late.Close()
			synctest.Wait()
		}
		if diff := cmp.Diff(want, s.grants[:len(want)]); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
	})
}

func TestADeviceThatHoldsASlotIsServedWhileOthersWait(t *testing.T) {
	bubble(t, options(), func(s *site) {
		s.open("a")
		s.open("b")
		s.setUp(s.ctx, s.connect("c")).waits()
		s.setUp(s.ctx, s.connect("a")).want(nil)
	})
}

func TestADeviceThatHadItsTurnGoesToTheTail(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		a := s.open("a")
		b, c := s.connect("b"), s.connect("c")
		wb, wc := s.setUp(s.ctx, b), s.setUp(s.ctx, c)
		s.advance(6 * time.Second) // a's slot lapses
		wb.want(nil)
		wa := s.move(a)
		wa.waits()
		b.Established()
		s.advance(6 * time.Second)
		wc.want(nil)
		wa.waits()
		c.Close()
		synctest.Wait()
		wa.want(nil)
		if diff := cmp.Diff([]slots.Key{"a", "b", "c", "a"}, s.grants); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
	})
}

func TestATunnelIsCutWithAReasonWhenItsTurnDoesNotCome(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		idle := s.open("idle")
		s.advance(6 * time.Second)
		setUp := s.connect("busy")
		s.setUp(s.ctx, setUp).want(nil) // never ends: it holds the slot
		up, down := s.move(idle), s.move(idle)
		s.advance(29 * time.Second)
		up.waits()
		down.waits()
		s.advance(time.Second)
		up.refused(slots.ReasonQueueTimeout)
		down.refused(slots.ReasonQueueTimeout)
		s.wantCount("1/0/1 of 1")
	})
}

func TestAClientThatLeavesFreesItsPlaceAtOnce(t *testing.T) {
	for _, test := range []struct {
		rule  string
		leave func(cancel context.CancelFunc, c *slots.Conn)
		want  error
	}{
		{"its context ends", func(cancel context.CancelFunc, _ *slots.Conn) { cancel() }, context.Canceled},
		{"its connection is closed", func(_ context.CancelFunc, c *slots.Conn) { c.Close() }, slots.ErrClosed},
	} {
		t.Run(test.rule, func(t *testing.T) {
			bubble(t, options(), func(s *site) {
				s.open("a")
				s.open("b")
				ctx, cancel := context.WithCancel(s.ctx)
				defer cancel()
				c, other := s.connect("c"), s.connect("c")
				w, wo := s.setUp(ctx, c), s.setUp(s.ctx, other)
				test.leave(cancel, c)
				synctest.Wait()
				w.want(test.want)
				wo.waits() // another connection of the device holds the place
				s.wantCount("2/1/0 of 2")
				other.Close()
				synctest.Wait()
				wo.want(slots.ErrClosed)
				s.wantCount("2/0/0 of 2")
			})
		})
	}
}

func TestBeyondTheQueueLimitOneIsRefusedAtOnce(t *testing.T) {
	o := options()
	o.QueueLimit = 3
	bubble(t, o, func(s *site) {
		a := s.open("a")
		s.open("b")
		idle := s.connect("idle")
		for i := range 3 {
			s.setUp(s.ctx, s.connect(slots.Key(fmt.Sprint("d", i)))).waits()
		}
		s.setUp(s.ctx, s.connect("e")).refused(slots.ReasonQueueFull)
		s.setUp(s.ctx, s.connect("d1")).waits() // has its place
		s.move(idle).waits()                    // an open tunnel is not cut because newcomers fill the queue
		a.Close()
		s.setUp(s.ctx, s.connect("f")).refused(slots.ReasonQueueFull)
		s.wantCount("2/3/0 of 2")
	})
}

func TestADeviceHasOnlySoManyConnections(t *testing.T) {
	o := options()
	o.Connections = 2
	bubble(t, o, func(s *site) {
		first := s.connect("a")
		s.connect("a")
		_, err := s.Connect("a")
		if diff := cmp.Diff(&slots.Refused{Reason: slots.ReasonDeviceConnections}, err); diff != "" {
			t.Errorf("third connection (-want +got):\n%s", diff)
		}
		s.connect("b")
		first.Close()
		first.Close() // counts once
		s.connect("a")
		if _, err := s.Connect("a"); err == nil {
			t.Error("a connection that was closed twice freed two places")
		}
	})
}
