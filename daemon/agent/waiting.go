package agent

import (
	"context"
	"sync"

	"github.com/mfpgate/mfpgate"
)

// waiting are the devices whose request is held back, or whose stream is open: one each.
type waiting struct {
	limit int

	mu     sync.Mutex
	turns  uint64
	device map[mfpgate.DeviceID]turn
}

type turn struct {
	number uint64
	cancel context.CancelFunc
}

func newWaiting(limit int) *waiting {
	return &waiting{limit: limit, device: map[mfpgate.DeviceID]turn{}}
}

// enter makes room for a request of a device and ends the one that it had before, whose connection may have died unnoticed. It reports
// false if too many wait. The caller leaves.
func (w *waiting) enter(ctx context.Context, id mfpgate.DeviceID) (_ context.Context, leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, again := w.device[id]
	if !again && len(w.device) >= w.limit {
		return nil, nil, false
	}
	if again {
		before.cancel()
	}
	ctx, cancel := context.WithCancel(ctx)
	w.turns++
	mine := turn{w.turns, cancel}
	w.device[id] = mine
	return ctx, func() {
		cancel()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.device[id].number == mine.number {
			delete(w.device, id)
		}
	}, true
}
