//go:build cgo && !nousb

package libusb_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

func TestControlTransfers(t *testing.T) {
	p := model.NewPrinter("A")
	rig, _ := lay(t, p.Device)
	_, h := open(t, start(t, rig), "1-1")
	id := make([]byte, 1024)
	n, err := h.Control(t.Context(), 0xa1, 0, 0, 0, id)
	if want := "\x00" + string(rune(2+len(p.DeviceID()))) + p.DeviceID(); err != nil || string(id[:n]) != want {
		t.Errorf("GET_DEVICE_ID: %q, %v; want %q", id[:n], err, want)
	}
	status := make([]byte, 1)
	if n, err := h.Control(t.Context(), 0xa1, 1, 0, 0, status); n != 1 || err != nil || status[0] != 0x18 {
		t.Errorf("GET_PORT_STATUS: %d, %#x, %v", n, status, err)
	}
	if n, err := h.Control(t.Context(), 0x21, 2, 0, 0, nil); n != 0 || err != nil {
		t.Errorf("SOFT_RESET: %d, %v", n, err)
	}
	if n, err := h.Control(t.Context(), 0xa1, 99, 0, 0, id); n != 0 || !errors.Is(err, bus.ErrStalled) {
		t.Errorf("a request that it does not know: %d, %v; want ErrStalled", n, err)
	}
	if _, err := h.Control(t.Context(), 0xa1, 0, 0, 0, make([]byte, 4097)); err == nil {
		t.Error("a request for more than libusb moves is taken")
	}
}

// ep0 is where a printer answers requests.
func ep0(t *testing.T, p *model.Printer) interface {
	Pause()
	Resume()
} {
	e, ok := p.Endpoint(0)
	if !ok {
		t.Fatal("the model has no endpoint 0")
	}
	return e
}

func TestARequestWithoutAnAnswerLetsItsCallerGo(t *testing.T) {
	p := model.NewPrinter("A")
	rig, plugged := lay(t, p.Device)
	_, h := open(t, start(t, rig), "1-1")
	ep0(t, p).Pause()
	ctx, cancel := context.WithCancel(t.Context())
	mine := make([]byte, 1)
	asking := later(func() (int, error) { return h.Control(ctx, 0xa1, 1, 0, 0, mine) })
	await(t, "the request is out", func() bool { return plugged[0].Count("SUBMITURB") > 0 })
	cancel()
	if o := receive(t, "the request", asking); !errors.Is(o.err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", o.err)
	}
	ep0(t, p).Resume()
	if n, err := h.Control(t.Context(), 0xa1, 1, 0, 0, make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the next: %d, %v", n, err)
	}
	if mine[0] != 0 {
		t.Error("what was answered too late is in the memory of who had gone")
	}
}

func TestADriverOfTheKernelGetsItsInterfaceBack(t *testing.T) {
	p := model.NewPrinter("A")
	rig, plugged := lay(t, p.Device)
	plugged[0].BindDriver(0, "usblp")
	plugged[0].BindDriver(2, "usb-storage")
	d, h := open(t, start(t, rig), "1-1")
	for range 2 {
		c, err := h.Claim(t.Context(), d.Interfaces[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := plugged[0].Driver(0); got != "" {
			t.Errorf("while it is claimed, interface 0 is with %q", got)
		}
		if got := plugged[0].Driver(2); got != "usb-storage" {
			t.Errorf("interface 2, which nobody claimed, is with %q", got)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got := plugged[0].Driver(0); got != "usblp" {
			t.Errorf("after it was released, interface 0 is with %q, want usblp", got)
		}
	}
}

func TestSeveralInterfacesAreClaimedAtOnce(t *testing.T) {
	rig, _ := lay(t, model.NewPrinter("A").Device)
	d, h := open(t, start(t, rig), "1-1")
	first, second := claim(t, h, d.Interfaces[1]), claim(t, h, d.Interfaces[2])
	if _, err := h.Claim(t.Context(), d.Interfaces[1]); err == nil {
		t.Error("an interface is claimed twice")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := second.Write(t.Context(), []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); n == 0 || err != nil {
		t.Errorf("a write to the other: %d, %v", n, err)
	}
	claim(t, h, d.Interfaces[1])
}

func TestAnInterfaceIsClaimedInItsSetting(t *testing.T) {
	p := model.New(model.Options{Layout: model.Alternates})
	rig, _ := lay(t, p.Device)
	d, h := open(t, start(t, rig), "1-1")
	for _, i := range []bus.Interface{d.Interfaces[1], d.Interfaces[0]} {
		c := claim(t, h, i)
		if got := int(p.Alt(0)); got != i.Alternate {
			t.Errorf("setting %d is in force, want %d", got, i.Alternate)
		}
		if n, err := c.Write(t.Context(), []byte("x")); n != 1 || err != nil {
			t.Errorf("write in setting %d: %d, %v", i.Alternate, n, err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInterfaceNumbersMayHaveGaps(t *testing.T) {
	p := model.NewPrinter("A")
	p.Interfaces = p.Interfaces[1:]
	p.Interfaces[1].Number = 9
	rig, _ := lay(t, p.Device)
	d, h := open(t, start(t, rig), "1-1")
	for _, i := range d.Interfaces {
		claim(t, h, i)
	}
}

func TestResetEndsTheHandle(t *testing.T) {
	p := bare()
	h, c, _ := raw(t, p)
	reading := later(func() (int, error) { return c.Read(t.Context(), make([]byte, 512)) })
	if err := h.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := receive(t, "the read", reading); !errors.Is(o.err, bus.ErrGone) {
		t.Errorf("a read that waited: %v, want ErrGone", o.err)
	}
	if got := p.Resets(); got != 1 {
		t.Errorf("%d resets, want 1", got)
	}
	if _, err := h.Control(t.Context(), 0xa1, 1, 0, 0, make([]byte, 1)); !errors.Is(err, bus.ErrGone) {
		t.Errorf("a request after it: %v, want ErrGone", err)
	}
}

func TestResetMayBringTheDeviceBackElsewhere(t *testing.T) {
	p := bare()
	rig, plugged := lay(t, p.Device)
	b := start(t, rig)
	before, h := open(t, b, "1-1")
	claim(t, h, before.Interfaces[0])
	plugged[0].ReenumerateOnReset()
	if err := h.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Claim(t.Context(), before.Interfaces[0]); !errors.Is(err, bus.ErrGone) {
		t.Errorf("a claim on the handle: %v, want ErrGone", err)
	}
	await(t, "it is back under another address", func() bool { return find(t, b, "1-1").Address != before.Address })
	after, again := open(t, b, "1-1")
	if n, err := claim(t, again, after.Interfaces[0]).Write(t.Context(), []byte("x")); n != 1 || err != nil {
		t.Errorf("a write to it: %d, %v", n, err)
	}
}

func TestStringsThatAreNotToldAreEmpty(t *testing.T) {
	p := model.NewPrinter("A")
	rig, _ := lay(t, p.Device)
	_, h := open(t, start(t, rig), "1-1")
	e, _ := p.Endpoint(0)
	e.Fail(model.Fault{Kind: model.Stall, Times: 5})
	var told []string
	for range 6 { // five requests are refused, of which each call makes one at least
		_, _, serial, err := h.Strings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, serial)
	}
	if told[0] != "" || told[5] != "A" {
		t.Errorf("serial numbers %q; want none at first, and A in the end", told)
	}
}

// What fails once keeps nothing else from being read, and the error says that there may be more.
func TestStringsThatFailAreToldTheNextTime(t *testing.T) {
	p := model.NewPrinter("A")
	rig, _ := lay(t, p.Device)
	_, h := open(t, start(t, rig), "1-1")
	e, _ := p.Endpoint(0)
	const device, languages, manufacturer, product = 18, 4, 2 + 2*len("Rigworks"), 2 + 2*len("Composite 100") // bytes of each descriptor
	for _, c := range []struct {
		what  string
		after int
		want  []string
	}{
		{"the device's descriptor", 0, []string{"", "", ""}},
		{"the languages", device, []string{"Rigworks", "Composite 100", "A"}},
		{"the manufacturer", device + languages, []string{"", "Composite 100", "A"}},
		{"the product", device + languages + manufacturer, []string{"Rigworks", "", "A"}},
		{"the serial number", device + languages + manufacturer + product, []string{"Rigworks", "Composite 100", ""}},
	} {
		e.Fail(model.Fault{Kind: model.Failure, After: int64(c.after)})
		for try, want := range [][]string{c.want, {"Rigworks", "Composite 100", "A"}} {
			manufacturer, product, serial, err := h.Strings(t.Context())
			if diff := cmp.Diff(want, []string{manufacturer, product, serial}); diff != "" || (try == 0) != errors.Is(err, bus.ErrFailed) {
				t.Errorf("%s, try %d: error %v (-want +got):\n%s", c.what, try, err, diff)
			}
		}
	}
}

// TestNobodyWaitsAnyMore: what a call brings whose caller has left is given back.
func TestNobodyWaitsAnyMore(t *testing.T) {
	rig, _ := lay(t, model.NewPrinter("A").Device)
	b := start(t, rig)
	d, h := open(t, b, "1-1")
	files := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	before := files()
	left := map[string]int{}
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel() // in the midst of it, mostly
		c, err := h.Claim(ctx, d.Interfaces[0])
		if err != nil {
			left["Claim"]++
			await(t, "the interface is free", func() bool { c, err = h.Claim(t.Context(), d.Interfaces[0]); return err == nil })
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		go cancel()
		other, err := b.Open(ctx, d)
		if err != nil {
			left["Open"]++
			continue
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the device is open once", func() bool { return files() <= before })
	if left["Claim"] == 0 || left["Open"] == 0 {
		t.Errorf("the caller never left: %v", left)
	}
}
