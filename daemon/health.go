package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// What degrades the daemon without stopping it.
const (
	StoreRecovered mfpgate.Reason = "store-recovered"
	StoreFull      mfpgate.Reason = "store-full"
)

// health holds what is wrong now.
type health struct {
	daemon *Daemon

	mu       sync.Mutex
	wrong    map[mfpgate.Reason]control.Degradation
	loadedAt time.Time
}

func newHealth(d *Daemon) *health {
	return &health{daemon: d, wrong: map[mfpgate.Reason]control.Degradation{}}
}

func (h *health) set(reason mfpgate.Reason, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, there := h.wrong[reason]
	if !there {
		now.Since = h.daemon.Clock.Now()
	}
	now.Reason, now.Text = reason, text
	h.wrong[reason] = now
}

func (h *health) clear(reason mfpgate.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.wrong, reason)
}

func (h *health) configLoaded(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loadedAt = at
}

// list returns what is wrong, the newest first, and when the configuration in force was loaded.
func (h *health) list() (wrong []control.Degradation, loadedAt time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	wrong = make([]control.Degradation, 0, len(h.wrong))
	for _, d := range h.wrong {
		wrong = append(wrong, d)
	}
	slices.SortFunc(wrong, func(a, b control.Degradation) int { return b.Since.Compare(a.Since) })
	return wrong, h.loadedAt
}

// notReady are the degradations with which a load balancer should look elsewhere: the relay refuses or may lose something.
var notReady = []mfpgate.Reason{StoreFull, RelaySilent}

func (h *health) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range notReady {
		if _, there := h.wrong[r]; there {
			return false
		}
	}
	return !h.daemon.stopping.Load()
}

// lookEvery is how often the disk is looked at: far more often than it can fill between two looks.
const lookEvery = 30 * time.Second

func (h *health) run(ctx context.Context) error {
	for {
		h.look()
		if mfpgate.Wait(ctx, h.daemon.Clock, lookEvery) != nil {
			return nil
		}
	}
}

func (h *health) look() {
	free, err := h.daemon.db.FreeBytes()
	if err != nil {
		h.set(StoreFull, "the free space of state_dir cannot be read: "+err.Error())
		return
	}
	h.daemon.metrics.StoreFreeBytes.Set(float64(free))
	if floor := h.daemon.db.Floor(); free < floor {
		h.set(StoreFull, fmt.Sprintf("state_dir has %d MiB free and needs %d; free some: until then nothing new is recorded, the relay goes on",
			free>>20, floor>>20))
		h.daemon.log.Warn().Int64(field.Count, free).Int64(field.Limit, floor).Msg(event.StoreFilled)
		return
	}
	h.clear(StoreFull)
}

// handler serves /metrics, /healthz (the process answers) and /readyz (the gateway can do its work).
func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	metrics := h.daemon.metrics.Handler()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		h.daemon.relay.Collect()
		h.daemon.registry.Collect()
		metrics.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !h.ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		wrong, _ := h.list()
		for _, d := range wrong {
			_, _ = fmt.Fprintf(w, "%s: %s\n", d.Reason, d.Text)
		}
		if len(wrong) == 0 {
			_, _ = fmt.Fprintln(w, "ok")
		}
	})
	return mux
}
