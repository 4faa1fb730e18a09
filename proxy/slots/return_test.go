package slots_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate/proxy/slots"
)

func TestAWaitThatIsOverIsRefusedAndThePlaceIsKeptForTwiceRetryAfter(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	for _, test := range []struct {
		rule   string
		late   time.Duration
		served slots.Key
	}{
		{"who returns in the last moment has its old place", 0, "first"},
		{"who returns later has the tail", 2, "second"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			bubble(t, o, func(s *site) {
				busy := s.open("busy")
				first := s.connect("first")
				w := s.setUp(s.ctx, first)
				for range 10 {
					s.advance(3 * time.Second)
					if err := busy.Move(s.ctx); err != nil {
						t.Fatal(err)
					}
				}
				after := w.refused(slots.ReasonQueueTimeout)
				if after != 30*time.Second {
					t.Errorf("Retry-After is %v, want the queue time-out while no turn was seen", after)
				}
				first.Close()
				s.wantCount("1/0/1 of 1")
				for waited := time.Duration(0); waited < 2*after; waited += 4 * time.Second {
					if err := busy.Move(s.ctx); err != nil {
						t.Fatal(err)
					}
					s.advance(4 * time.Second)
				}
				second := s.connect("second")
				ws := s.setUp(s.ctx, second)
				ws.waits()
				if err := busy.Move(s.ctx); err != nil {
					t.Fatal(err)
				}
				s.advance(test.late)
				wf := s.setUp(s.ctx, s.connect("first"))
				wf.waits()
				busy.Close()
				synctest.Wait()
				if got := s.grants[len(s.grants)-1]; got != test.served {
					t.Errorf("%s has the turn, want %s", got, test.served)
				}
			})
		})
	}
}

func TestAKeptPlaceDoesNotHoldUpThosePresentBehindIt(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		busy := s.open("busy")
		w := s.setUp(s.ctx, s.connect("gone"))
		for range 10 {
			s.advance(3 * time.Second)
			_ = busy.Move(s.ctx)
		}
		w.refused(slots.ReasonQueueTimeout)
		behind := s.connect("behind")
		wb := s.setUp(s.ctx, behind)
		wb.waits()
		busy.Close()
		synctest.Wait()
		wb.want(nil)
		s.wantCount("1/0/1 of 1")
		behind.Close()
		s.setUp(s.ctx, s.connect("gone")).want(nil) // a slot is free and nobody waits: served at once
		s.wantCount("1/0/0 of 1")
	})
}

func TestWhoReturnedToAKeptPlaceAndLeavesAgainFreesIt(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		s.setUp(s.ctx, s.connect("busy")).want(nil)
		c := s.connect("c")
		w := s.setUp(s.ctx, c)
		s.advance(30 * time.Second)
		w.refused(slots.ReasonQueueTimeout)
		s.wantCount("1/0/1 of 1")
		ctx, cancel := context.WithCancel(s.ctx)
		w = s.setUp(ctx, c)
		s.wantCount("1/1/0 of 1")
		cancel()
		synctest.Wait()
		w.want(context.Canceled)
		s.wantCount("1/0/0 of 1")
	})
}

func TestOneCallerThatIsRefusedKeepsThePlaceAlthoughAnotherLeaves(t *testing.T) {
	o := options()
	o.Capacity = always(1)
	bubble(t, o, func(s *site) {
		s.setUp(s.ctx, s.connect("busy")).want(nil)
		first, second := s.connect("c"), s.connect("c")
		w := s.setUp(s.ctx, first)
		s.advance(10 * time.Second)
		s.setUp(s.ctx, second)
		s.advance(20 * time.Second)
		w.refused(slots.ReasonQueueTimeout)
		s.wantCount("1/1/0 of 1") // the second still waits in the same place
		second.Close()
		s.wantCount("1/0/1 of 1") // which is kept, as the first was told
	})
}

func TestRetryAfterFollowsTheRateOfTurns(t *testing.T) {
	o := options()
	o.Capacity, o.QueueLimit = always(1), 10
	bubble(t, o, func(s *site) {
		conns := []*slots.Conn{s.open("d0")}
		for i := range 10 {
			c := s.connect(slots.Key(fmt.Sprint("d", i+1)))
			s.setUp(s.ctx, c)
			conns = append(conns, c)
		}
		for i := range 8 { // a turn each 2 s
			s.advance(2 * time.Second)
			conns[i].Close()
		}
		for i := range 8 {
			s.setUp(s.ctx, s.connect(slots.Key(fmt.Sprint("e", i)))).waits()
		}
		if got := s.setUp(s.ctx, s.connect("f")).refused(slots.ReasonQueueFull); got < 20*time.Second || got > 24*time.Second {
			t.Errorf("Retry-After is %v, want about 11 turns of 2 s", got)
		}
	})
}

func TestRetryAfterDoesNotForgetTheRateWhileNobodyWaits(t *testing.T) {
	o := options()
	o.Capacity, o.QueueLimit = always(1), 1
	bubble(t, o, func(s *site) {
		holder := s.open("d0")
		for i := range 8 { // a turn each 2 s
			next := s.connect(slots.Key(fmt.Sprint("d", i+1)))
			s.setUp(s.ctx, next).waits()
			s.advance(2 * time.Second)
			holder.Close()
			holder = next
		}
		s.advance(time.Hour)
		s.setUp(s.ctx, s.connect("next")).waits()
		if got := s.setUp(s.ctx, s.connect("full")).refused(slots.ReasonQueueFull); got != 4*time.Second {
			t.Errorf("Retry-After is %v, want two turns of 2 s", got)
		}
	})
}

func TestStateIsBoundedByOpenConnectionsAndTheQueueLimit(t *testing.T) {
	o := options()
	o.Capacity, o.QueueLimit = always(1), 20
	bubble(t, o, func(s *site) {
		s.setUp(s.ctx, s.connect("busy")).want(nil)
		for wave := range 4 { // of new names, each of which waits until it is refused and never comes back
			var conns []*slots.Conn
			for i := range 50 {
				c := s.connect(slots.Key(fmt.Sprint("w", wave, "-", i)))
				s.setUp(s.ctx, c)
				conns = append(conns, c)
			}
			s.advance(30 * time.Second)
			for _, c := range conns {
				c.Close()
			}
			if got := s.Size(); got > 21 {
				t.Fatalf("wave %d: %d devices are remembered, want at most the one connection and 20 places", wave, got)
			}
		}
		s.advance(61 * time.Second)
		s.wantCount("1/0/0 of 1")
		if got := s.Size(); got != 1 {
			t.Errorf("%d devices are remembered, want only the one with a connection", got)
		}
	})
}
