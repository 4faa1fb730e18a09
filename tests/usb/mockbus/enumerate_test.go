package mockbus_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// TestLayouts: libusb reads the descriptors of every kind of printer.
func TestLayouts(t *testing.T) {
	want := map[model.Layout]string{
		model.Composite:      "0.0:7/1/2 1.0:7/1/4 2.0:7/1/4",
		model.Alternates:     "0.0:7/1/2 0.1:7/1/4",
		model.Pairs:          "0.0:7/1/4 1.0:7/1/4 2.0:7/1/4",
		model.HP:             "0.0:7/1/2 1.0:255/9/1 2.0:255/9/1",
		model.Unidirectional: "0.0:7/1/1",
		model.Bidirectional:  "0.0:7/1/2",
	}
	b := newBus(t)
	for n, layout := range model.Layouts() {
		plug(t, b, model.New(model.Options{Layout: layout, VID: 0x1209, PID: uint16(n)}).Device, fmt.Sprintf("1-%d", n+1))
	}
	c := newContext(t)
	got := map[model.Layout]string{}
	_, err := c.OpenDevices(func(d *gousb.DeviceDesc) bool {
		if !isPrinter(d) {
			return false
		}
		var all []string
		for _, i := range d.Configs[1].Interfaces {
			for _, a := range i.AltSettings {
				all = append(all, fmt.Sprintf("%d.%d:%d/%d/%d", a.Number, a.Alternate, a.Class, a.SubClass, a.Protocol))
			}
		}
		got[model.Layouts()[d.Product]] = strings.Join(all, " ")
		return false
	})
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDeviceID: strings and the IEEE 1284 id come by control transfer.
func TestDeviceID(t *testing.T) {
	b := newBus(t)
	p := model.NewPrinter("RIG0001")
	plug(t, b, p.Device, "1-1")
	d := open(t, newContext(t), 1)
	if s, err := d.SerialNumber(); err != nil || s != "RIG0001" {
		t.Error(s, err)
	}
	buf := make([]byte, 1024)
	n, err := d.Control(0xA1, 0, 0, 0, buf)
	if err != nil || string(buf[2:n]) != p.DeviceID() {
		t.Errorf("%q %v", buf[:n], err)
	}
	if _, err := d.Control(0xA1, 99, 0, 0, buf); !errors.Is(err, gousb.ErrorPipe) {
		t.Errorf("an unknown request: %v", err)
	}
}

// TestLsusb: another program, which knows nothing of the rig, reads the whole of it; the printer is behind a hub.
func TestLsusb(t *testing.T) {
	lsusb := need.Program(t, "lsusb")
	b := newBus(t)
	plug(t, b, model.NewPrinter("RIG0001").Device, "1-2.4")
	out, err := exec.CommandContext(soon(t), lsusb, "-v", "-d", "1209:").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"iSerial                 3 RIG0001", "bInterfaceProtocol      4", "bEndpointAddress     0x83  EP 3 IN", "iManufacturer           1 Rigworks"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if d := open(t, newContext(t), 4); fmt.Sprint(d.Desc.Path) != "[2 4]" {
		t.Errorf("it is at %v", d.Desc.Path)
	}
}
