package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Keywords of job-state-reasons (RFC 8011 §5.3.8) that this package gives; with printer-stopped also come keywords of
// printer-state-reasons.
const (
	reasonOutgoing    = "job-outgoing" // it is being sent
	reasonStopped     = "printer-stopped"
	reasonInDevice    = "queued-in-device"
	reasonPrinted     = "job-completed-successfully"
	reasonByUser      = "job-canceled-by-user"
	reasonAtDevice    = "job-canceled-at-device"
	reasonByPrinter   = "aborted-by-system"
	reasonInterrupted = "submission-interrupted"
	reasonNoPort      = "service-off-line"
	reasonToEnd       = "processing-to-stop-point"
)

// phase is what is being sent.
type phase int

const (
	phaseOwed     phase = iota // of what was before
	phaseOpening               // PJL before the document
	phaseDocument              //
	phaseClosing               // PJL behind it, or what ends a part of it
	phasePrinting              // nothing any more: the printer is to say that it has printed it
)

// job is one call of Print. All of it is that call's goroutine's.
type job struct {
	p        *Port
	doc      mfpgate.Document
	ctx      context.Context // its end cancels the job
	told     func(mfpgate.JobStatus)
	timer    mfpgate.Timer
	writer   *writer
	status   mfpgate.JobStatus
	toldAt   time.Time // when the status was told last, and
	toldSent int64     // its Sent

	plan     plan
	phase    phase
	size     int       // of the next transfer
	opened   bool      // the printer took a byte of the opening
	canceled bool      // ctx has ended, and that was taken notice of
	cut      bool      // Close's deadline has passed
	winding  bool      // the job is being broken off
	starved  bool      // it waits for Content, not for the printer
	moved    time.Time // when the printer took something last, or the phase began
	since    time.Time // moved, or when patience began later
}

// Print sends a document and returns what is true of it at the end: completed with a nil error; canceled with ctx's; aborted with
// what aborted it, among them ErrClosed, the errors of bus, and Content's own. ctx's end cancels the job; the package's comment says
// how, and what of. told, which may be nil, is called from this goroutine with each state on the way and with the end, and with
// progress at most once a second; it must not block. Print returns when Content is not in use any more: a Read that is in
// progress is waited for.
func (p *Port) Print(ctx context.Context, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	if told == nil {
		told = func(mfpgate.JobStatus) {}
	}
	j := &job{p: p, doc: doc, ctx: ctx, told: told, timer: p.clock.NewTimer(time.Hour), size: firstSize}
	defer j.timer.Stop()
	if doc.Content == nil {
		return j.abort(reasonInterrupted, "the document has no content", errEmpty)
	}
	switch err := p.turns.take(ctx, func() { j.tell(mfpgate.JobPending, "it waits for the jobs before it") }); {
	case errors.Is(err, ErrClosed) && p.gone() != nil:
		return j.abort(reasonInterrupted, "the printer was unplugged before the job began", p.gone())
	case errors.Is(err, ErrClosed):
		return j.abort(reasonNoPort, "the printer's port was closed before the job's turn", err)
	case err != nil:
		return j.cancel("it was canceled before its turn", err)
	}
	j.size = min(j.size, p.limit)
	j.writer = p.startWriter()
	defer j.writer.end()
	content := read(doc)
	defer content.stop()
	defer p.turns.free() // first: the next one need not wait for this one's content
	defer func() {
		p.mu.Lock()
		p.doing = mfpgate.JobStatus{}
		p.heard.mark = ""
		p.mu.Unlock()
	}()
	return j.run(content)
}

// run sends it and follows it.
func (j *job) run(content *content) (mfpgate.JobStatus, error) {
	if err := j.p.usable(); err != nil {
		return j.abort(reasonInterrupted, "the printer was unplugged before the job began", err)
	}
	j.enter(phaseOwed)
	j.tell(mfpgate.JobProcessing, "", reasonOutgoing)
	if n, err := j.give(j.p.owed); err != nil {
		j.p.owed = j.p.owed[n:]
		return j.broken(err)
	}
	j.p.owed = nil

	b, err := j.next(content)
	if err != nil {
		return j.broken(err)
	}
	if len(b.bytes) == 0 {
		if errors.Is(b.err, io.EOF) {
			b.err = errEmpty
		}
		return j.broken(fmt.Errorf("%w: %w", errContent, b.err))
	}
	j.plan = j.p.plan(j.doc, b.bytes)
	j.p.expect(j.plan.mark)

	j.enter(phaseOpening)
	n, err := j.give(j.plan.opening)
	j.opened = n > 0
	if err != nil {
		if j.opened { // half a command would spoil what comes next
			j.plan.closing = slices.Concat(j.plan.opening[n:], j.plan.closing)
		}
		return j.broken(err)
	}
	j.p.watch(j.plan.mark != "")

	j.enter(phaseDocument)
	for {
		if _, err := j.give(b.bytes); err != nil {
			return j.broken(err)
		}
		if b.err != nil {
			break
		}
		content.reuse(b)
		if b, err = j.next(content); err != nil {
			return j.broken(err)
		}
	}
	if !errors.Is(b.err, io.EOF) {
		return j.broken(fmt.Errorf("%w: %w", errContent, b.err))
	}

	j.enter(phaseClosing)
	if n, err := j.give(j.plan.trailer); err != nil {
		j.owe(j.plan.trailer[n:], err)
		return j.taken("the printer took all of the document, but not yet the mark behind it")
	}
	if j.plan.mark == "" {
		return j.taken("")
	}
	return j.follow()
}

// enter begins a phase.
func (j *job) enter(next phase) {
	j.phase = next
	j.moved = j.p.clock.Now()
	j.since = j.moved
}

// tell tells a state, if it is another one.
func (j *job) tell(state mfpgate.JobState, message string, reasons ...string) {
	slices.Sort(reasons)
	reasons = slices.Compact(reasons)
	if j.status.State == state && j.status.Message == message && slices.Equal(j.status.Reasons, reasons) {
		return
	}
	j.status.State, j.status.Message, j.status.Reasons = state, message, reasons
	j.publish()
}

func (j *job) publish() {
	j.toldAt, j.toldSent = j.p.clock.Now(), j.status.Sent
	if j.status.State != mfpgate.JobPending && !j.status.State.Ended() {
		j.p.mu.Lock()
		j.p.doing = j.status
		j.p.mu.Unlock()
	}
	status := j.status
	status.Reasons = slices.Clone(status.Reasons)
	j.told(status)
}

// progress counts what the printer took.
func (j *job) progress(n int) {
	if n <= 0 {
		return
	}
	now := j.p.clock.Now()
	j.moved, j.since = now, now
	if j.phase == phaseDocument {
		j.status.Sent += int64(n)
	}
	if j.status.State == mfpgate.JobProcessingStopped {
		j.resume()
	} else if now.Sub(j.toldAt) >= tellEvery {
		j.publish()
	}
}

// resume tells that it goes on.
func (j *job) resume() {
	switch {
	case j.canceled && j.phase == phaseDocument:
		j.tell(mfpgate.JobProcessing, "it was canceled; the printer gets the rest, for its language has no other end", reasonToEnd)
	case j.canceled:
		j.tell(mfpgate.JobProcessing, "it is being canceled", reasonToEnd)
	case j.phase == phasePrinting:
		j.tell(mfpgate.JobProcessing, "the printer has all of it")
	default:
		j.tell(mfpgate.JobProcessing, "", reasonOutgoing)
	}
}
