package slots_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate/proxy/slots"
)

// A thousand devices come within a second to a relay of 50 and each wants one turn of its own length.
func TestAThousandDevicesAreServedInTurn(t *testing.T) {
	const devices, capacity = 1000, 50
	o := options()
	o.Capacity, o.QueueLimit, o.QueueTimeout = always(capacity), devices, time.Hour
	bubble(t, o, func(s *site) {
		stoodBefore, turnsBefore := map[slots.Key]int{}, map[slots.Key]int{}
		conns := map[slots.Key]*slots.Conn{}
		ends := map[slots.Key]time.Time{}
		served := 0
		serve := func() { // what those who just got their turn do: move bytes for 1 to 7 s, then close
			for ; served < len(s.grants); served++ {
				d := s.grants[served]
				ends[d] = s.clock.Now().Add(time.Duration(1+served%7) * time.Second)
				if waited := served - turnsBefore[d]; waited > stoodBefore[d] {
					t.Errorf("%s waited for %d turns, but %d devices stood before it", d, waited, stoodBefore[d])
				}
			}
		}
		for i := range devices {
			d := slots.Key(fmt.Sprintf("d%03d", i))
			stoodBefore[d], turnsBefore[d] = s.Count().Queued, len(s.grants)
			conns[d] = s.connect(d)
			go conns[d].SetUp(s.ctx) // the bubble waits for it
			s.advance(time.Millisecond)
			serve()
		}
		s.wantCount("50/950/0 of 50")
		for round := 0; len(conns) > 0; round++ {
			if round > 10_000 {
				t.Fatalf("%d devices are not served", len(conns))
			}
			s.advance(100 * time.Millisecond)
			for d := range s.held {
				if !s.clock.Now().Before(ends[d]) {
					conns[d].Close()
					delete(conns, d)
				}
			}
			synctest.Wait()
			serve()
		}
		if len(s.grants) != devices || s.most != capacity {
			t.Errorf("%d turns and at most %d at once, want %d and %d", len(s.grants), s.most, devices, capacity)
		}
		for i, d := range s.grants {
			if want := slots.Key(fmt.Sprintf("d%03d", i)); d != want {
				t.Fatalf("turn %d is of %s, want %s: first come, first served", i, d, want)
			}
		}
		if s.Size() != 0 {
			t.Errorf("%d devices are remembered, want none", s.Size())
		}
	})
}

// Sixty devices keep a push tunnel open and send a heart-beat now and then, which is more devices than there are slots;
// ten others download 60 s long. Everybody gets on.
func TestHeartBeatsAndDownloadsShareTheRelay(t *testing.T) {
	const capacity, period = 50, 7 * time.Second // each heart-beat costs 5 of 7 s of a slot: 43 + 10 of 50 on average
	o := options()
	o.Capacity = always(capacity)
	bubble(t, o, func(s *site) {
		beats := map[slots.Key]int{}
		finished := 0
		stop := make(chan struct{})
		stopped := make(chan struct{})
		for i := range 60 {
			d := slots.Key(fmt.Sprint("tunnel", i))
			go func() { // ends by stop, and is counted by stopped
				defer func() { stopped <- struct{}{} }()
				c := s.connect(d)
				defer c.Close()
				if err := c.SetUp(s.ctx); err != nil {
					t.Errorf("%s: %v", d, err)
					return
				}
				c.Established()
				for {
					timer := s.clock.NewTimer(period)
					select {
					case <-stop:
						timer.Stop()
						return
					case <-timer.C():
					}
					if err := c.Move(s.ctx); err != nil {
						t.Errorf("%s is cut: %v", d, err)
						return
					}
					beats[d]++ // read once all are stopped
				}
			}()
			s.advance(100 * time.Millisecond)
		}
		for i := range 10 {
			d := slots.Key(fmt.Sprint("download", i))
			go func() { // ends by itself, and is counted by stopped
				defer func() { stopped <- struct{}{} }()
				c := s.connect(d)
				defer c.Close()
				if err := c.SetUp(s.ctx); err != nil {
					t.Errorf("%s: %v", d, err)
					return
				}
				c.Established()
				for range 60 {
					timer := s.clock.NewTimer(time.Second)
					<-timer.C()
					if err := c.Move(s.ctx); err != nil {
						t.Errorf("%s is cut: %v", d, err)
						return
					}
				}
				finished++ // read once all are stopped
			}()
			synctest.Wait()
		}
		seen, waits := len(s.grants), map[slots.Key]*wait{}
		for range 1500 {
			s.advance(100 * time.Millisecond)
			waits = checkFairness(t, waits, s.Snapshot(), s.grants[seen:])
			seen = len(s.grants)
		}
		close(stop)
		for range 70 {
			<-stopped
		}
		if finished != 10 {
			t.Errorf("%d downloads finished, want 10", finished)
		}
		if s.most != capacity {
			t.Errorf("at most %d devices were served at once, want the full %d", s.most, capacity)
		}
		for i := range 60 {
			if d := slots.Key(fmt.Sprint("tunnel", i)); beats[d] < 10 {
				t.Errorf("%s got %d heart-beats through in 150 s, want at least 10", d, beats[d])
			}
		}
	})
}

// wait is what happened while one device has been queued.
type wait struct {
	since  time.Time
	passed map[slots.Key]bool
}

// checkFairness reports a device that had two turns while another waited all the time. It returns the waits under way.
func checkFairness(t *testing.T, before map[slots.Key]*wait, now slots.Snapshot, grants []slots.Key) map[slots.Key]*wait {
	t.Helper()
	after := map[slots.Key]*wait{}
	for _, d := range now.Devices {
		if d.State != slots.StateQueued {
			continue
		}
		w := before[d.Key]
		if w == nil || !w.since.Equal(d.Since) {
			after[d.Key] = &wait{d.Since, map[slots.Key]bool{}} // who had a turn in the step in which it came does not count
			continue
		}
		after[d.Key] = w
		for _, g := range grants {
			if w.passed[g] {
				t.Errorf("%s had two turns while %s waited", g, d.Key)
			}
			w.passed[g] = true
		}
	}
	return after
}
