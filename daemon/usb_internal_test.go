package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// newUSBDaemon is as much of a daemon as printers on USB need.
func newUSBDaemon(t *testing.T, of config.USB) *Daemon {
	d := &Daemon{Options: Options{Clock: mfpgate.SystemClock{}}, log: telemetry.Discard(), metrics: telemetry.NewMetrics()}
	db := memory.New()
	t.Cleanup(func() { _ = db.Close() })
	d.local, d.health = db, newHealth(d)
	cfg := &config.Config{USB: of}
	d.config.Store(cfg)
	var err error
	if d.printers, err = newPrinters(d, cfg); err != nil {
		t.Fatal(err)
	}
	if d.registry, err = discovery.New(t.Context(), discovery.Options{Clock: d.Clock, Log: d.log, Metrics: d.metrics, Store: db, USB: d.printers.plugged()}, &discovery.Policy{}); err != nil {
		t.Fatal(err)
	}
	return d
}

// degraded is the text of a degradation, "" without it.
func (d *Daemon) degraded(reason mfpgate.Reason) string {
	list, _ := d.health.list()
	for _, one := range list {
		if one.Reason == reason {
			return one.Text
		}
	}
	return ""
}

// passes lets time pass in a bubble, and what is due be done.
func passes(t *testing.T, d time.Duration) {
	if err := mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, d); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// unlisted is a bus that cannot be listed while why is there.
type unlisted struct {
	*membus.Bus
	why atomic.Pointer[error]
}

func (b *unlisted) Printers(ctx context.Context, wanted func(bus.Device) bool) ([]bus.Device, error) {
	if why := b.why.Load(); why != nil {
		return nil, *why
	}
	return b.Bus.Printers(ctx, wanted)
}

func TestUSBThatCannotBeUsedDegrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newUSBDaemon(t, config.USB{Enabled: true, Share: config.USBShareOff})
		var closed atomic.Bool
		closed.Store(true)
		b := &unlisted{Bus: membus.New()}
		foreign := errors.New("list USB devices: a device has descriptors that cannot be read; unplug it")
		b.why.Store(&foreign)
		d.USB = func() (bus.Bus, error) {
			if closed.Load() {
				return nil, errors.New("libusb: no such device")
			}
			return b, nil
		}
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.printers.run(ctx) }() // waited for below

		passes(t, time.Second)
		text := d.degraded(USBFailed)
		if what, fix, _ := strings.Cut(text, "; "); !strings.HasSuffix(what, "cannot be opened: libusb: no such device") || !strings.Contains(fix, "/dev/bus/usb") {
			t.Errorf("a USB that cannot be opened: %q", text)
		}
		began, _ := d.health.list()
		passes(t, again)
		if now, _ := d.health.list(); len(now) != 1 || now[0].Since != began[0].Since {
			t.Errorf("a USB that still cannot be opened: %+v, was %+v", now, began)
		}
		closed.Store(false)
		passes(t, again)
		if text := d.degraded(USBFailed); text != "" {
			t.Errorf("a USB that could be opened, and is not judged yet: %q", text)
		}
		passes(t, usbLook)
		text = d.degraded(USBFailed)
		if what, fix, _ := strings.Cut(text, "; "); !strings.Contains(what, "cannot be listed: list USB devices") || fix != "unplug it; `dmesg` says what the kernel sees" {
			t.Errorf("a USB that cannot be listed: %q", text)
		}
		d.printers.sharing(nil) // another's word
		if d.degraded(USBFailed) == "" {
			t.Error("that printers can be shared is taken for USB's health")
		}
		b.why.Store(nil)
		passes(t, usbLook+time.Second)
		if text := d.degraded(USBFailed); text != "" {
			t.Errorf("a USB that can be listed again: %q", text)
		}
		b.why.Store(&foreign)
		passes(t, usbLook+time.Second)
		if d.degraded(USBFailed) == "" {
			t.Error("once it was listed, nobody looks any more")
		}
		d.printers.sharing(endpoint.ErrTaken)
		d.printers.reload(&siteQuirks{text: "others", table: quirk.Known()})
		passes(t, time.Second)
		if text := d.degraded(USBShareFailed); text != "" {
			t.Errorf("printers that are begun with anew: %q", text)
		}
		closed.Store(true)
		for _, opened := range []string{"was listed", "was not opened"} {
			on := d.config.Swap(&config.Config{})
			poke(d.printers.reloaded)
			passes(t, time.Second)
			if text := d.degraded(USBFailed); text != "" {
				t.Errorf("a USB that %s, and is switched off: %q", opened, text)
			}
			d.config.Store(on)
			poke(d.printers.reloaded)
			passes(t, time.Second)
			if d.degraded(USBFailed) == "" {
				t.Error("a USB that cannot be opened again")
			}
		}
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// taken are endpoints of which another program has a port.
type taken struct{ free atomic.Bool }

func (e *taken) Reconfigure(s endpoint.Share) error {
	if e.free.Load() || s != endpoint.LAN {
		return nil
	}
	return errors.Join(endpoint.ErrTaken, endpoint.ErrTaken)
}

func TestPrintersThatCannotBeSharedDegrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newUSBDaemon(t, config.USB{Enabled: true, Share: config.USBShareOff})
		room := usb.New(usb.Options{Clock: d.Clock, Log: d.log, Metrics: d.metrics, Bus: membus.New(), Store: d.local})
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		of := &taken{}
		go func() { // waited for below
			defer close(ended)
			d.printers.follow(ctx, "", room, of)
		}()
		d.config.Store(&config.Config{USB: config.USB{Enabled: true, Share: config.USBShareLAN}})
		poke(d.printers.reloaded)
		passes(t, time.Second)
		text := d.degraded(USBShareFailed)
		if what, fix, _ := strings.Cut(text, "; "); strings.Contains(text, "\n") || !strings.HasSuffix(what, "has the TCP port, another program has the TCP port") || !strings.Contains(fix, "end the program") {
			t.Errorf("ports that other programs have: %q", text)
		}
		d.printers.judge(room) // another's word
		if d.degraded(USBShareFailed) == "" {
			t.Error("that USB can be listed is taken for its printers' being shared")
		}
		of.free.Store(true)
		passes(t, again)
		if text := d.degraded(USBShareFailed); text != "" {
			t.Errorf("ports that are free again: %q", text)
		}
		end()
		<-ended
	})
}
