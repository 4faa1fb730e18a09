//go:build cgo && !nousb

package libusb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// bare is a printer whose raw interface the test itself serves.
func bare() *model.Printer {
	p := model.NewPrinter("A")
	p.Interfaces[0].Serve = nil
	return p
}

// raw opens the raw interface of the printer at 1-1.
func raw(t testing.TB, p *model.Printer) (bus.Handle, bus.Claim, *mockbus.Dev) {
	t.Helper()
	rig, plugged := lay(t, p.Device)
	d, h := open(t, start(t, rig), "1-1")
	return h, claim(t, h, d.Interfaces[0]), plugged[0]
}

// swallow reads n bytes as the printer.
func swallow(ctx context.Context, p *model.Printer, n int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	got := make([]byte, n)
	for at := 0; at < n; {
		k, err := p.RawOut.Read(ctx, got[at:])
		if err != nil {
			return got[:at], fmt.Errorf("after %d bytes: %w", at, err)
		}
		at += k
	}
	return got, nil
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestWritesArriveWholeAndInOrder(t *testing.T) {
	p := bare()
	_, c, _ := raw(t, p)
	for _, size := range []int{1, 511, 512, 513, bus.MaxTransfer, bus.MaxTransfer + 1, 3 << 20} {
		want := noise(size)
		sent := later(func() (int, error) { return c.Write(t.Context(), want) })
		got, err := swallow(t.Context(), p, size)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the printer got %d bytes, %v; want the %d that were sent", len(got), err, size)
		}
		if o := receive(t, "the write", sent); o.n != size || o.err != nil {
			t.Errorf("wrote %d of %d, %v", o.n, size, o.err)
		}
	}
}

func TestWritesOfOneEndpointDoNotMix(t *testing.T) {
	p := bare()
	_, c, _ := raw(t, p)
	const size = 2*bus.MaxTransfer + 100
	var sent []chan outcome
	for k := range 3 {
		sent = append(sent, later(func() (int, error) { return c.Write(t.Context(), bytes.Repeat([]byte{byte('a' + k)}, size)) }))
	}
	got, err := swallow(t.Context(), p, len(sent)*size)
	if err != nil {
		t.Fatal(err)
	}
	for k := range sent {
		if one := got[k*size : (k+1)*size]; len(bytes.Trim(one, string(one[:1]))) != 0 {
			t.Errorf("write %d is mixed with another", k)
		}
		receive(t, "a write", sent[k])
	}
}

func TestAnEmptyWriteIsAZeroLengthPacket(t *testing.T) {
	p := bare()
	_, c, _ := raw(t, p)
	for want := 1; want <= 2; want++ {
		if n, err := c.Write(t.Context(), nil); n != 0 || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
		if got := p.RawOut.ZeroPackets(); got != want {
			t.Errorf("%d zero-length packets came, want %d", got, want)
		}
	}
}

func TestReadsEndWithAShortPacket(t *testing.T) {
	p := bare()
	_, c, _ := raw(t, p)
	buffer := make([]byte, 4096)
	for _, size := range []int{1, 512, 1000, 1024} {
		want := noise(size)
		if _, err := p.RawIn.Write(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(t.Context(), buffer)
		if err != nil || !bytes.Equal(buffer[:n], want) {
			t.Errorf("of %d bytes: read %d, %v", size, n, err)
		}
	}
	p.RawIn.Fail(model.Fault{Kind: model.ZeroRead})
	if n, err := c.Read(t.Context(), buffer); n != 0 || err != nil {
		t.Errorf("of a packet without bytes: read %d, %v; want 0 and no error", n, err)
	}
	for _, size := range []int{0, 1, 513} {
		if _, err := c.Read(t.Context(), buffer[:size]); err == nil {
			t.Errorf("a read of %d bytes is taken; a printer would overflow it", size)
		}
	}
}

func TestAStallIsClearedOnItsEndpointAlone(t *testing.T) {
	p := bare()
	_, c, plugged := raw(t, p)
	p.RawIn.Pause()
	reading := later(func() (int, error) { return c.Read(t.Context(), make([]byte, 512)) })
	p.RawOut.Fail(model.Fault{Kind: model.Stall, After: 1000})
	if n, err := c.Write(t.Context(), noise(5000)); n != 1000 || !errors.Is(err, bus.ErrStalled) {
		t.Errorf("a write that stalls after 1000 bytes: %d, %v", n, err)
	}
	if n, err := c.Write(t.Context(), noise(700)); n != 700 || err != nil {
		t.Errorf("the next write: %d, %v", n, err)
	}
	if got, _ := swallow(t.Context(), p, 1700); len(got) != 1700 {
		t.Errorf("the printer got %d bytes, want 1700", len(got))
	}
	if got := plugged.Count("CLEAR_HALT"); got != 1 {
		t.Errorf("CLEAR_HALT %d times, want once: the read on the other endpoint goes on", got)
	}
	p.RawIn.Resume()
	if _, err := p.RawIn.Write(t.Context(), []byte("status")); err != nil {
		t.Fatal(err)
	}
	if o := receive(t, "the read", reading); o.n != 6 || o.err != nil {
		t.Errorf("the read that went on: %d, %v", o.n, o.err)
	}
	p.RawIn.Halt()
	p.RawOut.Halt()
	if err := c.ClearHalt(t.Context()); err != nil || p.RawIn.Halted() || p.RawOut.Halted() {
		t.Errorf("ClearHalt: %v; halted in %v, out %v", err, p.RawIn.Halted(), p.RawOut.Halted())
	}
}

func TestWhatGoesWrongIsTold(t *testing.T) {
	p := bare()
	_, claimed, _ := raw(t, p)
	for _, c := range []struct {
		rule string
		kind model.Kind
		want error
	}{
		{"a stall is ErrStalled", model.Stall, bus.ErrStalled},
		{"an error on the wire is ErrFailed", model.Failure, bus.ErrFailed},
		{"babble is ErrOverflow", model.Overflow, bus.ErrOverflow},
	} {
		t.Run(c.rule, func(t *testing.T) {
			p.RawIn.Fail(model.Fault{Kind: c.kind})
			if _, err := claimed.Read(t.Context(), make([]byte, 512)); !errors.Is(err, c.want) {
				t.Errorf("read: %v, want %v", err, c.want)
			}
			if _, err := p.RawIn.Write(t.Context(), []byte("on")); err != nil {
				t.Fatal(err)
			}
			if n, err := claimed.Read(t.Context(), make([]byte, 512)); n != 2 || err != nil {
				t.Errorf("the next read: %d, %v", n, err)
			}
		})
	}
}

func TestATransferWaitsAndCanBeCancelled(t *testing.T) {
	p := bare()
	_, c, _ := raw(t, p)
	p.RawOut.Fail(model.Fault{Kind: model.Nak, After: 1536})
	ctx, cancel := context.WithCancel(t.Context())
	data := noise(4000)
	writing := later(func() (int, error) { return c.Write(ctx, data) })
	await(t, "1536 bytes went", func() bool { return p.RawOut.Total() == 1536 })
	select {
	case o := <-writing:
		t.Fatalf("it does not wait: %v", o)
	default:
	}
	cancel()
	if o := receive(t, "the write", writing); o.n != 1536 || !errors.Is(o.err, context.Canceled) {
		t.Errorf("cancelled: %d, %v; want what went, 1536", o.n, o.err)
	}
	p.RawOut.Resume()
	if n, err := c.Write(t.Context(), data[1536:]); n != len(data)-1536 || err != nil {
		t.Errorf("the rest: %d, %v", n, err)
	}
	if got, err := swallow(t.Context(), p, len(data)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the printer did not get what was sent: %v", err)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if n, err := c.Read(ctx, make([]byte, 512)); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read with a deadline: %d, %v", n, err)
	}
}

func TestAWriteThatWaitsItsTurnCanBeCancelled(t *testing.T) {
	p := bare()
	_, c, _ := raw(t, p)
	p.RawOut.Pause()
	first := later(func() (int, error) { return c.Write(t.Context(), noise(10)) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	// Whichever comes first has the endpoint.
	second, err := c.Write(ctx, noise(10))
	if second != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second write: %d, %v", second, err)
	}
	p.RawOut.Resume()
	if o := receive(t, "the first write", first); o.n != 10 || o.err != nil {
		t.Errorf("the first write: %d, %v", o.n, o.err)
	}
}

func TestLessMemoryIsSmallerTransfers(t *testing.T) {
	p := bare()
	_, c, _ := raw(t, p)
	p.RawOut.Fail(model.Fault{Kind: model.NoMemory, Times: 12}) // 256 KiB halve nine times to a packet; then it waits
	want := noise(bus.MaxTransfer)
	writing := later(func() (int, error) { return c.Write(t.Context(), want) })
	if got, err := swallow(t.Context(), p, len(want)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the printer did not get what was sent: %v", err)
	}
	if o := receive(t, "the write", writing); o.n != len(want) || o.err != nil {
		t.Errorf("wrote %d, %v", o.n, o.err)
	}

	p.RawIn.Fail(model.Fault{Kind: model.NoMemory, Times: 2})
	if _, err := p.RawIn.Write(t.Context(), noise(4096)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(t.Context(), make([]byte, 4096)); n != 1024 || err != nil {
		t.Errorf("a read after two refusals: %d, %v; want a quarter", n, err)
	}
}
