package mockbus_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// tryClaim claims an interface and gives it back.
func tryClaim(d *gousb.Device, number int) error {
	config, err := d.Config(1)
	if err != nil {
		return err
	}
	i, err := config.Interface(number, 0)
	if err == nil {
		i.Close()
	}
	return errors.Join(err, config.Close())
}

// busy reports whether an error is libusb's BUSY. (gousb v1.1.3 wraps it with %v: errors.Is does not see it.)
func busy(err error) bool {
	return err != nil && strings.Contains(err.Error(), gousb.ErrorBusy.Error())
}

// TestKernelDriver: usblp keeps the interface from who does not detach it, and gets it back from who does.
func TestKernelDriver(t *testing.T) {
	b := newBus(t)
	rig := plug(t, b, model.NewPrinter("A").Device, "1-1")
	rig.BindDriver(0, "usblp")
	link := b.Dir + "/sys/bus/usb/devices/1-1:1.0/driver"
	if to, err := os.Readlink(link); err != nil || !strings.HasSuffix(to, "/usblp") {
		t.Errorf("sysfs says %q, %v", to, err)
	}
	d := open(t, newContext(t), 1)
	if err := tryClaim(d, 0); !busy(err) {
		t.Errorf("claim under usblp: %v", err)
	}
	must(t, d.SetAutoDetach(true))
	config, err := d.Config(1)
	if err != nil {
		t.Fatal(err)
	}
	i, err := config.Interface(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if rig.Driver(0) != "" || rig.Claimed() != 1 {
		t.Errorf("claimed: driver %q, %d claims", rig.Driver(0), rig.Claimed())
	}
	i.Close()
	must(t, config.Close())
	if rig.Driver(0) != "usblp" || rig.Claimed() != 0 {
		t.Errorf("given back: driver %q, %d claims", rig.Driver(0), rig.Claimed())
	}
}

// TestAnotherProgram: an interface that another program has is busy, also with auto-detach; the next one is not.
func TestAnotherProgram(t *testing.T) {
	b := newBus(t)
	rig := plug(t, b, model.NewPrinter("A").Device, "1-1")
	rig.Hold(1)
	d := open(t, newContext(t), 1)
	must(t, d.SetAutoDetach(true))
	if err := tryClaim(d, 1); !busy(err) {
		t.Errorf("held: %v", err)
	}
	must(t, tryClaim(d, 2))
	rig.Unhold(1)
	must(t, tryClaim(d, 1))
}

// TestRights: a node that may not be opened is EACCES, and the device is listed all the same.
func TestRights(t *testing.T) {
	b := newBus(t)
	rig := plug(t, b, model.NewPrinter("A").Device, "1-1")
	must(t, rig.Deny())
	c := newContext(t)
	if n := count(c); n != 1 {
		t.Errorf("%d printers are listed", n)
	}
	for range 5 {
		if all, err := c.OpenDevices(isPrinter); !errors.Is(err, gousb.ErrorAccess) || len(all) != 0 {
			t.Fatalf("denied: %d devices, %v", len(all), err)
		}
	}
	must(t, rig.Allow())
	open(t, c, 1)
}

// TestReset: a reset ends what is under way; the device keeps its address, or comes back under another, or not at all.
func TestReset(t *testing.T) {
	for rule, tc := range map[string]struct {
		set  func(*mockbus.Dev)
		want error
		left int
		same bool
	}{
		"it keeps its address": {func(*mockbus.Dev) {}, nil, 1, true},
		"it has another one":   {(*mockbus.Dev).ReenumerateOnReset, gousb.ErrorNotFound, 1, false},
		"it stays away":        {(*mockbus.Dev).LoseOnReset, gousb.ErrorNotFound, 0, false},
	} {
		t.Run(rule, func(t *testing.T) {
			b := newBus(t)
			p := model.NewPrinter("A")
			rig := plug(t, b, p.Device, "1-1")
			tc.set(rig)
			c := newContext(t)
			d := open(t, c, 1)
			control, _ := p.Endpoint(0)
			control.Pause()
			ended := pending(t, rig, func() (int, error) { return d.Control(0xA1, 0, 0, 0, make([]byte, 512)) })
			if err := d.Reset(); !errors.Is(err, tc.want) {
				t.Errorf("reset: %v, want %v", err, tc.want)
			}
			if err := wait(t, ended); err == nil {
				t.Error("a request outlived the reset")
			}
			if rig.Resets() != 1 {
				t.Errorf("%d resets", rig.Resets())
			}
			eventually(t, "libusb lists what is left", func() bool { return count(c) == tc.left })
			now, there := b.At("1-1")
			if there != (tc.left == 1) || there && (now.Address() == rig.Address()) != tc.same {
				t.Errorf("address %d, then %v", rig.Address(), now)
			}
		})
	}
}
