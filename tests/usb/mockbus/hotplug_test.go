package mockbus_test

import (
	"errors"
	"testing"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// TestHotplug: a context that lives on learns what comes and goes from its monitor of udev; two printers do not disturb each other.
func TestHotplug(t *testing.T) {
	b := newBus(t)
	c := newContext(t)
	if n := count(c); n != 0 || b.Monitors() != 1 {
		t.Fatalf("%d printers, %d monitors", n, b.Monitors())
	}
	listed := func(want int) {
		t.Helper()
		eventually(t, "libusb lists what is plugged in", func() bool { return count(c) == want })
	}
	first, second := model.NewPrinter("A"), model.NewPrinter("B")
	one := plug(t, b, first.Device, "1-1")
	listed(1)
	two := plug(t, b, second.Device, "1-2")
	listed(2)

	d := open(t, c, 1)
	_, in := claim(t, d, 0, 0)
	out, _ := claim(t, open(t, c, 2), 0, 0)
	second.RawOut.Pause()
	goes := pending(t, one, func() (int, error) { return in.Read(make([]byte, 512)) })
	stays := pending(t, two, func() (int, error) { return out.Write([]byte("x")) })
	must(t, one.Unplug())
	if err := wait(t, goes); !errors.Is(err, gousb.TransferNoDevice) {
		t.Errorf("the read that waited: %v", err)
	}
	if _, err := d.Control(0xA1, 0, 0, 0, make([]byte, 64)); !errors.Is(err, gousb.ErrorNoDevice) {
		t.Errorf("control after unplug: %v", err)
	}
	listed(1)
	second.RawOut.Resume()
	must(t, wait(t, stays))

	again := plug(t, b, first.Device, "1-1")
	listed(2)
	if again.Address() == one.Address() {
		t.Error("the address is the same")
	}
}
