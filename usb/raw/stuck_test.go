package raw_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/raw"
)

func TestWhileThePrinterTakesNothing(t *testing.T) {
	for _, test := range []struct {
		rule   string
		quirks raw.Quirks
		status byte   // port status meanwhile
		says   string // PJL, unasked
		want   string // state and reasons
		text   string
	}{
		{"paper is out", raw.Quirks{}, 0x20, "", "processing-stopped media-empty-error printer-stopped", "the printer waits for somebody"},
		{"somebody took it off line", raw.Quirks{}, 0x08, "", "processing-stopped offline-report printer-stopped", "the printer waits for somebody"},
		{"a fault that it does not name", raw.Quirks{}, 0x10, "", "processing-stopped other-error printer-stopped", "the printer waits for somebody"},
		{"PJL names it", raw.Quirks{}, 0x00, "@PJL USTATUS DEVICE\r\nCODE=40021\r\nDISPLAY=\"12 PRINTER OPEN\"\r\nONLINE=FALSE\r\n\f",
			"processing-stopped cover-open-error printer-stopped", "12 PRINTER OPEN"},
		{"PJL alone knows", raw.Quirks{NoPortStatus: true}, 0, "@PJL USTATUS DEVICE\r\nCODE=42203\r\nDISPLAY=\"13.2 JAM\"\r\nONLINE=FALSE\r\n\f",
			"processing-stopped media-jam-error printer-stopped", "13.2 JAM"},
		{"both know", raw.Quirks{}, 0x20, "@PJL USTATUS DEVICE\r\nCODE=10006\r\nDISPLAY=\"TONER LOW\"\r\nONLINE=TRUE\r\n\f",
			"processing-stopped media-empty-error printer-stopped toner-low-warning", "TONER LOW"},
		{"nobody knows", raw.Quirks{NoPortStatus: true}, 0, "", "processing-stopped printer-stopped", "the printer takes nothing, and does not say why"},
		{"it says that all is well", raw.Quirks{}, 0x18, "", "processing-stopped printer-stopped", "the printer takes nothing, and does not say why"},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				port := p.open(test.quirks, "PJL", "PCL")
				const content = 1 << 20
				p.set(func() { p.status = test.status })
				p.out.Fail(nak(500_000))
				var told states
				doc := document("application/vnd.hp-PCL", string(random(content)))
				done := start(t.Context(), port, doc, told.tell)
				pass(time.Second)
				if test.says != "" {
					p.say(test.says)
				}
				pass(60 * time.Hour)
				if got := told.last(); got.State != mfpgate.JobProcessingStopped || got.Message != test.text {
					t.Errorf("after 60 h: %+v, want the message %q", got, test.text)
				}
				status, err := port.Status(t.Context())
				if err != nil || status.State != mfpgate.PrinterStopped {
					t.Errorf("the printer's status: %+v, %v", status, err)
				}
				if test.says != "" {
					p.say("@PJL USTATUS DEVICE\r\nCODE=10001\r\nDISPLAY=\"READY\"\r\nONLINE=TRUE\r\n\f")
				}
				p.set(func() { p.status = 0x18 })
				p.out.Resume()
				got := <-done
				if got.err != nil || got.status.Sent != content {
					t.Errorf("got %+v, %v", got.status, got.err)
				}
				want := []string{"processing job-outgoing", test.want, "processing job-outgoing", "processing", "completed job-completed-successfully"}
				all := told.told()
				if len(all) == len(want)+1 { // it may still stand still when it already says that it is ready
					all = append(all[:2], all[3:]...)
				}
				if diff := cmp.Diff(want, all); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
				synctest.Wait()
				if _, got := p.got(); got != string(random(content)) {
					t.Errorf("%d bytes arrived, and not those that were sent", len(got))
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				if asked := p.asked["port"]; asked > 60*60*2+30 {
					t.Errorf("asked for its port status %d times in 60 h, want at most twice a minute", asked)
				}
			})
		})
	}
}

func TestASlowPrinterIsNotStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		port := p.open(raw.Quirks{}, "URF")
		p.out.Pause()
		var told states
		done := start(t.Context(), port, document("image/urf", string(random(2<<20))), told.tell)
		for running := true; running; { // 16 KiB every 5 s
			p.out.Resume()
			p.out.Fail(nak(16 << 10))
			select {
			case got := <-done:
				running = false
				if got.err != nil {
					t.Error(got.err)
				}
			case <-time.After(5 * time.Second):
			}
		}
		for _, state := range told.told() {
			if state != "processing job-outgoing" && state != "completed queued-in-device" {
				t.Errorf("told %q", state)
			}
		}
		if len(told.list) < 50 {
			t.Errorf("progress told %d times in 10 minutes", len(told.list))
		}
	})
}

func TestProgressIsSeenWhileItMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		port := p.open(raw.Quirks{}, "URF")
		p.out.Pause()
		done := start(t.Context(), port, document("image/urf", "page"), nil)
		pass(time.Minute)
		status, err := port.Status(t.Context())
		if err != nil || status.State != mfpgate.PrinterProcessing {
			t.Errorf("a printer that is well and takes nothing for a minute: %+v, %v", status, err)
		}
		p.out.Resume()
		<-done
	})
}
