package slots_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/proxy/slots"
	"github.com/mfpgate/mfpgate/telemetry"
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

func TestSnapshotSaysWhatEachDeviceHas(t *testing.T) {
	o := options()
	o.Metrics = telemetry.NewMetrics()
	bubble(t, o, func(s *site) {
		s.open("idle")
		s.advance(6 * time.Second)
		for _, d := range []slots.Key{"x", "y"} {
			s.setUp(s.ctx, s.connect(d)).want(nil)
		}
		away := s.connect("away")
		s.setUp(s.ctx, away)
		took := s.clock.Now()
		s.advance(30 * time.Second)
		away.Close()
		s.setUp(s.ctx, s.connect("q1"))
		s.setUp(s.ctx, s.connect("q2"))
		s.setUp(s.ctx, s.connect("q2"))
		now := s.clock.Now()
		want := slots.Snapshot{Capacity: 2, Served: 2, Queued: 2, Away: 1, Devices: []slots.Device{
			{Key: "away", State: slots.StateAway, Position: 1, Since: took, KeptUntil: now.Add(time.Minute)},
			{Key: "q1", State: slots.StateQueued, Connections: 1, Position: 1, Since: now},
			{Key: "q2", State: slots.StateQueued, Connections: 2, Position: 2, Since: now},
			{Key: "idle", State: slots.StateIdle, Connections: 1},
			{Key: "x", State: slots.StateHeld, Connections: 1},
			{Key: "y", State: slots.StateHeld, Connections: 1},
		}}
		got := s.Snapshot()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
		for name, want := range map[string]float64{"served": 2, "queued": 2} {
			if got := o.Metrics.Value("mfpgate_relay_devices", "state", name); got != want {
				t.Errorf("metric of %s is %v, want %v", name, got, want)
			}
		}
	})
}
