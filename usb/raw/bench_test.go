package raw_test

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw"
)

// sink is a printer that takes all, and keeps nothing.
func sink(t testing.TB) (bus.Handle, bus.Interface) {
	t.Helper()
	out := model.NewOut()
	d := &model.Device{Interfaces: []model.Interface{{Class: 7, SubClass: 1, Proto: 1, Out: 0x01, FromHost: out, Serve: func(ctx context.Context) {
		b := make([]byte, 64<<10)
		for {
			if _, err := out.Read(ctx, b); err != nil {
				return
			}
		}
	}}}}
	b := membus.New()
	p := b.Plug(d, "1-1")
	t.Cleanup(p.Unplug)
	h, err := b.Open(t.Context(), p.Device())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, p.Device().Interfaces[0]
}

// zeros is a document of n bytes.
func zeros(n int64) mfpgate.Document {
	return mfpgate.Document{Size: n, Content: io.LimitReader(blank{}, n)}
}

type blank struct{}

func (blank) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestMemoryIsFlat: what a job allocates does not grow with its document but for the few hundred bytes of each transfer.
func TestMemoryIsFlat(t *testing.T) {
	h, i := sink(t)
	port, err := raw.Open(t.Context(), raw.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Handle: h, Interface: i})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close(t.Context())
	peak := func(size int64) uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		before := m.TotalAlloc
		if status, err := port.Print(t.Context(), zeros(size), nil); err != nil || status.Sent != size {
			t.Fatalf("%+v, %v", status, err)
		}
		runtime.ReadMemStats(&m)
		return m.TotalAlloc - before
	}
	small, large := peak(8<<20), peak(72<<20)
	if more := int64(large) - int64(small); more > 2<<20 {
		t.Errorf("64 MiB more of a document took %d KiB more memory", more>>10)
	}
}

const benchSize = 64 << 20

// BenchmarkPrint and BenchmarkWrite are to be compared: what the port costs over a bare loop of writes.
func BenchmarkPrint(b *testing.B) {
	h, i := sink(b)
	port, err := raw.Open(b.Context(), raw.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Handle: h, Interface: i})
	if err != nil {
		b.Fatal(err)
	}
	defer port.Close(b.Context())
	content := make([]byte, benchSize)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := port.Print(b.Context(), mfpgate.Document{Size: benchSize, Content: bytes.NewReader(content)}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	h, i := sink(b)
	c, err := h.Claim(b.Context(), i)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	content := make([]byte, benchSize)
	buffer := make([]byte, bus.MaxTransfer)
	b.SetBytes(benchSize)
	for b.Loop() {
		for r := bytes.NewReader(content); r.Len() > 0; {
			n, _ := r.Read(buffer)
			if _, err := c.Write(b.Context(), buffer[:n]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
