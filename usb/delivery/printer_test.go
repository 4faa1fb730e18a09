package delivery_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
)

func TestModelsThatTakeNoPackage(t *testing.T) {
	play(t, func(h *house) {
		h.set(func() { h.takes = false })
		h.pass(time.Minute)
		if got := h.outcome(); got != "failed not-deliverable, 0 jobs" || !h.seen().told[0].Final || !strings.Contains(h.seen().told[0].Detail, "LP-1") {
			t.Errorf("at once: %s, %+v", got, h.seen().told)
		}
	})
	play(t, func(h *house) { // away when it is planned: nobody can say what it takes
		h.plug(false)
		h.set(func() { h.takes = false })
		h.pass(70 * time.Minute)
		if len(h.seen().jobs) != 0 || len(h.seen().offsets) != 1 {
			t.Errorf("%d jobs, %d downloads", len(h.seen().jobs), len(h.seen().offsets))
		}
		h.plug(true)
		h.pass(time.Minute)
		if got := h.outcome(); got != "failed not-deliverable, 0 jobs" {
			t.Error(got)
		}
		h.pass(time.Minute)
		h.clean()
	})
}

// TestPrinterThatIsBeingOpened has not said yet who it is, nor so what it takes.
func TestPrinterThatIsBeingOpened(t *testing.T) {
	play(t, func(h *house) {
		h.set(func() {
			h.takes = false
			h.device.USB = &mfpgate.USBPort{Bus: "1-1", Mode: mfpgate.USBModeUnused, Reason: "usb-opening"}
		})
		h.pass(time.Minute)
		if told := h.seen().told; len(told) != 0 {
			t.Errorf("told is %+v", told)
		}
		h.set(func() { h.takes = true })
		h.plug(true)
		h.pass(2 * time.Hour)
		if got := h.outcome(); got != "done , 1 jobs" {
			t.Error(got)
		}
	})
}

func TestPrinterIsWaitedFor(t *testing.T) {
	play(t, func(h *house) {
		h.plug(false)
		h.pass(2 * time.Hour)
		if len(h.seen().jobs) != 0 || len(h.seen().offsets) != 1 || h.seen().works != 0 {
			t.Errorf("%d jobs, %d downloads, %d slots", len(h.seen().jobs), len(h.seen().offsets), h.seen().works)
		}
		h.halt()
		h.start() // another process goes on
		h.pass(time.Minute)
		h.plug(true)
		h.pass(time.Second)
		if got := h.outcome(); got != "done , 1 jobs" || len(h.seen().offsets) != 1 {
			t.Errorf("%s, %d downloads", got, len(h.seen().offsets))
		}
	})
	play(t, func(h *house) {
		h.plug(false)
		h.pass(4 * time.Hour)
		if got := h.outcome(); got != "failed printer-away, 0 jobs" || h.seen().told[1].Final {
			t.Errorf("%s, %+v", got, h.seen().told)
		}
		h.clean()
	})
}

// TestAPackageThatSpoils on the disk, while its printer is away, is fetched again.
func TestAPackageThatSpoils(t *testing.T) {
	play(t, func(h *house) {
		h.plug(false)
		h.pass(2 * time.Hour)
		files, err := os.ReadDir(h.dir)
		if err != nil || len(files) != 1 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		must(t, os.WriteFile(filepath.Join(h.dir, files[0].Name()), bytes.Repeat([]byte("spoilt!! "), 100_000), 0o600))
		h.plug(true)
		h.pass(10 * time.Minute)
		if got := h.outcome(); got != "done , 1 jobs" || !bytes.Equal(h.seen().jobs[0], h.bytes) || len(h.seen().offsets) != 2 {
			t.Errorf("%s, %d downloads", got, len(h.seen().offsets))
		}
	})
}

// held is the refusal of a printer that another program has.
type held struct{}

func (held) Error() string       { return "another program has it" }
func (held) Why() mfpgate.Reason { return "usb-busy" }

// TestPrinterThatIsRefused is not called a refusal of the relay's.
func TestPrinterThatIsRefused(t *testing.T) {
	play(t, func(h *house) {
		h.set(func() {
			h.print = func(mfpgate.Document) (mfpgate.JobStatus, error) {
				return mfpgate.JobStatus{}, fmt.Errorf("print: %w", held{})
			}
		})
		h.pass(4 * time.Hour)
		told := h.seen().told
		if got := h.outcome(); got != "failed printer-failed, 0 jobs" || !strings.Contains(told[len(told)-1].Detail, "another program has it") {
			t.Errorf("%s, told %+v", got, told)
		}
	})
}
