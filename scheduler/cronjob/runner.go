package cronjob

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/mfpgate/mfpgate"
)

// Runner runs jobs.
type Runner struct {
	clock   mfpgate.Clock
	observe func(Event)

	mu   sync.Mutex
	rand *rand.Rand
	jobs []*Job
}

// New returns a runner without jobs. The jitter comes from r, which must be the runner's alone. observe, which may be nil, is
// called from the jobs' goroutines and must not block.
func New(clock mfpgate.Clock, r *rand.Rand, observe func(Event)) *Runner {
	if observe == nil {
		observe = func(Event) {}
	}
	return &Runner{clock: clock, rand: r, observe: observe}
}

// Add adds a job, before Run.
func (r *Runner) Add(s Spec) *Job {
	j := &Job{Spec: s, runner: r, wake: make(chan struct{}, 1)}
	wall := r.clock.Now().Round(0)
	j.set(s.Schedule, s.Offset)
	j.due = j.schedule.Next(wall)
	missed := j.schedule.Next(s.Last)
	if s.Last.IsZero() || s.Last.After(wall) || !missed.IsZero() && !missed.After(wall) {
		j.isDue = true
		j.Trigger()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs = append(r.jobs, j)
	return j
}

// Run runs the jobs until ctx ends, and waits for those that run. It may be called once.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	jobs := r.jobs
	r.mu.Unlock()
	// Errors and panics are the jobs' own: cron never calls them.
	c := cron.New(cron.WithLocation(time.UTC), cron.WithLogger(cron.DiscardLogger))
	var work sync.WaitGroup
	for _, j := range jobs {
		c.Schedule(pace{j}, cron.FuncJob(j.look))
		work.Go(func() { j.work(ctx) })
	}
	c.Start()
	<-ctx.Done()
	<-c.Stop().Done()
	work.Wait()
	return nil
}

func (r *Runner) random(n int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rand.Int64N(n)
}
