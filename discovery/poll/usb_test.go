package poll_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
)

type usbSide struct{ *network }

func (s usbSide) Read(ctx context.Context, port string, parts mfpgate.Parts) (r mfpgate.Reading, err error) {
	if _, err := s.ask(ctx, "usb "+port, fmt.Sprintf("usb read parts=%03b %s", parts, port)); err != nil {
		return r, err
	}
	if parts.Has(mfpgate.PartStatus) {
		r.Status = &mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{"media-empty-error"}}
	}
	return r, nil
}

// held is the refusal of a printer that another program has.
type held struct{}

func (held) Error() string          { return "ipp-usb has it" }
func (held) Reason() mfpgate.Reason { return "usb-busy" }

// opening is the refusal of a printer that was plugged in just now.
type opening struct{}

func (opening) Error() string          { return "it is asked who it is" }
func (opening) Reason() mfpgate.Reason { return discovery.USBOpening }

func TestAPrinterOnUSBIsAskedWhereItIsDriven(t *testing.T) {
	const endpoint = "127.0.0.1:60000"
	overIPP := mfpgate.Sighting{ID: "usb:1-1", Identity: mfpgate.Identity{USB: "03f0:e911:CN1"}, Name: "LaserJet", Answered: true,
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort(endpoint), Path: "ipp/print"}}}
	raw := overIPP
	raw.Endpoints = []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolUSB, Path: "1-1"}}
	busy := overIPP
	busy.Answered, busy.Endpoints = false, nil
	run(t, &discovery.Policy{SiteRegion: "jp"}, func(s *site) {
		state := func() string {
			d := s.devices.List()[0]
			reading := s.devices.Readings()[d.ID]
			text := fmt.Sprintf("%s %s %s %s", d.State, d.Reason, d.Attachment, d.Serial)
			if reading.Status != nil {
				text += " " + string(reading.Status.State)
			}
			return text
		}
		expect := func(rule, want string) {
			s.t.Helper()
			if got := state(); got != want {
				s.t.Errorf("%s: %q, want %q", rule, got, want)
			}
			if n := len(s.devices.List()); n != 1 {
				s.t.Errorf("%s: %d devices", rule, n)
			}
		}
		s.put("usb 1-1", &printer{fails: opening{}})
		s.devices.Sight(busy)
		s.pass(2 * time.Second)
		expect("it was plugged in just now", "online  usb ")
		for id, took := range s.took {
			s.t.Errorf("%s: %d failures are told of a printer that was plugged in just now", id, len(took))
		}
		s.put("usb 1-1", &printer{fails: fmt.Errorf("read: %w", held{})})
		s.pass(time.Minute)
		s.pass(2 * time.Second)
		expect("another program has it", "offline usb-busy usb ")

		s.put("ipp "+endpoint, &printer{identity: mfpgate.Identity{UUID: "0c9e8c6a-0001-4a5b-8c6d-000000000001", Make: "HP", Model: "LaserJet", Serial: "CN1"}})
		s.devices.Sight(overIPP)
		s.pass(2 * time.Second)
		expect("by its endpoint of the gateway, at once", "online  usb CN1 idle")
		if n := s.count("ipp read parts=111", endpoint); n != 1 {
			s.t.Errorf("its counters were asked for %d times, want once: the gateway reports them", n)
		}

		s.put("usb 1-1", &printer{})
		s.devices.Sight(raw)
		s.pass(2 * time.Second)
		expect("in raw mode, at once", "online  usb CN1 stopped")

		s.devices.Sight(mfpgate.Sighting{ID: "usb:1-1", Gone: true})
		s.reset()
		s.pass(5 * time.Minute)
		expect("unplugged", "offline unplugged usb CN1")
		if n := s.count("") + s.count("usb"); n != 0 {
			s.t.Errorf("unplugged it was asked %d times", n)
		}
		s.devices.Sight(raw)
		s.pass(time.Second)
		expect("plugged back", "online  usb CN1 stopped")
	})
}
