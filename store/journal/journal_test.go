package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var start = time.Date(2026, 7, 1, 2, 3, 4, 0, time.UTC)

// deadline bounds every wait; nothing here takes nearly as long.
const deadline = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drivers runs a test on a room's part of each driver's store.
func drivers(t *testing.T, run func(t *testing.T, s store.Store)) {
	t.Run("memory", func(t *testing.T) { run(t, store.Prefix(memory.New(), "local/room/")) })
	t.Run("badger", func(t *testing.T) { run(t, store.Prefix(openBadger(t, t.TempDir()), "local/room/")) })
}

func openBadger(t testing.TB, dir string) *badger.DB {
	t.Helper()
	d, err := badger.Open(t.Context(), badger.Options{Dir: dir, Clock: mfpgate.SystemClock{}, BallastSize: 1 << 20})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() }) // as a rule closed by then
	return d
}

// site is a journal with what surrounds it.
type site struct {
	*journal.Journal
	t      testing.TB
	store  store.Store
	clock  *fakeclock.Clock
	mu     sync.Mutex
	events []journal.Event
	told   chan struct{}
}

func newSite(t testing.TB, s store.Store, change ...func(*journal.Options)) *site {
	t.Helper()
	h := &site{t: t, store: s, clock: fakeclock.New(start), told: make(chan struct{}, 1)}
	o := journal.Options{
		Clock: h.clock, Rand: rand.New(rand.NewPCG(1, 2)), Gateway: "osaka-1", Room: "room", Observe: h.observe,
	}
	for _, c := range change {
		c(&o)
	}
	j, err := journal.New(s, o)
	must(t, err)
	h.Journal = j
	return h
}

func (h *site) observe(e journal.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
	select {
	case h.told <- struct{}{}:
	default:
	}
}

// await blocks until n events of a kind were observed, and returns the last of them.
func (h *site) await(what journal.What, n int) journal.Event {
	h.t.Helper()
	late := time.After(deadline)
	for {
		h.mu.Lock()
		var found []journal.Event
		for _, e := range h.events {
			if e.What == what {
				found = append(found, e)
			}
		}
		all := fmt.Sprint(h.events)
		h.mu.Unlock()
		if len(found) >= n {
			return found[n-1]
		}
		select {
		case <-h.told:
		case <-late:
			h.t.Fatalf("waited for %d times %q; there was %s", n, what, all)
		}
	}
}

// run starts Run and returns how to stop it, which the test's end does too.
func (h *site) run() (stop func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Run: %v", err)
		}
	})
	h.t.Cleanup(stop)
	return stop
}

func (h *site) update(fn func(tx store.Tx) error) {
	h.t.Helper()
	must(h.t, h.store.Update(h.t.Context(), fn))
}

func (h *site) intend(list ...journal.Intent) {
	h.t.Helper()
	h.update(func(tx store.Tx) error {
		for _, in := range list {
			if err := h.Intend(tx, in); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *site) list() []journal.Intent {
	h.t.Helper()
	list, err := h.List(h.t.Context(), "", store.MaxScan)
	must(h.t, err)
	return list
}

// read returns the value of a key, "" if there is none.
func (h *site) read(key string) (value string) {
	h.t.Helper()
	must(h.t, h.store.View(h.t.Context(), func(at store.Snapshot) error {
		v, _ := at.Get(key)
		value = string(v)
		return nil
	}))
	return value
}

func number(n int) json.RawMessage { return json.RawMessage(fmt.Sprint(n)) }

// calls records which intents were called, in order.
type calls struct {
	mu   sync.Mutex
	list []string
}

func (c *calls) add(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, s)
}

func (c *calls) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.list...)
}
