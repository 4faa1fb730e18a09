package membus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ bus.Bus = (*membus.Bus)(nil)

func printers(bus.Device) bool { return true }

// open plugs a device in and opens it.
func open(t *testing.T, b *membus.Bus, d *model.Device) (*membus.Plugged, bus.Handle) {
	t.Helper()
	p := b.Plug(d, "1-1")
	t.Cleanup(p.Unplug)
	h, err := b.Open(t.Context(), p.Device())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return p, h
}

func claim(t *testing.T, h bus.Handle, i bus.Interface) bus.Claim {
	t.Helper()
	c, err := h.Claim(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestListsWhatIsPlugged(t *testing.T) {
	b := membus.New()
	p := b.Plug(model.NewPrinter("A").Device, "1-1.4")
	got, err := b.Printers(t.Context(), printers)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := func(n int) bus.Endpoint { return bus.Endpoint{Number: n, MaxPacket: 512} }
	want := []bus.Device{{Port: "1-1.4", Bus: 1, Address: 1, Vendor: 0x1209, Product: 1, Release: 0x100, Interfaces: []bus.Interface{
		{Config: 1, Number: 0, Class: 7, SubClass: 1, Protocol: 2, In: endpoint(1), Out: endpoint(1)},
		{Config: 1, Number: 1, Class: 7, SubClass: 1, Protocol: 4, In: endpoint(2), Out: endpoint(2)},
		{Config: 1, Number: 2, Class: 7, SubClass: 1, Protocol: 4, In: endpoint(3), Out: endpoint(3)},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p.Unplug()
	if got, _ := b.Printers(t.Context(), printers); len(got) != 0 {
		t.Errorf("after unplugging: %v", got)
	}
	if _, err := b.Open(t.Context(), want[0]); !errors.Is(err, bus.ErrGone) {
		t.Errorf("open after unplugging: %v", err)
	}
}

func TestRights(t *testing.T) {
	b := membus.New()
	p, h := open(t, b, model.NewPrinter("A").Device)
	i := p.Device().Interfaces[0]
	p.Deny()
	if _, err := b.Open(t.Context(), p.Device()); !errors.Is(err, bus.ErrAccess) {
		t.Errorf("denied: %v", err)
	}
	p.Allow()
	p.Hold(0)
	if _, err := h.Claim(t.Context(), i); !errors.Is(err, bus.ErrBusy) || p.Claimed() != 0 {
		t.Errorf("held: %v, %d claims", err, p.Claimed())
	}
	p.Unhold(0)
	c := claim(t, h, i)
	if _, err := h.Claim(t.Context(), i); !errors.Is(err, bus.ErrBusy) || p.Claimed() != 1 {
		t.Errorf("claimed twice: %v, %d claims", err, p.Claimed())
	}
	if err := b.Close(); !errors.Is(err, membus.ErrOpen) {
		t.Errorf("close with a handle open: %v", err)
	}
	c.Close()
	if p.Claimed() != 0 {
		t.Error("an interface is lost")
	}
}

func TestTransfers(t *testing.T) {
	p := model.NewPrinter("A")
	b := membus.New()
	plugged, h := open(t, b, p.Device)
	c := claim(t, h, plugged.Device().Interfaces[0])
	if n, err := c.Write(t.Context(), make([]byte, 3*bus.MaxTransfer+5)); n != 3*bus.MaxTransfer+5 || err != nil {
		t.Fatal(n, err)
	}
	buf := make([]byte, 1024)
	if _, err := c.Read(t.Context(), buf[:700]); !errors.Is(err, bus.ErrOverflow) {
		t.Errorf("no multiple: %v", err)
	}
	if _, err := c.Read(t.Context(), make([]byte, bus.MaxTransfer+512)); !errors.Is(err, bus.ErrNoMemory) {
		t.Errorf("too long: %v", err)
	}
	p.RawOut.Fail(model.Fault{Kind: model.Stall, After: 100})
	if n, err := c.Write(t.Context(), make([]byte, 300)); n != 100 || !errors.Is(err, bus.ErrStalled) {
		t.Errorf("stall: %d %v", n, err)
	}
	if n, err := c.Write(t.Context(), make([]byte, 200)); n != 200 || err != nil {
		t.Errorf("after the stall: %d %v", n, err)
	}
	p.RawOut.Fail(model.Fault{Kind: model.NoMemory, Times: 2}, model.Fault{Kind: model.Failure})
	for _, want := range []error{bus.ErrNoMemory, bus.ErrNoMemory, bus.ErrFailed, nil} {
		if _, err := c.Write(t.Context(), []byte("x")); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	id := make([]byte, 256)
	n, err := h.Control(t.Context(), 0xA1, 0, 0, 0, id)
	if err != nil || !bytes.HasPrefix(id[2:n], []byte("MFG:")) {
		t.Errorf("device id %q: %v", id[:n], err)
	}
	if _, err := h.Control(t.Context(), 0xA1, 99, 0, 0, id); !errors.Is(err, bus.ErrStalled) {
		t.Errorf("an unknown request: %v", err)
	}
}

// TestEndsOfCalls: a call that waits ends with its context, with a close, with an unplug and with a reset, each with its error, and says
// what was transferred.
func TestEndsOfCalls(t *testing.T) {
	for rule, tc := range map[string]struct {
		end  func(cancel context.CancelFunc, p *membus.Plugged, h bus.Handle, c bus.Claim)
		want error
	}{
		"a context": {func(cancel context.CancelFunc, _ *membus.Plugged, _ bus.Handle, _ bus.Claim) { cancel() }, context.Canceled},
		"a claim":   {func(_ context.CancelFunc, _ *membus.Plugged, _ bus.Handle, c bus.Claim) { c.Close() }, bus.ErrClosed},
		"a handle":  {func(_ context.CancelFunc, _ *membus.Plugged, h bus.Handle, _ bus.Claim) { h.Close() }, bus.ErrClosed},
		"an unplug": {func(_ context.CancelFunc, p *membus.Plugged, _ bus.Handle, _ bus.Claim) { p.Unplug() }, bus.ErrGone},
		"a reset": {func(_ context.CancelFunc, _ *membus.Plugged, h bus.Handle, _ bus.Claim) {
			h.Reset(context.Background())
		}, bus.ErrGone},
		"a lost port": {func(_ context.CancelFunc, p *membus.Plugged, h bus.Handle, _ bus.Claim) {
			p.LoseOnReset()
			h.Reset(context.Background())
		}, bus.ErrGone},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := model.NewPrinter("A")
				b := membus.New()
				plugged := b.Plug(p.Device, "1-1")
				defer plugged.Unplug()
				h, err := b.Open(t.Context(), plugged.Device())
				if err != nil {
					t.Fatal(err)
				}
				defer h.Close()
				c, err := h.Claim(t.Context(), plugged.Device().Interfaces[0])
				if err != nil {
					t.Fatal(err)
				}
				p.RawOut.Fail(model.Fault{Kind: model.Nak, After: 1000})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				type result struct {
					n   int
					err error
				}
				wrote, read := make(chan result, 1), make(chan result, 1)
				go func() { n, err := c.Write(ctx, make([]byte, 5000)); wrote <- result{n, err} }()
				go func() { n, err := c.Read(ctx, make([]byte, 512)); read <- result{n, err} }()
				synctest.Wait()
				tc.end(cancel, plugged, h, c)
				if got := <-wrote; got.n != 1000 || !errors.Is(got.err, tc.want) {
					t.Errorf("write: %d %v", got.n, got.err)
				}
				if got := <-read; got.n != 0 || !errors.Is(got.err, tc.want) {
					t.Errorf("read: %d %v", got.n, got.err)
				}
			})
		})
	}
}

func TestResetGivesAnotherAddress(t *testing.T) {
	b := membus.New()
	plugged, h := open(t, b, model.NewPrinter("A").Device)
	before := plugged.Device()
	c := claim(t, h, before.Interfaces[0])
	if err := h.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), []byte("x")); !errors.Is(err, bus.ErrGone) {
		t.Errorf("write with the old handle: %v", err)
	}
	after := plugged.Device()
	if after.Plug() == before.Plug() || plugged.Resets() != 1 || plugged.Claimed() != 0 {
		t.Errorf("%v, %d resets, %d claims", after.Plug(), plugged.Resets(), plugged.Claimed())
	}
	again, err := b.Open(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	c = claim(t, again, after.Interfaces[0])
	if _, err := c.Write(t.Context(), []byte("x")); err != nil {
		t.Error(err)
	}
}

// TestUnplugAtByte: the cable is pulled by the transfer itself.
func TestUnplugAtByte(t *testing.T) {
	p := model.NewPrinter("A")
	b := membus.New()
	plugged, h := open(t, b, p.Device)
	c := claim(t, h, plugged.Device().Interfaces[0])
	p.RawOut.Fail(model.Fault{Kind: model.Unplug, After: 12345})
	n, err := c.Write(t.Context(), make([]byte, 20000))
	if n != 12345 || !errors.Is(err, bus.ErrGone) {
		t.Fatal(n, err)
	}
	<-plugged.Out()
	if got, _ := b.Printers(t.Context(), printers); len(got) != 0 {
		t.Error("it is still listed")
	}
}

// TestRounds: a printer that is unplugged by its own fault is plugged back at once, works again, and nothing is left of any plug.
func TestRounds(t *testing.T) {
	p := model.NewPrinter("A")
	b := membus.New()
	addresses := map[int]bool{}
	for range 200 {
		plugged := b.Plug(p.Device, "1-1")
		addresses[plugged.Device().Address] = true
		h, err := b.Open(t.Context(), plugged.Device())
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.Claim(t.Context(), plugged.Device().Interfaces[0])
		if err != nil {
			t.Fatal(err)
		}
		p.RawOut.Fail(model.Fault{Kind: model.Unplug, After: 100})
		if n, err := c.Write(t.Context(), make([]byte, 200)); n != 100 || !errors.Is(err, bus.ErrGone) {
			t.Fatal(n, err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.RawOut.Total(); got != 200*100 || len(addresses) != 200 || b.Opens() != 0 {
		t.Errorf("%d bytes, %d addresses, %d handles open", got, len(addresses), b.Opens())
	}
}

// TestSettingsExclude: choosing 7/1/4 on an interface takes 7/1/2 away, with all that was half done.
func TestSettingsExclude(t *testing.T) {
	out, in := model.NewOut(), model.NewIn()
	raw := make(chan error, 1)
	d := &model.Device{VID: 1, PID: 2, Interfaces: []model.Interface{
		{Number: 0, Alt: 0, Class: 7, SubClass: 1, Proto: 2, Out: 1, In: 0x81, FromHost: out, ToHost: in,
			Serve: func(ctx context.Context) { _, err := out.Read(ctx, make([]byte, 10)); raw <- err }},
		{Number: 0, Alt: 1, Class: 7, SubClass: 1, Proto: 4, Out: 1, In: 0x81, FromHost: model.NewOut(), ToHost: model.NewIn()},
	}}
	b := membus.New()
	plugged, h := open(t, b, d)
	settings := plugged.Device().Interfaces
	c := claim(t, h, settings[0])
	if _, err := h.Claim(t.Context(), settings[1]); !errors.Is(err, bus.ErrBusy) {
		t.Errorf("both settings at once: %v", err)
	}
	c.Close()
	claim(t, h, settings[1])
	select {
	case err := <-raw:
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the raw port still works")
	}
}
