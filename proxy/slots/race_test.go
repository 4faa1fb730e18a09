package slots_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// At no moment do more devices hold a slot than there are, while many goroutines connect, move, wait, leave and close and
// slots lapse under them. The clock is the system's and all times are short, so that Move's fast path meets lapses.
func TestNeverMoreThanCapacityUnderRace(t *testing.T) {
	const devices, capacity, moves = 24, 5, 200
	a := slots.New(slots.Options{
		Clock: mfpgate.SystemClock{}, Capacity: always(capacity), Linger: 200 * time.Microsecond,
		QueueTimeout: 2 * time.Millisecond, QueueLimit: devices / 2, Rate: 1 << 40,
		Planned: func(d slots.Key, t time.Time) bool { return (len(d)+t.Nanosecond()/1_000_000)%3 == 0 },
	})
	held, most, turns := map[slots.Key]bool{}, 0, 0
	a.Trace(func(d slots.Key, has bool) { // under Admission's lock
		if held[d] == has {
			t.Errorf("device %s: held %v twice", d, has)
		}
		if held[d] = has; has {
			turns++
		} else {
			delete(held, d)
		}
		if most = max(most, len(held)); len(held) > capacity {
			t.Errorf("%d devices hold a slot, want at most %d", len(held), capacity)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	run := make(chan error, 1)
	go func() { run <- a.Run(ctx) }() // waited for below
	var moved, refused atomic.Int64
	var g sync.WaitGroup
	for worker := range 2 * devices { // two per device
		g.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(worker)))
			var c *slots.Conn
			for range moves {
				if c == nil {
					var err error
					if c, err = a.Connect(slots.Key(fmt.Sprint(worker % devices))); err != nil {
						t.Error(err)
						return
					}
					if rng.IntN(2) == 0 {
						err := c.SetUp(ctx)
						runtime.Gosched() // while the others run, this one dials
						switch {
						case err != nil:
							refused.Add(1)
						case rng.IntN(4) > 0:
							c.Established()
						}
					}
				}
				short, stop := context.WithTimeout(ctx, time.Duration(1+rng.IntN(5))*time.Millisecond)
				err := c.Move(short)
				stop()
				var r *slots.Refused
				switch {
				case err == nil:
					moved.Add(1)
				case errors.As(err, &r):
					refused.Add(1)
				case !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("move: %v", err)
				}
				runtime.Gosched()
				switch rng.IntN(8) {
				case 0:
					c.Close()
					c = nil
				case 1:
					a.Snapshot()
				case 2:
					_ = c.Take(ctx, 1000)
				}
			}
			if c != nil {
				c.Close()
			}
		})
	}
	g.Wait()
	if n := a.Count(); n.Served != 0 || n.Queued != 0 || len(held) != 0 {
		t.Errorf("after all were closed: %+v and %d held, want none", n, len(held))
	}
	cancel()
	if err := <-run; err != nil {
		t.Error(err)
	}
	if most != capacity || moved.Load() == 0 || turns <= devices {
		t.Errorf("%d at most, %d moves, %d turns: the test did not stress anything", most, moved.Load(), turns)
	}
	t.Logf("%d moves, %d refusals, %d turns", moved.Load(), refused.Load(), turns)
}

// A Move that returned nil was inside a slot: the slot that it moved in does not end before linger after it. The mover
// and the one who takes lapsed slots back race for the same word; only the latter moves the clock.
func TestMoveAndLapseAreLinearisable(t *testing.T) {
	const linger, step = 1000, 600 // nanoseconds: every second step or so a slot lapses
	clock := &tickingClock{}
	o := options()
	o.Clock, o.Linger = clock, linger
	a := slots.New(o)
	c, err := a.Connect("a")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ended atomic.Int64 // when the slot ended, by the clock; 0 while it is held
	var lapses int
	a.Trace(func(_ slots.Key, held bool) {
		if held {
			ended.Store(0)
			return
		}
		lapses++
		ended.Store(clock.now.Load())
	})
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		for range 200_000 {
			clock.now.Add(step)
			a.Count()
		}
	}()
	for moves := 0; ; moves++ {
		select {
		case <-done:
			if a.Count(); lapses == 0 || moves == 0 {
				t.Errorf("%d moves and %d lapses: the test did not stress anything", moves, lapses)
			}
			return
		default:
		}
		for range moves % 701 { // so that the slot lapses every few moves
			clock.now.Load()
		}
		before := clock.now.Load()
		if err := c.Move(t.Context()); err != nil {
			t.Fatal(err)
		}
		if end := ended.Load(); end != 0 && end < before+linger {
			t.Fatalf("a move at %d or later was in a slot that ended at %d", before, end)
		}
	}
}

// tickingClock is moved by one goroutine while others read it. Now and then what it shows is old by the time that the
// reader gets it, which is when races happen.
type tickingClock struct {
	mfpgate.SystemClock
	now   atomic.Int64
	reads atomic.Int64
}

func (c *tickingClock) Now() time.Time {
	now := c.now.Load()
	if n := c.reads.Add(1); n%3 == 0 {
		for range n % 401 {
			c.reads.Load()
		}
	}
	return monday.Add(time.Duration(now))
}
