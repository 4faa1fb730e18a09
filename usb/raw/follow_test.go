package raw_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw"
)

// TestWhatThePrinterSaysOfAJob: completed is said only where the printer said it, else what is known.
func TestWhatThePrinterSaysOfAJob(t *testing.T) {
	busy := func(p *printer) { p.holds, p.says = true, "CODE=10023\r\nONLINE=TRUE" }
	for _, test := range []struct {
		rule string
		as   func(p *printer)
		then func(p *printer) // an hour after the last byte
		want string
		fail bool
		took time.Duration // at most, after that
	}{
		{"it printed it", busy, (*printer).finish, "completed job-completed-successfully", false, 0},
		{"it printed it, and gives no result", func(p *printer) { busy(p); p.result = "" }, (*printer).finish, "completed job-completed-successfully", false, 0},
		{"somebody canceled it at the panel", func(p *printer) { busy(p); p.result = "\r\nRESULT=USER_CANCELED" }, (*printer).finish, "canceled job-canceled-at-device", true, 0},
		{"it says so at once, and its end later", busy, func(p *printer) {
			p.say("@PJL USTATUS JOB\r\nCANCELED\r\nNAME=\"report [1]\"\r\nRESULT=USER_CANCELED\r\n\f")
			p.finish()
		}, "canceled job-canceled-at-device", true, 0},
		{"it had not what the job needs", func(p *printer) { busy(p); p.result = "\r\nRESULT=RESOURCE_CANCELED" }, (*printer).finish, "aborted aborted-by-system", true, 0},
		{"it says the end of another's job", busy, func(p *printer) {
			p.say("@PJL USTATUS JOB\r\nEND\r\nNAME=\"report [99]\"\r\nRESULT=USER_CANCELED\r\n\f")
			pass(time.Hour)
			p.finish()
		}, "completed job-completed-successfully", false, time.Hour},
		{"it is ready for a moment", func(p *printer) {
			p.holds = true
			time.AfterFunc(45*time.Second, func() { p.set(func() { busy(p) }) })
		}, (*printer).finish, "completed job-completed-successfully", false, 0},
		{"it is ready again and says nothing", func(p *printer) { p.mute["EOJ"] = true }, nil, "completed queued-in-device", false, 0},
		{"it says nothing of jobs at all", func(p *printer) { p.mute["JOB"], p.mute["EOJ"], p.mute["INFO"] = true, true, true }, nil, "completed queued-in-device", false, 0},
		{"it falls silent", func(p *printer) { p.mute["EOJ"], p.mute["INFO STATUS"] = true, true }, nil, "completed queued-in-device", false, 0},
		{"it does not say what it does", func(p *printer) { p.mute["EOJ"], p.says = true, "?" }, nil, "completed queued-in-device", false, 0},
		{"it says so with quotes", func(p *printer) { p.mute["EOJ"], p.says = true, `"?"` }, nil, "completed queued-in-device", false, 0},
		{"it is unplugged before it says", busy, func(p *printer) { p.plugged.Unplug() }, "completed queued-in-device", false, 0},
		{"the paper is out while it prints, for a weekend", func(p *printer) { p.holds, p.status, p.says = true, 0x20, "CODE=41202\r\nONLINE=FALSE" }, func(p *printer) {
			pass(60 * time.Hour)
			p.set(func() { p.status = 0x18 })
			p.finish()
		}, "completed job-completed-successfully", false, 60 * time.Hour},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				p.set(func() { test.as(p) })
				port := p.open(raw.Quirks{}, "PJL", "PCL")
				var told states
				done := start(t.Context(), port, document("application/vnd.hp-PCL", "page"), told.tell)
				pass(time.Hour)
				if test.then != nil {
					if state := told.last().State; state.Ended() {
						t.Fatalf("it is %s before the printer said so", state)
					}
					test.then(p)
				}
				begun := time.Now()
				got := <-done
				if took := time.Since(begun); took > test.took {
					t.Errorf("took %v", took)
				}
				if state := string(got.status.State) + " " + strings.Join(got.status.Reasons, " "); state != test.want || (got.err != nil) != test.fail || got.status.Sent != 4 {
					t.Errorf("got %+v, %v; want %q", got.status, got.err, test.want)
				}
			})
		})
	}
}

func TestWhilePrintingThePrinterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		p.set(func() { p.holds = true })
		port := p.open(raw.Quirks{}, "PJL", "PCL")
		var told states
		done := start(t.Context(), port, document("application/vnd.hp-PCL", "page"), told.tell)
		pass(time.Second)
		p.say("@PJL USTATUS DEVICE\r\nCODE=40022\r\nDISPLAY=\"13 PAPER JAM\"\r\nONLINE=FALSE\r\n\f")
		p.set(func() { p.says = "CODE=40022\r\nDISPLAY=\"13 PAPER JAM\"\r\nONLINE=FALSE" })
		pass(time.Hour)
		p.set(func() { p.says = "CODE=10023\r\nONLINE=TRUE" })
		p.say("@PJL USTATUS DEVICE\r\nCODE=10023\r\nDISPLAY=\"PROCESSING\"\r\nONLINE=TRUE\r\n\f")
		pass(time.Minute)
		p.finish()
		<-done
		want := []string{"processing job-outgoing", "processing", "processing-stopped media-jam-error printer-stopped", "processing", "completed job-completed-successfully"}
		if diff := cmp.Diff(want, told.told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestReading(t *testing.T) {
	idle := mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Message: "READY"}
	pages := []mfpgate.Counter{{Name: "pages", Value: 4711}}
	for _, test := range []struct {
		rule     string
		as       func(p *printer)
		quirks   raw.Quirks
		set      []string
		status   mfpgate.PrinterStatus
		counters []mfpgate.Counter
		asked    map[string]int // after ten readings, one a minute
	}{
		{"it says all", func(*printer) {}, raw.Quirks{}, []string{"PJL"}, idle, pages, map[string]int{"port": 10, "INFO STATUS": 10, "INFO PAGECOUNT": 10}},
		{"no PJL: the port status alone", func(p *printer) { p.status = 0x20 }, raw.Quirks{}, []string{"ESCPR"},
			mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{"media-empty-error"}}, nil, map[string]int{"port": 10}},
		{"the paper is out in one tray", func(p *printer) { p.status = 0x38 }, raw.Quirks{}, nil,
			mfpgate.PrinterStatus{State: mfpgate.PrinterIdle, Reasons: []string{"media-empty-warning"}}, nil, map[string]int{"port": 10}},
		{"a printer that is to be left alone", func(*printer) {}, raw.Quirks{NoPJL: true, NoPortStatus: true}, []string{"PJL"},
			mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown}, nil, map[string]int{}},
		{"it knows no port status, and is not asked again", func(p *printer) { p.refuses[1] = true }, raw.Quirks{}, nil,
			mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown}, nil, map[string]int{"port": 1}},
		{"it has no counter, and is not asked again", func(p *printer) { p.count = "?" }, raw.Quirks{}, []string{"PJL"}, idle, nil,
			map[string]int{"port": 10, "INFO STATUS": 10, "INFO PAGECOUNT": 1}},
		{"it is mute, and asked seldom", func(p *printer) { p.mute["INFO"] = true }, raw.Quirks{}, []string{"PJL"},
			mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}, nil, map[string]int{"port": 10, "INFO STATUS": 2, "INFO PAGECOUNT": 2}},
		{"it stands open", func(p *printer) { p.says, p.status = "CODE=40021\r\nDISPLAY=\"DOOR\"\r\nONLINE=FALSE", 0 }, raw.Quirks{}, []string{"PJL"},
			mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{"cover-open-error"}, Message: "DOOR"}, pages, map[string]int{"port": 10, "INFO STATUS": 10, "INFO PAGECOUNT": 10}},
	} {
		t.Run(test.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrinter(t)
				p.set(func() { test.as(p) })
				port := p.open(test.quirks, test.set...)
				var got mfpgate.Reading
				for range 10 {
					var err error
					if got, err = port.Read(t.Context(), mfpgate.PartStatus|mfpgate.PartCounters|mfpgate.PartSupplies); err != nil {
						t.Fatal(err)
					}
					if test.asked["INFO STATUS"] != 2 {
						if diff := cmp.Diff(&test.status, got.Status); diff != "" {
							t.Fatalf("status (-want +got):\n%s", diff)
						}
					}
					pass(time.Minute)
				}
				if diff := cmp.Diff(mfpgate.Reading{At: got.At, Status: &test.status, Counters: test.counters}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				if diff := cmp.Diff(test.asked, p.asked); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestAReadingDisturbsNoJob: nothing of a question is sent while a job is.
func TestAReadingDisturbsNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		port := p.open(raw.Quirks{}, "PJL", "PCL")
		p.out.Fail(nak(50_000))
		content := strings.Repeat("p", 100_000)
		done := start(t.Context(), port, document("application/vnd.hp-PCL", content), nil)
		pass(time.Second)
		got, err := port.Read(t.Context(), mfpgate.PartStatus|mfpgate.PartCounters)
		if err != nil || got.Status.State != mfpgate.PrinterProcessing || got.Counters != nil {
			t.Errorf("during a job: %+v, %v", got, err)
		}
		p.out.Resume()
		<-done
		synctest.Wait()
		if wire, _ := p.got(); wire != framed(1, "PCL", content) {
			t.Error("something stands in the job")
		}
	})
}

// TestAQuestionThatIsTakenByHalf: what the printer has begun to take it gets whole, before the next job.
func TestAQuestionThatIsTakenByHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		port := p.open(raw.Quirks{}, "PJL")
		p.out.Fail(nak(12))
		if status, err := port.Status(t.Context()); err != nil || status.State != mfpgate.PrinterIdle || status.Message != "" {
			t.Errorf("got %+v, %v", status, err)
		}
		p.out.Resume()
		if _, err := port.Print(t.Context(), document("", "page"), nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if wire, _ := p.got(); wire != uel+"@PJL INFO STATUS\r\n"+uel+"page" {
			t.Errorf("on the wire: %q", wire)
		}
	})
}

func TestOneWayPrinters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrinter(t)
		i := p.plugged.Device().Interfaces[0]
		i.Protocol, i.In = 1, bus.Endpoint{}
		port := p.openAs(i, mfpgate.SystemClock{}, raw.Quirks{}, "PJL", "PCL")
		status, err := port.Print(t.Context(), document("application/vnd.hp-PCL", "page"), nil)
		if err != nil || status.Reasons[0] != "queued-in-device" {
			t.Errorf("got %+v, %v", status, err)
		}
		if got, err := port.Status(t.Context()); err != nil || got.State != mfpgate.PrinterIdle || got.Message != "" {
			t.Errorf("status %+v, %v", got, err)
		}
	})
}
