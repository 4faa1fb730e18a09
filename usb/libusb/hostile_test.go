//go:build cgo && !nousb

package libusb_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/tests/fakeclock"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// describe changes what the kernel has read of the device at a port: a device descriptor of 18 bytes, and its configuration's behind it.
func describe(t *testing.T, rig *mockbus.Bus, port string, change func(descriptors []byte) []byte) {
	t.Helper()
	name := filepath.Join(rig.Dir, "sys/bus/usb/devices", port, "descriptors")
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(raw), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Where in a composite printer's descriptors what is.
const (
	config     = 18
	interface0 = config + 9
	out0       = interface0 + 9 // its OUT endpoint
)

func TestDescriptorsAreForeign(t *testing.T) {
	set := func(at int, b byte) func([]byte) []byte {
		return func(d []byte) []byte { d[at] = b; return d }
	}
	cases := []struct {
		rule   string
		change func([]byte) []byte
		want   func(bus.Device) bool // nil: whatever is made of it
	}{
		{"no configuration has no interfaces", set(17, 0), nil},
		{"configurations that are not there", set(17, 255), nil},
		{"a configuration cut short", func(d []byte) []byte { return d[:len(d)-20] }, nil},
		{"no descriptor at all", func(d []byte) []byte { return d[:10] }, nil},
		{"a descriptor of no length", set(interface0, 0), nil},
		{"more interfaces than come", set(config+4, 30), nil},
		{"more endpoints than come", set(interface0+4, 30), nil},
		{"an interface without endpoints has none", set(interface0+4, 0), func(d bus.Device) bool { return d.Interfaces[0].Out.Number == 0 }},
		{"an endpoint with packets of no bytes is none", func(d []byte) []byte { d[out0+4], d[out0+5] = 0, 0; return d }, func(d bus.Device) bool { return d.Interfaces[0].Out == bus.Endpoint{} }},
		{"bits beyond the packet's size do not count", set(out0+5, 0xfa), func(d bus.Device) bool { return d.Interfaces[0].Out.MaxPacket == 512 }},
		{"an endpoint 0 is none", set(out0+2, 0), func(d bus.Device) bool { return d.Interfaces[0].Out == bus.Endpoint{} }},
		{"an interrupt endpoint is no bulk endpoint", set(out0+3, 3), func(d bus.Device) bool { return d.Interfaces[0].Out == bus.Endpoint{} }},
		{"of two endpoints of a direction the one with the lower number is taken", set(out0+7+2, 4), func(d bus.Device) bool { return d.Interfaces[0].Out.Number == 1 }},
		{"a configuration's value may be any", set(config+5, 255), func(d bus.Device) bool { return d.Interfaces[0].Config == 255 && d.Interfaces[0].ConfigIndex == 0 }},
		{"an interface's number may be any", set(interface0+2, 255), func(d bus.Device) bool { return d.Interfaces[0].Number == 255 }},
	}
	var printers []*model.Device
	for range cases {
		printers = append(printers, model.NewPrinter("A").Device)
	}
	printers = append(printers, model.NewPrinter("good").Device)
	rig, _ := lay(t, printers...)
	for i, c := range cases {
		describe(t, rig, port(i+1), c.change)
	}
	b := start(t, rig)
	ds, err := b.Printers(t.Context(), func(bus.Device) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // gousb has them in maps
		again, err := b.Printers(t.Context(), func(bus.Device) bool { return true })
		if diff := cmp.Diff(ds, again); diff != "" || err != nil {
			t.Fatalf("listed once more: %v (-before +again):\n%s", err, diff)
		}
	}
	found := map[string]bus.Device{}
	for _, d := range ds {
		found[string(d.Port)] = d
	}
	for i, c := range cases {
		d := found[port(i+1)]
		if c.want != nil && (len(d.Interfaces) == 0 || !c.want(d)) {
			t.Errorf("%s: %+v", c.rule, d)
		}
		h, err := b.Open(t.Context(), d)
		if err != nil {
			continue // it is not listed
		}
		for _, i := range d.Interfaces { // whatever comes of it
			if c, err := h.Claim(t.Context(), i); err == nil {
				_, _ = c.Write(t.Context(), []byte("x"))
				_ = c.Close()
			}
		}
		if err := h.Close(); err != nil {
			t.Errorf("%s: close: %v", c.rule, err)
		}
	}
	if d := found[port(len(cases)+1)]; !isPrinter(d) {
		t.Errorf("the printer with good descriptors is not listed: %+v", ds)
	}
}

// TestAnInterfaceThatComesBack: its settings need not stand together.
func TestAnInterfaceThatComesBack(t *testing.T) {
	p := model.NewPrinter("A").Device
	back := p.Interfaces[0]
	back.Alt = 1
	p.Interfaces = append(p.Interfaces, back)
	rig, _ := lay(t, p)
	describe(t, rig, port(1), func(d []byte) []byte { d[config+4]++; return d })
	d, h := open(t, start(t, rig), "1-1")
	settings := 0
	for _, i := range d.Interfaces {
		if i.Number != int(back.Number) {
			continue
		}
		settings++
		c, err := h.Claim(t.Context(), i)
		if err != nil {
			t.Errorf("setting %d: %v", i.Alternate, err)
			continue
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if settings != 2 {
		t.Errorf("%d settings in %+v", settings, d.Interfaces)
	}
}

// gousb panics over an interface that comes back with a setting that it had, and cannot pass over the device.
func TestADeviceThatCannotBeReadIsSaidAndEndsNothing(t *testing.T) {
	rig, _ := lay(t, model.NewPrinter("good").Device)
	clock := fakeclock.New(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	b := startAt(t, rig, clock)
	d, h := open(t, b, "1-1")
	c := claim(t, h, d.Interfaces[0])

	bad := model.NewPrinter("bad").Device
	bad.Interfaces = []model.Interface{{Number: 0}, {Number: 1}, {Number: 0}, {Number: 2}} // the third of three is again the first
	culprit, err := rig.Plug(bad, "1-2")
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the device is said", func() bool { _, err = b.Printers(t.Context(), isPrinter); return err != nil })
	if !strings.Contains(err.Error(), "unplug it") {
		t.Errorf("listing: %v", err)
	}
	if _, again := b.Printers(t.Context(), isPrinter); again == nil || again.Error() != err.Error() {
		t.Errorf("while it is not asked again it is said as %v, was %v", again, err) // the log has it once
	}
	if _, err := b.Open(t.Context(), d); err == nil {
		t.Error("opening finds a device behind it")
	}
	if n, err := c.Write(t.Context(), []byte("x")); n != 1 || err != nil {
		t.Errorf("what is open does not go on: %d, %v", n, err)
	}
	if err := culprit.Unplug(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Printers(t.Context(), isPrinter); err == nil {
		t.Error("it is asked again at once")
	}
	clock.Advance(time.Minute)
	await(t, "the bus is listed again", func() bool {
		ds, err := b.Printers(t.Context(), isPrinter)
		clock.Advance(time.Minute)
		return err == nil && len(ds) == 1
	})
}

func TestNoMemoryIsSaidInTheEnd(t *testing.T) {
	p := bare()
	rig, _ := lay(t, p.Device)
	clock := fakeclock.New(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	d, h := open(t, startAt(t, rig, clock), "1-1")
	c := claim(t, h, d.Interfaces[0])
	p.RawOut.Fail(model.Fault{Kind: model.NoMemory, Times: -1, After: bus.MaxTransfer})
	began := clock.Now()
	go func() { // the printer takes what comes; it ends with the device
		_, _ = swallow(t.Context(), p, 2*bus.MaxTransfer)
	}()
	writing := later(func() (int, error) { return c.Write(t.Context(), noise(2*bus.MaxTransfer)) })
	var o outcome
	for ended := false; !ended; {
		select {
		case o = <-writing:
			ended = true
		default:
			clock.Advance(10 * time.Millisecond)
			runtime.Gosched()
		}
	}
	if o.n != bus.MaxTransfer || !errors.Is(o.err, bus.ErrNoMemory) {
		t.Errorf("wrote %d, %v; want what went and ErrNoMemory", o.n, o.err)
	}
	if waited := clock.Now().Sub(began); waited < 2*time.Second {
		t.Errorf("it is said after %s", waited)
	}
}
