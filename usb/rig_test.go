package usb_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

func TestMain(m *testing.M) {
	lan.Alone()
	goleak.VerifyTestMain(m)
}

// site is a gateway's USB in a bubble of synctest: time stands still while anything is done, and passes at once while nothing is.
type site struct {
	t        *testing.T
	bus      *membus.Bus
	printers *usb.Printers
	options  usb.Options
	end      context.CancelFunc
	ended    chan error

	mu        sync.Mutex
	sightings []mfpgate.Sighting
}

// bubble runs a test of a site, and checks that nothing is left of it.
func bubble(t *testing.T, test func(*site), with ...func(*usb.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, with...)
		s.start()
		test(s)
		s.stop()
	})
}

func newSite(t *testing.T, with ...func(*usb.Options)) *site {
	s := &site{t: t, bus: membus.New()}
	s.options = usb.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Bus: s.bus, Store: memory.New(),
		Sighted: s.sight}
	for _, w := range with {
		w(&s.options)
	}
	t.Cleanup(func() {
		s.stop()
		_ = s.options.Store.Close()
	})
	return s
}

func (s *site) start() {
	ctx, end := context.WithCancel(context.Background())
	s.printers, s.end, s.ended = usb.New(s.options), end, make(chan error, 1)
	go func() { s.ended <- s.printers.Run(ctx) }() // stop waits for it
	s.settle()
}

// stop ends the site. All interfaces must have been given back.
func (s *site) stop() {
	s.t.Helper()
	if s.end == nil {
		return
	}
	s.end()
	s.end = nil
	if err := <-s.ended; err != nil {
		s.t.Errorf("Run: %v", err)
	}
	if n := s.bus.Opens(); n != 0 {
		s.t.Errorf("%d handles are open after Run", n)
	}
	if list := s.printers.List(); len(list) != 0 {
		s.t.Errorf("%d printers after Run", len(list))
	}
}

func (s *site) sight(sighting mfpgate.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sightings = append(s.sightings, sighting)
	s.printers.Port(sighting.ID) // as the registry does
}

// sighted is the last sighting of a port.
func (s *site) sighted(port bus.Port) mfpgate.Sighting {
	s.t.Helper()
	all := s.all(port)
	if len(all) == 0 {
		s.t.Fatalf("nothing was sighted at %s", port)
	}
	return all[len(all)-1]
}

func (s *site) all(port bus.Port) (all []mfpgate.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sighting := range s.sightings {
		if sighting.ID == id(port) {
			all = append(all, sighting)
		}
	}
	return all
}

func id(port bus.Port) mfpgate.SightingID {
	return mfpgate.NewSightingID(mfpgate.SourceUSB, string(port))
}

// settle lets pass so much time that the bus was looked at, and all that follows from it at once is done.
func (s *site) settle() { s.pass(1500 * time.Millisecond) }

func (s *site) pass(d time.Duration) {
	if err := mfpgate.Wait(s.t.Context(), mfpgate.SystemClock{}, d); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

// in plugs a printer in, and plug lets the gateway see it.
func (s *site) in(p *model.Printer, port bus.Port) *membus.Plugged {
	plugged := s.bus.Plug(p.Device, port)
	s.t.Cleanup(plugged.Unplug)
	return plugged
}

func (s *site) plug(p *model.Printer, port bus.Port) *membus.Plugged {
	plugged := s.in(p, port)
	s.settle()
	return plugged
}

// port is how the printer at a port is plugged in.
func (s *site) port(port bus.Port) mfpgate.USBPort {
	s.t.Helper()
	p := s.printers.Port(id(port))
	if p == nil {
		s.t.Fatalf("no printer at %s", port)
	}
	return *p
}

// is checks the mode of a printer, and its reason.
func (s *site) is(port bus.Port, mode mfpgate.USBMode, why mfpgate.Reason) {
	s.t.Helper()
	if p := s.port(port); p.Mode != mode || p.Reason != why {
		s.t.Fatalf("%s is %s %q (%s), want %s %q", port, p.Mode, p.Reason, p.Detail, mode, why)
	}
}

// document is one of n bytes, and its digest.
func document(n int) (mfpgate.Document, string) {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	sum := sha256.Sum256(b)
	return mfpgate.Document{Name: "test", Size: int64(n), Content: bytes.NewReader(b)}, hex.EncodeToString(sum[:])
}

// prints sends a document to a port, and wants it to arrive as it is.
func (s *site) prints(port bus.Port, p *model.Printer, n int) {
	s.t.Helper()
	doc, digest := document(n)
	status, err := s.printers.Print(s.t.Context(), id(port), doc, nil)
	if err != nil || status.State != mfpgate.JobCompleted {
		s.t.Fatalf("print at %s: %+v, %v", port, status, err)
	}
	if s.port(port).Mode == mfpgate.USBModeRaw {
		synctest.Wait()
		if _, got := p.Raw.Take(); got != digest {
			s.t.Errorf("the raw port took another document")
		}
		return
	}
	documents := p.IPP.Documents()
	if len(documents) == 0 || documents[len(documents)-1].SHA256 != digest {
		s.t.Errorf("the IPP server took another document: %+v", documents)
	}
}

// table is a table of quirks for tests.
func table(t *testing.T, text string) quirk.Table {
	q, err := quirk.Parse(bytes.NewReader([]byte(text)), "test")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// refused is the reason that an error refuses with.
func refused(err error) mfpgate.Reason {
	if r, ok := errors.AsType[mfpgate.Refused](err); ok {
		return r.Why()
	}
	return ""
}

// held is content that comes when the test gives it.
type held struct {
	parts chan []byte // closed: the end
	rest  []byte
}

func (h *held) Read(p []byte) (int, error) {
	if len(h.rest) == 0 {
		part, more := <-h.parts
		if !more {
			return 0, io.EOF
		}
		h.rest = part
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}

// answered is what sightings say of that, without repetition.
func answered(all []mfpgate.Sighting) (is []bool) {
	for _, s := range all {
		is = append(is, s.Answered)
	}
	return slices.Compact(is)
}
