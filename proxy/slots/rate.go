package slots

import (
	"context"
	"fmt"
	"time"
)

const (
	// MaxTake is the most bytes that one Take may ask for.
	MaxTake = 1 << 20
	// credit is how long a silent time counts for a burst afterwards.
	credit = 100 * time.Millisecond
	// slack is the debt below which Take does not sleep: timers are not finer, and what is overdrawn is paid by the next.
	slack = time.Millisecond
)

// Take waits until n more bytes of the device may move at its Rate, over all its connections in both directions; without
// a Rate it returns at once. The caller pays before it moves, so that closing and reopening connections gains nothing. It
// returns ctx's error if that ends first (nothing is charged then), and an error if n is more than MaxTake.
//
// A device keeps its slot only while bytes move: with a Rate so low that n bytes take longer than Linger, ask for less.
func (c *Conn) Take(ctx context.Context, n int) error {
	if n > MaxTake {
		return fmt.Errorf("take %d bytes: at most %d at a time", n, MaxTake)
	}
	for {
		again, err := c.take(ctx, n)
		if !again {
			return err
		}
	}
}

// take is one try under the settings in force; again says that they changed while it waited.
//
// The bucket is one number, the time at which all bytes taken so far are paid for (the generic cell rate algorithm, ITU-T
// I.371, with prepayment). Being time and not bytes, it stays right when the rate changes.
func (c *Conn) take(ctx context.Context, n int) (again bool, err error) {
	a, d := c.admission, c.device
	set := a.set.Load()
	if set.Rate <= 0 || n <= 0 {
		return false, nil
	}
	now := a.now()
	cost := int64(float64(n) / float64(set.Rate) * float64(time.Second))
	var paid int64
	for {
		old := d.debt.Load()
		base := max(old, now-int64(credit))
		if old == 0 {
			base = now // a new device has no credit: it would be renewed by each reconnection
		}
		if paid = base + cost; d.debt.CompareAndSwap(old, paid) {
			break
		}
	}
	if paid-now <= int64(slack) {
		return false, nil
	}
	timer := a.clock.NewTimer(time.Duration(paid - now))
	defer timer.Stop()
	select {
	case <-timer.C():
		return false, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-set.changed:
		again = true
	}
	d.debt.Add(-cost)
	return again, err
}
