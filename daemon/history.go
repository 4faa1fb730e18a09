package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/scheduler"
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
	past []piece // of the last day, the oldest first

	// What the rest of the present piece has planned, by the plan that was made at made.
	ahead []scheduler.Slot
	made  time.Time
}

// piece is what the chart of a day keeps of loadStep.
type piece struct {
	from             time.Time
	served, capacity int  // the most, and the least
	planned          *int // the most that was planned for any moment when that came; nil: there was no plan
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
	from := s.Time.Truncate(loadStep)
	snapshot, _, ok := h.daemon.schedule.Snapshot()
	h.mu.Lock()
	begins := len(h.past) == 0 || !h.past[len(h.past)-1].from.Equal(from)
	ahead, again := h.ahead, ok && (begins || !snapshot.Now.Equal(h.made))
	h.mu.Unlock()
	if again { // outside the lock: it looks at all deliveries
		var err error
		if ahead, err = h.daemon.schedule.Timeline(s.Time, from.Add(loadStep), sampleEvery); err != nil {
			ahead = nil
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring[h.next%samples] = s
	h.next++
	if begins {
		h.past = append(h.past, piece{from: from, served: s.Served, capacity: s.Capacity})
		if most := int(loadSpan/loadStep) + 1; len(h.past) > most {
			h.past = slices.Delete(h.past, 0, len(h.past)-most)
		}
	}
	p := &h.past[len(h.past)-1]
	p.served, p.capacity = max(p.served, s.Served), min(p.capacity, s.Capacity)
	if !ok {
		h.ahead, h.made = nil, time.Time{}
		return
	}
	h.ahead, h.made = ahead, snapshot.Now
	for _, slot := range ahead {
		if !slot.From.After(s.Time) && slot.To.After(s.Time) {
			p.planned = most(p.planned, slot.Load)
		}
	}
}

func most(before *int, n int) *int {
	if before != nil {
		n = max(n, *before)
	}
	return &n
}

// expected is the most that is, or was, planned at once in the present piece: for what has passed by the plan of then, for the rest by the
// present one. The caller holds the lock.
func (h *history) expected(now time.Time) *int {
	p := h.past[len(h.past)-1]
	planned := p.planned
	for _, slot := range h.ahead {
		if slot.To.After(now) && slot.From.Before(p.from.Add(loadStep)) {
			planned = most(planned, slot.Load)
		}
	}
	return planned
}

// planned is the most that is planned at once in the present piece.
func (h *history) planned() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.past) > 0 {
		if n := h.expected(h.daemon.Clock.Now()); n != nil {
			return *n
		}
	}
	return 0
}

// day is what was planned and observed in the last day, with the piece that now is in.
func (h *history) day(now time.Time) (list []control.Load) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, p := range h.past {
		if i == len(h.past)-1 {
			p.planned = h.expected(now)
		}
		if to := p.from.Add(loadStep); now.Sub(to) < loadSpan {
			served := p.served
			list = append(list, control.Load{From: p.from.UTC(), To: to.UTC(), Capacity: p.capacity, Planned: p.planned, Observed: &served})
		}
	}
	return list
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
