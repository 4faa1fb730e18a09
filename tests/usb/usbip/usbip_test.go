package usbip_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/tests/usb/usbip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kernel is the kernel's end of a connection.
type kernel struct {
	net.Conn
	t      *testing.T
	seq    uint32
	server net.Listener
}

// serve gives a printer to a kernel that the test plays.
func serve(t *testing.T, p *model.Printer) *kernel {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = usbip.Listen(l, p.Device) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); l.Close(); <-done })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	k := &kernel{Conn: c, t: t, server: l}
	var id [32]byte
	copy(id[:], "1-1")
	k.send(append([]byte{1, 0x11, 0x80, 3, 0, 0, 0, 0}, id[:]...))
	answer := k.receive(8 + 312)
	if !bytes.Equal(answer[:8], []byte{1, 0x11, 0, 3, 0, 0, 0, 0}) || binary.BigEndian.Uint16(answer[8+300:]) != p.VID {
		t.Fatalf("import: %x", answer)
	}
	return k
}

func (k *kernel) send(b []byte) {
	k.t.Helper()
	if _, err := k.Write(b); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) receive(n int) []byte {
	k.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(k, b); err != nil {
		k.t.Fatal(err)
	}
	return b
}

// submit sends an URB and returns its number.
func (k *kernel) submit(endpoint uint32, in bool, n int, setup, data []byte) uint32 {
	k.t.Helper()
	k.seq++
	head := make([]byte, 48)
	be := binary.BigEndian
	be.PutUint32(head[0:], 1)
	be.PutUint32(head[4:], k.seq)
	if in {
		be.PutUint32(head[12:], 1)
	}
	be.PutUint32(head[16:], endpoint)
	be.PutUint32(head[24:], uint32(n))
	copy(head[40:], setup)
	k.send(append(head, data...))
	return k.seq
}

// reply reads an answer.
func (k *kernel) reply(in bool) (command, seq uint32, status int32, data []byte) {
	k.t.Helper()
	head := k.receive(48)
	be := binary.BigEndian
	n := int(be.Uint32(head[24:]))
	if in {
		data = k.receive(n)
	}
	return be.Uint32(head[0:]), be.Uint32(head[4:]), int32(be.Uint32(head[20:])), data
}

// want reads an answer to an URB.
func (k *kernel) want(seq uint32, in bool, status syscall.Errno) []byte {
	k.t.Helper()
	command, got, is, data := k.reply(in)
	if command != 3 || got != seq || is != -int32(status) {
		k.t.Fatalf("answer %d to %d with %d, want 3 to %d with %d", command, got, is, seq, -int32(status))
	}
	return data
}

func TestTransfers(t *testing.T) {
	p := model.NewPrinter("A")
	k := serve(t, p)
	getID := []byte{0xA1, 0, 0, 0, 0, 0, 0, 4}
	if got := k.want(k.submit(0, true, 1024, getID, nil), true, 0); string(got[2:]) != p.DeviceID() {
		t.Errorf("device id %q", got)
	}
	say := []byte("\x1b%-12345X@PJL ECHO 1\r\n")
	k.want(k.submit(1, false, len(say), nil, say), false, 0)
	if got := k.want(k.submit(1, true, 512, nil, nil), true, 0); string(got) != "@PJL ECHO 1\r\n\f" {
		t.Errorf("answer %q", got)
	}
	p.RawOut.Fail(model.Fault{Kind: model.Stall})
	k.want(k.submit(1, false, 1, nil, []byte("x")), false, syscall.EPIPE)
	k.want(k.submit(1, false, 1, nil, []byte("x")), false, syscall.EPIPE)
	clearHalt := []byte{0x02, 1, 0, 0, 1, 0, 0, 0}
	k.want(k.submit(0, false, 0, clearHalt, nil), false, 0)
	p.RawOut.Fail(model.Fault{Kind: model.NoMemory}, model.Fault{Kind: model.Failure})
	k.want(k.submit(1, false, 1, nil, []byte("x")), false, syscall.ENOMEM)
	k.want(k.submit(1, false, 1, nil, []byte("x")), false, syscall.EPROTO)
	p.RawIn.Fail(model.Fault{Kind: model.Overflow})
	k.want(k.submit(1, true, 512, nil, nil), true, syscall.EOVERFLOW)
}

// TestUnlink: a transfer that waits is cancelled, one that is over is said to be.
func TestUnlink(t *testing.T) {
	k := serve(t, model.NewPrinter("A"))
	victim := k.submit(1, true, 512, nil, nil)
	unlink := func(victim uint32) uint32 {
		k.seq++
		head := make([]byte, 48)
		binary.BigEndian.PutUint32(head[0:], 2)
		binary.BigEndian.PutUint32(head[4:], k.seq)
		binary.BigEndian.PutUint32(head[20:], victim)
		k.send(head)
		return k.seq
	}
	for _, want := range []int32{-int32(syscall.ECONNRESET), 0} {
		seq := unlink(victim)
		if command, got, status, _ := k.reply(false); command != 4 || got != seq || status != want {
			t.Errorf("answer %d to %d with %d, want 4 to %d with %d", command, got, status, seq, want)
		}
	}
}

// TestReset: a configuration that is chosen anew is a reset.
func TestReset(t *testing.T) {
	p := model.NewPrinter("A")
	k := serve(t, p)
	for want := range 3 {
		k.want(k.submit(0, false, 0, []byte{0, 9, 1, 0, 0, 0, 0, 0}, nil), false, 0)
		if p.Resets() != want {
			t.Errorf("%d resets, want %d", p.Resets(), want)
		}
	}
}

// TestUnplug: a fault ends the connection.
func TestUnplug(t *testing.T) {
	p := model.NewPrinter("A")
	k := serve(t, p)
	p.RawOut.Fail(model.Fault{Kind: model.Unplug, After: 10})
	k.submit(1, false, 20, nil, make([]byte, 20))
	if rest, err := io.ReadAll(k); len(rest)%48 != 0 {
		t.Errorf("%x %v", rest, err)
	}
	if p.RawOut.Total() != 10 {
		t.Errorf("%d bytes came", p.RawOut.Total())
	}
}

// TestServerEnds: the end of the server unplugs the device.
func TestServerEnds(t *testing.T) {
	k := serve(t, model.NewPrinter("A"))
	k.submit(1, true, 512, nil, nil)
	k.server.Close()
	if rest, err := io.ReadAll(k); len(rest)%48 != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%x %v", rest, err)
	}
}
