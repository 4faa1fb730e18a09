package usbip

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// controller is where vhci_hcd takes devices.
const controller = "/sys/devices/platform/vhci_hcd.0/attach"

const speedHigh = 3

// Plugged is a device that the kernel has.
type Plugged struct {
	c    net.Conn
	done chan struct{}
}

// Attach plugs a device into one of vhci_hcd's ports, 0 to 7, over a socket pair: without the usbip tool, and without TCP.
func Attach(d *model.Device, port int) (*Plugged, error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours := os.NewFile(uintptr(ends[0]), "usbip")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		syscall.Close(ends[1])
		return nil, fmt.Errorf("use the socket pair: %w", err)
	}
	p := &Plugged{c: c, done: make(chan struct{})}
	if err := d.Attach(func() { c.Close() }); err != nil {
		c.Close()
		syscall.Close(ends[1])
		return nil, err
	}
	// The kernel takes the other end over.
	err = os.WriteFile(controller, fmt.Appendf(nil, "%d %d %d %d", port, ends[1], 1<<16|2, speedHigh), 0)
	syscall.Close(ends[1])
	if err != nil {
		c.Close()
		d.Detach()
		return nil, fmt.Errorf("attach to vhci_hcd (root, and modprobe vhci-hcd): %w", err)
	}
	go func() { // Unplug waits for it
		defer close(p.done)
		Serve(c, d)
		d.Detach()
	}()
	return p, nil
}

// Unplug pulls the cable.
func (p *Plugged) Unplug() {
	p.c.Close()
	<-p.done
}

// Out is closed once the device is out, be it by Unplug, by a fault or by the kernel.
func (p *Plugged) Out() <-chan struct{} { return p.done }

// The operations before URBs (OP_REQ_DEVLIST, OP_REQ_IMPORT and their answers), and what a device is called.
const (
	version    = 0x0111
	listAsk    = 0x8005
	listAnswer = 0x0005
	takeAsk    = 0x8003
	takeAnswer = 0x0003
	busID      = "1-1"
)

// Listen serves a device to `usbip list` and `usbip attach` until the listener is closed, which unplugs it.
func Listen(l net.Listener, d *model.Device) error {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		all.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			serveOperation(c, d)
		})
	}
}

// serveOperation answers one request; after OP_REQ_IMPORT the connection carries URBs.
func serveOperation(c net.Conn, d *model.Device) {
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return
	}
	switch binary.BigEndian.Uint16(head[2:]) {
	case listAsk:
		answer := binary.BigEndian.AppendUint32(operation(listAnswer, 0), 1) // one device
		answer = append(answer, record(d)...)
		for _, i := range d.Interfaces {
			if i.Alt == 0 {
				answer = append(answer, i.Class, i.SubClass, i.Proto, 0)
			}
		}
		_, _ = c.Write(answer) // who has gone does not want it
	case takeAsk:
		var id [32]byte
		if _, err := io.ReadFull(c, id[:]); err != nil {
			return
		}
		if strings.TrimRight(string(id[:]), "\x00") != busID || d.Attach(func() { c.Close() }) != nil {
			_, _ = c.Write(operation(takeAnswer, 1))
			return
		}
		defer d.Detach()
		if _, err := c.Write(append(operation(takeAnswer, 0), record(d)...)); err == nil {
			Serve(c, d)
		}
	}
}

func operation(code uint16, status uint32) []byte {
	b := binary.BigEndian.AppendUint16(nil, version)
	b = binary.BigEndian.AppendUint16(b, code)
	return binary.BigEndian.AppendUint32(b, status)
}

// record is the device as USB/IP lists it (struct usbip_usb_device).
func record(d *model.Device) []byte {
	b := make([]byte, 288, 312)
	copy(b, "/sys/devices/usbip/usb1/"+busID)
	copy(b[256:], busID)
	for _, n := range []uint32{1, 2, speedHigh} { // bus, address
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, n := range []uint16{d.VID, d.PID, d.BCD} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return append(b, 0, 0, 0, d.Config(), 1, uint8(d.NumInterfaces()))
}
