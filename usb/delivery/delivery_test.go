package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/delivery"
)

// play runs a house with an order in an hour.
func play(t *testing.T, f func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.plan(time.Hour)
		h.start()
		defer func() { h.halt() }()
		f(h)
	})
}

func TestPackageGoesToThePrinter(t *testing.T) {
	play(t, func(h *house) {
		h.pass(59 * time.Minute)
		if len(h.seen().told) != 0 || len(h.seen().jobs) != 0 || len(h.seen().offsets) != 0 || h.seen().asked < 5 || h.seen().asked > 8 {
			t.Errorf("before its start: told %v, %d jobs, %d downloads, asked %d times", h.seen().told, len(h.seen().jobs), len(h.seen().offsets), h.seen().asked)
		}
		h.pass(2 * time.Minute)
		if len(h.seen().told) != 2 || h.seen().told[0].State != mfpgate.DeliveryRunning || h.outcome() != "done , 1 jobs" {
			t.Fatalf("told %+v: %s", h.seen().told, h.outcome())
		}
		done := h.seen().told[1]
		if done.Package != "pkg_1" || done.Size != int64(len(h.bytes)) || len(done.SHA256) != 64 || !strings.Contains(done.Detail, "does not say") {
			t.Errorf("told %+v", done)
		}
		if !bytes.Equal(h.seen().jobs[0], h.bytes) || h.seen().moves < 4 {
			t.Errorf("the printer has %d of %d bytes, in %d turns", len(h.seen().jobs[0]), len(h.bytes), h.seen().moves)
		}
		h.pass(5 * time.Hour)
		if h.outcome() != "done , 1 jobs" || len(h.seen().told) != 2 {
			t.Errorf("afterwards: %s, told %+v", h.outcome(), h.seen().told)
		}
		h.clean()
	})
}

func TestWhatBecomesOfAJob(t *testing.T) {
	read := func(doc mfpgate.Document, n int64) {
		if _, err := io.CopyN(io.Discard, doc.Content, n); err != nil {
			t.Error(err)
		}
	}
	size := int64(900_000)
	for _, c := range []struct {
		rule  string
		print func(h *house, doc mfpgate.Document, try int) (mfpgate.JobStatus, error)
		want  string
		tries int
		text  string
	}{
		{"completed", func(_ *house, doc mfpgate.Document, _ int) (mfpgate.JobStatus, error) {
			read(doc, size)
			return mfpgate.JobStatus{State: mfpgate.JobCompleted, Sent: size}, nil
		}, "done ", 1, "completed the job"},
		{"aborted by the printer", func(_ *house, doc mfpgate.Document, _ int) (mfpgate.JobStatus, error) {
			read(doc, 500)
			return mfpgate.JobStatus{State: mfpgate.JobAborted, Sent: 400, Message: "the cable was pulled"}, nil
		}, "failed aborted", 1, "after 400 of 900000 bytes had gone to the printer. the cable was pulled."},
		{"an error after some of it", func(_ *house, doc mfpgate.Document, _ int) (mfpgate.JobStatus, error) {
			read(doc, 500)
			return mfpgate.JobStatus{State: mfpgate.JobAborted, Sent: 1}, errors.New("stalled")
		}, "failed aborted", 1, "stalled"},
		{"canceled at the printer", func(_ *house, doc mfpgate.Document, _ int) (mfpgate.JobStatus, error) {
			read(doc, 500)
			return mfpgate.JobStatus{State: mfpgate.JobCanceled, Sent: 500}, nil
		}, "failed canceled", 1, "500 of 900000"},
		{"complete without all of it", func(_ *house, doc mfpgate.Document, _ int) (mfpgate.JobStatus, error) {
			read(doc, size)
			return mfpgate.JobStatus{State: mfpgate.JobCompleted, Sent: size - 1}, nil
		}, "failed aborted", 1, "899999 of 900000"},
		{"nothing was read: it is tried again", func(h *house, doc mfpgate.Document, try int) (mfpgate.JobStatus, error) {
			if try < 3 {
				return mfpgate.JobStatus{State: mfpgate.JobAborted}, errors.New("busy")
			}
			return h.takeAll(t.Context(), doc)
		}, "done ", 3, ""},
		{"nothing went to the printer: it is tried again", func(h *house, doc mfpgate.Document, try int) (mfpgate.JobStatus, error) {
			if try < 3 {
				read(doc, 500)
				return mfpgate.JobStatus{State: mfpgate.JobAborted}, errors.New("unplugged")
			}
			return h.takeAll(t.Context(), doc)
		}, "done ", 3, ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			play(t, func(h *house) {
				tries := 0
				h.set(func() {
					h.print = func(doc mfpgate.Document) (mfpgate.JobStatus, error) {
						tries++
						return c.print(h, doc, tries)
					}
				})
				h.pass(90 * time.Minute)
				if got := h.outcome(); !strings.HasPrefix(got, c.want+",") || tries != c.tries {
					t.Fatalf("%s after %d tries, want %s after %d", got, tries, c.want, c.tries)
				}
				last := h.seen().told[len(h.seen().told)-1]
				if !strings.Contains(last.Detail, c.text) || last.Final != (last.State == mfpgate.DeliveryFailed) {
					t.Errorf("told %+v", last)
				}
				h.clean()
			})
		})
	}
}

func TestDownloads(t *testing.T) {
	broken := func(h *house, n int, err error) delivery.Content {
		c := part(h.bytes, 0)
		c.ReadCloser = io.NopCloser(io.MultiReader(bytes.NewReader(h.bytes[:n]), iotest.ErrReader(err)))
		return c
	}
	for _, c := range []struct {
		rule    string
		give    func(h *house, try int, offset int64) (delivery.Content, error)
		prepare func(h *house)
		want    string
		offsets string
	}{
		{"it goes on where it broke off", func(h *house, try int, offset int64) (delivery.Content, error) {
			if try == 1 {
				return broken(h, 1000, io.ErrUnexpectedEOF), nil
			}
			return part(h.bytes[offset:], offset), nil
		}, nil, "done , 1 jobs", "[0 1000]"},
		{"a region without ranges begins anew", func(h *house, try int, _ int64) (delivery.Content, error) {
			if try == 1 {
				return broken(h, 1000, io.ErrUnexpectedEOF), nil
			}
			return part(h.bytes, 0), nil
		}, nil, "done , 1 jobs", "[0 1000]"},
		{"another part than was asked for", func(h *house, try int, offset int64) (delivery.Content, error) {
			if try == 1 {
				return part(h.bytes[5:], 5), nil
			}
			return part(h.bytes[offset:], offset), nil
		}, nil, "done , 1 jobs", "[0 0]"},
		{"an end that comes early", func(h *house, try int, offset int64) (delivery.Content, error) {
			if try == 1 {
				c := part(h.bytes[:7], 0)
				c.Length = -1
				return c, nil
			}
			return part(h.bytes[offset:], offset), nil
		}, nil, "done , 1 jobs", "[0 7]"},
		{"other bytes", func(h *house, _ int, offset int64) (delivery.Content, error) {
			return part(bytes.Repeat([]byte("x"), len(h.bytes)), 0), nil
		}, nil, "failed digest-mismatch, 0 jobs", "[0]"},
		{"other bytes behind a part of an earlier try are fetched anew first", func(h *house, try int, offset int64) (delivery.Content, error) {
			if try == 1 {
				c := part(h.bytes, 0)
				c.ReadCloser = io.NopCloser(io.MultiReader(strings.NewReader("wrong"), iotest.ErrReader(io.ErrUnexpectedEOF)))
				return c, nil
			}
			return part(h.bytes[offset:], offset), nil
		}, nil, "done , 1 jobs", "[0 5 0]"},
		{"more bytes than planned", func(h *house, _ int, offset int64) (delivery.Content, error) {
			c := part(append(bytes.Clone(h.bytes), 'x'), 0)
			c.Length = -1
			return c, nil
		}, nil, "failed size-mismatch, 0 jobs", "[0]"},
		{"another size is announced", func(h *house, _ int, offset int64) (delivery.Content, error) {
			return part(h.bytes[:10], 0), nil
		}, nil, "failed size-mismatch, 0 jobs", "[0]"},
		{"the region does not give it", func(*house, int, int64) (delivery.Content, error) {
			return delivery.Content{}, fmt.Errorf("gone: %w", mfpgate.ErrRefused)
		}, nil, "failed fetch-refused, 0 jobs", "[0]"},
		{"the relay does not let it there", func(*house, int, int64) (delivery.Content, error) {
			return delivery.Content{}, refused{reason: "not-allowed"}
		}, nil, "failed relay-refused, 0 jobs", ""},
		{"the region is away", func(*house, int, int64) (delivery.Content, error) {
			return delivery.Content{}, errors.New("no route")
		}, nil, "failed fetch-failed, 0 jobs", ""},
		{"no room on the disk", nil, func(h *house) { h.set(func() { h.room = 1 << 20 }) }, "failed no-space, 0 jobs", "[]"},
		{"nothing comes for long", func(h *house, try int, offset int64) (delivery.Content, error) {
			if try == 1 {
				c := part(h.bytes, 0)
				c.ReadCloser = io.NopCloser(ending{h.call})
				return c, nil
			}
			return part(h.bytes[offset:], offset), nil
		}, nil, "done , 1 jobs", "[0 0]"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			play(t, func(h *house) {
				if c.prepare != nil {
					c.prepare(h)
				}
				if c.give != nil {
					tries := 0
					h.set(func() {
						h.give = func(offset int64) (delivery.Content, error) {
							tries++
							return c.give(h, tries, offset)
						}
					})
				}
				h.pass(4 * time.Hour)
				if got, offsets := h.outcome(), fmt.Sprint(h.seen().offsets); got != c.want || c.offsets != "" && offsets != c.offsets {
					t.Errorf("%s, fetched from %s; want %s from %s", got, offsets, c.want, c.offsets)
				}
				if n := len(h.seen().told); n > 0 && h.seen().told[n-1].State == mfpgate.DeliveryFailed && h.seen().told[n-1].Detail == "" {
					t.Error("no sentence for people")
				}
				h.clean()
			})
		})
	}
}

// ending is a body that brings nothing until its call is over, as net/http's do.
type ending struct{ call context.Context }

func (e ending) Read([]byte) (int, error) {
	<-e.call.Done()
	return 0, e.call.Err()
}

func TestRelayWithoutRoom(t *testing.T) {
	play(t, func(h *house) {
		h.set(func() { h.busy = refused{"queue-timeout", 10 * time.Minute} })
		h.pass(95 * time.Minute)
		if len(h.seen().told) != 0 {
			t.Errorf("without a turn nothing has begun: %+v", h.seen().told)
		}
		h.set(func() { h.busy = nil })
		h.pass(10 * time.Minute)
		if got := h.outcome(); got != "done , 1 jobs" {
			t.Error(got)
		}
	})
	play(t, func(h *house) {
		h.set(func() { h.busy = refused{"queue-timeout", 10 * time.Minute} })
		h.pass(5 * time.Hour)
		if got := h.outcome(); got != "failed relay-refused, 0 jobs" {
			t.Error(got)
		}
	})
	play(t, func(h *house) { // in the midst of the job
		print := func(doc mfpgate.Document) (mfpgate.JobStatus, error) {
			if _, err := doc.Content.Read(make([]byte, 1000)); err != nil {
				t.Error(err)
			}
			h.set(func() { h.busy = refused{"queue-timeout", time.Minute} })
			time.AfterFunc(5*time.Hour, func() { h.set(func() { h.busy = nil }) })
			n, err := io.Copy(io.Discard, doc.Content)
			return mfpgate.JobStatus{State: mfpgate.JobCompleted, Sent: 1000 + n}, err
		}
		h.set(func() { h.print = print })
		h.pass(7 * time.Hour)
		if got := h.outcome(); got != "done , 0 jobs" {
			t.Errorf("half a package is worse than a late one: %s", got)
		}
	})
}

func TestPlansThatChange(t *testing.T) {
	play(t, func(h *house) {
		h.pass(15 * time.Minute)
		h.set(func() { h.order = nil })
		h.pass(3 * time.Hour)
		if len(h.seen().told) != 0 || len(h.seen().jobs) != 0 {
			t.Errorf("a cancelled one: %+v", h.seen().told)
		}
		h.plan(2 * time.Hour)
		h.pass(time.Hour)
		h.plan(4 * time.Hour) // another start
		h.pass(2 * time.Hour)
		if len(h.seen().told) != 0 {
			t.Errorf("a moved one at its old time: %+v", h.seen().told)
		}
		h.pass(3 * time.Hour)
		if got := h.outcome(); got != "done , 1 jobs" {
			t.Error(got)
		}
	})
	play(t, func(h *house) {
		h.set(func() { h.refuse[mfpgate.DeliveryRunning] = mfpgate.ErrRefused })
		h.pass(61 * time.Minute)
		if len(h.seen().offsets) != 0 || len(h.seen().jobs) != 0 {
			t.Error("what the region does not want begun is begun")
		}
	})
	play(t, func(h *house) { // the state is that of a backup
		h.set(func() { h.order.Running = true })
		h.pass(2 * time.Hour)
		if got := h.outcome(); got != "failed interrupted, 0 jobs" || !h.seen().told[0].Final {
			t.Error(got)
		}
	})
}

func TestReportsAreSentUntilTheyAreTaken(t *testing.T) {
	for _, no := range []error{errors.New("away"), fmt.Errorf("not put yet: %w", mfpgate.ErrRefused)} {
		play(t, func(h *house) {
			h.set(func() { h.refuse[mfpgate.DeliveryDone] = no })
			h.pass(5 * time.Hour)
			if len(h.seen().jobs) != 1 || len(h.seen().told) != 1 {
				t.Errorf("%d jobs, told %+v", len(h.seen().jobs), h.seen().told)
			}
			h.halt()
			h.start()
			h.set(func() { h.refuse = nil })
			h.pass(10 * time.Minute)
			if got := h.outcome(); got != "done , 1 jobs" {
				t.Error(got)
			}
			h.clean()
		})
	}
}

// TestAReportThatIsRefusedForLong is given up: the region has been told, and wants it not.
func TestAReportThatIsRefusedForLong(t *testing.T) {
	play(t, func(h *house) {
		h.set(func() { h.refuse[mfpgate.DeliveryDone] = fmt.Errorf("not yours: %w", mfpgate.ErrRefused) })
		h.pass(30 * time.Hour)
		h.set(func() { h.refuse = nil })
		h.pass(time.Hour)
		if told := h.seen().told; len(told) != 1 || told[0].State != mfpgate.DeliveryRunning || len(h.seen().jobs) != 1 {
			t.Errorf("told %+v, %d jobs", told, len(h.seen().jobs))
		}
		h.clean()
	})
}

func TestOthersAreLeftAlone(t *testing.T) {
	for rule, change := range map[string]func(*mfpgate.Device){
		"on the network": func(v *mfpgate.Device) { v.Attachment = mfpgate.AttachmentNetwork },
		"in mode proxy":  func(v *mfpgate.Device) { v.MonitoringMode = mfpgate.MonitoringProxy },
	} {
		play(t, func(h *house) {
			h.set(func() { change(&h.device) })
			h.pass(3 * time.Hour)
			if h.seen().asked != 0 || len(h.seen().jobs) != 0 {
				t.Errorf("%s: asked %d times", rule, h.seen().asked)
			}
		})
	}
}
