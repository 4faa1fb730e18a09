package cronjob_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/scheduler/cronjob"
)

// stepped is the bubble's clock, which a test can set.
type stepped struct {
	mfpgate.SystemClock
	mu sync.Mutex
	by time.Duration
}

func (c *stepped) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.SystemClock.Now().Add(c.by)
}

func (c *stepped) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

// bench is a runner with one job, in a bubble whose clock begins at 2000-01-01 00:00 UTC.
type bench struct {
	*stepped
	t      *testing.T
	job    *cronjob.Job
	mu     sync.Mutex
	runs   []string // the wall time of each, and why
	events []cronjob.Event
	do     func(context.Context) error
	stop   func()
}

func newBench(t *testing.T, line, zone string, spec cronjob.Spec) *bench {
	b := &bench{t: t, stepped: &stepped{}}
	loc, err := calendar.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	if spec.Schedule, err = calendar.ParseCron(line, loc, calendar.Policy{}); err != nil {
		t.Fatal(err)
	}
	spec.Name = "fetch"
	spec.Run = func(ctx context.Context, cause cronjob.Cause) error {
		b.mu.Lock()
		b.runs = append(b.runs, b.Now().UTC().Format("02 15:04 ")+string(cause))
		do := b.do
		b.mu.Unlock()
		if do != nil {
			return do(ctx)
		}
		return nil
	}
	r := cronjob.New(b.stepped, rand.New(rand.NewPCG(1, 2)), func(e cronjob.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
	})
	b.job = r.Add(spec)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return b
}

func (b *bench) pass(d time.Duration) {
	b.t.Helper()
	if err := mfpgate.Wait(b.t.Context(), mfpgate.SystemClock{}, d); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

func (b *bench) set(do func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do = do
}

// ran returns the runs since the last call.
func (b *bench) ran() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.runs, "; ")
	b.runs = nil
	return s
}

func (b *bench) want(rule, runs string) {
	b.t.Helper()
	if diff := cmp.Diff(runs, b.ran()); diff != "" {
		b.t.Errorf("%s: -want +got\n%s", rule, diff)
	}
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestClockSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "17 * * * *", "UTC", cronjob.Spec{Last: epoch})
		defer b.stop()
		b.pass(3 * time.Hour)
		b.want("each hour", "01 00:17 due; 01 01:17 due; 01 02:17 due")
		b.step(5*time.Hour + 30*time.Minute)
		b.pass(time.Minute)
		b.want("set forward over five times: one run, at once", "01 08:30 due")
		b.pass(time.Hour)
		b.want("and then as before", "01 09:17 due")
		b.step(-6 * time.Hour) // 09:31 -> 03:31
		b.pass(time.Minute)
		b.want("set back: none at once", "")
		b.pass(47 * time.Minute)
		b.want("but the next time counts, and not the one in six hours", "01 04:17 due")
		b.pass(time.Hour)
		b.want("once", "01 05:17 due")
		b.step(-3 * time.Minute) // 05:19 -> 05:16, two minutes after a run
		b.pass(10 * time.Minute)
		b.want("a small step back does not run the same time twice", "")
		b.pass(time.Hour)
		b.want("an hour later is due", "01 06:17 due")
	})
}

func TestASleepingMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "0 3 * * *", "UTC", cronjob.Spec{Last: epoch})
		defer b.stop()
		b.pass(time.Hour)
		b.step(50 * time.Hour) // timers stand still meanwhile
		b.pass(cronjob.MaxSleep)
		b.want("within 30 seconds after waking, once", "03 03:00 due")
	})
}

func TestDowntime(t *testing.T) {
	for _, c := range []struct {
		rule string
		last time.Time
		want string
	}{
		{"never ran", time.Time{}, "01 00:00 due"},
		{"missed a hundred times", epoch.Add(-100 * time.Hour), "01 00:00 due"},
		{"missed none", epoch.Add(-10 * time.Minute), ""},
		{"a last run in the future is of a clock that was wrong", epoch.Add(time.Hour), "01 00:00 due"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, "17 * * * *", "UTC", cronjob.Spec{Last: c.last})
			defer b.stop()
			b.pass(5 * time.Minute)
			b.want(c.rule, c.want)
		})
	}
}

// 2000-03-26 02:00 CET does not exist in Berlin, 2000-10-29 02:30 comes twice.
func TestNightsOfTheClockChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "30 2 * * *", "Europe/Berlin", cronjob.Spec{Last: epoch})
		defer b.stop()
		b.step(epoch.AddDate(0, 2, 24).Sub(epoch)) // 03-25
		b.pass(time.Minute)
		b.ran() // what was missed
		b.pass(3 * 24 * time.Hour)
		b.want("the gap's night runs after the gap", "25 01:30 due; 26 01:00 due; 27 00:30 due")
		b.step(time.Date(2000, 10, 28, 12, 0, 0, 0, time.UTC).Sub(b.Now()))
		b.pass(time.Minute)
		b.ran()
		b.pass(48 * time.Hour)
		b.want("the fold's night runs once", "29 00:30 due; 30 01:30 due")
	})
}

func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "*/10 * * * *", "UTC", cronjob.Spec{Last: epoch})
		defer b.stop()
		b.set(func(ctx context.Context) error { return mfpgate.Wait(ctx, mfpgate.SystemClock{}, 25*time.Minute) })
		b.pass(20*time.Minute + time.Second) // it runs since :10
		b.mu.Lock()
		skipped := len(b.events) == 1 && b.events[0].Outcome == cronjob.Skipped
		b.mu.Unlock()
		if !skipped {
			t.Errorf("got %v, want one skip at :20", b.events)
		}
		for range 5 {
			b.job.Trigger()
		}
		b.set(nil)
		b.pass(19 * time.Minute)
		b.want("what is asked for meanwhile is one run after it", "01 00:10 due; 01 00:35 asked")
	})
}

type retryAfter struct{ error }

func (retryAfter) Delay() time.Duration { return 2 * time.Hour }

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "0 0 1 * *", "UTC", cronjob.Spec{Last: epoch, MinRetry: time.Minute, MaxRetry: 8 * time.Minute})
		defer b.stop()
		b.set(func(context.Context) error { return errors.New("away") })
		b.job.Trigger()
		b.pass(24 * time.Hour)
		b.mu.Lock()
		n := len(b.events)
		for i, e := range b.events {
			if span := min(time.Minute<<min(i, 20), 8*time.Minute); e.Outcome != cronjob.Failed || e.Retry <= 0 || e.Retry > span+time.Second {
				t.Errorf("failure %d: %v, want a retry within %v", i, e, span)
			}
		}
		b.mu.Unlock()
		if n < 180 || n > 1440 {
			t.Errorf("%d tries in a day", n)
		}
		b.ran()
		b.set(func(context.Context) error { panic("boom") })
		b.pass(10 * time.Minute)
		b.mu.Lock()
		last := b.events[len(b.events)-1]
		b.mu.Unlock()
		b.set(nil)
		if p, ok := errors.AsType[*cronjob.PanicError](last.Err); last.Outcome != cronjob.Panicked || !ok || p.Value != "boom" || len(p.Stack) == 0 {
			t.Errorf("got %v, want a panic that became an error", last)
		}
		b.pass(10 * time.Minute)
		b.ran()
		b.set(func(context.Context) error { return retryAfter{errors.New("busy")} })
		b.job.Trigger()
		b.pass(time.Minute)
		b.ran()
		b.set(nil)
		for range 100 {
			b.job.Trigger()
			b.pass(time.Minute)
		}
		b.want("the server named the time of the next call: nothing comes before", "")
		b.pass(20 * time.Minute)
		if got := b.ran(); strings.Count(got, ";") > 1 || got == "" {
			t.Errorf("after it: %q, want what was asked for", got)
		}
	})
}

func TestReschedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "17 * * * *", "UTC", cronjob.Spec{Last: epoch, Offset: 90 * time.Second})
		defer b.stop()
		if got := b.job.Next(); !got.Equal(epoch.Add(18*time.Minute + 30*time.Second)) {
			t.Errorf("next is %v, want the schedule with its offset", got)
		}
		s, err := calendar.ParseCron("*/5 * * * *", time.UTC, calendar.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		b.job.Reschedule(s, time.Minute)
		b.pass(12 * time.Minute)
		b.want("the new schedule", "01 00:01 due; 01 00:06 due; 01 00:11 due")
	})
}

func TestJitter(t *testing.T) {
	interval := func(line string) time.Duration {
		s, err := calendar.ParseCron(line, time.UTC, calendar.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		return cronjob.Interval(s)
	}
	for line, want := range map[string]time.Duration{"17 * * * *": time.Hour, "*/5 9-17 * * *": 5 * time.Minute, "0 9,11 * * mon": 2 * time.Hour, "0 0 1 1 *": 365 * 24 * time.Hour} {
		if got := interval(line); got != want {
			t.Errorf("%s: interval %v, want %v", line, got, want)
		}
	}
	if a, b := cronjob.Jitter("osaka-1", time.Hour), cronjob.Jitter("osaka-1", time.Hour); a != b || a != 2*time.Minute+28*time.Second {
		t.Errorf("jitter of one gateway: %v and %v; it must never change, across versions either", a, b)
	}
	seen := map[time.Duration]int{}
	for i := range 6000 {
		j := cronjob.Jitter(strings.Repeat("g", i%77)+string(rune('a'+i%26))+time.Duration(i).String(), time.Hour)
		if j < 0 || j >= 10*time.Minute {
			t.Fatalf("jitter %v", j)
		}
		seen[j/time.Minute]++
	}
	for m := range time.Duration(10) {
		if seen[m] < 450 || seen[m] > 750 {
			t.Errorf("minute %d has %d of 6000 gateways, want about 600", m, seen[m])
		}
	}
	if j := cronjob.Jitter("osaka-1", 4*time.Second); j >= 2*time.Second {
		t.Errorf("jitter %v of a 4 s interval", j)
	}
}
