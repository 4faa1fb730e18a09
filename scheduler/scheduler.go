package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/cronjob"
	"github.com/mfpgate/mfpgate/scheduler/duration"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Scheduler is the room. Its methods may be called from any goroutine.
type Scheduler struct {
	Options
	journal *journal.Journal
	runner  *cronjob.Runner
	job     *cronjob.Job
	book    *duration.Book

	current atomic.Pointer[Policy]
	plans   atomic.Pointer[planning] // the last good one; nil: none
	shown   atomic.Pointer[Status]
	started atomic.Uint64 // runs
	wake    chan struct{} // capacity 1: look at the site again
	roused  chan struct{} // capacity 1: there may be something to do again
	settled chan struct{} // capacity 1: the journal has changed the state

	transfers transfers

	randMu sync.Mutex

	showing sync.Mutex
	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when shown is
	last    ran

	// busy, of capacity 1, is held by who writes blobs and uses what is below.
	busy       chan struct{}
	stale      bool // what is below is not what the store has
	deliveries map[string]mfpgate.Delivery
	rejected   map[string]rejection
	background []mfpgate.Background
	replans    int
	site       string // digest of what the last run saw of the site; of look's goroutine
}

// ran is what is known of the last run.
type ran struct {
	number  uint64
	at      time.Time
	outcome string
	err     error
}

// planning is a plan and what it was made of.
type planning struct {
	snap     mfpgate.ScheduleSnapshot
	plan     mfpgate.SchedulePlan
	slots    slots
	mode     mfpgate.ScheduleMode
	why      string
	rejected int
}

// New reads what is kept and, if there is a schedule, makes the plan of it, so that Planned and Timeline answer while the
// delivery system is away. It calls nobody; Run does.
func New(ctx context.Context, o Options) (*Scheduler, error) {
	s := &Scheduler{Options: o, wake: make(chan struct{}, 1), roused: make(chan struct{}, 1), settled: make(chan struct{}, 1), busy: make(chan struct{}, 1),
		changed: make(chan struct{}), transfers: transfers{of: map[mfpgate.DeviceID][]transfer{}}}
	s.current.Store(&o.Policy)
	var err error
	if s.book, err = duration.Open(ctx, o.Store); err != nil {
		return nil, err
	}
	st, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	s.journal, err = journal.New(o.Store, journal.Options{Clock: o.Clock, Rand: s.newRand(), Timeout: callTimeout, Observe: s.observe})
	if err != nil {
		return nil, err
	}
	s.handlers()
	s.runner = cronjob.New(o.Clock, s.newRand(), s.ran)
	s.job = s.runner.Add(cronjob.Spec{Name: "fetch", Schedule: o.Policy.schedule(), Offset: s.offset(o.Policy), Last: st.Ran, Run: s.run})
	if st.called() || st.System != o.Policy.System {
		s.job.Trigger()
	}
	if c, why, _ := s.idle(); (why == "" || why == ModesNotTold) && st.Token != "" && st.System == o.Policy.System {
		if err := s.plan(ctx, st, o.Policy, c, o.Clock.Now().Round(0).UTC(), false); err != nil {
			s.Log.Warn().Err(err).Msg(event.SchedulerFailed) // the first run says more
		}
	}
	s.show(ctx)
	return s, nil
}

func (s *Scheduler) newRand() *rand.Rand {
	return rand.New(rand.NewPCG(s.Rand.Uint64(), s.Rand.Uint64()))
}

func (s *Scheduler) random(n int64) int64 {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return s.Rand.Int64N(n)
}

func (s *Scheduler) policy() Policy { return *s.current.Load() }

// never is the schedule of a policy without one.
type never struct{}

func (never) Next(time.Time) time.Time { return time.Time{} }

func (p Policy) schedule() cronjob.Schedule {
	if p.Fetch == nil {
		return never{}
	}
	return p.Fetch
}

func (s *Scheduler) offset(p Policy) time.Duration {
	return cronjob.Jitter(s.Gateway, cronjob.Interval(p.schedule()))
}

// Reconfigure replaces the policy, and runs at once.
func (s *Scheduler) Reconfigure(p Policy) {
	s.current.Store(&p)
	s.job.Reschedule(p.schedule(), s.offset(p))
	s.job.Trigger()
}

// Wake makes the scheduler look at the site: if contract or devices have changed, it runs.
func (s *Scheduler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run runs until ctx ends, and returns nil then. It returns an error if the store cannot be followed.
func (s *Scheduler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 4)
	parts := []func(context.Context) error{s.runner.Run, s.journal.Run, s.listen, s.watch}
	for _, part := range parts {
		go func() { errs <- part(ctx) }() // the loop below waits for it
	}
	var err error
	for range parts {
		err = errors.Join(err, <-errs)
		cancel() // one that ends ends all
	}
	if err != nil {
		return fmt.Errorf("delivery schedules: %w", err)
	}
	return nil
}

// watch keeps status and metrics as things are, and runs when the site has changed.
func (s *Scheduler) watch(ctx context.Context) error {
	s.look()
	for {
		timer := s.Clock.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
			s.look()
		case <-s.wake:
			s.look()
		case <-s.settled:
			if st, err := s.state(ctx); err == nil && st.called() {
				s.job.Trigger()
			}
			s.show(ctx)
		}
		timer.Stop()
		s.gauge()
	}
}

// look runs if contract or devices are not those of the last look, or if there is something to do again.
func (s *Scheduler) look() {
	c, why, _ := s.idle()
	site := digestOf([]any{c, why, s.Site.Devices()})
	if s.site != "" && s.site != site {
		s.job.Trigger()
		select {
		case s.roused <- struct{}{}:
		default:
		}
	}
	s.site = site
}

// observe hears of the journal's calls.
func (s *Scheduler) observe(e journal.Event) {
	switch e.What {
	case journal.Retried:
		s.Log.Warn().Err(e.Err).Str(field.Key, e.ID).Int64(field.Duration, e.Took.Milliseconds()).Msg(event.SchedulerUnsent)
	case journal.Died, journal.Unhandled, journal.Unreadable, journal.Unstored:
		s.Log.Error().Err(e.Err).Str(field.Key, e.ID).Str(field.Outcome, string(e.What)).Msg(event.SchedulerUnsent)
	}
	select {
	case s.settled <- struct{}{}:
	default:
	}
}

// ran hears of the job's runs.
func (s *Scheduler) ran(e cronjob.Event) {
	log := s.Log.Info()
	name := event.SchedulerRan
	switch e.Outcome {
	case cronjob.Skipped:
		s.Metrics.SchedulerSkipped.Inc()
		name, log = event.SchedulerSkipped, s.Log.Warn()
	case cronjob.Panicked:
		name, log = event.SchedulerFailed, s.Log.Error()
		if p, ok := errors.AsType[*cronjob.PanicError](e.Err); ok {
			log = log.Str(field.Text, string(p.Stack))
		}
	case cronjob.Failed:
		name, log = event.SchedulerFailed, s.Log.Warn()
	}
	if e.Outcome != cronjob.Skipped {
		s.Metrics.SchedulerRunDuration.Observe(e.Took.Seconds())
	}
	log.Err(e.Err).Str(field.Reason, string(e.Cause)).Int64(field.Duration, e.Took.Milliseconds()).Msg(name)
}

// finish tells of a run.
func (s *Scheduler) finish(ctx context.Context, number uint64, began time.Time, outcome string, err error) {
	s.Metrics.SchedulerRuns.WithLabelValues(outcome).Inc()
	switch outcome {
	case outcomePlanned:
		s.Metrics.SchedulerSuccess.Set(float64(began.Unix()))
	case outcomeRefused:
		s.Metrics.SchedulerRefused.WithLabelValues("answer").Inc()
	}
	s.mu.Lock()
	s.last = ran{number, began, outcome, err}
	s.mu.Unlock()
	s.show(context.WithoutCancel(ctx))
	s.gauge()
}
