package model_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

func jobID(n int) goipp.Attribute {
	return goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(n))
}

func TestPrintJob(t *testing.T) {
	for _, layout := range []model.Layout{model.Composite, model.Pairs, model.HP} {
		p := attached(t, model.Options{Layout: layout, Serial: "S1"})
		c := client(t, p, 2, 0x82)
		document := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
		m, err := ask(t, c, goipp.OpPrintJob, bytes.NewReader(document), goipp.MakeAttribute("job-name", goipp.TagName, goipp.String("a job")))
		if err != nil || m.Code != goipp.Code(goipp.StatusOk) || integer(m.Job, "job-id") != 1 || integer(m.Job, "job-state") != model.JobPending {
			t.Fatalf("%s: %v %v %v", layout, m.Code, m.Job, err)
		}
		want := []model.Document{{Job: 1, Name: "a job", Bytes: int64(len(document)), SHA256: digest(document), State: model.JobPending}}
		if diff := cmp.Diff(want, p.IPP.Documents()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", layout, diff)
		}
		states := func(want ...int) {
			t.Helper()
			for _, want := range want {
				m, err := ask(t, c, goipp.OpGetJobAttributes, http.NoBody, jobID(1))
				if got := integer(m.Job, "job-state"); err != nil || got != want {
					t.Errorf("%s: job state %d, want %d: %v", layout, got, want, err)
				}
			}
		}
		printer := func(want int) {
			t.Helper()
			m, err := ask(t, c, goipp.OpGetPrinterAttributes, http.NoBody)
			if got := integer(m.Printer, "printer-state"); err != nil || got != want {
				t.Errorf("%s: printer state %d, want %d: %v", layout, got, want, err)
			}
		}
		p.OutOfPaper()
		states(model.JobStopped, model.JobStopped)
		printer(5)
		p.LoadPaper()
		printer(4)
		states(model.JobProcessing, model.JobCompleted, model.JobCompleted)
		printer(3)
		if m, _ := ask(t, c, goipp.OpCancelJob, http.NoBody, jobID(1)); m.Code != goipp.Code(goipp.StatusErrorNotPossible) {
			t.Errorf("%s: a job that has ended was cancelled: %v", layout, m.Code)
		}
		if m, _ := ask(t, c, goipp.OpGetJobAttributes, http.NoBody, jobID(9)); m.Code != goipp.Code(goipp.StatusErrorNotFound) {
			t.Errorf("%s: a job that was never sent: %v", layout, m.Code)
		}
	}
}

// TestAnswers: what the host gets of each kind of answer.
func TestAnswers(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		answer model.Answer
		want   string // of the error; empty: well
	}{
		{"well", model.Answer{}, ""},
		{"in chunks", model.Answer{Chunked: true, Pad: 100_000}, ""},
		{"long", model.Answer{Pad: 300_000}, ""},
		{"late", model.Answer{Delay: time.Millisecond}, ""},
		{"a status", model.Answer{Status: 503}, "503"},
		{"garbage", model.Answer{Garbage: true}, "malformed HTTP"},
		{"cut off", model.Answer{Cut: 50}, "deadline"},
		{"silence", model.Answer{Silent: true}, "deadline"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			p := attached(t, model.Options{})
			p.IPP.Next(tc.answer)
			c := client(t, p, 2, 0x82)
			if tc.want == "deadline" {
				c = &http.Client{Transport: c.Transport, Timeout: 50 * time.Millisecond}
			}
			m, err := ask(t, c, goipp.OpGetPrinterAttributes, http.NoBody)
			switch {
			case tc.want == "" && (err != nil || integer(m.Printer, "printer-state") != 3):
				t.Errorf("%v %v", m.Code, err)
			case tc.want == "deadline" && (err == nil || !strings.Contains(err.Error(), "deadline exceeded")):
				t.Errorf("got %v", err)
			case tc.want != "" && tc.want != "deadline" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// TestSettings: the two settings of one interface exclude each other.
func TestSettings(t *testing.T) {
	p := attached(t, model.Options{Layout: model.Alternates})
	send(t, p, 1, []byte("raw"))
	eventually(t, "taken", func() bool { return p.Raw.Bytes() == 3 })
	if err := p.SetAlt(0, 1); err != nil {
		t.Fatal(err)
	}
	if p.Raw.Cut() != 1 {
		t.Error("the raw job goes on beside IPP-USB")
	}
	c := client(t, p, 1, 0x81)
	if _, err := ask(t, c, goipp.OpGetPrinterAttributes, http.NoBody); err != nil {
		t.Error(err)
	}
}
