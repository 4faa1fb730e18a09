package slots_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// cheap is a clock that costs next to nothing to read: what remains is admission's own cost.
type cheap struct {
	mfpgate.SystemClock
	now time.Time
}

func (c *cheap) Now() time.Time {
	c.now = c.now.Add(100)
	return c.now
}

// BenchmarkMove is the path of every chunk that is relayed.
func BenchmarkMove(b *testing.B) {
	for _, clock := range []mfpgate.Clock{mfpgate.SystemClock{}, &cheap{now: monday}} {
		b.Run(fmt.Sprintf("%T", clock), func(b *testing.B) {
			o := options()
			o.Clock = clock
			a := slots.New(o)
			c, err := a.Connect("a")
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			ctx := b.Context()
			if err := c.Move(ctx); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Move(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNow is the part of BenchmarkMove that is the machine's clock.
func BenchmarkNow(b *testing.B) {
	var clock mfpgate.Clock = mfpgate.SystemClock{}
	for b.Loop() {
		_ = clock.Now()
	}
}

// BenchmarkTurn is one slot handed from a device that closes to the first of n that wait, whose place at the tail a new
// one takes.
func BenchmarkTurn(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := options()
			o.Clock, o.Capacity, o.QueueLimit, o.QueueTimeout = mfpgate.SystemClock{}, always(1), n+1, time.Hour
			a := slots.New(o)
			ctx, cancel := context.WithCancel(b.Context())
			turns := make(chan *slots.Conn)
			exits := make(chan struct{}, n+1)
			enter := func(i int) {
				c, err := a.Connect(slots.Key(fmt.Sprint(i)))
				if err != nil {
					b.Fatal(err)
				}
				go func() { // counted by exits
					if c.SetUp(ctx) == nil {
						turns <- c
					}
					c.Close()
					exits <- struct{}{}
				}()
			}
			for i := range n + 1 {
				enter(i)
			}
			for a.Count().Queued < n { // until all have come
			}
			i := n + 1
			b.ReportAllocs()
			for b.Loop() {
				<-turns // its goroutine closes it
				enter(i)
				<-exits
				i++
			}
			cancel()
			for left := n + 1; left > 0; {
				select {
				case <-turns:
				case <-exits:
					left--
				}
			}
		})
	}
}
