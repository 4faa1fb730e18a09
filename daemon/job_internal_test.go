package daemon

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// TestAFailedJobIsSaidAndStartedAgain: the pause grows with each failure, and a minute of work mends.
func TestAFailedJobIsSaidAndStartedAgain(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC))
	var log logged
	d := &Daemon{Options: Options{Clock: clock}}
	d.log = telemetry.NewLogger(&log, clock, &d.level, false)
	d.health = newHealth(d)
	j := newJobs(d)
	ctx, stop := context.WithCancel(t.Context())
	started, fail := make(chan struct{}), make(chan error)
	j.start(ctx, "inventory", func(ctx context.Context) error {
		started <- struct{}{}
		select {
		case err := <-fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	for n, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		<-started
		fail <- errors.New("the store is torn")
		awaitState(t, "the job rests", func() bool { return strings.Count(log.String(), event.DaemonJobFailed) > n })
		wrong, _ := d.health.list()
		if len(wrong) != 1 || wrong[0].Reason != JobFailed || !strings.Contains(wrong[0].Text, "inventory: the store is torn") {
			t.Fatalf("degraded: %+v", wrong)
		}
		clock.Advance(pause - time.Millisecond)
		select {
		case <-started:
			t.Fatalf("started again before %v", pause)
		default:
		}
		clock.Advance(time.Millisecond)
	}
	<-started
	clock.Advance(jobSound) // its timer was armed before it started
	awaitState(t, "it is mended", func() bool { wrong, _ := d.health.list(); return len(wrong) == 0 })
	stop()
	j.wait.Wait()
	if n := strings.Count(log.String(), event.DaemonJobFailed); n != 3 {
		t.Errorf("%d failures in the log, want 3 and none of the stop:\n%s", n, log.String())
	}
}

// logged is a log that may be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}
func (l *logged) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.text.String() }

func awaitState(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for late := time.Now().Add(30 * time.Second); !reached(); {
		if time.Now().After(late) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
