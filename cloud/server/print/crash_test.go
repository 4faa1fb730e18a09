package print_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// filmed is a store that keeps a copy of itself after each commit: what a machine that died there would find.
type filmed struct {
	store.Store
	t  testing.TB
	mu sync.Mutex
	at []map[string]string
}

func (f *filmed) Update(ctx context.Context, fn func(store.Tx) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.Store.Update(ctx, fn)
	if err == nil {
		f.at = append(f.at, dumpOf(f.t, f.Store))
	}
	return err
}

func restored(t testing.TB, from map[string]string) store.Store {
	t.Helper()
	s := memory.New()
	for key, value := range from {
		servertest.Must(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Set(key, []byte(value)) }))
	}
	return s
}

// The server dies after any commit and starts again: a code that was consumed gives its one token to its verifier alone, and the
// device becomes one printer with its letters.
func TestKilledAfterAnyCommit(t *testing.T) {
	film := &filmed{Store: memory.New(), t: t}
	d := open(t, film, fakeclock.New(noon))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.service.Run(ctx) }() // awaited below
	code := d.code()
	d.decide(admin, code, "approve", hana, "ken@example.jp")
	token := d.redeemed(code)
	der, _ := csr(t)
	op := d.register(token, "k", der)
	d.await("letters", func() bool { return d.count("journal/intent/letter/") == 0 })
	cancel()
	servertest.Must(t, <-ended)
	film.mu.Lock()
	frames := film.at
	film.mu.Unlock()
	if len(frames) < 7 {
		t.Fatalf("%d commits", len(frames))
	}
	consumed := 0
	for n, frame := range frames {
		d := open(t, restored(t, frame), fakeclock.New(noon))
		d.run()
		before := d.count("token/")
		for _, other := range []string{strings.Repeat("x", 43), ""} {
			if word, answer := d.poll(code, other); word == "" {
				t.Errorf("commit %d: another verifier got %s", n, answer)
			}
		}
		switch got := d.decide(admin, code, "approve", hana, "ken@example.jp"); {
		case got.status != http.StatusOK:
			t.Errorf("commit %d: the same decision again: %d", n, got.status)
		}
		again := d.redeemed(code)
		if before == 1 {
			consumed++
			if again != token {
				t.Errorf("commit %d: a second token", n)
			}
		}
		got := d.register(again, "k", der)
		if got.Status != "succeeded" || d.count("token/") != 1 || d.count("printer/") != 1 || d.count("device/") != 1 {
			t.Errorf("commit %d: %s, %d tokens, %d printers", n, got.Status, d.count("token/"), d.count("printer/"))
		}
		for key := range frame {
			if strings.HasPrefix(key, "printer/") && key != "printer/"+op.PrinterID || strings.HasPrefix(key, "printer/") && got.PrinterID != op.PrinterID {
				t.Errorf("commit %d: printer %s became %s", n, key, got.PrinterID)
			}
		}
		d.await("letters", func() bool { return d.count("journal/intent/letter/") == 0 })
	}
	if consumed < 3 {
		t.Errorf("%d of %d commits are behind the token's", consumed, len(frames))
	}
}
