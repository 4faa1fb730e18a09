package badger_test

import (
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/store/storetest"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 7, 1, 2, 3, 4, 0, time.UTC)

// options are for a store in dir whose log goes to the test's.
func options(t *testing.T, dir string) badger.Options {
	t.Helper()
	return badger.Options{
		Dir: dir, Clock: fakeclock.New(start), BallastSize: 1 << 20,
		Log: func(level slog.Level, text string) {
			if level >= slog.LevelWarn {
				t.Log(level, text)
			}
		},
	}
}

func mustOpen(t *testing.T, o badger.Options) *badger.DB {
	t.Helper()
	d, err := badger.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // as a rule closed by then
	return d
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, options(t, t.TempDir())) })
}
