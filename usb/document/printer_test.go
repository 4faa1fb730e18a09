package document_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/OpenPrinting/goipp"
	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/document"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// printer is an http.RoundTripper that is a printer, in the process.
type printer struct {
	mu    sync.Mutex
	jobs  []*printed
	ops   []goipp.Op
	state int      // printer-state
	why   []string // printer-state-reasons

	busy     int // so many submissions are answered with busy
	busyLate int // so many Print-Jobs are, when they were read
	refuse   map[goipp.Op]goipp.Status
	oldest   bool                                      // speaks IPP/1.1 alone
	raw      func(op goipp.Op) (*http.Response, error) // answers in place of the printer, if not nil
	lose     int                                       // so many Print-Jobs are taken, and their answers lost
	drop     int                                       // so many are read, and are no jobs
	gateway  bool                                      // what is lost or dropped is answered with HTTP 503
	cutAt    int64                                     // Print-Job's connection ends behind so many bytes of document; 0: it does not
	deaf     chan struct{}                             // Print-Job is not read before it is closed; nil: at once
	script   []int                                     // states of a job, one for each question; the last stays
	reasons  []string
	message  string
}

type printed struct {
	id      int
	name    string
	format  string
	content []byte
	asked   int
	state   int // over the script, if not 0
}

var errLost = errors.New("connection reset by peer")

func (p *printer) RoundTrip(req *http.Request) (*http.Response, error) {
	defer req.Body.Close()
	var m goipp.Message
	if err := m.Decode(req.Body); err != nil {
		return nil, err
	}
	op := goipp.Op(m.Code)
	p.mu.Lock()
	p.ops = append(p.ops, op)
	raw, deaf := p.raw, p.deaf
	p.mu.Unlock()
	if raw != nil {
		if resp, err := raw(op); resp != nil || err != nil {
			return resp, err
		}
	}
	var content []byte
	if op == goipp.OpPrintJob {
		if deaf != nil {
			select {
			case <-deaf:
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		}
		var err error
		reader := io.Reader(req.Body)
		if p.cutAt > 0 {
			reader = io.LimitReader(reader, p.cutAt)
		}
		if content, err = io.ReadAll(reader); err != nil || p.cutAt > 0 {
			p.mu.Lock()
			if len(content) > 0 { // a printer begins a job before it has all of it
				p.jobs = append(p.jobs, &printed{id: len(p.jobs) + 1, name: find(m, "job-name"), content: content})
			}
			p.mu.Unlock()
			return nil, errors.Join(err, errLost)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a, err := p.answer(op, m, content)
	switch {
	case errors.Is(err, errLost) && p.gateway:
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
	case err != nil:
		return nil, err
	}
	return respond(a), req.Context().Err()
}

func respond(a *goipp.Message) *http.Response {
	b, _ := a.EncodeBytes()
	return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(b)), Header: http.Header{"Content-Type": {goipp.ContentType}}}
}

func find(m goipp.Message, name string) string {
	for _, a := range m.Operation {
		if a.Name == name {
			return a.Values[0].V.String()
		}
	}
	return ""
}

func (p *printer) answer(op goipp.Op, m goipp.Message, content []byte) (*goipp.Message, error) {
	a := goipp.NewResponse(m.Version, goipp.StatusOk, m.RequestID)
	a.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	a.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	status := func(s goipp.Status) (*goipp.Message, error) { a.Code = goipp.Code(s); return a, nil }
	if p.oldest && m.Version > goipp.MakeVersion(1, 1) {
		return status(goipp.StatusErrorVersionNotSupported)
	}
	if s, ok := p.refuse[op]; ok {
		return status(s)
	}
	switch op {
	case goipp.OpValidateJob, goipp.OpPrintJob:
		if p.busy > 0 {
			p.busy--
			return status(goipp.StatusErrorBusy)
		}
		if op == goipp.OpValidateJob {
			return a, nil
		}
		if p.busyLate > 0 {
			p.busyLate--
			return status(goipp.StatusErrorBusy)
		}
		if p.drop > 0 {
			p.drop--
			return nil, errLost
		}
		j := &printed{id: len(p.jobs) + 1, name: find(m, "job-name"), format: find(m, "document-format"), content: content}
		p.jobs = append(p.jobs, j)
		if p.lose > 0 {
			p.lose--
			return nil, errLost
		}
		p.describe(a, j)
	case goipp.OpGetJobAttributes, goipp.OpCancelJob:
		for _, j := range p.jobs {
			if find(m, "job-id") == goipp.Integer(j.id).String() {
				if op == goipp.OpCancelJob {
					j.state = 7
					return a, nil
				}
				j.asked++
				p.describe(a, j)
				return a, nil
			}
		}
		return status(goipp.StatusErrorNotFound)
	case goipp.OpGetJobs:
		var groups goipp.Groups
		groups.Add(goipp.Group{Tag: goipp.TagOperationGroup, Attrs: a.Operation})
		for _, j := range p.jobs {
			one := goipp.NewResponse(m.Version, goipp.StatusOk, m.RequestID)
			p.describe(one, j)
			groups.Add(goipp.Group{Tag: goipp.TagJobGroup, Attrs: one.Job})
		}
		return goipp.NewMessageWithGroups(m.Version, goipp.Code(goipp.StatusOk), m.RequestID, groups), nil
	case goipp.OpGetPrinterAttributes:
		a.Printer.Add(goipp.MakeAttribute("printer-state", goipp.TagEnum, goipp.Integer(p.state)))
		a.Printer.Add(list("printer-state-reasons", p.why))
	default:
		return status(goipp.StatusErrorOperationNotSupported)
	}
	return a, nil
}

func list(name string, words []string) goipp.Attribute {
	out := goipp.Attribute{Name: name}
	for _, word := range append(words, "none")[:max(len(words), 1)] {
		out.Values.Add(goipp.TagKeyword, goipp.String(word))
	}
	return out
}

func (p *printer) describe(a *goipp.Message, j *printed) {
	state := j.state
	if state == 0 {
		state = 9
		if n := len(p.script); n > 0 {
			state = p.script[min(j.asked, n-1)]
		}
	}
	a.Job.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(j.id)))
	a.Job.Add(goipp.MakeAttribute("job-name", goipp.TagName, goipp.String(j.name)))
	a.Job.Add(goipp.MakeAttribute("job-state", goipp.TagEnum, goipp.Integer(state)))
	a.Job.Add(list("job-state-reasons", p.reasons))
	if p.message != "" {
		a.Job.Add(goipp.MakeAttribute("job-state-message", goipp.TagText, goipp.String(p.message)))
	}
}

// count is how often an operation was asked for.
func (p *printer) count(op goipp.Op) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, o := range p.ops {
		if o == op {
			n++
		}
	}
	return n
}

func (p *printer) ipp() document.IPP {
	return document.IPP{Client: &http.Client{Transport: p}, URL: "http://localhost/ipp/print", Clock: mfpgate.SystemClock{}}
}

func doc(content string) mfpgate.Document {
	return mfpgate.Document{Name: "report.pdf", Format: "application/pdf", Size: int64(len(content)), Content: strings.NewReader(content)}
}

// states collects what a job tells.
type states struct {
	mu   sync.Mutex
	list []mfpgate.JobStatus
}

func (s *states) tell(status mfpgate.JobStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, status)
}

func (s *states) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, status := range s.list {
		out = append(out, strings.TrimSpace(string(status.State)+" "+strings.Join(status.Reasons, " ")))
	}
	return slices.Compact(out)
}

func (s *states) last() mfpgate.JobStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return mfpgate.JobStatus{}
	}
	return s.list[len(s.list)-1]
}

type result struct {
	status mfpgate.JobStatus
	err    error
}

func start(ctx context.Context, i document.IPP, d mfpgate.Document, told func(mfpgate.JobStatus)) <-chan result {
	done := make(chan result, 1)
	go func() {
		status, err := i.Print(ctx, d, told)
		done <- result{status, err}
	}()
	return done
}
