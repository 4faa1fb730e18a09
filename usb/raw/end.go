package raw

import (
	"context"
	"errors"
	"fmt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw/pjl"
)

// errContent is wrapped around what Content failed with.
var errContent = errors.New("read the document")

func (j *job) cancel(message string, cause error) (mfpgate.JobStatus, error) {
	j.tell(mfpgate.JobCanceled, message, reasonByUser)
	return j.status, cause
}

func (j *job) abort(reason, message string, cause error) (mfpgate.JobStatus, error) {
	j.tell(mfpgate.JobAborted, message, reason)
	return j.status, fmt.Errorf("print on USB: %w", cause)
}

// taken completes a job of which nothing more will be known.
func (j *job) taken(message string) (mfpgate.JobStatus, error) {
	j.tell(mfpgate.JobCompleted, message, reasonInDevice)
	return j.status, nil
}

// broken ends a job whose document the printer does not get whole, and says why.
func (j *job) broken(cause error) (mfpgate.JobStatus, error) {
	clean := true
	if j.opened || j.status.Sent > 0 {
		clean = j.wind(cause)
	}
	remark := ""
	if !clean {
		remark = "; the printer still has a part of it, and may print that"
	}
	switch {
	case errors.Is(cause, bus.ErrGone):
		return j.abort(reasonInterrupted, "the printer was unplugged", cause)
	case errors.Is(cause, errCut), errors.Is(cause, bus.ErrClosed):
		return j.abort(reasonInterrupted, "the gateway stopped before the printer had all of it"+remark, ErrClosed)
	case j.ctx.Err() != nil && (j.canceled || errors.Is(cause, errContent)): // Content often ends with ctx
		return j.cancel("it was canceled"+remark, context.Cause(j.ctx))
	case errors.Is(cause, errContent):
		return j.abort(reasonInterrupted, "the document could not be read to its end"+remark, cause)
	case errors.Is(cause, bus.ErrNoMemory):
		return j.abort(reasonInterrupted, "the kernel has no memory for USB transfers: raise usbfs_memory_mb of module usbcore"+remark, cause)
	}
	return j.abort(reasonInterrupted, "the printer does not take it"+remark, cause)
}

// wind ends the printer's part of a job that is broken off, so that the next one begins on a clean page; false: it could not.
func (j *job) wind(cause error) bool {
	if errors.Is(cause, bus.ErrGone) || errors.Is(cause, bus.ErrClosed) {
		return true // unplugged, it forgets
	}
	j.winding = true
	j.enter(phaseClosing)
	if j.plan.ending != endBytes {
		return j.p.reset()
	}
	closing := j.plan.closing
	if j.plan.mark != "" {
		closing = append(closing, pjl.Quiet()...)
		j.p.watch(false)
	}
	n, err := j.give(closing)
	if err == nil {
		return true
	}
	if j.p.reset() {
		return true
	}
	j.owe(closing[n:], err)
	return false
}

// owe leaves the rest of what ends the job to whoever sends next.
func (j *job) owe(rest []byte, cause error) {
	if errors.Is(cause, bus.ErrGone) {
		return
	}
	j.p.owed = append(j.p.owed, rest...)
	if j.plan.mark != "" && !j.winding {
		j.p.owed = append(j.p.owed, pjl.Quiet()...)
		j.p.watch(false)
	}
}

// reset drops what the printer has not printed, by SOFT_RESET.
func (p *Port) reset() bool {
	if p.quirks.NoSoftReset {
		return false
	}
	ctx, cancel := p.within(p.life, 2*controlTimeout)
	defer cancel()
	if bus.SoftReset(ctx, p.handle, p.face.Number) != nil {
		return false
	}
	p.log.Info().Str(field.Interface, fmt.Sprint(p.face.Number)).Msg(event.USBSoftReset)
	p.owed = nil
	p.flush()
	return true
}
