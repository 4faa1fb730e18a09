package daemon

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// JobFailed is the degradation while a part of the work beside the relay has ended, and waits to be started again.
const JobFailed mfpgate.Reason = "job-failed"

const (
	jobRetryMin = time.Second
	jobRetryMax = 5 * time.Minute
	// jobSound is how long a job that had failed must run to count as mended.
	jobSound = time.Minute
)

// jobs runs the work beside the relay. No job of them may take the relay with it, and none may end unseen.
type jobs struct {
	daemon *Daemon
	wait   sync.WaitGroup

	mu    sync.Mutex
	wrong map[string]error // by name, what ended it last
}

func newJobs(d *Daemon) *jobs { return &jobs{daemon: d, wrong: map[string]error{}} }

// start keeps a job running until ctx ends, or until it has nothing more to do and returns nil. An error is said at once, and
// the job started again.
func (j *jobs) start(ctx context.Context, name string, run func(context.Context) error) {
	j.wait.Go(func() { j.keep(ctx, name, run) })
}

// startAside starts a job that wait does not wait for; ended is closed when it has ended.
func (j *jobs) startAside(ctx context.Context, name string, run func(context.Context) error) (ended <-chan struct{}) {
	end := make(chan struct{})
	go func() { // whoever has the channel waits for it
		defer close(end)
		j.keep(ctx, name, run)
	}()
	return end
}

func (j *jobs) keep(ctx context.Context, name string, run func(context.Context) error) {
	d := j.daemon
	for failures := 0; ; {
		sound := d.Clock.NewTimer(jobSound)
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }() // the loop below waits for it
		err, done := error(nil), false
		for !done {
			select {
			case err = <-ended:
				done = true
			case <-sound.C():
				failures = 0
				j.mended(name)
			}
		}
		sound.Stop()
		if ctx.Err() != nil || err == nil {
			return
		}
		pause := min(jobRetryMin<<min(failures, 20), jobRetryMax)
		failures++
		rest := d.Clock.NewTimer(pause)
		j.failed(name, err)
		d.log.Error().Err(err).Str(field.Key, name).Int64(field.Duration, pause.Milliseconds()).Msg(event.DaemonJobFailed)
		select {
		case <-rest.C():
		case <-ctx.Done():
			rest.Stop()
			return
		}
	}
}

func (j *jobs) failed(name string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.wrong[name] = err
	j.say()
}

func (j *jobs) mended(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, was := j.wrong[name]; was {
		delete(j.wrong, name)
		j.say()
	}
}

func (j *jobs) say() {
	if len(j.wrong) == 0 {
		j.daemon.health.clear(JobFailed)
		return
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(j.wrong)) {
		texts = append(texts, name+": "+j.wrong[name].Error())
	}
	j.daemon.health.set(JobFailed, "a part of the gateway failed and is started again: "+strings.Join(texts, "; "))
}
