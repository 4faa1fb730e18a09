package raw

import (
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw/pjl"
)

// How long a printer that has all of a job may be silent about it.
const (
	followEvery   = 30 * time.Second
	readyTwice    = 2 // answers in a row that it is ready and has nothing to do
	silentFollow  = 10 * time.Minute
	quietPatience = 2 * time.Second
)

// expect begins to hear of a job by its mark.
func (p *Port) expect(mark string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.heard
	h.mark, h.started, h.ended, h.result = mark, false, false, ""
	h.at, h.last, h.watching = time.Time{}, time.Time{}, false
}

// watch says whether the printer tells each change of its state.
func (p *Port) watch(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard.watching = on
}

// follow waits until the printer says what became of the job, or is sure not to.
func (j *job) follow() (mfpgate.JobStatus, error) {
	j.enter(phasePrinting)
	j.resume()
	ready := 0
	answered := j.moved
	for {
		over := make(chan struct{})
		stop := j.p.clock.AfterFunc(followEvery, func() { close(over) })
		_, err := await(j, over)
		stop()
		switch {
		case errors.Is(err, errEnded):
			j.quiet()
			return j.said()
		case errors.Is(err, errCanceled):
			j.quiet()
			return j.taken("it was canceled when the printer had all of it, and may be printed")
		case errors.Is(err, bus.ErrGone):
			return j.taken("the printer was unplugged before it said whether it printed it")
		case err != nil:
			j.quiet()
			return j.taken("the gateway stopped before the printer said whether it printed it")
		}
		j.p.mu.Lock()
		started, spoke := j.p.heard.started, !j.p.heard.last.IsZero()
		j.p.mu.Unlock()
		stopped := j.status.State == mfpgate.JobProcessingStopped
		if !started && !spoke && !stopped {
			j.quiet()
			return j.taken("the printer does not say what becomes of jobs")
		}
		switch m, ok := j.p.inquire(j.p.life, "STATUS"); {
		case ok:
			answered = j.p.clock.Now()
			ready++
			if status, _ := m.Status(); status.State != mfpgate.PrinterIdle {
				ready = 0
			}
		case stopped:
			answered = j.p.clock.Now() // it need not, while somebody has to help it
		}
		// It may have said the end just now, before it said that it is ready.
		if err := j.look(); errors.Is(err, errEnded) {
			j.quiet()
			return j.said()
		}
		if ready >= readyTwice {
			j.quiet()
			return j.taken("the printer is ready again, and did not say that it printed it")
		}
		if j.p.clock.Now().Sub(answered) >= silentFollow {
			j.quiet()
			return j.taken("the printer fell silent")
		}
	}
}

// said is the end that the printer told (HP, chapter 5, "End of Job Notification").
func (j *job) said() (mfpgate.JobStatus, error) {
	j.p.mu.Lock()
	result := j.p.heard.result
	j.p.mu.Unlock()
	switch result {
	case "", "OK":
		j.tell(mfpgate.JobCompleted, "", reasonPrinted)
		return j.status, nil
	case "CANCELED", "USER_CANCELED":
		j.tell(mfpgate.JobCanceled, "it was canceled at the printer", reasonAtDevice)
		return j.status, errAtDevice
	case "HOST_CANCELED":
		j.tell(mfpgate.JobCanceled, "another host canceled it at the printer", reasonAtDevice)
		return j.status, errAtDevice
	case "RESOURCE_CANCELED":
		return j.abort(reasonByPrinter, "the printer gave it up, for something that it needs is not there", errByPrinter)
	}
	return j.abort(reasonByPrinter, "the printer gave it up: "+result, errByPrinter)
}

// What the printer itself did to a job that it had taken.
var (
	errAtDevice  = errors.New("canceled at the printer")
	errByPrinter = errors.New("given up by the printer")
)

// quiet ends the printer's talk of jobs; what it does not take now it gets before the next job.
func (j *job) quiet() {
	j.p.watch(false)
	j.p.owed = append(j.p.owed, pjl.Quiet()...)
	ctx, cancel := j.p.within(j.p.life, quietPatience)
	defer cancel()
	_ = j.p.settle(ctx) // the rest stays owed
}
