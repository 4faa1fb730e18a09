package document_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/document"
)

func TestFollowsTheJobToItsEnd(t *testing.T) {
	for _, test := range []struct {
		rule    string
		printer *printer
		want    []string
		err     error
	}{
		{"printed", &printer{script: []int{3, 5, 5, 9}, reasons: []string{"job-completed-successfully"}},
			[]string{"processing job-incoming", "pending job-completed-successfully", "processing job-completed-successfully", "completed job-completed-successfully"}, nil},
		{"stopped for want of paper, then printed", &printer{script: []int{5, 6, 5, 9}, state: 5, why: []string{"media-empty-error"}},
			[]string{"processing job-incoming", "processing", "processing-stopped media-empty-error printer-stopped", "processing", "completed"}, nil},
		{"aborted by the printer", &printer{script: []int{5, 8}, reasons: []string{"document-format-error"}, message: "bad PDF"},
			[]string{"processing job-incoming", "processing document-format-error", "aborted document-format-error"}, document.ErrAborted},
		{"canceled at the panel", &printer{script: []int{5, 7}, reasons: []string{"job-canceled-at-device"}},
			[]string{"processing job-incoming", "processing job-canceled-at-device", "canceled job-canceled-at-device"}, document.ErrCanceled},
		{"a printer that says nothing of jobs", &printer{script: []int{3}, refuse: map[goipp.Op]goipp.Status{goipp.OpGetJobAttributes: goipp.StatusErrorOperationNotSupported}},
			[]string{"processing job-incoming", "pending", "completed queued-in-device"}, nil},
		{"a printer that forgets the job when it is over", &printer{script: []int{5}, refuse: map[goipp.Op]goipp.Status{goipp.OpGetJobAttributes: goipp.StatusErrorNotFound}},
			[]string{"processing job-incoming", "processing", "completed queued-in-device"}, nil},
		{"a printer that knows no Validate-Job", &printer{refuse: map[goipp.Op]goipp.Status{goipp.OpValidateJob: goipp.StatusErrorOperationNotSupported}},
			[]string{"processing job-incoming", "completed"}, nil},
		{"a printer of IPP/1.1", &printer{oldest: true}, []string{"processing job-incoming", "completed"}, nil},
		{"busy for a while", &printer{busy: 5}, []string{"pending", "processing job-incoming", "completed"}, nil},
		{"busy when it had read the document, which can be wound back", &printer{busyLate: 1},
			[]string{"processing job-incoming", "pending", "processing job-incoming", "completed"}, nil},
		{"unavailable when it had read the document, of which it knows nothing", &printer{drop: 1, gateway: true},
			[]string{"processing job-incoming", "pending", "processing job-incoming", "completed"}, nil},
		{"a format that it does not take", &printer{refuse: map[goipp.Op]goipp.Status{goipp.OpValidateJob: goipp.StatusErrorDocumentFormatNotSupported}},
			[]string{"aborted submission-interrupted"}, document.ErrRefused},
		{"a printer that wants a login", &printer{raw: func(goipp.Op) (*http.Response, error) {
			return &http.Response{StatusCode: 401, Body: http.NoBody}, nil
		}}, []string{"aborted submission-interrupted"}, document.ErrRefused},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told states
				p := test.printer
				status, err := p.ipp().Print(t.Context(), doc("%PDF-1.7 page"), told.tell)
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				if diff := cmp.Diff(test.want, told.told()); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(status, told.last()); diff != "" {
					t.Errorf("what was told last is not what is returned:\n%s", diff)
				}
				for _, j := range p.jobs {
					if string(j.content) != "%PDF-1.7 page" || j.format != "application/pdf" || !strings.HasPrefix(j.name, "report.pdf [") || status.Printer != j.id {
						t.Errorf("the printer got %+v, and it is said to be its job %d", j, status.Printer)
					}
				}
				if status.State == mfpgate.JobCompleted && (len(p.jobs) != 1 || status.Sent != 13) {
					t.Errorf("%d jobs, %d bytes; want one of 13", len(p.jobs), status.Sent)
				}
			})
		})
	}
}

// TestConnectionLost: whatever becomes of the answer, the printer gets the document once at most.
func TestConnectionLost(t *testing.T) {
	for _, test := range []struct {
		rule    string
		printer *printer
		state   mfpgate.JobState
		err     error
		cancels int
		jobs    int
	}{
		{"the printer has it: it is followed", &printer{lose: 1, script: []int{5, 5, 9}}, mfpgate.JobCompleted, nil, 0, 1},
		{"a gateway says that it is unavailable, and the printer has it", &printer{lose: 1, gateway: true, script: []int{5, 5, 9}}, mfpgate.JobCompleted, nil, 0, 1},
		{"the same, and the printer cannot be asked", &printer{lose: 1, gateway: true, refuse: map[goipp.Op]goipp.Status{goipp.OpGetJobs: goipp.StatusErrorOperationNotSupported}},
			mfpgate.JobAborted, document.ErrUnknown, 0, 1},
		{"it is over already", &printer{lose: 1}, mfpgate.JobCompleted, nil, 0, 1},
		{"the printer has a part: that is canceled", &printer{cutAt: 5}, mfpgate.JobAborted, errLost, 1, 1},
		{"the printer does not have it", &printer{raw: lostAt(goipp.OpPrintJob)}, mfpgate.JobAborted, errLost, 0, 0},
		{"the printer has another's of that name", &printer{raw: lostAt(goipp.OpPrintJob), jobs: []*printed{{id: 1, name: "report.pdf [0123456789]"}}}, mfpgate.JobAborted, errLost, 0, 1},
		{"the printer cannot be asked", &printer{lose: 1, refuse: map[goipp.Op]goipp.Status{goipp.OpGetJobs: goipp.StatusErrorOperationNotSupported}}, mfpgate.JobAborted, document.ErrUnknown, 0, 1},
		{"unplugged", &printer{raw: func(op goipp.Op) (*http.Response, error) {
			if op == goipp.OpPrintJob {
				return nil, bus.ErrGone
			}
			return nil, nil
		}}, mfpgate.JobAborted, bus.ErrGone, 0, 0},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := test.printer
				status, err := p.ipp().Print(t.Context(), doc("%PDF-1.7 page"), nil)
				if status.State != test.state || !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("got %+v, %v; want %s, %v", status, err, test.state, test.err)
				}
				if n := p.count(goipp.OpPrintJob); n != 1 || len(p.jobs) != test.jobs {
					t.Errorf("sent %d times, %d jobs; want once, %d", n, len(p.jobs), test.jobs)
				}
				if n := p.count(goipp.OpCancelJob); n != test.cancels {
					t.Errorf("%d times canceled, want %d", n, test.cancels)
				}
				if n := p.count(goipp.OpGetJobs); n > 0 && errors.Is(err, bus.ErrGone) {
					t.Errorf("a printer that is not there was asked for its jobs %d times", n)
				}
			})
		})
	}
}

func lostAt(lost goipp.Op) func(goipp.Op) (*http.Response, error) {
	return func(op goipp.Op) (*http.Response, error) {
		if op == lost {
			return nil, errLost
		}
		return nil, nil
	}
}

func TestPaperIsOutForAWeekendBeforeItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &printer{deaf: make(chan struct{}), state: 5, why: []string{"media-empty-error"}}
		var told states
		done := start(t.Context(), p.ipp(), doc("page"), told.tell)
		time.AfterFunc(60*time.Hour+500*time.Millisecond, func() { close(p.deaf) })
		got := <-done
		if got.status.State != mfpgate.JobCompleted || got.err != nil {
			t.Errorf("got %+v, %v", got.status, got.err)
		}
		want := []string{"processing job-incoming", "processing-stopped media-empty-error printer-stopped", "completed"}
		if diff := cmp.Diff(want, told.told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		if n := p.count(goipp.OpGetPrinterAttributes); n > 60*60*2+1 {
			t.Errorf("asked %d times in 60 h", n)
		}
	})
}

// TestAPrinterAtWorkIsWaitedFor: it may print another's job for long before it reads ours.
func TestAPrinterAtWorkIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &printer{deaf: make(chan struct{}), state: 4}
		time.AfterFunc(3*time.Hour, func() { close(p.deaf) })
		if status, err := p.ipp().Print(t.Context(), doc("page"), nil); err != nil || status.State != mfpgate.JobCompleted {
			t.Errorf("got %+v, %v", status, err)
		}
	})
}

func TestAPrinterThatFallsSilentIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &printer{script: []int{5}, raw: lostAt(goipp.OpGetJobAttributes)}
		begun := time.Now()
		status, err := p.ipp().Print(t.Context(), doc("page"), nil)
		if err != nil || status.State != mfpgate.JobCompleted || !slices.Equal(status.Reasons, []string{"queued-in-device"}) {
			t.Errorf("got %+v, %v", status, err)
		}
		if took := time.Since(begun); took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("after %v", took)
		}
	})
}

func TestAPrinterThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &printer{deaf: make(chan struct{}), state: 3}
		begun := time.Now()
		status, err := p.ipp().Print(t.Context(), doc("page"), nil)
		if status.State != mfpgate.JobAborted || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %+v, %v", status, err)
		}
		if took := time.Since(begun); took < 10*time.Minute || took > 12*time.Minute {
			t.Errorf("after %v", took)
		}
	})
}

func TestCancel(t *testing.T) {
	stop := errors.New("changed my mind")
	for _, test := range []struct {
		rule    string
		printer *printer
		after   time.Duration
		state   mfpgate.JobState
		err     error
		cancels int
		message string
	}{
		{"while the printer is busy", &printer{busy: 1000}, time.Minute, mfpgate.JobCanceled, stop, 0, "before the printer took it"},
		{"while the printer reads nothing", &printer{deaf: make(chan struct{}), state: 5}, time.Minute, mfpgate.JobCanceled, stop, 0, "does not have it"},
		{"while it prints", &printer{script: []int{5}}, time.Minute, mfpgate.JobCanceled, stop, 1, ""},
		{"while it prints, and it does not let go", &printer{script: []int{5}, refuse: map[goipp.Op]goipp.Status{goipp.OpCancelJob: goipp.StatusErrorNotPossible}}, time.Minute,
			mfpgate.JobCanceled, stop, 1, "has not confirmed"},
		{"while it prints, and it is too busy to be told", &printer{script: []int{5}, raw: busyAt(goipp.OpCancelJob, 2)}, time.Minute, mfpgate.JobCanceled, stop, 3, ""},
		{"too late: what the printer says counts", &printer{script: []int{5, 5, 5, 5, 5, 5, 5, 9}, refuse: map[goipp.Op]goipp.Status{goipp.OpCancelJob: goipp.StatusErrorNotPossible}}, 40 * time.Second,
			mfpgate.JobCompleted, nil, 1, ""},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := test.printer
				if p.deaf != nil {
					p.deaf = make(chan struct{}) // of this bubble
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(test.after, func() { cancel(stop) })
				status, err := p.ipp().Print(ctx, doc("page"), nil)
				if status.State != test.state || !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("got %+v, %v; want %s, %v", status, err, test.state, test.err)
				}
				if n := p.count(goipp.OpCancelJob); n != test.cancels {
					t.Errorf("%d times canceled, want %d", n, test.cancels)
				}
				if !strings.Contains(status.Message, test.message) {
					t.Errorf("message %q, want one with %q", status.Message, test.message)
				}
			})
		})
	}
}

// busyAt answers an operation with server-error-busy, so many times.
func busyAt(busy goipp.Op, times int) func(goipp.Op) (*http.Response, error) {
	return func(op goipp.Op) (*http.Response, error) {
		if op != busy || times == 0 {
			return nil, nil
		}
		times--
		return respond(goipp.NewResponse(goipp.DefaultVersion, goipp.StatusErrorBusy, 1)), nil
	}
}

func TestHostileAnswers(t *testing.T) {
	body := func(text string) func(goipp.Op) (*http.Response, error) {
		return func(goipp.Op) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(text))}, nil
		}
	}
	deep := "\x02\x00\x00\x00\x00\x00\x00\x01\x02" + strings.Repeat("\x34\x00\x01a\x00\x00", 20)
	for rule, raw := range map[string]func(goipp.Op) (*http.Response, error){
		"a web page":      body("<html>"),
		"nothing":         body(""),
		"a broken length": body("\x02\x00\x00\x00\x00\x00\x00\x01\x01\x47\xff\xff"),
		"too deep":        body(deep),
		"endless":         body(strings.Repeat("\x02", 2<<20)),
		"a redirect": func(goipp.Op) (*http.Response, error) {
			return &http.Response{StatusCode: 307, Header: http.Header{"Location": {"http://elsewhere/"}}, Body: http.NoBody}, nil
		},
		"a redirect to a page": func(goipp.Op) (*http.Response, error) {
			return &http.Response{StatusCode: 302, Header: http.Header{"Location": {"http://elsewhere/"}}, Body: http.NoBody}, nil
		},
	} {
		t.Run(rule, func(t *testing.T) {
			p := &printer{raw: raw}
			status, err := p.ipp().Print(t.Context(), doc("page"), nil)
			if status.State != mfpgate.JobAborted || !errors.Is(err, document.ErrNotIPP) || p.count(goipp.OpPrintJob) != 0 {
				t.Errorf("got %+v, %v", status, err)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	p := &printer{jobs: []*printed{{id: 1, name: "x"}}}
	for _, op := range []goipp.Op{goipp.OpGetJobs, goipp.OpGetPrinterAttributes, goipp.OpPrintJob} {
		m := goipp.NewRequest(goipp.DefaultVersion, op, 1)
		a, _ := p.answer(op, *m, nil)
		b, _ := a.EncodeBytes()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		synctest.Test(t, func(t *testing.T) { // hours may pass
			p := &printer{raw: func(goipp.Op) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(bytes.NewReader(in))}, nil
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			status, err := p.ipp().Print(ctx, doc("page"), nil)
			if !status.State.Ended() || status.State != mfpgate.JobCompleted && err == nil {
				t.Fatalf("got %+v, %v", status, err)
			}
		})
	})
}
