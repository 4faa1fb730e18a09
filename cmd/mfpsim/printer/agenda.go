package printer

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// agenda does things at their time, one after another, with one timer and one goroutine for thousands of printers.
type agenda struct {
	clock mfpgate.Clock
	wake  chan struct{} // capacity 1

	mu    sync.Mutex
	items items
	order uint64
}

type item struct {
	at    time.Time
	order uint64 // of those at the same time
	do    func()
}

type items []item

func (q items) Len() int { return len(q) }
func (q items) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].order < q[j].order
}
func (q items) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *items) Push(x any)   { *q = append(*q, x.(item)) }
func (q *items) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = item{}
	*q = (*q)[:last]
	return x
}

func newAgenda(clock mfpgate.Clock) *agenda {
	return &agenda{clock: clock, wake: make(chan struct{}, 1)}
}

// in does something after d, once run runs.
func (a *agenda) in(d time.Duration, do func()) {
	a.mu.Lock()
	a.order++
	heap.Push(&a.items, item{at: a.clock.Now().Add(d), order: a.order, do: do})
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// next returns what is due, or how long until something is.
func (a *agenda) next() (do func(), wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) == 0 {
		return nil, time.Hour
	}
	if wait := a.items[0].at.Sub(a.clock.Now()); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&a.items).(item).do, 0
}

func (a *agenda) run(ctx context.Context) {
	for ctx.Err() == nil {
		do, wait := a.next()
		if do != nil {
			do()
			continue
		}
		timer := a.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-timer.C():
		}
		timer.Stop()
	}
}
