package document

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// IPP prints to one printer. It keeps nothing between jobs: many goroutines may print at once, and the printer orders them.
type IPP struct {
	Client *http.Client // its transport is the printer's; its Timeout is 0
	URL    string       // http://127.0.0.1:60001/ipp/print
	Clock  mfpgate.Clock
	User   string // requesting-user-name; empty: mfpgate
}

func (i IPP) user() string {
	if i.User == "" {
		return "mfpgate"
	}
	return i.User
}

var errEmpty = errors.New("the document is empty")

// How long things may take.
const (
	leastWait   = time.Second
	mostWait    = 10 * time.Second // between two questions how the job is
	mostBusy    = time.Minute      // between two tries at a busy printer
	quietAfter  = 30 * time.Second // a printer that reads nothing is asked what keeps it
	deadAfter   = 10 * time.Minute // a printer that neither reads, answers nor says what keeps it is given up
	cancelGrace = 10 * time.Second // for the transport to end a document that is broken off
	cancelWait  = 30 * time.Second // for the printer's word after Cancel-Job
	lookups     = 3                // times that a job is looked for by its mark
)

// printing is one call of Print.
type printing struct {
	ipp      IPP
	client   *http.Client
	uri      string
	doc      mfpgate.Document
	told     func(mfpgate.JobStatus)
	ctx      context.Context // its end cancels the job
	beyond   context.Context // the same without its end
	name     string          // job-name: the document's, and
	mark     string          // by which the job is found
	version  goipp.Version
	requests uint32
	status   mfpgate.JobStatus
	at       time.Time // when it was told last
}

// Print sends a document and returns what became of it: completed with a nil error; canceled with ctx's, or ErrCanceled; aborted with
// what aborted it. told, which may be nil, is called from this goroutine with each state on the way and with the end, and with
// progress at most once a second; it must not block. Content is not in use any more when Print returns.
func (i IPP) Print(ctx context.Context, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	if told == nil {
		told = func(mfpgate.JobStatus) {}
	}
	id := mfpgate.NewID(i.Clock, "job")
	p := &printing{
		ipp: i, doc: doc, told: told, ctx: ctx, beyond: context.WithoutCancel(ctx),
		mark: "[" + id[len(id)-10:] + "]", version: goipp.MakeVersion(2, 0),
		// Redirects are answers like others: followed, they would carry the document somewhere else.
		client: &http.Client{Transport: i.Client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	p.name = jobName(doc.Name, p.mark)
	var err error
	if p.uri, err = uri(i.URL); err != nil {
		return p.abort("the printer's address is wrong", err)
	}
	if doc.Content == nil || doc.Size == 0 {
		return p.abort("the document is empty", errEmpty)
	}
	return p.submit()
}

// maxName is short enough for printers that cut names off, which would lose the mark: 63 of 255 octets.
const maxName = 63

func jobName(name, mark string) string {
	name = mfpgate.CleanText(name, maxText)
	if most := maxName - len(mark) - 1; len(name) > most {
		for most > 0 && name[most]&0xC0 == 0x80 { // within a character
			most--
		}
		name = name[:most]
	}
	if name == "" {
		return mark
	}
	return name + " " + mark
}

// submit brings the job to the printer, which may be busy for long.
func (p *printing) submit() (mfpgate.JobStatus, error) {
	for wait := leastWait; ; wait = min(2*wait, mostBusy) {
		err := p.validate()
		if err == nil {
			var retry bool
			var status mfpgate.JobStatus
			if status, retry, err = p.send(); !retry {
				return status, err
			}
		}
		switch {
		case p.ctx.Err() != nil:
			return p.cancel("it was canceled before the printer took it")
		case errors.Is(err, errBusy):
			p.tell(mfpgate.JobPending, "the printer takes no job now: "+mfpgate.CleanText(err.Error(), maxText))
		case errors.Is(err, ErrRefused), errors.Is(err, ErrNotIPP):
			return p.abort("the printer does not take it", err)
		default:
			return p.abort("the printer cannot be reached", err)
		}
		if mfpgate.Wait(p.ctx, p.ipp.Clock, wait) != nil {
			return p.cancel("it was canceled before the printer took it")
		}
	}
}

// validate asks whether the printer would take the job. A printer that does not know the operation may.
func (p *printing) validate() error {
	for {
		a, err := p.ask(p.ctx, p.submission(goipp.OpValidateJob))
		switch {
		case err != nil:
			return err
		case a.status == goipp.StatusErrorVersionNotSupported && p.version > goipp.MakeVersion(1, 1):
			p.version = goipp.MakeVersion(1, 1)
			continue
		case a.status == goipp.StatusErrorOperationNotSupported:
			return nil
		}
		return a.refusal()
	}
}

// sending is the end of the exchange that carries the document.
type sending struct {
	answer answer
	err    error
}

// send sends the document and follows the job. retry says that the printer was busy, and that the document can go again.
func (p *printing) send() (status mfpgate.JobStatus, retry bool, err error) {
	m := p.submission(goipp.OpPrintJob)
	head, err := m.EncodeBytes()
	if err != nil {
		status, err = p.abort("the request cannot be made", err)
		return status, false, err
	}
	b := &body{clock: p.ipp.Clock, content: p.doc.Content, size: p.doc.Size, head: int64(len(head)), moved: p.ipp.Clock.Now()}
	length := int64(-1)
	if p.doc.Size >= 0 {
		length = int64(len(head)) + p.doc.Size
	}
	p.tell(mfpgate.JobProcessing, "", "job-incoming")
	s := p.carry(b, head, length, m.RequestID)
	b.end()
	p.status.Sent, _ = b.progress()

	whole, content := b.outcome()
	if s.err == nil {
		if s.err = s.answer.refusal(); s.err == nil {
			if whole {
				p.status.Sent = b.read() // it has answered to all of it, perhaps before the transport told
			}
			status, err = p.taken(s.answer, whole, content)
			return status, false, err
		}
	}
	busy := errors.Is(s.err, errBusy)
	if busy && s.answer.status == 0 && b.read() > 0 {
		// HTTP's word may be that of a gateway which lost the printer in the midst, as ipp-usb's and ours are: the job may exist.
		found, err := p.lookup()
		busy = err == nil && found.id == 0
	}
	switch {
	case busy:
		if b.read() == 0 && content == nil && !whole || p.rewind() {
			p.status.Sent = 0
			return p.status, true, s.err
		}
		status, err = p.abort("the printer became busy when the document was on its way, which cannot be read again", s.err)
	case errors.Is(s.err, ErrRefused):
		status, err = p.abort("the printer does not take it", s.err)
	default: // no answer, or none that can be understood: the job may exist
		whole = whole && p.status.Sent == b.read()
		status, err = p.lost(s.err, whole, content)
	}
	return status, false, err
}

// rewind brings the document back to its beginning.
func (p *printing) rewind() bool {
	s, ok := p.doc.Content.(io.Seeker)
	if !ok {
		return false
	}
	_, err := s.Seek(0, io.SeekStart)
	return err == nil
}

// carry is the exchange with the document. It looks after a printer that does not read, and ends it when ctx does.
func (p *printing) carry(b *body, head []byte, length int64, id uint32) sending {
	ctx, stop := context.WithCancelCause(p.beyond)
	defer stop(context.Canceled)
	done := make(chan sending, 1)
	go func() { // received below on every way
		a, err := p.post(ctx, upload{io.MultiReader(bytes.NewReader(head), b), b}, length, id)
		done <- sending{a, err}
	}()
	tick := p.ipp.Clock.NewTimer(time.Second)
	defer tick.Stop()
	canceled := p.ctx.Done()
	looked := p.ipp.Clock.Now()
	told := looked // when the printer last said what keeps it
	for {
		select {
		case s := <-done:
			if cause := context.Cause(ctx); s.err != nil && cause != nil {
				s.err = cause // the transport says less
			}
			return s
		case <-canceled:
			canceled = nil
			b.quit() // the transport gets an error in place of the rest
			defer p.ipp.Clock.AfterFunc(cancelGrace, func() { stop(context.Cause(p.ctx)) })()
		case <-tick.C():
			now := p.ipp.Clock.Now()
			sent, moved := b.progress()
			if sent != p.status.Sent {
				p.status.Sent = sent
				p.tell(mfpgate.JobProcessing, "", "job-incoming")
				p.publish(time.Second)
			}
			if moved.After(told) {
				told = moved
			}
			if canceled != nil && now.Sub(moved) >= quietAfter && now.Sub(looked) >= quietAfter {
				looked = now
				if p.hindered() {
					told = now
				}
			}
			if now.Sub(told) >= deadAfter {
				stop(fmt.Errorf("the printer reads nothing and answers nothing: %w", context.DeadlineExceeded))
			}
			if now.Sub(moved) < quietAfter {
				tick.Reset(time.Second)
			} else {
				tick.Reset(quietAfter / 3)
			}
		}
	}
}

// hindered asks what keeps the printer, tells it, and reports whether something does.
func (p *printing) hindered() bool {
	state, reasons, message, err := p.printer()
	switch {
	case err != nil:
		return false
	case state == 5:
		p.tell(mfpgate.JobProcessingStopped, message, append(reasons, "printer-stopped")...)
		return true
	}
	p.tell(mfpgate.JobProcessing, "", "job-incoming")
	return state == 4
}

// printer is the printer's state, its reasons and its words.
func (p *printing) printer() (state int, reasons []string, message string, err error) {
	m := p.request(goipp.OpGetPrinterAttributes)
	p.user(m)
	requested(m, "printer-state", "printer-state-reasons", "printer-state-message")
	a, err := p.ask(p.beyond, m)
	if err != nil || a.refusal() != nil {
		return 0, nil, "", errors.Join(err, a.refusal())
	}
	for _, attrs := range a.of(goipp.TagPrinterGroup) {
		return integer(attrs, "printer-state"), keywords(attrs, "printer-state-reasons"), text(attrs, "printer-state-message"), nil
	}
	return 0, nil, "", fmt.Errorf("%w: it has no printer", ErrNotIPP)
}

// gone reports whether an error says that the printer is not there any more.
func gone(err error) bool { return errors.Is(err, bus.ErrGone) || errors.Is(err, bus.ErrClosed) }

// tell tells a state, if it is another one.
func (p *printing) tell(state mfpgate.JobState, message string, reasons ...string) {
	slices.Sort(reasons)
	reasons = slices.Compact(reasons)
	if p.status.State == state && p.status.Message == message && slices.Equal(p.status.Reasons, reasons) {
		return
	}
	p.status.State, p.status.Message, p.status.Reasons = state, message, reasons
	p.publish(0)
}

// publish tells the status, unless that was done within the period.
func (p *printing) publish(period time.Duration) {
	now := p.ipp.Clock.Now()
	if now.Sub(p.at) < period {
		return
	}
	p.at = now
	status := p.status
	status.Reasons = slices.Clone(status.Reasons)
	p.told(status)
}

func (p *printing) cancel(message string) (mfpgate.JobStatus, error) {
	p.tell(mfpgate.JobCanceled, message, "job-canceled-by-user")
	return p.status, context.Cause(p.ctx)
}

func (p *printing) abort(message string, cause error) (mfpgate.JobStatus, error) {
	p.tell(mfpgate.JobAborted, message, "submission-interrupted")
	return p.status, fmt.Errorf("print over IPP: %w", cause)
}
