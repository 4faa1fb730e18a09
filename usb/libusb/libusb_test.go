//go:build cgo && !nousb

package libusb_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/libusb"
)

// deadline is for what happens in milliseconds on an idle machine.
const deadline = 20 * time.Second

// rigged says that libusb sees the rig's bus in place of the machine's.
var rigged bool

func TestMain(m *testing.M) {
	rigged = mockbus.Reexec()
	if os.Getenv(holder) != "" {
		hold()
		return
	}
	m.Run()
}

// lay lays out a bus for libusb, with printers at its ports 1-1, 1-2 and so on.
func lay(t testing.TB, printers ...*model.Device) (*mockbus.Bus, []*mockbus.Dev) {
	t.Helper()
	need.That(t, rigged, mockbus.Preload+" is not installed; `make deps` installs it")
	rig, err := mockbus.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rig.Close)
	t.Setenv("UMOCKDEV_DIR", rig.Dir)
	var plugged []*mockbus.Dev
	for i, p := range printers {
		d, err := rig.Plug(p, port(i+1))
		if err != nil {
			t.Fatal(err)
		}
		plugged = append(plugged, d)
	}
	return rig, plugged
}

func port(n int) string { return fmt.Sprintf("1-%d", n) }

// start opens the bus, and sees to it at the end that closing it leaves nothing: no monitor, no goroutine.
func start(t testing.TB, rig *mockbus.Bus) bus.Bus {
	t.Helper()
	return startAt(t, rig, mfpgate.SystemClock{})
}

func startAt(t testing.TB, rig *mockbus.Bus, clock mfpgate.Clock) bus.Bus {
	t.Helper()
	b, err := libusb.Open(libusb.Options{Clock: clock, Log: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
		if n := rig.Monitors(); n != 0 {
			t.Errorf("%d monitors are left, want none", n)
		}
		await(t, "none of the driver's goroutines is left", func() bool { return goroutines() == 0 })
	})
	return b
}

// goroutines counts the driver's.
func goroutines() int {
	stacks := make([]byte, 1<<20)
	n := 0
	for _, s := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if (strings.Contains(s, "mfpgate/usb/libusb.") || strings.Contains(s, "google/gousb.")) && !strings.Contains(s, "libusb_test.go") {
			n++
		}
	}
	return n
}

// await waits for a state that nothing announces.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	late := time.NewTimer(deadline)
	defer late.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("not within %s: %s", deadline, what)
		}
	}
}

func isPrinter(d bus.Device) bool {
	for _, i := range d.Interfaces {
		if i.Class == 7 {
			return true
		}
	}
	return false
}

// find returns the printer that is plugged in at a port.
func find(t testing.TB, b bus.Bus, port bus.Port) bus.Device {
	t.Helper()
	var found bus.Device
	await(t, "a printer at "+string(port), func() bool {
		ds, err := b.Printers(t.Context(), func(d bus.Device) bool { return d.Port == port && isPrinter(d) })
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) > 0 {
			found = ds[0]
		}
		return len(ds) > 0
	})
	return found
}

func open(t testing.TB, b bus.Bus, port bus.Port) (bus.Device, bus.Handle) {
	t.Helper()
	d := find(t, b, port)
	h, err := b.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close the handle: %v", err)
		}
	})
	return d, h
}

func claim(t testing.TB, h bus.Handle, i bus.Interface) bus.Claim {
	t.Helper()
	c, err := h.Claim(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the claim: %v", err)
		}
	})
	return c
}

// outcome is what a call in a goroutine came to.
type outcome struct {
	n   int
	err error
}

func later(f func() (int, error)) chan outcome {
	c := make(chan outcome, 1)
	go func() { n, err := f(); c <- outcome{n, err} }() // the test receives it
	return c
}

func receive(t testing.TB, what string, c chan outcome) outcome {
	t.Helper()
	select {
	case o := <-c:
		return o
	case <-time.After(deadline):
		t.Fatalf("%s does not end", what)
		return outcome{}
	}
}

func TestListsPrintersByTheirDescriptors(t *testing.T) {
	rig, _ := lay(t, model.NewPrinter("A").Device)
	b := start(t, rig)
	got, err := b.Printers(t.Context(), isPrinter)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := func(n int) bus.Endpoint { return bus.Endpoint{Number: n, MaxPacket: 512} }
	want := []bus.Device{{Port: "1-1", Bus: 1, Address: 2, Vendor: 0x1209, Product: 1, Release: 0x100, Interfaces: []bus.Interface{
		{Config: 1, Number: 0, Class: 7, SubClass: 1, Protocol: 2, In: endpoint(1), Out: endpoint(1)},
		{Config: 1, Number: 1, Class: 7, SubClass: 1, Protocol: 4, In: endpoint(2), Out: endpoint(2)},
		{Config: 1, Number: 2, Class: 7, SubClass: 1, Protocol: 4, In: endpoint(3), Out: endpoint(3)},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSeesPlugsAndUnplugs(t *testing.T) {
	hub := func() *model.Device {
		return &model.Device{VID: 0x1209, PID: 2, Interfaces: []model.Interface{{Class: 9}}}
	}
	rig, _ := lay(t, hub(), hub())
	b := start(t, rig)
	var before bus.Device
	for range 3 {
		p := model.NewPrinter("A")
		plugged, err := rig.Plug(p.Device, "1-2.4")
		if err != nil {
			t.Fatal(err)
		}
		d := find(t, b, "1-2.4")
		if _, err := b.Open(t.Context(), before); before.Port != "" && !errors.Is(err, bus.ErrGone) {
			t.Errorf("opening what was there before: %v, want ErrGone", err)
		}
		before = d
		if err := plugged.Unplug(); err != nil {
			t.Fatal(err)
		}
		await(t, "the printer left the list", func() bool {
			ds, err := b.Printers(t.Context(), isPrinter)
			return err == nil && len(ds) == 0
		})
		if _, err := b.Open(t.Context(), d); !errors.Is(err, bus.ErrGone) {
			t.Errorf("opening what was unplugged: %v, want ErrGone", err)
		}
	}
}

func TestTellsStringsAsTheyAre(t *testing.T) {
	p := model.NewPrinter("Nr. 7 – é")
	p.Manufacturer = ""
	p.Product = "複合機\n100 "
	rig, _ := lay(t, p.Device)
	_, h := open(t, start(t, rig), "1-1")
	manufacturer, product, serial, err := h.Strings(t.Context())
	got := []string{manufacturer, product, serial}
	if diff := cmp.Diff([]string{"", "複合機 100", "Nr. 7 – é"}, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestClosedIsClosed(t *testing.T) {
	rig, _ := lay(t, model.NewPrinter("A").Device)
	b := start(t, rig)
	d, h := open(t, b, "1-1")
	c := claim(t, h, d.Interfaces[0])
	for range 2 {
		if err := b.Close(); err != nil { // with a claim and a handle open
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	for what, call := range map[string]func() error{
		"Write":     func() error { _, err := c.Write(ctx, []byte("x")); return err },
		"Read":      func() error { _, err := c.Read(ctx, make([]byte, 512)); return err },
		"ClearHalt": func() error { return c.ClearHalt(ctx) },
		"Control":   func() error { _, err := h.Control(ctx, 0x80, 0, 0, 0, make([]byte, 2)); return err },
		"Claim":     func() error { _, err := h.Claim(ctx, d.Interfaces[0]); return err },
		"Reset":     func() error { return h.Reset(ctx) },
		"Strings":   func() error { _, _, _, err := h.Strings(ctx); return err },
		"Open":      func() error { _, err := b.Open(ctx, d); return err },
		"Printers":  func() error { _, err := b.Printers(ctx, isPrinter); return err },
	} {
		if err := call(); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

func TestAnEndedContextStartsNothing(t *testing.T) {
	rig, _ := lay(t, model.NewPrinter("A").Device)
	b := start(t, rig)
	d, h := open(t, b, "1-1")
	c := claim(t, h, d.Interfaces[0])
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for what, call := range map[string]func() error{
		"Write":    func() error { _, err := c.Write(ctx, []byte("x")); return err },
		"Read":     func() error { _, err := c.Read(ctx, make([]byte, 512)); return err },
		"Control":  func() error { _, err := h.Control(ctx, 0x80, 0, 0, 0, make([]byte, 2)); return err },
		"Claim":    func() error { _, err := h.Claim(ctx, d.Interfaces[1]); return err },
		"Reset":    func() error { return h.Reset(ctx) },
		"Open":     func() error { _, err := b.Open(ctx, d); return err },
		"Printers": func() error { _, err := b.Printers(ctx, isPrinter); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", what, err)
		}
	}
	if n, err := c.Write(t.Context(), []byte("x")); n != 1 || err != nil {
		t.Errorf("a write after it: %d, %v", n, err)
	}
}
