package cronjob

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Cause says why a job runs.
type Cause string

// The causes. Several at once are one run, with the first of them in this order.
const (
	Due     Cause = "due"
	Asked   Cause = "asked"
	Retried Cause = "retried"
)

// Outcome is how a run ended, or why there was none.
type Outcome string

// The outcomes.
const (
	Done     Outcome = "done"
	Failed   Outcome = "failed"
	Panicked Outcome = "panicked"
	Skipped  Outcome = "skipped" // it was due while it ran
)

// Event tells of one run.
type Event struct {
	Job     string
	Outcome Outcome
	Cause   Cause
	Took    time.Duration
	Err     error         // of one that failed; with the stack if it panicked
	Retry   time.Duration // from now
}

// Spec says what a job is.
type Spec struct {
	Name     string
	Schedule Schedule
	Offset   time.Duration // later than the schedule; see Jitter
	// Last is when it last succeeded, before this process. If it has been due since, or never ran, it runs at once.
	Last time.Time
	// MinRetry and MaxRetry bound the delay after failures. 0 is 30 seconds and 15 minutes.
	MinRetry, MaxRetry time.Duration
	Run                func(ctx context.Context, cause Cause) error
}

// Job is a job of a Runner.
type Job struct {
	Spec
	runner *Runner
	wake   chan struct{} // capacity 1

	mu       sync.Mutex
	schedule Schedule // with the offset
	interval time.Duration
	due      time.Time // wall; zero: never again
	isDue    bool      // the wake is for that
	running  bool
	held     time.Time // until when nothing runs; zero or past: not held
	began    time.Time // the last run, by cron's clock as of its last tick
	engine   time.Time // the last tick: cron's clock
	wall     time.Time // and ours
}

// Trigger makes the job run now, or once more if it runs.
func (j *Job) Trigger() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Next is when the job is due next; zero is never.
func (j *Job) Next() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.due
}

// Held is until when the job does not run, because the last error asked for that; zero if it does.
func (j *Job) Held() time.Time {
	now := j.runner.clock.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.held.After(now) {
		return time.Time{}
	}
	return j.held
}

// Reschedule gives the job another schedule from now on.
func (j *Job) Reschedule(s Schedule, offset time.Duration) {
	wall := j.runner.clock.Now().Round(0)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.set(s, offset)
	j.due = j.schedule.Next(wall)
}

func (j *Job) set(s Schedule, offset time.Duration) {
	j.schedule, j.interval = shifted{s, offset}, Interval(s)
}

// look is cron's call: it starts the job if its time has come.
func (j *Job) look() {
	wall := j.runner.clock.Now().Round(0)
	j.mu.Lock()
	if j.due.IsZero() || j.due.After(wall) {
		j.mu.Unlock()
		return
	}
	j.due = j.schedule.Next(wall)
	skip := j.running
	j.isDue = j.isDue || !skip
	j.mu.Unlock()
	if skip {
		j.runner.observe(Event{Job: j.Name, Outcome: Skipped, Cause: Due})
		return
	}
	j.Trigger()
}

// work is the job's goroutine, and so the reason that it never runs twice at once.
func (j *Job) work(ctx context.Context) {
	retry := j.runner.clock.NewTimer(time.Hour)
	defer retry.Stop()
	retry.Stop()
	for failures := 0; ; {
		cause := Asked
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		case <-retry.C():
			cause = Retried
		}
		retry.Stop()
		cause = j.start(cause)
		began := j.runner.clock.Now()
		err := j.run(ctx, cause)
		e := Event{Job: j.Name, Outcome: Done, Cause: cause, Took: j.runner.clock.Now().Sub(began), Err: err}
		j.mu.Lock()
		j.running = false
		j.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		var hold time.Duration
		if err == nil {
			failures = 0
		} else {
			e.Outcome = Failed
			if _, ok := errors.AsType[*PanicError](err); ok {
				e.Outcome = Panicked
			}
			e.Retry, hold = j.delay(err, failures)
			failures++
			retry.Reset(e.Retry)
		}
		if hold > 0 {
			j.mu.Lock()
			j.held = j.runner.clock.Now().Add(hold)
			j.mu.Unlock()
		}
		j.runner.observe(e)
		if hold > 0 { // nobody may call before, whatever is due
			retry.Stop()
			if mfpgate.Wait(ctx, j.runner.clock, hold) != nil {
				return
			}
			retry.Reset(0)
		}
	}
}

func (j *Job) start(cause Cause) Cause {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.isDue {
		cause = Due
	}
	j.isDue, j.running, j.began = false, true, j.engine
	return cause
}

// delay is the time to the next try, with full jitter, and how much of it nothing may shorten.
func (j *Job) delay(err error, failures int) (retry, hold time.Duration) {
	shortest, longest := j.MinRetry, j.MaxRetry
	if shortest <= 0 {
		shortest = 30 * time.Second
	}
	if longest <= 0 {
		longest = 15 * time.Minute
	}
	span := min(shortest<<min(failures, 20), longest)
	retry = time.Second + time.Duration(j.runner.random(int64(span)))
	if named := mfpgate.RetryDelay(err); named > 0 {
		hold = min(named, maxHold)
		return max(retry, hold), hold
	}
	return retry, 0
}

// maxHold bounds what a server may ask for.
const maxHold = 24 * time.Hour

// PanicError is the error of a run that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

func (j *Job) run(ctx context.Context, cause Cause) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return j.Spec.Run(ctx, cause)
}
