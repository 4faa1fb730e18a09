package mockbus_test

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

func TestRawPort(t *testing.T) {
	b := newBus(t)
	p := model.NewPrinter("A")
	plug(t, b, p.Device, "1-1")
	out, in := claim(t, open(t, newContext(t), 1), 0, 0)
	if _, err := out.Write([]byte("\x1b%-12345X@PJL INFO STATUS\r\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1024)
	n, err := in.ReadContext(soon(t), buf)
	if err != nil || !bytes.Contains(buf[:n], []byte("CODE=10001")) {
		t.Errorf("%q %v", buf[:n], err)
	}
}

// TestFaults: each of the model's faults is libusb's word for it.
func TestFaults(t *testing.T) {
	b := newBus(t)
	p := model.NewPrinter("A")
	rig := plug(t, b, p.Device, "1-1")
	out, in := claim(t, open(t, newContext(t), 1), 0, 0)
	say := func(text string) {
		t.Helper()
		if _, err := out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}

	p.RawOut.Fail(model.Fault{Kind: model.Stall, After: 5})
	if n, err := out.Write(make([]byte, 10)); n != 5 || !errors.Is(err, gousb.TransferStall) {
		t.Errorf("stall: %d %v", n, err)
	}
	if p.RawOut.Halted() && rig.Count("CLEAR_HALT") > 0 { // gousb clears none
		t.Error("a halt outlived CLEAR_HALT")
	}
	p.RawOut.ClearHalt()

	p.RawOut.Fail(model.Fault{Kind: model.NoMemory, Times: 2})
	for range 2 {
		if _, err := out.Write([]byte("x")); !errors.Is(err, gousb.ErrorNoMem) {
			t.Errorf("no memory: %v", err)
		}
	}
	if _, err := out.Write(make([]byte, 17<<20)); !errors.Is(err, gousb.ErrorNoMem) { // more than usbfs_memory_mb
		t.Errorf("17 MiB: %v", err)
	}
	p.RawOut.Fail(model.Fault{Kind: model.Failure})
	if _, err := out.Write([]byte("x")); !errors.Is(err, gousb.TransferError) {
		t.Errorf("failure: %v", err)
	}

	p.RawIn.Fail(model.Fault{Kind: model.ZeroRead}, model.Fault{Kind: model.Overflow})
	say("\x1b%-12345X@PJL ECHO 1\r\n")
	buf := make([]byte, 512)
	if n, err := in.ReadContext(soon(t), buf); n != 0 || err != nil {
		t.Errorf("zero read: %d %v", n, err)
	}
	if _, err := in.ReadContext(soon(t), buf); !errors.Is(err, gousb.TransferOverflow) {
		t.Errorf("overflow: %v", err)
	}
	if n, err := in.ReadContext(soon(t), buf); err != nil || string(buf[:n]) != "@PJL ECHO 1\r\n\f" {
		t.Errorf("afterwards: %q %v", buf[:n], err)
	}

	p.RawOut.Pause()
	ctx, cancel := context.WithCancel(t.Context())
	ended := pending(t, rig, func() (int, error) { return out.WriteContext(ctx, make([]byte, 100)) })
	cancel()
	if err := wait(t, ended); !errors.Is(err, gousb.TransferCancelled) {
		t.Errorf("paused: %v", err)
	}
	p.RawOut.Resume()
	say("more")
}

// TestHaltStays: an endpoint that has halted stalls until CLEAR_HALT.
func TestHaltStays(t *testing.T) {
	b := newBus(t)
	p := model.NewPrinter("A")
	plug(t, b, p.Device, "1-1")
	d := open(t, newContext(t), 1)
	out, _ := claim(t, d, 0, 0)
	p.RawOut.Halt()
	for range 2 {
		if _, err := out.Write([]byte("x")); !errors.Is(err, gousb.TransferStall) {
			t.Errorf("halted: %v", err)
		}
	}
	// What libusb_clear_halt does; gousb does not offer it.
	if _, err := d.Control(0x02, 1, 0, 1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("x")); err != nil {
		t.Errorf("cleared: %v", err)
	}
}

// TestUnplugAtByte: the cable is pulled within a transfer.
func TestUnplugAtByte(t *testing.T) {
	b := newBus(t)
	p := model.NewPrinter("A")
	rig := plug(t, b, p.Device, "1-1")
	c := newContext(t)
	out, _ := claim(t, open(t, c, 1), 0, 0)
	p.RawOut.Fail(model.Fault{Kind: model.Unplug, After: 70_001})
	if n, err := out.Write(make([]byte, 100_000)); n != 70_001 || !errors.Is(err, gousb.TransferNoDevice) {
		t.Errorf("%d %v", n, err)
	}
	again := plug(t, b, p.Device, "1-1") // at once
	<-rig.Out()
	if p.RawOut.Total() != 70_001 {
		t.Errorf("%d bytes came", p.RawOut.Total())
	}
	eventually(t, "libusb sees the new plug", func() bool { return count(c) == 1 })
	all, err := c.OpenDevices(func(d *gousb.DeviceDesc) bool { return d.Address == again.Address() })
	if err != nil || len(all) != 1 {
		t.Fatalf("%d devices at the new address, %v", len(all), err)
	}
	must(t, all[0].Close())
}

// TestIdle: libusb does not spin while it waits.
func TestIdle(t *testing.T) {
	b := newBus(t)
	rig := plug(t, b, model.NewPrinter("A").Device, "1-1")
	_, in := claim(t, open(t, newContext(t), 1), 0, 0)
	reaps, before := rig.Count("REAPURBNDELAY"), processor(t)
	const wait = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	if _, err := in.ReadContext(ctx, make([]byte, 512)); !errors.Is(err, gousb.TransferCancelled) {
		t.Error(err)
	}
	used, reaps := processor(t)-before, rig.Count("REAPURBNDELAY")-reaps
	t.Logf("%v of waiting: %v of the processor, %d reaps", wait, used, reaps)
	if reaps > 3 || used > wait/4 {
		t.Errorf("libusb spins: %v of the processor in %v, %d reaps", used, wait, reaps)
	}
}

func processor(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkBulkOut(b *testing.B) {
	bus := newBus(b)
	plug(b, bus, model.NewPrinter("A").Device, "1-1")
	out, _ := claim(b, open(b, newContext(b), 1), 0, 0)
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := out.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
}
