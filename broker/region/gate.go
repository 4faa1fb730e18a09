package region

import (
	"context"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// gates bound the steps at once whose device leaves one region, so that a region that hangs does not take every place.
type gates struct {
	places int
	mu     sync.Mutex
	of     map[string]*gate
}

type gate struct {
	taken chan struct{}
	mu    sync.Mutex
	moved time.Time // when somebody came in or went out
}

const (
	gateWait  = time.Second     // for a place, while others of the region come and go
	gateAgain = 2 * time.Second // without one
)

// enter waits a moment for a place, and returns nil if there is none: then it is another region's turn.
func (g *gates) enter(ctx context.Context, clock mfpgate.Clock, region string) (leave func()) {
	g.mu.Lock()
	at := g.of[region]
	if at == nil {
		at = &gate{taken: make(chan struct{}, g.places)}
		g.of[region] = at
	}
	g.mu.Unlock()
	leave = func() {
		<-at.taken
		at.touch(clock.Now())
	}
	select {
	case at.taken <- struct{}{}:
		at.touch(clock.Now())
		return leave
	default:
	}
	left := at.left(clock.Now())
	if left <= 0 {
		return nil
	}
	t := clock.NewTimer(left)
	defer t.Stop()
	select {
	case at.taken <- struct{}{}:
		at.touch(clock.Now())
		return leave
	case <-ctx.Done():
	case <-t.C():
	}
	return nil
}

func (g *gate) touch(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = now
}

// left is how much longer it makes sense to wait.
func (g *gate) left(now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return gateWait - now.Sub(g.moved)
}
