package document

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// jobAttributes are what is asked of a job.
func jobAttributes() []string {
	return []string{"job-id", "job-name", "job-state", "job-state-reasons", "job-state-message"}
}

// taken goes on with the job that the printer's answer to Print-Job names.
func (p *printing) taken(a answer, whole bool, content error) (mfpgate.JobStatus, error) {
	var found job
	for _, attrs := range a.of(goipp.TagJobGroup) {
		found = read(attrs)
		break
	}
	p.status.Printer = found.id
	if !whole {
		// It answered before it had all of it, or took the end of a broken body for the document's.
		return p.discard(found.id, content)
	}
	if found.id <= 0 {
		return p.delivered("the printer took it and did not say under which number")
	}
	return p.follow(found)
}

// lost decides what is true when the exchange ended without an answer: the job may exist.
func (p *printing) lost(cause error, whole bool, content error) (mfpgate.JobStatus, error) {
	if gone(cause) {
		return p.abort("the printer was unplugged; what it has already may be printed", cause)
	}
	p.tell(mfpgate.JobProcessing, "the connection ended before the printer answered; it is asked whether it has the job", "job-incoming")
	found, err := p.lookup()
	switch {
	case err != nil && p.ctx.Err() != nil:
		return p.cancel("it was canceled; the printer could not be asked whether it has the job, and may print it")
	case err != nil:
		status, _ := p.abort("the connection ended before the printer answered, and it cannot be asked whether it has the job: it may be printed", cause)
		return status, fmt.Errorf("print over IPP: %w: %w; %w", ErrUnknown, cause, err)
	case found.id == 0 && p.ctx.Err() != nil:
		return p.cancel("it was canceled; the printer does not have it")
	case found.id == 0 && content != nil:
		return p.abort("the document could not be read to its end; the printer does not have it", content)
	case found.id == 0:
		return p.abort("the connection ended before the printer answered, and it does not have the job", cause)
	}
	p.status.Printer = found.id
	if !whole {
		if content == nil {
			content = cause
		}
		return p.discard(found.id, content)
	}
	return p.follow(found)
}

// lookup looks for the job by its mark, among those that are not over and those that are. No id and no error: the printer has none.
// It looks several times: printers list a job only a while after they took it.
func (p *printing) lookup() (job, error) {
	for try := range lookups {
		if try > 0 {
			if err := mfpgate.Wait(p.beyond, p.ipp.Clock, time.Duration(try)*2*time.Second); err != nil {
				return job{}, err
			}
		}
		for _, which := range []string{"not-completed", "completed"} {
			m := p.request(goipp.OpGetJobs)
			p.user(m)
			m.Operation.Add(goipp.MakeAttribute("which-jobs", goipp.TagKeyword, goipp.String(which)))
			requested(m, jobAttributes()...)
			a, err := p.ask(p.beyond, m)
			if err == nil {
				err = a.refusal()
			}
			if err != nil {
				if which == "completed" && errors.Is(err, ErrRefused) {
					continue // which-jobs=completed is optional in printers that forget what is over
				}
				if try == lookups-1 || gone(err) {
					return job{}, err
				}
				break
			}
			for _, attrs := range a.of(goipp.TagJobGroup) {
				if found := read(attrs); found.id > 0 && strings.Contains(found.name, p.mark) {
					return found, nil
				}
			}
		}
	}
	return job{}, nil
}

// follow asks how the job is until it has ended.
func (p *printing) follow(now job) (mfpgate.JobStatus, error) {
	id := now.id
	wait := leastWait
	silent := p.ipp.Clock.Now() // since when it has not answered
	for {
		if now.state.Ended() {
			return p.ended(now)
		}
		if now.state != "" && p.say(now) {
			wait = leastWait
		}
		if mfpgate.Wait(p.ctx, p.ipp.Clock, wait) != nil {
			return p.stop(id)
		}
		wait = min(wait*2, mostWait)
		next, known, err := p.attributes(p.ctx, id)
		switch {
		case p.ctx.Err() != nil:
			return p.stop(id)
		case gone(err):
			return p.delivered("the printer was unplugged before it said whether it printed it")
		case err != nil:
			if p.ipp.Clock.Now().Sub(silent) >= deadAfter {
				return p.delivered("the printer took it, and does not answer any more")
			}
			continue
		case !known:
			return p.delivered("the printer took it, and does not say what became of it")
		}
		silent = p.ipp.Clock.Now()
		if next.state != "" {
			now = next
		}
	}
}

// attributes asks for the job's. known is false where the printer does not know the job or the operation.
func (p *printing) attributes(ctx context.Context, id int) (found job, known bool, err error) {
	m := p.ofJob(goipp.OpGetJobAttributes, id)
	requested(m, jobAttributes()...)
	a, err := p.ask(ctx, m)
	if err != nil {
		return job{}, false, err
	}
	switch err := a.refusal(); {
	case errors.Is(err, errBusy):
		return job{}, false, err
	case err != nil:
		return job{}, false, nil
	}
	for _, attrs := range a.of(goipp.TagJobGroup) {
		return read(attrs), true, nil
	}
	return job{}, true, nil
}

// say tells a job's state on the way, and reports whether it is another one.
func (p *printing) say(j job) bool {
	before := p.status.State
	reasons, message := j.reasons, j.message
	if j.state == mfpgate.JobProcessingStopped {
		// The job says that the printer has stopped, the printer says why.
		if _, why, words, err := p.printer(); err == nil {
			reasons = slices.Concat(reasons, why)
			if message == "" {
				message = words
			}
		}
		reasons = append(reasons, "printer-stopped")
	}
	p.tell(j.state, message, reasons...)
	return before != j.state
}

// ended ends with the printer's word.
func (p *printing) ended(j job) (mfpgate.JobStatus, error) {
	p.tell(j.state, j.message, j.reasons...)
	switch {
	case j.state == mfpgate.JobCompleted:
		return p.status, nil
	case j.state == mfpgate.JobCanceled && p.ctx.Err() != nil:
		return p.status, context.Cause(p.ctx)
	case j.state == mfpgate.JobCanceled:
		return p.status, ErrCanceled
	}
	why := strings.Join(j.reasons, ", ")
	if j.message != "" {
		why = strings.TrimPrefix(why+": "+j.message, ": ")
	}
	return p.status, fmt.Errorf("print over IPP: %w: %s", ErrAborted, why)
}

// delivered completes a job of which nothing more will be known.
func (p *printing) delivered(message string) (mfpgate.JobStatus, error) {
	p.tell(mfpgate.JobCompleted, message, "queued-in-device")
	return p.status, nil
}

// stop cancels the job at the printer, and waits for its word.
func (p *printing) stop(id int) (mfpgate.JobStatus, error) {
	p.tell(p.status.State, "it is being canceled", "processing-to-stop-point")
	last, err := p.kill(id)
	switch {
	case last.state.Ended():
		return p.ended(last)
	case err != nil:
		return p.cancel("it was canceled; the printer could not be told, and may print it")
	}
	return p.cancel("it was canceled; the printer was told, and has not confirmed it")
}

// discard cancels at the printer what it has of a document that did not reach it whole.
func (p *printing) discard(id int, cause error) (mfpgate.JobStatus, error) {
	remark := ""
	if id > 0 {
		if last, err := p.kill(id); err != nil || !last.state.Ended() {
			remark = "; the printer has a part of it, and may print that"
		}
	} else {
		remark = "; the printer may have a part of it"
	}
	if p.ctx.Err() != nil {
		return p.cancel("it was canceled" + remark)
	}
	if cause == nil {
		cause = fmt.Errorf("%w: it answered before it had all of it", ErrAborted)
	}
	return p.abort("the document did not reach the printer whole"+remark, cause)
}

// kill sends Cancel-Job and asks how the job is until it has ended, at most for cancelWait.
func (p *printing) kill(id int) (last job, err error) {
	ctx, cancel := context.WithCancelCause(p.beyond)
	defer cancel(context.Canceled)
	defer p.ipp.Clock.AfterFunc(cancelWait, func() { cancel(context.DeadlineExceeded) })()
	told := false
	for wait := leastWait; ; wait = min(2*wait, mostWait) {
		if !told {
			a, asked := p.ask(ctx, p.ofJob(goipp.OpCancelJob, id))
			if err = asked; err == nil {
				// client-error-not-possible: it has ended already (RFC 8011 §4.3.3); what it is then, it says below.
				told = !errors.Is(a.refusal(), errBusy)
			}
		}
		if told || err != nil {
			if found, known, asked := p.attributes(ctx, id); asked == nil && known {
				if last = found; last.state.Ended() {
					return last, nil
				}
			} else if asked == nil && told {
				return last, nil // it does not know it any more
			}
		}
		if mfpgate.Wait(ctx, p.ipp.Clock, wait) != nil {
			return last, err
		}
	}
}
