package usb_test

import (
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// TestPrintersAreDevices: printers that are plugged in are devices as any other, for the gateway's people and for its region.
func TestPrintersAreDevices(t *testing.T) {
	t.Parallel()
	b, r := newBus(t), startRegion(t)
	dir := rig.Dir(t)
	config := "  allow: [{host: update.vendor.example, ports: [443]}]\n" + r.config() + "usb: {enabled: true}\ndevices: {polling: {status: 1s}}\n"
	known := model.NewPrinter("S1")
	dev := b.plug(known, "1-1")
	twin := func() *model.Printer {
		return model.New(model.Options{Layout: model.Bidirectional, Make: "Rigworks", Model: "Twin 1"})
	}
	lent := b.plug(twin(), "1-3")
	lent.BindDriver(0, "usblp")
	b.plug(twin(), "1-4.2")

	g := rig.StartIn(t, dir, config, b.inside)
	one := comes(t, g, "the printer is driven as IPP over USB", driven("1-1", mfpgate.USBModeIPP))
	if one.Attachment != mfpgate.AttachmentUSB || one.Serial != "S1" || one.Make != "Rigworks" || one.Model != "Composite 100" ||
		one.MonitoringMode != mfpgate.MonitoringPolling || one.Reason != "" || one.USB.URL == "" || one.USB.Shared || one.Address == "" {
		t.Errorf("%+v, %+v", one, one.USB)
	}
	left := comes(t, g, "the first twin is driven", driven("1-3", mfpgate.USBModeRaw))
	if driver := lent.Driver(0); driver != "" {
		t.Errorf("the kernel's %s has the printer, too", driver)
	}
	right := comes(t, g, "the second twin is driven", driven("1-4.2", mfpgate.USBModeRaw))
	if left.ID == right.ID || left.Serial != "" || right.Serial != "" || left.USB.URL != "" || left.MonitoringMode != mfpgate.MonitoringPolling {
		t.Errorf("%+v\n%+v", left, right)
	}
	rig.Until(t, "the region knows the three", func() bool { return len(r.devices(t)) == 3 })
	if told := r.devices(t)[string(one.ID)]; told.Attachment != "usb" || told.Serial != "S1" || told.MonitoringMode != "polling" {
		t.Errorf("the region has %+v", told)
	}

	unplug(t, dev)
	gone := comes(t, g, "the printer is offline", func(d mfpgate.Device) bool { return d.ID == one.ID && d.State == mfpgate.DeviceOffline })
	if gone.Reason != "unplugged" || gone.USB != nil {
		t.Errorf("%+v, %+v", gone, gone.USB)
	}
	rig.Until(t, "the region knows that it is offline", func() bool { return r.devices(t)[string(one.ID)].State == "offline" })
	b.plug(known, "1-2")
	if back := comes(t, g, "the printer is driven at another port", driven("1-2", mfpgate.USBModeIPP)); back.ID != one.ID {
		t.Errorf("it was %+v, %+v and is %+v, %+v", one, one.USB, back, back.USB)
	}

	g.Stop(t)
	if driver := lent.Driver(0); driver != "usblp" {
		t.Errorf("the kernel's driver was not given back: %q", driver)
	}
	g = rig.StartIn(t, dir, config, b.inside)
	for port, id := range map[string]mfpgate.DeviceID{"1-3": left.ID, "1-4.2": right.ID} {
		if d := comes(t, g, "the twin is driven after a restart", driven(port, mfpgate.USBModeRaw)); d.ID != id {
			t.Errorf("the printer at %s was %s and is %s", port, id, d.ID)
		}
	}
	if d := comes(t, g, "the printer is driven after a restart", driven("1-2", mfpgate.USBModeIPP)); d.ID != one.ID {
		t.Errorf("it was %s and is %s", one.ID, d.ID)
	}
	if n := len(devices(t, g)); n != 3 {
		t.Errorf("there are %d devices", n)
	}
}
