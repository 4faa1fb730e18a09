//go:build cgo && !nousb

package libusb_test

import (
	"context"
	"testing"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// drained is a printer whose raw interface takes everything and does nothing with it.
func drained() *model.Printer {
	p := model.NewPrinter("A")
	p.Interfaces[0].Serve = func(ctx context.Context) {
		room := make([]byte, 64<<10)
		for {
			if _, err := p.RawOut.Read(ctx, room); err != nil {
				return
			}
		}
	}
	return p
}

// BenchmarkWrite writes one MiB at a time by the driver.
func BenchmarkWrite(b *testing.B) {
	rig, _ := lay(b, drained().Device)
	d, h := open(b, start(b, rig), "1-1")
	c := claim(b, h, d.Interfaces[0])
	data := noise(1 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := c.Write(b.Context(), data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBare is what gousb itself does, one transfer of MaxTransfer after the other.
func BenchmarkBare(b *testing.B) {
	lay(b, drained().Device)
	c := gousb.NewContext()
	defer c.Close()
	ds, err := c.OpenDevices(func(d *gousb.DeviceDesc) bool { return d.Vendor == 0x1209 })
	if err != nil || len(ds) != 1 {
		b.Fatalf("%d devices, %v", len(ds), err)
	}
	defer ds[0].Close()
	config, err := ds[0].Config(1)
	if err != nil {
		b.Fatal(err)
	}
	defer config.Close()
	i, err := config.Interface(0, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer i.Close()
	out, err := i.OutEndpoint(1)
	if err != nil {
		b.Fatal(err)
	}
	data := noise(1 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for at := 0; at < len(data); at += bus.MaxTransfer {
			if _, err := out.Write(data[at : at+bus.MaxTransfer]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
