//go:build cgo && !nousb

package libusb_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

func TestUnplugEndsEverything(t *testing.T) {
	p := bare()
	h, c, plugged := raw(t, p)
	p.RawOut.Fail(model.Fault{Kind: model.Nak, After: 512})
	ep0(t, p).Pause()
	waiting := map[string]chan outcome{
		"a write":   later(func() (int, error) { return c.Write(t.Context(), noise(5000)) }),
		"a read":    later(func() (int, error) { return c.Read(t.Context(), make([]byte, 512)) }),
		"a request": later(func() (int, error) { return h.Control(t.Context(), 0xa1, 1, 0, 0, make([]byte, 1)) }),
	}
	await(t, "all three are out", func() bool { return plugged.Count("SUBMITURB") >= 3 && p.RawOut.Total() == 512 })
	waiting["a second write"] = later(func() (int, error) { return c.Write(t.Context(), noise(10)) })
	if err := plugged.Unplug(); err != nil {
		t.Fatal(err)
	}
	for what, w := range waiting {
		o := receive(t, what, w)
		if !errors.Is(o.err, bus.ErrGone) {
			t.Errorf("%s: %v, want ErrGone", what, o.err)
		}
		if what == "a write" && o.n != 512 {
			t.Errorf("%s: %d bytes went, want 512", what, o.n)
		}
	}
	gone(t, h, c)
}

func TestUnplugOfAnIdleDeviceIsToldByTheNextCall(t *testing.T) {
	h, c, plugged := raw(t, bare())
	if err := plugged.Unplug(); err != nil {
		t.Fatal(err)
	}
	gone(t, h, c)
}

func gone(t *testing.T, h bus.Handle, c bus.Claim) {
	t.Helper()
	ctx := t.Context()
	for what, call := range map[string]func() error{
		"Write":     func() error { _, err := c.Write(ctx, []byte("x")); return err },
		"Read":      func() error { _, err := c.Read(ctx, make([]byte, 512)); return err },
		"ClearHalt": func() error { return c.ClearHalt(ctx) },
		"Control":   func() error { _, err := h.Control(ctx, 0xa1, 1, 0, 0, make([]byte, 1)); return err },
		"Strings":   func() error { _, _, _, err := h.Strings(ctx); return err },
		"Reset":     func() error { return h.Reset(ctx) },
		"Claim":     func() error { _, err := h.Claim(ctx, bus.Interface{Config: 1, Number: 1}); return err },
	} {
		if err := call(); !errors.Is(err, bus.ErrGone) {
			t.Errorf("%s of what is gone: %v, want ErrGone", what, err)
		}
	}
}

func TestPluggedBackItIsAnotherDeviceAtTheSamePort(t *testing.T) {
	p := bare()
	rig, plugged := lay(t, p.Device)
	b := start(t, rig)
	before, h := open(t, b, "1-1")
	c := claim(t, h, before.Interfaces[0])
	if err := plugged[0].Unplug(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), []byte("x")); !errors.Is(err, bus.ErrGone) {
		t.Errorf("a write after unplugging: %v", err)
	}
	again := bare()
	if _, err := rig.Plug(again.Device, "1-1"); err != nil {
		t.Fatal(err)
	}
	var after bus.Device
	await(t, "the device is back", func() bool { after = find(t, b, "1-1"); return after.Address != before.Address })
	next, err := b.Open(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := claim(t, next, after.Interfaces[0]).Write(t.Context(), []byte("x")); n != 1 || err != nil {
		t.Errorf("a write to it: %d, %v", n, err)
	}
	if _, err := c.Write(t.Context(), []byte("x")); !errors.Is(err, bus.ErrGone) {
		t.Errorf("a write to what was there before: %v", err)
	}
}

func TestCloseEndsWhatWaits(t *testing.T) {
	for _, rule := range []string{"the claim's close", "the handle's close", "the bus's close"} {
		t.Run(rule, func(t *testing.T) {
			p := bare()
			rig, plugged := lay(t, p.Device)
			b := start(t, rig)
			d, h := open(t, b, "1-1")
			c := claim(t, h, d.Interfaces[0])
			p.RawOut.Pause()
			waiting := []chan outcome{
				later(func() (int, error) { return c.Write(t.Context(), noise(5000)) }),
				later(func() (int, error) { return c.Write(t.Context(), noise(5000)) }),
				later(func() (int, error) { return c.Read(t.Context(), make([]byte, 512)) }),
			}
			await(t, "transfers are out", func() bool { return plugged[0].Count("SUBMITURB") >= 2 })
			closes := map[string]func() error{"the claim's close": c.Close, "the handle's close": h.Close, "the bus's close": b.Close}
			if err := closes[rule](); err != nil {
				t.Fatal(err)
			}
			for _, w := range waiting {
				if o := receive(t, "a transfer", w); !errors.Is(o.err, bus.ErrClosed) {
					t.Errorf("a transfer: %v, want ErrClosed", o.err)
				}
			}
		})
	}
}

func TestTwoDevicesAtOnce(t *testing.T) {
	first, second := bare(), bare()
	rig, plugged := lay(t, first.Device, second.Device)
	b := start(t, rig)
	d1, h1 := open(t, b, "1-1")
	d2, h2 := open(t, b, "1-2")
	c1, c2 := claim(t, h1, d1.Interfaces[0]), claim(t, h2, d2.Interfaces[0])
	first.RawOut.Pause()
	waiting := later(func() (int, error) { return c1.Write(t.Context(), []byte("first")) })
	if n, err := c2.Write(t.Context(), []byte("second")); n != 6 || err != nil {
		t.Errorf("while the first waits, the second writes %d, %v", n, err)
	}
	if err := plugged[1].Unplug(); err != nil {
		t.Fatal(err)
	}
	if _, err := c2.Write(t.Context(), []byte("x")); !errors.Is(err, bus.ErrGone) {
		t.Errorf("the second, unplugged: %v", err)
	}
	first.RawOut.Resume()
	if o := receive(t, "the first write", waiting); o.n != 5 || o.err != nil {
		t.Errorf("the first goes on: %d, %v", o.n, o.err)
	}
}

// A device's whole life, ended at each moment by each way to end it: nothing is left, and nothing crashes.
func TestRounds(t *testing.T) {
	rig, _ := lay(t)
	b := start(t, rig)
	await(t, "the bus is at rest", func() bool { return goroutines() == 1 })
	for round := range 50 {
		p := bare()
		plugged, err := rig.Plug(p.Device, "1-1")
		if err != nil {
			t.Fatal(err)
		}
		plugged.BindDriver(0, "usblp")
		d := find(t, b, "1-1")
		h, err := b.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		var claims []bus.Claim
		for _, i := range d.Interfaces {
			claims = append(claims, claim(t, h, i))
		}
		busy := use(t, h, claims)
		await(t, "it is under way", func() bool { return p.RawOut.Total() >= int64(round%7)*10000 })
		ends := []func() error{
			h.Close,
			plugged.Unplug,
			func() error { return h.Reset(t.Context()) },
			func() error {
				unplugging := later(func() (int, error) { return 0, plugged.Unplug() })
				return errors.Join(h.Close(), receive(t, "unplugging", unplugging).err)
			},
			func() error {
				closing := later(func() (int, error) { return 0, claims[0].Close() })
				return errors.Join(claims[1].Close(), receive(t, "closing", closing).err, h.Close())
			},
		}
		if err := ends[round%len(ends)](); err != nil && !errors.Is(err, bus.ErrGone) {
			t.Errorf("round %d: %v", round, err)
		}
		busy.Wait()
		if err := h.Close(); err != nil {
			t.Errorf("round %d: close: %v", round, err)
		}
		await(t, "none but libusb's goroutine is left", func() bool { return goroutines() == 1 })
		if end := round % len(ends); end == 1 || end == 3 {
			continue // it is unplugged
		}
		if got := plugged.Driver(0); got != "usblp" {
			t.Errorf("round %d: interface 0 is with %q, not back with usblp", round, got)
		}
		if err := plugged.Unplug(); err != nil {
			t.Fatal(err)
		}
	}
}

// use reads, writes and asks on everything until it ends.
func use(t *testing.T, h bus.Handle, claims []bus.Claim) *sync.WaitGroup {
	var busy sync.WaitGroup
	until := func(call func() error) {
		busy.Go(func() {
			for call() == nil {
			}
		})
	}
	data := noise(70000)
	for _, c := range claims {
		until(func() error { _, err := c.Read(t.Context(), make([]byte, 1024)); return err })
		until(func() error { _, err := c.Write(t.Context(), data); return err })
	}
	until(func() error { _, err := h.Control(t.Context(), 0xa1, 1, 0, 0, make([]byte, 1)); return err })
	return &busy
}
