package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// How long a printer may stand still before what happens.
const (
	stuckAfter    = 10 * time.Second // it is asked what keeps it
	tellEvery     = time.Second      // progress is told at most
	lookEvery     = 5 * time.Second  // and again, and
	lookSeldom    = 30 * time.Second // after the first minute
	silentAfter   = 2 * time.Minute  // the job is stopped though the printer names no reason
	closePatience = 30 * time.Second // a job that is being ended gives up
	cutPatience   = 2 * time.Second  // the same after Close's deadline
)

// The bounds of what is tried again where the printer took nothing in between.
const (
	mostStalls   = 5
	mostShort    = 20                    // transfers that took nothing and gave no error, and transfers without memory
	leastSize    = 4 << 10               // of a transfer, however little memory there is
	retryPause   = 50 * time.Millisecond // times the number of the try, up to 20
	firstSize    = 16 << 10
	wantedPeriod = time.Second
)

// The ways in which give ends early without a fault.
var (
	errCanceled = errors.New("canceled")
	errCut      = errors.New("the port's closing deadline has passed")
	errStuck    = errors.New("the printer takes nothing")
	errEnded    = errors.New("the printer says that the job has ended")
)

// give sends b, and returns how much the printer took of it: all of it, or err says why not.
func (j *job) give(b []byte) (int, error) {
	given, tries := 0, 0
	for given < len(b) {
		part := b[given:min(len(b), given+j.size)]
		begun := j.p.clock.Now()
		n, err := j.transfer(part)
		n = min(max(n, 0), len(part))
		given += n
		j.progress(n)
		if n > 0 {
			tries = 0
		}
		switch {
		case err == nil && n == len(part):
			if len(part) == j.size {
				j.resize(j.p.clock.Now().Sub(begun))
			}
			continue
		case err == nil && n > 0:
			continue
		case err == nil:
			err = io.ErrNoProgress
		}
		if tries++; !j.again(err, tries) {
			return given, err
		}
		if errors.Is(err, bus.ErrNoMemory) {
			j.p.limit = max(j.p.limit/2, leastSize)
			j.size = min(j.size, j.p.limit)
		}
		if err := j.pause(time.Duration(min(tries, 20)) * retryPause); err != nil {
			return given, err
		}
	}
	return given, nil
}

// again decides whether a fault is one to go on after: what was taken is certain, and there are tries left.
func (j *job) again(err error, tries int) bool {
	switch {
	case errors.Is(err, bus.ErrStalled):
		if tries > mostStalls {
			return false
		}
		j.p.log.Debug().Str(field.Interface, fmt.Sprint(j.p.face.Number)).Int(field.Count, tries).Msg(event.USBStalled)
		if tries == 1 {
			return true // the driver has cleared it
		}
		ctx, cancel := j.p.within(j.p.life, controlTimeout)
		defer cancel()
		cleared := j.p.claim.ClearHalt(ctx)
		return cleared == nil || errors.Is(cleared, bus.ErrStalled)
	case errors.Is(err, bus.ErrNoMemory), errors.Is(err, io.ErrNoProgress):
		return tries <= mostShort
	}
	return false
}

// resize aims at transfers of about a second: a fast printer soon gets the largest, and a slow one small ones, so that its progress
// is seen.
func (j *job) resize(took time.Duration) {
	switch {
	case took > 4*wantedPeriod:
		j.size = max(j.size/4, leastSize)
	case took < wantedPeriod:
		j.size = min(2*j.size, j.p.limit)
	}
}

// writer makes a job's transfers in a goroutine of its own, so that the job can be looked after meanwhile.
type writer struct {
	parts chan part
	wrote chan written
	ctx   context.Context // of the transfers until one is stopped
	stop  context.CancelFunc
}

// part is what is to be sent, written what became of it.
type part struct {
	ctx   context.Context
	bytes []byte
}

type written struct {
	n   int
	err error
}

// startWriter makes the job's writer. It ends with close(parts), and each part is answered before.
func (p *Port) startWriter() *writer {
	w := &writer{parts: make(chan part), wrote: make(chan written)}
	w.ctx, w.stop = context.WithCancel(p.life)
	go func() { // whoever sends a part receives what became of it
		for part := range w.parts {
			n, err := p.claim.Write(part.ctx, part.bytes)
			w.wrote <- written{n, err}
		}
	}()
	return w
}

// end ends the writer, which has nothing to do.
func (w *writer) end() {
	close(w.parts)
	w.stop()
}

// transfer sends one part, and looks after the job meanwhile. With an error of ours, n is what was taken all the same.
func (j *job) transfer(b []byte) (int, error) {
	w := j.writer
	w.parts <- part{w.ctx, b}
	got, early := await(j, w.wrote)
	if early == nil {
		return got.n, got.err
	}
	w.stop()
	got = <-w.wrote
	w.ctx, w.stop = context.WithCancel(j.p.life)
	if got.n > 0 && errors.Is(early, errCanceled) && j.phase == phaseDocument && j.plan.ending != endBytes {
		j.resume() // its first bytes have gone, so the rest goes too
		return got.n, nil
	}
	return got.n, early
}

// next waits for the next part of the document. That the printer gets nothing meanwhile is not the printer's doing.
func (j *job) next(c *content) (block, error) {
	select {
	case b := <-c.blocks:
		return b, nil
	default:
	}
	j.starved = true
	j.since = j.p.clock.Now()
	b, err := await(j, c.blocks)
	j.starved = false
	j.moved = j.p.clock.Now()
	j.since = j.moved
	return b, err
}

// pause waits before a further try.
func (j *job) pause(d time.Duration) error {
	over := make(chan struct{})
	stop := j.p.clock.AfterFunc(d, func() { close(over) })
	defer stop()
	_, err := await(j, over)
	return err
}

// await receives from c, and looks after the job meanwhile. err says that the job ends before something came: one of the sentinels
// above, or why the printer is gone.
func await[T any](j *job, c <-chan T) (got T, err error) {
	for {
		j.timer.Reset(j.wake())
		select {
		case got = <-c:
			return got, nil
		case <-j.p.news:
			if err := j.look(); err != nil {
				return got, err
			}
		case <-j.timer.C():
			if patience := j.patience(); patience > 0 && j.p.clock.Now().Sub(j.since) >= patience {
				return got, errStuck
			}
			if j.status.Sent != j.toldSent {
				j.publish()
			}
			if err := j.look(); err != nil {
				return got, err
			}
		case <-j.cancelable():
			j.canceled = true
			j.since = j.p.clock.Now()
			if j.stoppable() {
				return got, errCanceled
			}
			j.resume()
		case <-j.cuttable():
			j.cut = true
			j.since = j.p.clock.Now()
			if gone := j.p.gone(); gone != nil {
				return got, gone
			}
			if !j.winding {
				return got, errCut
			}
		}
	}
}

// cancelable is ctx's end, as long as it means something new.
func (j *job) cancelable() <-chan struct{} {
	if j.canceled || j.winding {
		return nil
	}
	return j.ctx.Done()
}

// stoppable reports whether the job may end where it is. Of a document that has no early end the first transfer may be broken off, to
// see whether the printer took a byte of it.
func (j *job) stoppable() bool {
	return j.phase != phaseDocument || j.plan.ending == endBytes || j.status.Sent == 0
}

// cuttable is Close's deadline, as long as it is new.
func (j *job) cuttable() <-chan struct{} {
	if j.cut {
		return nil
	}
	return j.p.cut
}

// wake is when to look at what stands still.
func (j *job) wake() time.Duration {
	now := j.p.clock.Now()
	still := now.Sub(j.moved)
	wait := lookEvery
	switch {
	case j.phase != phasePrinting && still < stuckAfter:
		wait = stuckAfter - still
	case still > time.Minute:
		wait = lookSeldom
	}
	if patience := j.patience(); patience > 0 {
		wait = min(wait, patience-now.Sub(j.since))
	}
	if j.status.Sent != j.toldSent {
		wait = min(wait, tellEvery)
	}
	return max(wait, time.Millisecond)
}

// patience is how long the printer, or Content, may stand still before the job gives up; 0: for ever.
func (j *job) patience() time.Duration {
	switch {
	case j.cut:
		return cutPatience
	case j.winding, j.canceled && j.starved, j.canceled && j.plan.ending == endReset:
		return closePatience
	}
	return 0
}

// look sees what the printer says of itself, and tells it. An error says that there is nothing more to wait for.
func (j *job) look() error {
	j.p.mu.Lock()
	gone, ended := j.p.heard.gone, j.p.heard.ended
	j.p.mu.Unlock()
	if gone != nil {
		return gone
	}
	if j.phase == phasePrinting && ended {
		return errEnded
	}
	still := j.p.clock.Now().Sub(j.moved)
	if j.starved || j.phase != phasePrinting && still < stuckAfter {
		return nil // it takes what it gets, whatever it says
	}
	port, err := j.p.askPort(j.p.life)
	if err != nil {
		return err
	}
	status := j.p.condition(port)
	switch {
	case status.State == mfpgate.PrinterStopped:
		message := status.Message
		if message == "" {
			message = "the printer waits for somebody"
		}
		j.tell(mfpgate.JobProcessingStopped, message, append(status.Reasons, reasonStopped)...)
	case j.phase != phasePrinting && still >= silentAfter:
		j.tell(mfpgate.JobProcessingStopped, "the printer takes nothing, and does not say why", append(status.Reasons, reasonStopped)...)
	default:
		j.resume()
	}
	return nil
}
