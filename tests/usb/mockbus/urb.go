package mockbus

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// urb is one transfer of a program's (struct usbdevfs_urb).
type urb struct {
	cl        *client
	address   uint64 // where the program has it
	data      uint64 // where the program has its bytes
	ep        uint8
	control   bool
	in        bool
	zero      bool // a packet without bytes ends whole packets
	setup     model.Setup
	buf       []byte // what is sent, or room for what comes
	ctx       context.Context
	cancel    context.CancelFunc
	discarded bool
	status    int32
	actual    int
}

// usbfsMemory is the kernel's limit of what is in flight, in bytes (usbfs_memory_mb). Here it is each device's own.
const usbfsMemory = 16 << 20

// The kinds of URB, and the flag that this package knows.
const (
	urbInterrupt  = 1
	urbControl    = 2
	urbBulk       = 3
	urbZeroPacket = 0x40
)

func (cl *client) submit(arg uint64) (int, syscall.Errno) {
	d := cl.d
	b := cl.peek(arg, 56)
	u := &urb{cl: cl, address: arg, ep: b[1], data: binary.LittleEndian.Uint64(b[16:]), control: b[0] == urbControl,
		zero: binary.LittleEndian.Uint32(b[8:])&urbZeroPacket != 0}
	n := int(int32(binary.LittleEndian.Uint32(b[24:])))
	switch {
	case n < 0, b[0] != urbControl && b[0] != urbBulk && b[0] != urbInterrupt, u.control && n < 8:
		return 0, syscall.EINVAL
	case n > usbfsMemory:
		return 0, syscall.ENOMEM
	case !u.control && !cl.owns(u.ep):
		return 0, syscall.ENOENT // the kernel claims it by itself and warns; be stricter
	}
	if d.model.Submit(u.ep) != nil {
		return 0, syscall.ENOMEM
	}
	u.in = u.ep&0x80 != 0
	if u.control {
		u.setup = model.ParseSetup(cl.peek(u.data, 8))
		u.in, u.data, n = u.setup.ToHost(), u.data+8, n-8
	}
	if u.in {
		u.buf = make([]byte, n)
	} else {
		u.buf = cl.peek(u.data, n)
	}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	d.mu.Lock()
	defer d.mu.Unlock()
	held := n
	for _, queue := range d.queues {
		for _, o := range queue {
			held += len(o.buf)
		}
	}
	switch {
	case d.gone:
		return 0, syscall.ENODEV
	case held > usbfsMemory:
		return 0, syscall.ENOMEM
	}
	d.queues[u.ep] = append(d.queues[u.ep], u)
	if len(d.queues[u.ep]) == 1 {
		d.work.Add(1)
		go d.carryOut(u.ep) // Unplug waits for it
	}
	return 0, 0
}

// carryOut carries out an endpoint's URBs, in order, until there is none.
func (d *Dev) carryOut(endpoint uint8) {
	defer d.work.Done()
	for {
		d.mu.Lock()
		u := d.queues[endpoint][0]
		d.mu.Unlock()
		n, err := 0, u.ctx.Err()
		switch {
		case err != nil:
		case u.control:
			n, err = u.transferControl(d.model)
		default:
			n, err = d.model.Transfer(u.ctx, u.ep, u.buf)
			if err == nil && !u.in && u.zero && n > 0 && n%model.MaxPacket == 0 {
				_, err = d.model.Transfer(u.ctx, u.ep, nil)
			}
		}
		d.mu.Lock()
		u.actual, u.status = n, d.status(u, err)
		u.cancel()
		d.queues[endpoint] = slices.Delete(d.queues[endpoint], 0, 1)
		if d.clients[u.cl] {
			u.cl.done = append(u.cl.done, u)
		}
		d.update()
		last := len(d.queues[endpoint]) == 0
		d.mu.Unlock()
		if last {
			return
		}
	}
}

func (u *urb) transferControl(m *model.Device) (int, error) {
	if u.in {
		in, err := m.Control(u.ctx, u.setup, nil)
		return copy(u.buf, in), err
	}
	if _, err := m.Control(u.ctx, u.setup, u.buf); err != nil {
		return 0, err
	}
	return len(u.buf), nil
}

// status is how the kernel says how an URB ended. mu is held.
func (d *Dev) status(u *urb, err error) int32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, model.ErrStall):
		return -int32(syscall.EPIPE)
	case errors.Is(err, model.ErrBabble):
		return -int32(syscall.EOVERFLOW)
	case u.discarded:
		return -int32(syscall.ENOENT)
	case d.gone || u.ctx.Err() != nil && !errors.Is(err, model.ErrWire):
		return -int32(syscall.ESHUTDOWN)
	}
	return -int32(syscall.EPROTO)
}

// update sets the node's readiness from what can be reaped. mu is held.
func (d *Dev) update() {
	ready := false
	for cl := range d.clients {
		ready = ready || len(cl.done) > 0
	}
	d.setReady(ready)
}

func (cl *client) discard(arg uint64) (int, syscall.Errno) {
	d := cl.d
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, queue := range d.queues {
		for _, u := range queue {
			if u.cl == cl && u.address == arg {
				u.discarded = true
				u.cancel()
				return 0, 0
			}
		}
	}
	return 0, syscall.EINVAL
}

func (cl *client) reap(arg uint64) (int, syscall.Errno) {
	d := cl.d
	d.mu.Lock()
	if len(cl.done) == 0 {
		defer d.mu.Unlock()
		if d.gone {
			return 0, syscall.ENODEV
		}
		return 0, syscall.EAGAIN // also REAPURB's: libusb has no use for it
	}
	u := cl.done[0]
	cl.done = slices.Delete(cl.done, 0, 1)
	d.update()
	d.mu.Unlock()
	if u.in {
		cl.poke(u.data, u.buf[:u.actual])
	}
	cl.poke32(u.address+4, uint32(u.status))
	cl.poke32(u.address+28, uint32(u.actual))
	cl.poke(arg, binary.LittleEndian.AppendUint64(nil, u.address))
	return 0, 0
}
