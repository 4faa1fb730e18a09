package raw_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw"
)

var errStop = errors.New("changed my mind")

func TestCancelAtEachPhase(t *testing.T) {
	content := strings.Repeat("p", 100_000)
	ps := "%!PS" + content
	const opening = uel + "@PJL\r\n@PJL USTATUS JOB = ON\r\n@PJL USTATUS DEVICE = ON\r\n@PJL JOB NAME = \"report [1]\"\r\n@PJL ENTER LANGUAGE = PCL\r\n"
	const closing = uel + "@PJL\r\n@PJL EOJ NAME = \"report [1]\"\r\n" + uel
	const quiet = uel + "@PJL USTATUSOFF\r\n" + uel
	for _, test := range []struct {
		rule, format, content, set string
		quirks                     raw.Quirks
		at                         int64         // the printer takes nothing behind so many bytes,
		back                       time.Duration // until so long after the cancel; 0: for ever
		state                      mfpgate.JobState
		sent                       int
		wire                       string
		resets                     int
		message                    string
	}{
		{"before the first byte: the printer learns nothing", "application/vnd.hp-PCL", content, "PJL,PCL", raw.Quirks{}, 0, time.Second,
			mfpgate.JobCanceled, 0, "", 0, "it was canceled"},
		{"the same, of a package", "", content, "", raw.Quirks{}, 0, time.Second, mfpgate.JobCanceled, 0, "", 0, "it was canceled"},
		{"in the opening: it is ended as one of no pages", "application/vnd.hp-PCL", content, "PJL,PCL", raw.Quirks{}, 20, time.Second,
			mfpgate.JobCanceled, 0, opening + closing + quiet, 0, "it was canceled"},
		{"in a framed document: UEL and EOJ", "application/vnd.hp-PCL", content, "PJL,PCL", raw.Quirks{}, int64(len(opening)) + 5000, time.Second,
			mfpgate.JobCanceled, 5000, opening + content[:5000] + closing + quiet, 0, "it was canceled"},
		{"in a framed document, and the printer stays stuck: a reset", "application/vnd.hp-PCL", content, "PJL,PCL", raw.Quirks{}, int64(len(opening)) + 5000, 0,
			mfpgate.JobCanceled, 5000, opening + content[:5000], 1, "it was canceled"},
		{"the same with a printer that bears none: the next job ends it", "application/vnd.hp-PCL", content, "PJL,PCL", raw.Quirks{NoSoftReset: true}, int64(len(opening)) + 5000, 0,
			mfpgate.JobCanceled, 5000, opening + content[:5000], 0, "it was canceled; the printer still has a part of it, and may print that"},
		{"in a document with its own PJL: UEL", "application/vnd.hp-PCL", uel + "@PJL\r\n" + content, "PJL,PCL", raw.Quirks{}, 5000, time.Second,
			mfpgate.JobCanceled, 5000, (uel + "@PJL\r\n" + content)[:5000] + uel, 0, "it was canceled"},
		{"in PostScript: ^D", "application/postscript", ps, "POSTSCRIPT", raw.Quirks{}, 5000, time.Second, mfpgate.JobCanceled, 5000, ps[:5000] + "\x04", 0, "it was canceled"},
		{"in framed PostScript: ^D, UEL and EOJ", "application/postscript", ps, "PJL,POSTSCRIPT", raw.Quirks{}, int64(len(opening)+len("POSTSCRIPT")-len("PCL")) + 5000, time.Second,
			mfpgate.JobCanceled, 5000, strings.Replace(opening, "PCL", "POSTSCRIPT", 1) + ps[:5000] + "\x04" + closing + quiet, 0, "it was canceled"},
		{"in a raster: it is sent to its end", "image/urf", content, "URF", raw.Quirks{}, 5000, time.Second, mfpgate.JobCompleted, len(content), content, 0, ""},
		{"in a raster, and the printer stays stuck: a reset", "image/urf", content, "URF", raw.Quirks{}, 5000, 0, mfpgate.JobCanceled, 5000, content[:5000], 1, "it was canceled"},
		{"in a package: it is sent to its end", "application/octet-stream", content, "", raw.Quirks{}, 5000, 10 * time.Hour, mfpgate.JobCompleted, len(content), content, 0, ""},
		{"in the end mark: the printer has it all", "application/vnd.hp-PCL", content, "PJL,PCL", raw.Quirks{}, int64(len(opening)+len(content)) + 20, time.Second,
			mfpgate.JobCompleted, len(content), opening + content + closing[:20], 0, "the printer took all of the document, but not yet the mark behind it"},
		{"while it prints: the printer has it all", "application/vnd.hp-PCL", content, "PJL,PCL", raw.Quirks{}, -1, 0,
			mfpgate.JobCompleted, len(content), opening + content + closing + quiet, 0, "it was canceled when the printer had all of it, and may be printed"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				p.set(func() { p.holds = true })
				port := p.open(test.quirks, strings.Split(test.set, ",")...)
				if test.at >= 0 {
					p.out.Fail(nak(test.at))
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				done := start(ctx, port, document(test.format, test.content), nil)
				pass(20 * time.Second)
				cancel(errStop)
				if test.back > 0 {
					time.AfterFunc(test.back, p.out.Resume)
				}
				got := <-done
				if got.status.State != test.state || got.status.Sent != int64(test.sent) || got.status.Message != test.message {
					t.Errorf("got %+v; want %s, %d bytes, %q", got.status, test.state, test.sent, test.message)
				}
				if canceled := test.state == mfpgate.JobCanceled; errors.Is(got.err, errStop) != canceled || (got.err == nil) == canceled {
					t.Errorf("error %v", got.err)
				}
				synctest.Wait()
				if wire, _ := p.got(); wire != test.wire {
					t.Errorf("on the wire: %d bytes …%q, want %d …%q", len(wire), wire[max(0, len(wire)-150):], len(test.wire), test.wire[max(0, len(test.wire)-150):])
				}
				if n := p.softResets(); n != test.resets {
					t.Errorf("%d soft resets, want %d", n, test.resets)
				}
				// Whatever happened, the next job arrives, and begins where a document can.
				p.out.Resume()
				p.set(func() { p.document.Reset(); p.holds = false })
				if status, err := port.Print(t.Context(), document("application/vnd.hp-PCL", "next"), nil); err != nil {
					t.Errorf("the next job: %+v, %v", status, err)
				}
				synctest.Wait()
				wire, d := p.got()
				if d != "next" {
					t.Errorf("the next document arrived as %q", d)
				}
				if strings.HasPrefix(test.wire, opening) && test.resets == 0 && !strings.Contains(wire, closing+quiet) {
					t.Errorf("the end of the job has a gap: …%q", wire[max(0, len(wire)-500):])
				}
			})
		})
	}
}

func TestCancelWhileContentIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		port := p.open(raw.Quirks{}, "URF")
		r, w := io.Pipe()
		ctx, cancel := context.WithCancelCause(t.Context())
		var told states
		done := start(ctx, port, mfpgate.Document{Format: "image/urf", Size: -1, Content: r}, told.tell)
		w.Write([]byte(strings.Repeat("u", 1000)))
		pass(time.Hour)
		if got := told.last(); got.State != mfpgate.JobProcessing || got.Sent != 1000 {
			t.Errorf("while the content is silent: %+v", got)
		}
		cancel(errStop)
		pass(time.Minute) // the job has ended by then; Print waits for the Read
		if got := told.last(); got.State != mfpgate.JobCanceled || p.softResets() != 1 {
			t.Errorf("after the cancel: %+v, %d resets", got, p.softResets())
		}
		if status, err := port.Print(t.Context(), document("", "next"), nil); err != nil {
			t.Errorf("the next job: %+v, %v", status, err)
		}
		select {
		case <-done:
			t.Error("Print has returned, and the content is still being read")
		default:
		}
		w.CloseWithError(errStop)
		<-done
	})
}

// TestATurnThatComesTooLate: who leaves in the moment in which its turn comes gives it on.
func TestATurnThatComesTooLate(t *testing.T) {
	for range 20 { // it is a matter of chance which of the two is seen first
		synctest.Test(t, func(t *testing.T) {
			p := newPrinter(t)
			port := p.open(raw.Quirks{})
			r, w := io.Pipe()
			first := start(t.Context(), port, mfpgate.Document{Size: -1, Content: r}, nil)
			synctest.Wait()
			ctx, cancel := context.WithCancel(t.Context())
			ready := make(chan struct{})
			second := start(ctx, port, document("", "second"), func(mfpgate.JobStatus) { <-ready })
			synctest.Wait()
			w.Write([]byte("first"))
			w.Close()
			<-first
			cancel()
			close(ready)
			<-second
			if status, err := port.Print(t.Context(), document("", "third"), nil); err != nil {
				t.Errorf("the next job: %+v, %v", status, err)
			}
		})
	}
}

func TestClose(t *testing.T) {
	content := strings.Repeat("p", 100_000)
	for _, test := range []struct {
		rule, format string
		at           int64
		back         time.Duration // when the printer takes bytes again, after Close
		within       time.Duration // Close's deadline
		state        mfpgate.JobState
		took         time.Duration // at most
		whole        bool
	}{
		{"a job comes to its end", "application/vnd.hp-PCL", 50_000, time.Minute, time.Hour, mfpgate.JobCompleted, 2 * time.Minute, true},
		{"at the deadline it is broken off cleanly", "application/vnd.hp-PCL", 50_000, 11 * time.Second, 10 * time.Second, mfpgate.JobAborted, 12 * time.Second, false},
		{"a printer that is stuck does not hold it up", "application/vnd.hp-PCL", 50_000, 0, 10 * time.Second, mfpgate.JobAborted, 15 * time.Second, false},
		{"nor does a package", "", 50_000, 0, 10 * time.Second, mfpgate.JobAborted, 15 * time.Second, false},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				port := p.open(raw.Quirks{}, "PJL", "PCL")
				p.out.Fail(nak(test.at))
				first := start(t.Context(), port, document(test.format, content), nil)
				pass(time.Second)
				second := start(t.Context(), port, document("", "second"), nil)
				synctest.Wait()
				if test.back > 0 {
					time.AfterFunc(test.back, p.out.Resume)
				}
				ctx, cancel := context.WithTimeout(t.Context(), test.within)
				defer cancel()
				begun := time.Now()
				err := port.Close(ctx)
				if took := time.Since(begun); took > test.took {
					t.Errorf("took %v, want at most %v", took, test.took)
				}
				if (err == nil) != test.whole {
					t.Errorf("Close: %v", err)
				}
				got := <-first
				if got.status.State != test.state || (got.err == nil) != test.whole || !test.whole && !errors.Is(got.err, raw.ErrClosed) {
					t.Errorf("the job: %+v, %v", got.status, got.err)
				}
				if got := <-second; got.status.State != mfpgate.JobAborted || !errors.Is(got.err, raw.ErrClosed) || got.status.Sent != 0 {
					t.Errorf("the job that waited: %+v, %v", got.status, got.err)
				}
				if _, err := port.Print(t.Context(), document("", "third"), nil); !errors.Is(err, raw.ErrClosed) {
					t.Errorf("a job afterwards: %v", err)
				}
				if _, err := port.Status(t.Context()); !errors.Is(err, raw.ErrClosed) {
					t.Errorf("a status afterwards: %v", err)
				}
				if p.plugged.Claimed() != 0 {
					t.Error("the interface is still claimed")
				}
				if err := port.Close(ctx); err != nil {
					t.Errorf("closing again: %v", err)
				}
			})
		})
	}
}

// TestCloseOfAnUnpluggedPrinter: who closes may know it first, and what is ended then says so.
func TestCloseOfAnUnpluggedPrinter(t *testing.T) {
	for rule, test := range map[string]struct {
		known  time.Duration // after Close began
		waited error         // of the job that waits
	}{"known before": {0, bus.ErrGone}, "known when it waits": {time.Second, raw.ErrClosed}} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				port := p.open(raw.Quirks{})
				p.out.Fail(nak(50_000))
				first := start(t.Context(), port, document("", strings.Repeat("p", 100_000)), nil)
				synctest.Wait()
				second := start(t.Context(), port, document("", "second"), nil)
				synctest.Wait()
				ctx, cancel := context.WithCancelCause(t.Context())
				if test.known == 0 {
					cancel(bus.ErrGone)
				}
				time.AfterFunc(test.known, func() { cancel(bus.ErrGone) })
				begun := time.Now()
				if err := port.Close(ctx); !errors.Is(err, bus.ErrGone) || time.Since(begun) != test.known {
					t.Errorf("Close: %v, after %v", err, time.Since(begun))
				}
				if got := <-first; got.status.State != mfpgate.JobAborted || !errors.Is(got.err, bus.ErrGone) {
					t.Errorf("the job: %+v, %v", got.status, got.err)
				}
				if got := <-second; got.status.State != mfpgate.JobAborted || !errors.Is(got.err, test.waited) {
					t.Errorf("the job that waited: %+v, %v", got.status, got.err)
				}
			})
		})
	}
}
