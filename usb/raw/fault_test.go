package raw_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw"
)

func nak(after int64) model.Fault { return model.Fault{Kind: model.Nak, After: after} }

func TestFaultsOfTheBus(t *testing.T) {
	const size = 1 << 20
	content := string(random(size))
	for _, test := range []struct {
		rule   string
		faults []model.Fault
		err    error // nil: the document arrives whole
		resets int
	}{
		{"a stall, and it goes on where it was", []model.Fault{{Kind: model.Stall, After: 100_000}}, nil, 0},
		{"stalls at many places", []model.Fault{{Kind: model.Stall}, {Kind: model.Stall, After: 1}, {Kind: model.Stall, After: 512}, {Kind: model.Stall, After: 300_000, Times: 4}}, nil, 0},
		{"it stalls for ever", []model.Fault{{Kind: model.Stall, After: 100_000, Times: -1}}, bus.ErrStalled, 1},
		{"no memory for the largest transfers", []model.Fault{{Kind: model.NoMemory, After: 100_000, Times: 3}}, nil, 0},
		{"no memory at all", []model.Fault{{Kind: model.NoMemory, After: 100_000, Times: -1}}, bus.ErrNoMemory, 1},
		{"a failure on the wire", []model.Fault{{Kind: model.Failure, After: 100_000}}, bus.ErrFailed, 1},
		{"unplugged", []model.Fault{{Kind: model.Unplug, After: 100_000}}, bus.ErrGone, 0},
		{"unplugged with the last byte to come", []model.Fault{{Kind: model.Unplug, After: size - 1}}, bus.ErrGone, 0},
		{"unplugged before the first byte", []model.Fault{{Kind: model.Unplug}}, bus.ErrGone, 0},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				port := p.open(raw.Quirks{}, "URF")
				p.out.Fail(test.faults...)
				status, err := port.Print(t.Context(), document("image/urf", content), nil)
				synctest.Wait()
				_, got := p.got()
				if test.err == nil {
					if err != nil || got != content {
						t.Errorf("got %+v, %v; %d bytes arrived", status, err, len(got))
					}
					return
				}
				if status.State != mfpgate.JobAborted || !errors.Is(err, test.err) || status.Reasons[0] != "submission-interrupted" || status.Message == "" {
					t.Errorf("got %+v, %v; want aborted with %v", status, err, test.err)
				}
				// What was in the printer's buffer when it was unplugged may not have reached what is behind it.
				if !strings.HasPrefix(content, got) || status.Sent < int64(len(got)) || !errors.Is(err, bus.ErrGone) && status.Sent != int64(len(got)) {
					t.Errorf("%d bytes are said to be sent, %d arrived", status.Sent, len(got))
				}
				if n := p.softResets(); n != test.resets {
					t.Errorf("%d soft resets, want %d", n, test.resets)
				}
			})
		})
	}
}

// TestLittleMemory: where the kernel has no room for a transfer, smaller ones go.
func TestLittleMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		port := p.open(raw.Quirks{}, "URF")
		p.plugged.Memory(9000)
		content := string(random(1 << 20))
		status, err := port.Print(t.Context(), document("image/urf", content), nil)
		synctest.Wait()
		if _, got := p.got(); err != nil || status.Sent != 1<<20 || got != content {
			t.Errorf("got %+v, %v; %d bytes arrived", status, err, len(got))
		}
	})
}

// TestUnplugAtEachPhase: whenever the cable is pulled, the job ends at once, truthfully, and nothing is left.
func TestUnplugAtEachPhase(t *testing.T) {
	content := strings.Repeat("p", 10_000)
	opening := int64(len(framed(1, "PCL", "")) - len(uel+"@PJL\r\n@PJL EOJ NAME = \"report [1]\"\r\n"+uel+uel+"@PJL USTATUSOFF\r\n"+uel))
	for _, test := range []struct {
		phase string
		at    int64
		want  string
	}{
		{"the opening", 10, "aborted submission-interrupted"},
		{"between opening and document", opening, "aborted submission-interrupted"},
		{"the document", opening + 5000, "aborted submission-interrupted"},
		{"the end mark", opening + 10_000 + 5, "completed queued-in-device"},
		{"behind the end mark", opening + 10_000 + 60, "completed queued-in-device"},
	} {
		t.Run(test.phase, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				p.set(func() { p.holds = true })
				port := p.open(raw.Quirks{}, "PJL", "PCL")
				p.out.Fail(nak(test.at))
				done := start(t.Context(), port, document("application/vnd.hp-PCL", content), nil)
				pass(time.Minute)
				p.plugged.Unplug()
				got := <-done
				if state := string(got.status.State) + " " + strings.Join(got.status.Reasons, " "); state != test.want {
					t.Errorf("got %q, %v; want %q", state, got.err, test.want)
				}
				if (got.err == nil) != (got.status.State == mfpgate.JobCompleted) || got.err != nil && !errors.Is(got.err, bus.ErrGone) {
					t.Errorf("error %v", got.err)
				}
				if _, err := port.Print(t.Context(), document("", "next"), nil); !errors.Is(err, bus.ErrGone) {
					t.Errorf("the next job: %v, want gone", err)
				}
				if _, err := port.Status(t.Context()); !errors.Is(err, bus.ErrGone) {
					t.Errorf("its status: %v, want gone", err)
				}
			})
		})
	}
}

func TestTheReaderOutlivesFaults(t *testing.T) {
	for _, kind := range []model.Kind{model.Stall, model.ZeroRead, model.Overflow, model.NoMemory, model.Failure} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				p.in.Fail(model.Fault{Kind: kind, Times: 30})
				port := p.open(raw.Quirks{}, "PJL", "PCL")
				pass(time.Minute)
				status, err := port.Status(t.Context())
				if err != nil || status.State != mfpgate.PrinterIdle || status.Message != "READY" {
					t.Errorf("got %+v, %v", status, err)
				}
			})
		})
	}
}

// TestRandomFaults plays jobs under faults at random places: each ends, and of none more arrives than is said to be sent, nor twice.
func TestRandomFaults(t *testing.T) {
	kinds := []model.Kind{model.Stall, model.NoMemory, model.Failure, model.Nak}
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				port := p.open(raw.Quirks{}, "PJL", "PCL")
				rest := int64(seed*7919 + 1)
				for range 6 {
					rest = rest*1103515245 + 12345
					p.out.Fail(model.Fault{Kind: kinds[(rest>>16)&3], After: (rest >> 8) & 0x1ffff})
				}
				over := make(chan struct{})
				go func() { // somebody comes every ten minutes and helps the printer
					for {
						select {
						case <-over:
							return
						case <-time.After(10 * time.Minute):
							p.out.Resume()
						}
					}
				}()
				for n := range 4 {
					content := fmt.Sprintf("<%d>", n) + string(random(200_000))
					p.set(func() { p.document.Reset() })
					status, err := port.Print(t.Context(), document("application/vnd.hp-PCL", content), nil)
					synctest.Wait()
					_, got := p.got()
					if !status.State.Ended() || (err == nil) != (status.State == mfpgate.JobCompleted) {
						t.Errorf("got %+v, %v", status, err)
					}
					if err == nil && got != content || err != nil && int64(len(got)) > status.Sent+64 {
						t.Errorf("%+v: %d bytes arrived", status, len(got))
					}
				}
				close(over)
			})
		})
	}
}
