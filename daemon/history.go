package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// The chart of the last hour has a sample every ten seconds.
const (
	sampleEvery = 10 * time.Second
	samples     = 360
)

// history samples the relay's load for the portal.
type history struct {
	daemon *Daemon

	mu   sync.Mutex
	ring [samples]control.Sample
	next int
}

func newHistory(d *Daemon) *history { return &history{daemon: d} }

func (h *history) run(ctx context.Context) error {
	for {
		h.take()
		if mfpgate.Wait(ctx, h.daemon.Clock, sampleEvery) != nil {
			return nil
		}
	}
}

func (h *history) take() {
	s := h.present()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring[h.next%samples] = s
	h.next++
}

func (h *history) present() control.Sample {
	s := h.daemon.relay.Slots()
	return control.Sample{Time: h.daemon.Clock.Now(), Served: s.Served, Queued: s.Queued, Capacity: s.Capacity}
}

// list returns the samples, the oldest first, and the present. The present is not kept: readers would push the hour out of
// the ring.
func (h *history) list() []control.Sample {
	now := h.present()
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(h.next, samples)
	list := make([]control.Sample, 0, n+1)
	for i := h.next - n; i < h.next; i++ {
		list = append(list, h.ring[i%samples])
	}
	return append(list, now)
}
