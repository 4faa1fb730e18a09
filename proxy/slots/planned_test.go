package slots_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/proxy/slots"
	"github.com/mfpgate/mfpgate/telemetry"
)

// share is what doc.go promises: of so many turns one goes to a device outside its planned slot, if one waits.
const share = 4

// planned are the devices whose names begin with p.
func planned(d slots.Key, _ time.Time) bool { return strings.HasPrefix(string(d), "p") }

// queued opens a relay of one with a holder, and lets the devices queue in order.
func queued(s *site, devices ...slots.Key) (holder *slots.Conn, waiting map[slots.Key]*slots.Conn) {
	s.t.Helper()
	holder, waiting = s.open("holder"), map[slots.Key]*slots.Conn{}
	for _, d := range devices {
		waiting[d] = s.connect(d)
		s.setUp(s.ctx, waiting[d]).waits()
	}
	return holder, waiting
}

// turns lets each that is served leave, until nobody waits, and returns the order of the turns.
func (s *site) turns(holder *slots.Conn, waiting map[slots.Key]*slots.Conn) []slots.Key {
	began := len(s.grants)
	holder.Close()
	synctest.Wait()
	for served := began; served < len(s.grants); served++ {
		waiting[s.grants[served]].Close()
		synctest.Wait()
	}
	return s.grants[began:]
}

func TestWhoseSlotIsPlannedGoesFirst(t *testing.T) {
	for _, test := range []struct {
		rule       string
		queue      []slots.Key
		want       []slots.Key
		overtaking float64
	}{
		{"the next free slot is for the one that is planned", []slots.Key{"a", "b", "p1"}, []slots.Key{"p1", "a", "b"}, 1},
		{"first come, first served among the planned", []slots.Key{"a", "p1", "p2"}, []slots.Key{"p1", "p2", "a"}, 2},
		{"one that stood before the others passes nobody", []slots.Key{"p1", "a", "p2"}, []slots.Key{"p1", "p2", "a"}, 1},
		{
			"of four turns one is for the first of those who are not planned", []slots.Key{"a", "b", "p1", "p2", "p3", "p4", "p5", "p6", "p7"},
			[]slots.Key{"p1", "p2", "p3", "a", "p4", "p5", "p6", "b", "p7"}, 6,
		},
		{
			"turns that pass nobody do not count towards the four", []slots.Key{"p1", "p2", "a", "p3", "p4", "p5", "p6"},
			[]slots.Key{"p1", "p2", "p3", "p4", "p5", "a", "p6"}, 3,
		},
		{"without a plan by arrival", []slots.Key{"a", "b", "c"}, []slots.Key{"a", "b", "c"}, 0},
	} {
		t.Run(test.rule, func(t *testing.T) {
			o := options()
			o.Capacity, o.Planned, o.Metrics = always(1), planned, telemetry.NewMetrics()
			bubble(t, o, func(s *site) {
				holder, waiting := queued(s, test.queue...)
				var shown []slots.Key
				for i, d := range s.Snapshot().Devices {
					if d.State == slots.StateQueued {
						shown = append(shown, d.Key)
						if d.Position != i+1 || d.Planned != planned(d.Key, monday) {
							t.Errorf("%s is shown at position %d, planned %v; it is at %d", d.Key, d.Position, d.Planned, i+1)
						}
					}
				}
				if diff := cmp.Diff(test.want, s.turns(holder, waiting)); diff != "" {
					t.Errorf("turns (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.want, shown); diff != "" {
					t.Errorf("order that the snapshot showed before (-want +got):\n%s", diff)
				}
				if got := o.Metrics.Value("mfpgate_relay_queue_planned_turns_total"); got != test.overtaking {
					t.Errorf("%v turns are counted as taken before others, want %v", got, test.overtaking)
				}
			})
		})
	}
}

// A device that waits already is preferred from a second after its slot has begun, and no longer after its end.
func TestASlotBeginsAndEndsWhileItsDeviceWaits(t *testing.T) {
	begin, end := monday.Add(10*time.Second), monday.Add(20*time.Second)
	for _, test := range []struct {
		rule string
		turn time.Duration // when the slot gets free
		want []slots.Key
	}{
		{"before it begins", 9 * time.Second, []slots.Key{"a", "b", "c"}},
		{"within", 11 * time.Second, []slots.Key{"c", "a", "b"}},
		{"after its end", 21 * time.Second, []slots.Key{"a", "b", "c"}},
	} {
		t.Run(test.rule, func(t *testing.T) {
			o := options()
			o.Capacity, o.Linger = always(1), time.Minute
			o.Planned = func(d slots.Key, at time.Time) bool { return d == "c" && !at.Before(begin) && at.Before(end) }
			bubble(t, o, func(s *site) {
				holder, waiting := queued(s, "a", "b", "c")
				s.advance(test.turn)
				if diff := cmp.Diff(test.want, s.turns(holder, waiting)); diff != "" {
					t.Errorf("turns (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Without capacity in force nobody waits, planned or not, so a plan takes no slot from anybody who can be served.
func TestAPlanHoldsNoSlotFree(t *testing.T) {
	o := options()
	o.Planned = planned
	bubble(t, o, func(s *site) {
		s.open("a")
		s.open("b")
		s.setUp(s.ctx, s.connect("p1")).waits() // nor does it cut a holder
		s.wantCount("2/1/0 of 2")
	})
}

func TestAReloadBringsAnotherPlan(t *testing.T) {
	o := options()
	o.Capacity, o.Planned = always(1), planned
	bubble(t, o, func(s *site) {
		holder, waiting := queued(s, "a", "p1")
		o.Planned = nil
		s.Reconfigure(o)
		s.advance(2 * time.Second)
		if diff := cmp.Diff([]slots.Key{"a", "p1"}, s.turns(holder, waiting)); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
	})
}

// Planned devices that never stop coming leave the others their share: who finds B devices before it sees no more than
// (share-1)(B+1) others pass. And the planned ones lose no more than one turn in share.
func TestNobodyStarvesBesideAPlan(t *testing.T) {
	for _, load := range []struct{ planned, others, capacity int }{{8, 30, 2}, {40, 6, 1}, {3, 60, 5}, {20, 20, 8}} {
		t.Run(fmt.Sprintf("%d planned and %d others at %d", load.planned, load.others, load.capacity), func(t *testing.T) {
			o := options()
			o.Capacity, o.QueueTimeout, o.Planned = always(load.capacity), time.Hour, planned
			bubble(t, o, func(s *site) {
				rng := rand.New(rand.NewPCG(uint64(load.planned), uint64(load.others)))
				before, from := map[slots.Key]int{}, map[slots.Key]int{} // devices that stood before it, turns when it came
				conns := map[slots.Key]*slots.Conn{}
				came := map[slots.Key]int{}
				arrivals := 0
				come := func(d slots.Key) {
					arrivals++
					before[d], from[d], came[d] = s.Count().Queued, len(s.grants), arrivals
					conns[d] = s.connect(d)
					s.setUp(s.ctx, conns[d])
				}
				var all []slots.Key
				for i := range load.planned {
					all = append(all, slots.Key(fmt.Sprint("p", i)))
				}
				for i := range load.others {
					all = append(all, slots.Key(fmt.Sprint("o", i)))
				}
				rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				for _, d := range all {
					come(d)
				}
				var order []int // of the turns: how manieth each came
				seen, others, worst := 0, 0, 0
				for round := 0; round < 600; round++ {
					for ; seen < len(s.grants); seen++ {
						d := s.grants[seen]
						order = append(order, came[d])
						if planned(d, monday) {
							continue
						}
						passedBy := 0
						for _, other := range order[from[d]:] {
							if other > came[d] {
								passedBy++
							}
						}
						others++
						worst = max(worst, passedBy)
						if limit := (share - 1) * (before[d] + 1); passedBy > limit {
							t.Fatalf("%s found %d before it and saw %d pass, want at most %d", d, before[d], passedBy, limit)
						}
					}
					var served []slots.Key
					for _, d := range all {
						if s.held[d] {
							served = append(served, d)
						}
					}
					d := served[rng.IntN(len(served))]
					conns[d].Close()
					synctest.Wait()
					come(d) // at once, to the tail
					s.advance(time.Duration(rng.IntN(500)) * time.Millisecond)
				}
				turns := len(s.grants) - load.capacity
				if others == 0 || worst == 0 || turns < 500 {
					t.Errorf("%d turns of others, at most %d passed, %d turns: the test did not stress anything", others, worst, turns)
				}
				if s.most != load.capacity {
					t.Errorf("at most %d at once, want %d", s.most, load.capacity)
				}
			})
		})
	}
}
