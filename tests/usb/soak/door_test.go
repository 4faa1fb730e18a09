package soak_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// door is a way of a document into the product, and the kind of printer behind it.
type door string

const (
	plain  door = "raw"            // Printers.Print, to a printer that takes bytes and says nothing
	oneWay door = "unidirectional" // the same of class 7/1/1
	framed door = "PJL"            // Printers.Print, to one that is told of jobs in PJL, and tells of them
	asked  door = "IPP"            // Printers.Print, to one in mode ipp-usb
	served door = "HTTP"           // a client of its endpoint
)

func doors() []door { return []door{plain, oneWay, framed, asked, served} }

func (d door) mode() mfpgate.USBMode {
	if d == asked || d == served {
		return mfpgate.USBModeIPP
	}
	return mfpgate.USBModeRaw
}

// layouts are the printers that it leads to; the first has one interface alone, so that what happens is the same each time.
func (d door) layouts() []model.Layout {
	switch d {
	case plain, framed:
		return []model.Layout{model.Bidirectional}
	case oneWay:
		return []model.Layout{model.Unidirectional}
	}
	return []model.Layout{model.Alternates, model.Composite, model.Pairs, model.HP}
}

func (d door) printer(l model.Layout) model.Options {
	return model.Options{Layout: l, Serial: "S1", NoPJL: d == plain || d == oneWay}
}

func (d door) format() string {
	if d == plain || d == oneWay {
		return "" // opaque: not a byte is added
	}
	return "application/pdf"
}

// paper is a document, and how it is recognised.
type paper struct {
	bytes  []byte
	digest string
}

func newPaper(b []byte) paper {
	sum := sha256.Sum256(b)
	return paper{b, hex.EncodeToString(sum[:])}
}

func (p paper) size() int64 { return int64(len(p.bytes)) }

func (p paper) document(d door) mfpgate.Document {
	return mfpgate.Document{Name: "soak", Format: d.format(), Size: p.size(), Content: struct{ io.Reader }{bytes.NewReader(p.bytes)}}
}

// job is a document on its way, and what is told of it.
type job struct {
	ended  chan struct{}
	status mfpgate.JobStatus // when it has ended
	err    error

	mu   sync.Mutex
	told []mfpgate.JobStatus
}

// begin sends a document through a door.
func (s *site) begin(p *plugged, d door, doc mfpgate.Document) *job {
	j := &job{ended: make(chan struct{})}
	go func() { // whoever has the job waits for it
		defer close(j.ended)
		if d == served {
			j.status, j.err = post(context.Background(), s.show(p).URL, doc)
			return
		}
		j.status, j.err = s.printers.Print(context.Background(), p.sighting(), doc, func(now mfpgate.JobStatus) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.told = append(j.told, now)
		})
	}()
	return j
}

// tells reports whether a state was told, with a reason if that is not empty.
func (j *job) tells(state mfpgate.JobState, reason string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, now := range j.told {
		if now.State == state && (reason == "" || has(now, reason)) {
			return true
		}
	}
	return false
}

func has(s mfpgate.JobStatus, reason string) bool {
	for _, r := range s.Reasons {
		if r == reason {
			return true
		}
	}
	return false
}

// post is a client's print job: Print-Job, and Get-Job-Attributes until it has ended. Sent is not known to it.
func post(ctx context.Context, url string, doc mfpgate.Document) (mfpgate.JobStatus, error) {
	aborted := mfpgate.JobStatus{State: mfpgate.JobAborted}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	m := request(goipp.OpPrintJob)
	m.Operation.Add(goipp.MakeAttribute("job-name", goipp.TagName, goipp.String(doc.Name)))
	m.Operation.Add(goipp.MakeAttribute("document-format", goipp.TagMimeType, goipp.String(doc.Format)))
	answer, err := ask(ctx, client, url, m, doc)
	if err != nil {
		return aborted, err
	}
	id := number(answer.Job, "job-id")
	for range 10 {
		switch number(answer.Job, "job-state") {
		case model.JobCompleted:
			return mfpgate.JobStatus{State: mfpgate.JobCompleted, Printer: id}, nil
		case model.JobAborted, model.JobCanceled:
			return aborted, errors.New("the printer gave it up")
		}
		m := request(goipp.OpGetJobAttributes)
		m.Operation.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(id)))
		if answer, err = ask(ctx, client, url, m, mfpgate.Document{}); err != nil {
			return mfpgate.JobStatus{State: mfpgate.JobCompleted, Reasons: []string{"queued-in-device"}, Printer: id}, nil //nolint:nilerr // it was taken
		}
	}
	return aborted, errors.New("it prints on and on")
}

func request(op goipp.Op) *goipp.Message {
	m := goipp.NewRequest(goipp.MakeVersion(2, 0), op, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String("ipp://localhost/ipp/print")))
	return m
}

func ask(ctx context.Context, client *http.Client, url string, m *goipp.Message, doc mfpgate.Document) (answer goipp.Message, err error) {
	head, err := m.EncodeBytes()
	if err != nil {
		return answer, err
	}
	var body io.Reader = bytes.NewReader(head)
	if doc.Content != nil {
		body = io.MultiReader(body, doc.Content)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/ipp/print", body)
	if err != nil {
		return answer, err
	}
	req.ContentLength = int64(len(head)) + doc.Size
	req.Header.Set("Content-Type", goipp.ContentType)
	resp, err := client.Do(req)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return answer, fmt.Errorf("HTTP %d: %s", resp.StatusCode, bytes.TrimSpace(text))
	}
	if err := answer.Decode(resp.Body); err != nil {
		return answer, err
	}
	if status := goipp.Status(answer.Code); status >= 0x100 {
		return answer, fmt.Errorf("%s", status)
	}
	return answer, nil
}

func number(attrs goipp.Attributes, name string) int {
	for _, a := range attrs {
		if a.Name == name {
			n, _ := a.Values[0].V.(goipp.Integer)
			return int(n)
		}
	}
	return 0
}

// copies is how often a printer has got a document whole; whole says that it took all of its bytes, whatever it then did with them.
func (p *plugged) copies(d door, doc paper) (n int) {
	switch d {
	case plain, oneWay:
		if p.Raw.Bytes() == doc.size() && p.Raw.SHA256() == doc.digest {
			n = 1
		}
	case framed:
		for _, j := range p.Raw.Jobs() {
			if j.SHA256 == doc.digest {
				n++
			}
		}
	default:
		for _, got := range p.IPP.Documents() {
			if got.SHA256 == doc.digest && !got.Cut {
				n++
			}
		}
	}
	return n
}

// carried is how many bytes it took of the host, on all of its bulk endpoints.
func (p *plugged) carried() (n int64) {
	if p.RawOut != nil {
		n = p.RawOut.Total()
	}
	for _, pair := range p.Pairs {
		n += pair.Out.Total()
	}
	return n
}
