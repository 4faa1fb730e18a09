package usb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// TestBrokenTransport: the printer is reset and opened again under its new address, and never called gone.
func TestBrokenTransport(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		plugged := s.plug(p, "1-1")
		before := plugged.Device().Address
		p.Pairs[0].Out.Fail(model.Fault{Kind: model.Failure, After: 100_000})
		p.Pairs[1].Out.Fail(model.Fault{Kind: model.Failure, After: 100_000})
		doc, _ := document(300_000)
		status, err := s.printers.Print(s.t.Context(), id("1-1"), doc, nil)
		if err == nil || status.State != mfpgate.JobAborted {
			t.Errorf("a document that failed is %+v, %v", status, err)
		}
		s.pass(10 * time.Second)
		s.is("1-1", mfpgate.USBModeIPP, "")
		if plugged.Resets() == 0 || plugged.Device().Address == before {
			t.Errorf("%d resets", plugged.Resets())
		}
		for _, sighting := range s.all("1-1") {
			if sighting.Gone {
				t.Error("it was called gone")
			}
		}
		if d := cmp.Diff([]bool{true, false, true}, answered(s.all("1-1"))); d != "" {
			t.Error(d)
		}
		s.prints("1-1", p, 300_000)
	})
}

func TestLostByAReset(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		plugged := s.plug(p, "1-1")
		plugged.LoseOnReset()
		p.Pairs[0].Out.Fail(model.Fault{Kind: model.Failure})
		p.Pairs[1].Out.Fail(model.Fault{Kind: model.Failure})
		doc, _ := document(1000)
		if _, err := s.printers.Print(s.t.Context(), id("1-1"), doc, nil); err == nil {
			t.Error("printed")
		}
		s.pass(15 * time.Second)
		if !s.sighted("1-1").Gone || s.printers.Port(id("1-1")) != nil {
			t.Error("it never came back, and is still there")
		}
	})
}

// TestSilentOverIPP: a printer whose 7/1/4 does not answer is reset and asked again, and then driven raw.
func TestSilentOverIPP(t *testing.T) {
	for _, layout := range []model.Layout{model.Composite, model.Alternates} {
		t.Run(string(layout), func(t *testing.T) {
			bubble(t, func(s *site) {
				p := model.New(model.Options{Serial: "S1", Layout: layout})
				p.IPP.Always(model.Answer{Silent: true})
				plugged := s.plug(p, "1-1")
				s.pass(5 * time.Minute)
				s.is("1-1", mfpgate.USBModeRaw, "")
				s.prints("1-1", p, 1000)
				if got := plugged.Resets(); got != 2 {
					t.Errorf("%d resets, want 2", got)
				}
			})
		})
	}
	t.Run("that must not be reset softly", func(t *testing.T) { // nor is it asked again after that
		bubble(t, func(s *site) {
			p := model.New(model.Options{Serial: "S1"})
			p.IPP.Always(model.Answer{Silent: true})
			s.plug(p, "1-1")
			s.pass(time.Minute)
			s.is("1-1", mfpgate.USBModeRaw, "")
		}, func(o *usb.Options) { o.Quirks = table(t, "1209:0001\n no-soft-reset\n reason test") })
	})
	t.Run("with nothing else", func(t *testing.T) {
		bubble(t, func(s *site) {
			p := model.New(model.Options{Serial: "S1", Layout: model.Pairs})
			p.IPP.Always(model.Answer{Silent: true})
			s.plug(p, "1-1")
			s.pass(5 * time.Minute)
			s.is("1-1", mfpgate.USBModeUnused, usb.ReasonSilent)
			p.IPP.Always(model.Answer{})
			s.pass(5 * time.Minute)
			s.is("1-1", mfpgate.USBModeIPP, "")
		})
	})
}

// TestNoIPPBehindHTTP: a printer that answers 404 to every request is driven raw, without a reset.
func TestNoIPPBehindHTTP(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		p.IPP.Always(model.Answer{Status: 404})
		plugged := s.plug(p, "1-1")
		s.is("1-1", mfpgate.USBModeRaw, "")
		s.prints("1-1", p, 1000)
		if plugged.Resets() != 0 {
			t.Errorf("%d resets", plugged.Resets())
		}
	})
}

// TestRawTransfersThatFail: after one job the port mends itself; after the second in a row the printer is reset.
func TestRawTransfersThatFail(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1", Layout: model.Bidirectional, NoPJL: true})
		plugged := s.plug(p, "1-1")
		fails := func() {
			t.Helper()
			p.RawOut.Fail(model.Fault{Kind: model.Failure})
			doc, _ := document(1000)
			if status, err := s.printers.Print(s.t.Context(), id("1-1"), doc, nil); !errors.Is(err, bus.ErrFailed) || status.State != mfpgate.JobAborted {
				t.Errorf("%+v, %v", status, err)
			}
		}
		fails()
		s.settle()
		p.Raw.Take()
		s.prints("1-1", p, 1000)
		fails()
		if plugged.Resets() != 0 {
			t.Errorf("reset after jobs that failed one at a time")
		}
		fails()
		s.pass(10 * time.Second)
		if plugged.Resets() != 1 {
			t.Errorf("%d resets", plugged.Resets())
		}
		s.is("1-1", mfpgate.USBModeRaw, "")
		p.Raw.Take()
		s.prints("1-1", p, 1000)
	})
}

// TestStarting: 503 is an answer; a printer that is still starting is driven over IPP.
func TestStarting(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		p.IPP.Always(model.Answer{Status: 503})
		s.plug(p, "1-1")
		s.is("1-1", mfpgate.USBModeIPP, "")
	})
}

// TestStalledEndpointZero: strings and device id cannot be read at first.
func TestStalledEndpointZero(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		e, _ := p.Endpoint(0)
		e.Fail(model.Fault{Kind: model.Stall, Times: 2})
		s.plug(p, "1-1")
		s.is("1-1", mfpgate.USBModeIPP, "")
		if got := s.sighted("1-1").Identity; got.Serial != "S1" || got.Make != "Rigworks" {
			t.Errorf("identity %+v", got)
		}
	})
}

// TestStringsThatFailOnce: a printer whose strings come with the second try is known by its serial number.
func TestStringsThatFailOnce(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		e, _ := p.Endpoint(0)
		e.Fail(model.Fault{Kind: model.Failure})
		s.plug(p, "1-1")
		s.is("1-1", mfpgate.USBModeIPP, "")
		if got := s.sighted("1-1").Identity.USB; got != "1209:0001:S1" {
			t.Errorf("it is %s, want 1209:0001:S1", got)
		}
	})
}

// TestUnpluggedInEachPhase pulls the plug after each number of control transfers and of bytes either way, idle and while it prints,
// a hundred times and more: nothing is left of any.
func TestUnpluggedInEachPhase(t *testing.T) {
	layouts := []model.Layout{model.Composite, model.Alternates, model.Bidirectional, model.Unidirectional}
	for round := range 100 {
		layout := layouts[round%len(layouts)]
		t.Run(fmt.Sprintf("%d %s", round, layout), func(t *testing.T) {
			bubble(t, func(s *site) {
				p := model.New(model.Options{Serial: "S1", Layout: layout})
				endpoint, after := uint8(0), int64(round*3)
				if round >= 40 {
					after = int64((round - 40) * 173)
					var outs []*model.Out
					for _, pair := range p.Pairs {
						outs = append(outs, pair.Out)
					}
					if p.RawOut != nil {
						outs = append(outs, p.RawOut)
					}
					for _, out := range outs {
						out.Fail(model.Fault{Kind: model.Unplug, After: after})
					}
				} else if e, ok := p.Endpoint(endpoint); ok {
					e.Fail(model.Fault{Kind: model.Unplug, After: after})
				}
				plugged := s.in(p, "1-1")
				s.settle()
				doc, _ := document(200_000)
				var last mfpgate.JobStatus
				status, err := s.printers.Print(s.t.Context(), id("1-1"), doc, func(j mfpgate.JobStatus) { last = j })
				if last.State.Ended() && last.State != status.State {
					t.Errorf("told %+v, returned %+v", last, status)
				}
				switch {
				case err == nil:
					if status.State != mfpgate.JobCompleted || status.Sent != 200_000 {
						t.Errorf("%+v, without an error", status)
					}
					plugged.Unplug() // the fault was never reached
				case errors.Is(err, bus.ErrGone), refused(err) == usb.ReasonGone, refused(err) == usb.ReasonOpening:
					if status.State != "" && status.State != mfpgate.JobAborted {
						t.Errorf("the printer was unplugged, and the job is %+v", status)
					}
				default:
					t.Errorf("Print: %v", err)
				}
				<-plugged.Out()
				s.settle()
				if list := s.printers.List(); len(list) != 0 {
					t.Errorf("still there: %+v", list)
				}
				if n := s.bus.Opens(); n != 0 || plugged.Claimed() != 0 {
					t.Errorf("%d handles, %d claims are left", n, plugged.Claimed())
				}
				s.plug(model.New(model.Options{Serial: "S1", Layout: layout}), "1-1")
				if s.port("1-1").Mode == mfpgate.USBModeUnused {
					t.Errorf("after it was plugged back: %+v", s.port("1-1"))
				}
			})
		})
	}
}

// TestEndWaitsForWhatPrints: the end of Run lets a document come to its end, for as long as Grace, and no longer.
func TestEndWaitsForWhatPrints(t *testing.T) {
	for _, layout := range []model.Layout{model.Composite, model.Bidirectional} {
		for _, comes := range []bool{true, false} {
			t.Run(fmt.Sprint(layout, comes), func(t *testing.T) {
				bubble(t, func(s *site) {
					p := model.New(model.Options{Serial: "S1", Layout: layout})
					plugged := s.plug(p, "1-1")
					content := &held{parts: make(chan []byte, 1)}
					content.parts <- make([]byte, 100_000)
					printed := make(chan error, 1)
					go func() { // the test waits for it
						status, err := s.printers.Print(s.t.Context(), id("1-1"), mfpgate.Document{Content: content, Size: -1}, nil)
						if err == nil && status.State != mfpgate.JobCompleted {
							err = errors.New(string(status.State))
						}
						printed <- err
					}()
					s.pass(time.Second)
					begun := s.options.Clock.Now()
					s.end()
					s.pass(10 * time.Second)
					if comes {
						close(content.parts)
					}
					err := <-s.ended
					s.ended <- err
					took := s.options.Clock.Now().Sub(begun)
					if comes && took > 20*time.Second || !comes && (took < 29*time.Second || took > 45*time.Second) {
						t.Errorf("it took %v to end", took)
					}
					if !comes {
						close(content.parts)
					}
					if err := <-printed; comes != (err == nil) {
						t.Errorf("Print: %v", err)
					}
					if plugged.Claimed() != 0 {
						t.Errorf("%d claims are left", plugged.Claimed())
					}
				}, func(o *usb.Options) { o.Grace = 30 * time.Second })
			})
		}
	}
}

// busBlind fails to list what is plugged in while it is told to.
type busBlind struct {
	*membus.Bus
	blind atomic.Bool
}

func (b *busBlind) Printers(ctx context.Context, wanted func(bus.Device) bool) ([]bus.Device, error) {
	if b.blind.Load() {
		return nil, io.ErrUnexpectedEOF
	}
	return b.Bus.Printers(ctx, wanted)
}

// TestBusThatCannotBeLookedAt: what is driven is driven on.
func TestBusThatCannotBeLookedAt(t *testing.T) {
	var b *busBlind
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		s.plug(p, "1-1")
		b.blind.Store(true)
		s.settle()
		if err := s.printers.Hindered(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("hindered by %v", err)
		}
		s.is("1-1", mfpgate.USBModeIPP, "")
		s.prints("1-1", p, 1000)
		b.blind.Store(false)
		s.settle()
		if err := s.printers.Hindered(); err != nil {
			t.Errorf("still hindered by %v", err)
		}
		s.is("1-1", mfpgate.USBModeIPP, "")
	}, func(o *usb.Options) {
		b = &busBlind{Bus: o.Bus.(*membus.Bus)}
		o.Bus = b
	})
}
