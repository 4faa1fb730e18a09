package model

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"

	"github.com/OpenPrinting/goipp"
)

// The states of jobs (RFC 8011 §5.3.7).
const (
	JobPending    = 3
	JobProcessing = 5
	JobStopped    = 6
	JobCanceled   = 7
	JobAborted    = 8
	JobCompleted  = 9
)

// Step is a state that a job comes to, with its reasons.
type Step struct {
	State   int
	Reasons []string
}

// DefaultSteps are what jobs go through.
func DefaultSteps() []Step {
	return []Step{{JobProcessing, []string{"job-printing"}}, {JobCompleted, []string{"job-completed-successfully"}}}
}

// Document is one that came by Print-Job.
type Document struct {
	Job    int    `json:"job"`
	Name   string `json:"name,omitempty"`
	User   string `json:"user,omitempty"`
	Format string `json:"format,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	State  int    `json:"state"` // of its job now
	Cut    bool   `json:"cut"`   // it did not come to its end
}

type job struct {
	Document
	now   Step
	steps []Step // to come, one with each question
}

// Steps says what later jobs go through: they begin as pending, and come to the next state with each Get-Job-Attributes.
func (s *IPP) Steps(steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = slices.Clone(steps)
}

// Documents are those that came, in order.
func (s *IPP) Documents() []Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Document, 0, len(s.jobs))
	for _, j := range s.jobs {
		out = append(out, j.Document)
	}
	return out
}

// Move gives a job a state, and those behind it; it panics where there is no such job.
func (s *IPP) Move(id int, steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id-1]
	j.set(steps[0])
	j.steps = slices.Clone(steps[1:])
}

func (j *job) set(s Step) { j.now, j.State = s, s.State }

func (j *job) ended() bool { return j.State >= JobCanceled }

// printJob takes a document, and holds nothing of it.
func (s *IPP) printJob(m goipp.Message, body io.Reader, response *goipp.Message) {
	d := Document{Name: text(m.Operation, "job-name"), User: text(m.Operation, "requesting-user-name"), Format: text(m.Operation, "document-format")}
	if name := text(m.Operation, "document-name"); d.Name == "" {
		d.Name = name
	}
	digest := sha256.New()
	n, err := io.Copy(digest, body)
	d.Bytes, d.SHA256, d.Cut = n, hex.EncodeToString(digest.Sum(nil)), err != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Job = len(s.jobs) + 1
	j := &job{Document: d, steps: slices.Clone(s.steps)}
	if d.Cut {
		j.steps = nil
		j.set(Step{JobAborted, []string{"submission-interrupted"}})
		response.Code = goipp.Code(goipp.StatusErrorDocumentAccess)
	} else {
		j.set(Step{JobPending, []string{"none"}})
	}
	s.jobs = append(s.jobs, j)
	s.describe(j, &response.Job)
}

// find is the job that a request names, by its id or its URI.
func (s *IPP) find(m goipp.Message) (*job, bool) {
	for _, a := range m.Operation {
		if a.Name != "job-id" || len(a.Values) == 0 {
			continue
		}
		id, _ := a.Values[0].V.(goipp.Integer)
		if id >= 1 && int(id) <= len(s.jobs) {
			return s.jobs[id-1], true
		}
	}
	uri := text(m.Operation, "job-uri")
	for _, j := range s.jobs {
		if uri == jobURI(j.Job) {
			return j, true
		}
	}
	return nil, false
}

// getJob moves the job one step on, unless the printer is stopped, and tells where it is.
func (s *IPP) getJob(m goipp.Message, response *goipp.Message) {
	stopped := s.printer.Code() == CodePaperOut
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.find(m)
	if !ok {
		response.Code = goipp.Code(goipp.StatusErrorNotFound)
		return
	}
	if stopped && !j.ended() {
		shown := *j
		shown.set(Step{JobStopped, []string{"printer-stopped"}})
		s.describe(&shown, &response.Job)
		return
	}
	if len(j.steps) > 0 {
		j.set(j.steps[0])
		j.steps = j.steps[1:]
	}
	s.describe(j, &response.Job)
}

func (s *IPP) cancelJob(m goipp.Message, response *goipp.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, ok := s.find(m)
	switch {
	case !ok:
		response.Code = goipp.Code(goipp.StatusErrorNotFound)
	case j.ended():
		response.Code = goipp.Code(goipp.StatusErrorNotPossible)
	default:
		j.steps = nil
		j.set(Step{JobCanceled, []string{"job-canceled-by-user"}})
	}
}

// describe is the job in attributes.
func (s *IPP) describe(j *job, to *goipp.Attributes) {
	to.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(j.Job)))
	to.Add(goipp.MakeAttribute("job-uri", goipp.TagURI, goipp.String(jobURI(j.Job))))
	to.Add(goipp.MakeAttribute("job-state", goipp.TagEnum, goipp.Integer(j.State)))
	to.Add(keywords("job-state-reasons", j.now.Reasons))
	to.Add(goipp.MakeAttribute("job-name", goipp.TagName, goipp.String(j.Name)))
	to.Add(goipp.MakeAttribute("job-originating-user-name", goipp.TagName, goipp.String(j.User)))
	to.Add(goipp.MakeAttribute("job-k-octets", goipp.TagInteger, goipp.Integer((j.Bytes+1023)/1024)))
	impressions := 0
	if j.State == JobCompleted {
		impressions = 1
	}
	to.Add(goipp.MakeAttribute("job-impressions-completed", goipp.TagInteger, goipp.Integer(impressions)))
}
