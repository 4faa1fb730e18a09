package usb_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
)

func TestModeByInterfaces(t *testing.T) {
	tests := []struct {
		rule   string
		layout model.Layout
		quirks string
		mode   mfpgate.USBMode
		why    mfpgate.Reason
		claims int
	}{
		{rule: "7/1/4 comes before 7/1/2", layout: model.Composite, mode: mfpgate.USBModeIPP, claims: 2},
		{rule: "7/1/4 may be another setting of 7/1/2's interface", layout: model.Alternates, mode: mfpgate.USBModeIPP, claims: 1},
		{rule: "all pairs are used", layout: model.Pairs, mode: mfpgate.USBModeIPP, claims: 3},
		{rule: "as many pairs as a quirk allows", layout: model.Pairs, quirks: "1209:0001\n interfaces 1\n reason test", mode: mfpgate.USBModeIPP, claims: 1},
		{rule: "a vendor's class is IPP where a quirk says so", layout: model.HP, quirks: "03f0:*\n vendor-ipp-usb\n reason test", mode: mfpgate.USBModeIPP, claims: 2},
		{rule: "and not otherwise", layout: model.HP, mode: mfpgate.USBModeRaw, claims: 1},
		{rule: "a quirk forbids 7/1/4", layout: model.Composite, quirks: "1209:0001\n no-ipp-usb\n reason test", mode: mfpgate.USBModeRaw, claims: 1},
		{rule: "a quirk forbids 7/1/4 by name", layout: model.Alternates, quirks: "1209:* \"*composite 100\"\n no-ipp-usb\n reason test", mode: mfpgate.USBModeRaw, claims: 1},
		{rule: "a quirk that leaves nothing", layout: model.Pairs, quirks: "1209:0001\n no-ipp-usb\n reason test", mode: mfpgate.USBModeUnused, why: usb.ReasonUnsupported},
		{rule: "7/1/2 alone", layout: model.Bidirectional, mode: mfpgate.USBModeRaw, claims: 1},
		{rule: "7/1/1 alone", layout: model.Unidirectional, mode: mfpgate.USBModeRaw, claims: 1},
		{rule: "a device that a quirk says is none of ours", layout: model.Bidirectional, quirks: "1209:0001\n ignore\n reason test", mode: mfpgate.USBModeUnused, why: usb.ReasonUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			bubble(t, func(s *site) {
				p := model.New(model.Options{Layout: tt.layout, Serial: "S1"})
				plugged := s.plug(p, "1-1")
				s.is("1-1", tt.mode, tt.why)
				if got := plugged.Claimed(); got != tt.claims {
					t.Errorf("%d interfaces claimed, want %d", got, tt.claims)
				}
				sighting := s.sighted("1-1")
				if sighting.Answered != (tt.mode != mfpgate.USBModeUnused) {
					t.Errorf("the sighting says answered: %t", sighting.Answered)
				}
				var want []mfpgate.Endpoint
				if tt.mode == mfpgate.USBModeRaw {
					want = []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolUSB, Path: "1-1"}}
				}
				if d := cmp.Diff(want, sighting.Endpoints, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
					t.Error(d)
				}
				if tt.mode == mfpgate.USBModeUnused {
					doc, _ := document(10)
					if _, err := s.printers.Print(s.t.Context(), id("1-1"), doc, nil); refused(err) != tt.why {
						t.Errorf("Print: %v", err)
					}
					return
				}
				s.prints("1-1", p, 300_000)
				if got := plugged.Resets(); got != 0 {
					t.Errorf("%d resets", got)
				}
			}, func(o *usb.Options) { o.Quirks = table(t, tt.quirks) })
		})
	}
}

func TestWhoAPrinterIs(t *testing.T) {
	for _, form := range model.IDForms() {
		t.Run(string(form), func(t *testing.T) {
			bubble(t, func(s *site) {
				s.plug(model.New(model.Options{Serial: "S1", IDForm: form}), "1-2.4")
				want := mfpgate.Identity{Make: "Rigworks", Model: "Composite 100", Serial: "S1", USB: "1209:0001:S1"}
				got := s.sighted("1-2.4")
				if d := cmp.Diff(want, got.Identity); d != "" {
					t.Error(d)
				}
				if got.Name != "Rigworks Composite 100" {
					t.Errorf("name %q", got.Name)
				}
			})
		})
	}
}

func TestPlugAndUnplug(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		plugged := s.plug(p, "1-1")
		s.is("1-1", mfpgate.USBModeIPP, "")
		first := s.sighted("1-1").Identity
		plugged.Unplug()
		s.settle()
		if !s.sighted("1-1").Gone || s.printers.Port(id("1-1")) != nil {
			t.Error("it is unplugged, and still there")
		}
		if _, err := s.printers.Print(s.t.Context(), id("1-1"), mfpgate.Document{}, nil); refused(err) != usb.ReasonGone {
			t.Errorf("Print: %v", err)
		}
		s.plug(p, "2-3.1")
		s.is("2-3.1", mfpgate.USBModeIPP, "")
		if d := cmp.Diff(first, s.sighted("2-3.1").Identity); d != "" {
			t.Errorf("on another port it is another printer: %s", d)
		}
	})
}

// TestReplugFasterThanTheBusIsLookedAt: another device may be at the port now, so the first is gone and all begins anew.
func TestReplugFasterThanTheBusIsLookedAt(t *testing.T) {
	bubble(t, func(s *site) {
		plugged := s.plug(model.New(model.Options{Serial: "S1"}), "1-1")
		plugged.Unplug()
		s.plug(model.New(model.Options{Serial: "S2", Layout: model.Bidirectional}), "1-1")
		s.is("1-1", mfpgate.USBModeRaw, "")
		var gone []bool
		for _, sighting := range s.all("1-1") {
			gone = append(gone, sighting.Gone)
		}
		if d := cmp.Diff([]bool{false, true, false}, gone); d != "" {
			t.Error(d)
		}
		if got := s.sighted("1-1").Identity.Serial; got != "S2" {
			t.Errorf("serial %q", got)
		}
	})
}

func TestTwoAtOnce(t *testing.T) {
	bubble(t, func(s *site) {
		a, b := model.New(model.Options{Serial: "S1"}), model.New(model.Options{Serial: "S2", Layout: model.Bidirectional})
		s.in(a, "1-1")
		s.in(b, "1-2")
		s.settle()
		s.is("1-1", mfpgate.USBModeIPP, "")
		s.is("1-2", mfpgate.USBModeRaw, "")
		s.prints("1-1", a, 100_000)
		s.prints("1-2", b, 100_000)
		if ports := []bus.Port{s.printers.List()[0].Port, s.printers.List()[1].Port}; ports[0] != "1-1" || ports[1] != "1-2" {
			t.Errorf("listed as %v", ports)
		}
	})
}

func TestSameModelTwiceWithoutSerialNumbers(t *testing.T) {
	bubble(t, func(s *site) {
		for _, port := range []bus.Port{"1-1", "1-2"} {
			s.plug(model.New(model.Options{Layout: model.Bidirectional}), port)
		}
		want := mfpgate.Identity{Make: "Rigworks", Model: "Composite 100", USB: "1209:0001:"}
		for _, port := range []bus.Port{"1-1", "1-2"} {
			if d := cmp.Diff(want, s.sighted(port).Identity); d != "" {
				t.Errorf("%s: %s", port, d)
			}
		}
	})
}

// TestSerialNumbersOfManyAreNone: what two printers say at once tells neither, now or after a restart.
func TestSerialNumbersOfManyAreNone(t *testing.T) {
	honest := mfpgate.Identity{Make: "Rigworks", Model: "Composite 100", Serial: "SAME", USB: "1209:0001:SAME"}
	blank := mfpgate.Identity{Make: "Rigworks", Model: "Composite 100", USB: "1209:0001:"}
	bubble(t, func(s *site) {
		same := func() *model.Printer { return model.New(model.Options{Serial: "SAME", Layout: model.Bidirectional}) }
		check := func(port bus.Port, want mfpgate.Identity) {
			t.Helper()
			if d := cmp.Diff(want, s.sighted(port).Identity); d != "" {
				t.Errorf("%s: %s", port, d)
			}
		}
		first := s.plug(same(), "1-1")
		check("1-1", honest)
		second := s.plug(same(), "1-2")
		check("1-1", blank)
		check("1-2", blank)
		first.Unplug()
		s.settle()
		second.Unplug()
		s.settle()

		s.stop()
		s.start()
		s.plug(same(), "1-1")
		check("1-1", blank)
		s.plug(model.New(model.Options{Serial: "OTHER", Layout: model.Bidirectional}), "1-3")
		if got := s.sighted("1-3").Identity.Serial; got != "OTHER" {
			t.Errorf("another's serial number is %q", got)
		}
	})
}

func TestWithoutRight(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		plugged := s.in(p, "1-1")
		plugged.Deny()
		s.settle()
		s.is("1-1", mfpgate.USBModeUnused, usb.ReasonAccess)
		if got, want := s.port("1-1").Detail, "no right to /dev/bus/usb/001/001; install the udev rule 70-mfpgate.rules, which gives printers to the group mfpgate-usb, run the gateway with that group, and plug the printer in again"; got != want {
			t.Errorf("it says %q", got)
		}
		if sighting := s.sighted("1-1"); sighting.Answered || sighting.Name != "USB printer 1209:0001" || sighting.Identity.USB != "1209:0001:" {
			t.Errorf("sighted as %+v", sighting)
		}
		plugged.Allow() // udev is through with the new rule
		s.pass(5 * time.Second)
		s.is("1-1", mfpgate.USBModeIPP, "")
		if d := cmp.Diff([]bool{false, true}, answered(s.all("1-1"))); d != "" {
			t.Error(d)
		}
	})
}

// TestAnotherProgramHasIt: it is tried again, more and more seldom, and used once it is free.
func TestAnotherProgramHasIt(t *testing.T) {
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		plugged := s.in(p, "1-1")
		plugged.Hold(2)
		s.settle()
		s.is("1-1", mfpgate.USBModeUnused, usb.ReasonBusy)
		if plugged.Claimed() != 0 {
			t.Errorf("%d interfaces are kept beside another program", plugged.Claimed())
		}
		if got := s.sighted("1-1").Identity.Serial; got != "S1" {
			t.Errorf("who it is can be read beside the other: %q", got)
		}
		before := plugged.Claims()
		s.pass(time.Hour)
		if tries := plugged.Claims() - before; tries > 70 {
			t.Errorf("%d tries in an hour; it is pressed", tries)
		}
		plugged.Unhold(2)
		s.pass(time.Minute)
		s.is("1-1", mfpgate.USBModeIPP, "")
	})
}

// TestQuirksAreShown: people read which quirk counts, and why; of those that change nothing they read nothing.
func TestQuirksAreShown(t *testing.T) {
	text := "1209:*\n vendor-ipp-usb\n reason idle\n1209:0001\n interfaces 1\n package-raw\n reason it freezes (test)"
	bubble(t, func(s *site) {
		s.plug(model.New(model.Options{Serial: "S1"}), "1-1")
		if got, want := s.port("1-1").Detail, "quirk interfaces 1, package-raw for 1209:0001: it freezes (test)"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if !s.printers.List()[0].RawPackage {
			t.Error("it takes packages, and that is not said")
		}
	}, func(o *usb.Options) { o.Quirks = table(t, text) })
}

// blind is a bus that cannot be listed while blindness lasts.
type blind struct {
	bus.Bus
	lasts *atomic.Bool
}

func (b blind) Printers(ctx context.Context, wanted func(bus.Device) bool) ([]bus.Device, error) {
	if b.lasts.Load() {
		return nil, bus.ErrFailed
	}
	return b.Bus.Printers(ctx, wanted)
}

// TestWhatWasNotSeenIsNotCalledUnplugged while nobody could look.
func TestWhatWasNotSeenIsNotCalledUnplugged(t *testing.T) {
	var lasts atomic.Bool
	lasts.Store(true)
	bubble(t, func(s *site) {
		s.plug(model.New(model.Options{Serial: "S1"}), "1-1")
		s.pass(time.Minute)
		if s.printers.Looked() {
			t.Error("a bus that cannot be listed counts as looked at")
		}
		lasts.Store(false)
		s.pass(time.Minute)
		if !s.printers.Looked() || len(s.all("1-1")) == 0 {
			t.Errorf("looked %v, %d sightings", s.printers.Looked(), len(s.all("1-1")))
		}
	}, func(o *usb.Options) { o.Bus = blind{o.Bus, &lasts} })
}
