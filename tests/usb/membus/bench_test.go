package membus_test

import (
	"testing"

	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// BenchmarkWrite is the rig's own ceiling: transfers of 64 KiB to a raw port, which digests them.
func BenchmarkWrite(b *testing.B) {
	rig := membus.New()
	p := model.New(model.Options{NoPJL: true})
	plugged := rig.Plug(p.Device, "1-1")
	defer plugged.Unplug()
	h, err := rig.Open(b.Context(), plugged.Device())
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	c, err := h.Claim(b.Context(), plugged.Device().Interfaces[0])
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := c.Write(b.Context(), buf); n != len(buf) || err != nil {
			b.Fatal(n, err)
		}
	}
	if _, err := c.Write(b.Context(), make([]byte, bus.MaxTransfer+1)); err != nil {
		b.Fatal(err)
	}
}
