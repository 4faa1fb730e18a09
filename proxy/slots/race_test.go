package slots_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	const devices, capacity, moves = 24, 5, 400
	a := slots.New(slots.Options{
		Clock: mfpgate.SystemClock{}, Capacity: always(capacity), Linger: 200 * time.Microsecond,
		QueueTimeout: 2 * time.Millisecond, QueueLimit: devices / 2, Rate: 1 << 40,
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
						switch err := c.SetUp(ctx); {
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
