package soak_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/libusb"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

func TestMain(m *testing.M) {
	lan.Alone()
	mockbus.Reexec()
	goleak.VerifyTestMain(m)
}

// site is a gateway's USB with all that is below it, as the daemon puts it together.
type site struct {
	t         testing.TB
	rig       *mockbus.Bus
	clock     *clock
	printers  *usb.Printers
	endpoints *endpoint.Endpoints
	idle      int // goroutines of it with nothing plugged in

	mu      sync.Mutex
	plugs   map[string]*plugged // by port
	gone    int64               // what moved on plugs that are out
	sighted map[mfpgate.SightingID]mfpgate.Sighting
}

// plugged is a printer from its plug on.
type plugged struct {
	*model.Printer
	*mockbus.Dev
	port string
}

// deadline is for what takes milliseconds on an idle machine.
const deadline = 30 * time.Second

func newSite(t testing.TB) *site {
	t.Helper()
	need.Preload(t, mockbus.Preload)
	need.That(t, libusb.Built, "this build has no USB; build with cgo and without the tag nousb")
	rig, err := mockbus.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rig.Close)
	t.Setenv("UMOCKDEV_DIR", rig.Dir)
	s := &site{t: t, rig: rig, plugs: map[string]*plugged{}, sighted: map[mfpgate.SightingID]mfpgate.Sighting{}}
	s.clock = newClock(s.moved, s.busy)
	t.Cleanup(s.clock.stop)
	driver, err := libusb.Open(libusb.Options{Clock: s.clock, Log: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	db := memory.New()
	s.endpoints, err = endpoint.New(endpoint.Options{Clock: s.clock, Log: telemetry.Discard(), Store: db, Share: endpoint.Off, Host: "soak"})
	if err != nil {
		t.Fatal(err)
	}
	s.printers = usb.New(usb.Options{Clock: s.clock, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Bus: driver, Store: db,
		Quirks: quirk.Known(), Endpoints: s.endpoints, Sighted: s.sight, Every: tick})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.printers.Run(ctx) }() // the cleanup waits for it
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, p := range s.all() {
			if n := p.Claimed(); n != 0 {
				t.Errorf("%d interfaces of %s are kept after Run", n, p.port)
			}
			p.pull()
		}
		if err := driver.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
		if n := rig.Monitors(); n != 0 {
			t.Errorf("%d monitors of udev are left", n)
		}
		_ = db.Close()
	})
	s.await("Run listens", func() bool { return rig.Monitors() == 1 })
	s.idle = runtime.NumGoroutine()
	return s
}

// moved is how much has moved on the bus.
func (s *site) moved() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.gone
	for _, p := range s.plugs {
		n += p.moved()
	}
	return n
}

// busy reports whether the bus has something to do.
func (s *site) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.plugs {
		if p.Busy() {
			return true
		}
	}
	return false
}

func (p *plugged) moved() (n int64) {
	for _, ioctl := range []string{"SUBMITURB", "REAPURBNDELAY", "CLAIMINTERFACE", "RELEASEINTERFACE", "RESET", "IOCTL", "DISCARDURB"} {
		n += int64(p.Count(ioctl))
	}
	for _, e := range p.lines() {
		n += e.Total()
	}
	return n
}

// lines are its bulk endpoints.
func (p *plugged) lines() (all []model.Endpoint) {
	if p.RawOut != nil {
		all = append(all, p.RawOut)
	}
	if p.RawIn != nil {
		all = append(all, p.RawIn)
	}
	for _, pair := range p.Pairs {
		all = append(all, pair.Out, pair.In)
	}
	return all
}

// faults are those that have not happened yet.
func (p *plugged) faults() (n int) {
	for _, e := range p.lines() {
		n += e.Faults()
	}
	e, _ := p.Endpoint(0)
	return n + e.Faults()
}

func (s *site) sight(sighting mfpgate.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sighted[sighting.ID] = sighting
}

func (s *site) all() (all []*plugged) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.plugs {
		all = append(all, p)
	}
	return all
}

// plug plugs a new printer in.
func (s *site) plug(o model.Options, port string) *plugged {
	s.t.Helper()
	p := &plugged{Printer: model.New(o), port: port}
	s.put(p)
	return p
}

// put plugs a printer in that was made before.
func (s *site) put(p *plugged) {
	s.t.Helper()
	d, err := s.rig.Plug(p.Device, p.port)
	if err != nil {
		s.t.Fatal(err)
	}
	p.Dev = d
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.plugs[p.port]; was != nil {
		s.gone += was.moved()
	}
	s.plugs[p.port] = p
}

// pull unplugs it, if it is in, and returns when it is out.
func (p *plugged) pull() {
	_ = p.Unplug() // a monitor that was not told asks again
	<-p.Out()
}

// await waits for a state that nothing announces.
func (s *site) await(what string, is func() bool) {
	s.t.Helper()
	if !reached(is) {
		all := make([]byte, 1<<20)
		s.t.Fatalf("not within %s: %s; shown: %+v\n%s", deadline, what, s.printers.List(), all[:runtime.Stack(all, true)])
	}
}

func reached(is func() bool) bool {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	late := time.NewTimer(deadline)
	defer late.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-late.C:
			return false
		}
	}
	return true
}

// show is how the gateway has it.
func (s *site) show(p *plugged) mfpgate.USBPort {
	if at := s.printers.Port(p.sighting()); at != nil {
		return *at
	}
	return mfpgate.USBPort{Reason: usb.ReasonGone}
}

func (p *plugged) sighting() mfpgate.SightingID {
	return mfpgate.NewSightingID(mfpgate.SourceUSB, p.port)
}

// driven waits until this plug of the printer is driven in a mode, with all of its interfaces, and asked all that it is asked at first.
func (s *site) driven(p *plugged, mode mfpgate.USBMode) {
	s.t.Helper()
	s.await(fmt.Sprintf("%s is driven in mode %s", p.port, mode), func() bool {
		return p.Claimed() == p.faces(mode) && s.show(p).Mode == mode && (mode != mfpgate.USBModeIPP || p.IPP.Asked() > int64(len(p.Pairs)))
	})
}

// faces is how many interfaces of it are claimed in a mode.
func (p *plugged) faces(mode mfpgate.USBMode) int {
	if mode == mfpgate.USBModeRaw {
		return 1
	}
	return len(p.Pairs)
}

// without waits until nothing is plugged in, and nothing of what was is left.
func (s *site) without() {
	s.t.Helper()
	for _, p := range s.all() {
		p.pull()
	}
	s.await("no printer is left", func() bool { return len(s.printers.List()) == 0 })
	for _, p := range s.all() {
		s.await("no descriptor is left", func() bool { return p.Opened() == 0 && p.Claimed() == 0 })
	}
	s.await("no goroutine is left", func() bool { return runtime.NumGoroutine() <= s.idle })
}
