package mockbus

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

type client struct {
	d       *Dev
	c       net.Conn
	pending map[*urb]bool // guarded by d.mu
	done    []*urb
}

type urb struct {
	cl       *client
	addr     uint64
	typ, ep  uint8
	flags    uint32
	bufAddr  uint64
	buf      []byte // OUT data, or IN room
	setup    []byte
	ctx      context.Context
	cancel   context.CancelFunc
	status   int32
	actual   int
	in       bool
	unlinked bool
}

func (d *Dev) accept() {
	for {
		c, err := d.sock.Accept()
		if err != nil {
			return
		}
		cl := &client{d: d, c: c, pending: map[*urb]bool{}}
		d.mu.Lock()
		d.clients[cl] = true
		d.mu.Unlock()
		go cl.serve()
	}
}

func (cl *client) send(cmd, a, b uint64) {
	var r [24]byte
	binary.LittleEndian.PutUint64(r[0:], cmd)
	binary.LittleEndian.PutUint64(r[8:], a)
	binary.LittleEndian.PutUint64(r[16:], b)
	cl.c.Write(r[:])
}

func (cl *client) peek(addr uint64, n int) []byte {
	if n == 0 {
		return nil
	}
	cl.send(5, addr, uint64(n))
	b := make([]byte, n)
	io.ReadFull(cl.c, b)
	return b
}

func (cl *client) poke(addr uint64, b []byte) {
	if len(b) > 0 {
		cl.send(6, addr, uint64(len(b)))
		cl.c.Write(b)
	}
}

func (cl *client) serve() {
	d := cl.d
	defer func() { // close(2) on the device
		cl.c.Close()
		d.mu.Lock()
		for u := range cl.pending {
			u.cancel()
		}
		for i, c := range d.claimed {
			if c == cl {
				delete(d.claimed, i)
			}
		}
		delete(d.clients, cl)
		d.update()
		d.mu.Unlock()
	}()
	var r [24]byte
	for {
		if _, err := io.ReadFull(cl.c, r[:]); err != nil {
			return
		}
		cmd, req, arg := binary.LittleEndian.Uint64(r[0:]), uint32(binary.LittleEndian.Uint64(r[8:])), binary.LittleEndian.Uint64(r[16:])
		if cmd != 1 { // read, write: not on usbfs
			cl.send(3, ^uint64(0), uint64(syscall.EINVAL))
			continue
		}
		res, e := cl.ioctl(req, arg)
		if e != 0 {
			cl.send(3, ^uint64(0), uint64(e))
		} else {
			cl.send(3, uint64(res), 0)
		}
	}
}

const (
	capZeroPacket, capNoPacketSizeLim, capScatterGather, capReapAfterDisconnect = 1, 4, 8, 16
)

func (cl *client) ioctl(req uint32, arg uint64) (int, syscall.Errno) {
	d := cl.d
	nr := uint8(req)
	name := names[nr]
	if uint8(req>>8) != 'U' || name == "" {
		return 0, syscall.ENOTTY
	}
	d.mu.Lock()
	d.Ioctls[name]++
	gone := d.gone
	d.mu.Unlock()
	if gone && name != "REAPURBNDELAY" && name != "REAPURB" && name != "RELEASEINTERFACE" {
		return 0, syscall.ENODEV
	}
	u32 := func() uint32 { return binary.LittleEndian.Uint32(cl.peek(arg, 4)) }
	switch name {
	case "GET_CAPABILITIES":
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], capZeroPacket|capNoPacketSizeLim|capScatterGather|capReapAfterDisconnect)
		cl.poke(arg, b[:])
		return 0, 0
	case "GET_SPEED":
		return 3, 0
	case "CLAIMINTERFACE":
		return 0, cl.claim(u32())
	case "DISCONNECT_CLAIM":
		b := cl.peek(arg, 8)
		i := binary.LittleEndian.Uint32(b)
		d.mu.Lock()
		delete(d.driver, i)
		d.mu.Unlock()
		return 0, cl.claim(i)
	case "RELEASEINTERFACE":
		i := u32()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.claimed[i] != cl {
			return 0, syscall.EINVAL
		}
		delete(d.claimed, i)
		return 0, 0
	case "GETDRIVER":
		i := u32()
		d.mu.Lock()
		n := d.driver[i]
		if d.claimed[i] != nil {
			n = "usbfs"
		}
		d.mu.Unlock()
		if n == "" {
			return 0, syscall.ENODATA
		}
		b := make([]byte, 256)
		copy(b, n)
		cl.poke(arg+4, b)
		return 0, 0
	case "IOCTL": // attach or detach a kernel driver
		b := cl.peek(arg, 8)
		i, code := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		d.mu.Lock()
		defer d.mu.Unlock()
		if uint8(code) == 22 && d.driver[i] == "" {
			return 0, syscall.ENODATA
		}
		delete(d.driver, i)
		return 0, 0
	case "SETINTERFACE":
		b := cl.peek(arg, 8)
		if d.model.SetAlt(b[0], b[4]) != nil {
			return 0, syscall.EINVAL
		}
		return 0, 0
	case "SETCONFIGURATION":
		d.mu.Lock()
		busy := len(d.claimed) > 0
		d.mu.Unlock()
		if busy {
			return 0, syscall.EBUSY
		}
		d.model.SetConfig(uint8(u32()))
		return 0, 0
	case "CLEAR_HALT", "RESETEP", "RESET":
		return 0, 0
	case "SUBMITURB":
		return 0, cl.submit(arg)
	case "DISCARDURB":
		d.mu.Lock()
		defer d.mu.Unlock()
		for u := range cl.pending {
			if u.addr == arg {
				u.unlinked = true
				u.cancel()
				return 0, 0
			}
		}
		return 0, syscall.EINVAL
	case "REAPURBNDELAY", "REAPURB":
		d.mu.Lock()
		if len(cl.done) == 0 {
			d.mu.Unlock()
			if gone {
				return 0, syscall.ENODEV
			}
			return 0, syscall.EAGAIN
		}
		u := cl.done[0]
		cl.done = cl.done[1:]
		d.update()
		d.mu.Unlock()
		if u.in && u.actual > 0 {
			at := u.bufAddr
			if u.typ == 2 {
				at += 8
			}
			cl.poke(at, u.buf[:u.actual])
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], uint32(u.status))
		cl.poke(u.addr+4, b[:])
		binary.LittleEndian.PutUint32(b[:], uint32(u.actual))
		cl.poke(u.addr+28, b[:])
		var p [8]byte
		binary.LittleEndian.PutUint64(p[:], u.addr)
		cl.poke(arg, p[:])
		return 0, 0
	}
	return 0, syscall.ENOTTY
}

var names = map[uint8]string{0: "CONTROL", 2: "BULK", 3: "RESETEP", 4: "SETINTERFACE", 5: "SETCONFIGURATION", 8: "GETDRIVER", 10: "SUBMITURB", 11: "DISCARDURB", 12: "REAPURB", 13: "REAPURBNDELAY",
	15: "CLAIMINTERFACE", 16: "RELEASEINTERFACE", 18: "IOCTL", 20: "RESET", 21: "CLEAR_HALT", 26: "GET_CAPABILITIES", 27: "DISCONNECT_CLAIM", 31: "GET_SPEED"}

func (cl *client) claim(i uint32) syscall.Errno {
	d := cl.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if int(i) >= d.model.NumInterfaces() {
		return syscall.ENOENT
	}
	if o := d.claimed[i]; o != nil && o != cl || d.driver[i] != "" {
		return syscall.EBUSY
	}
	d.claimed[i] = cl
	return 0
}

// usbfsMemory is the kernel's default limit of bytes in flight (usbfs_memory_mb).
const usbfsMemory = 16 << 20

func (cl *client) submit(arg uint64) syscall.Errno {
	d := cl.d
	b := cl.peek(arg, 56)
	u := &urb{cl: cl, addr: arg, typ: b[0], ep: b[1], flags: binary.LittleEndian.Uint32(b[8:]), bufAddr: binary.LittleEndian.Uint64(b[16:])}
	n := int(int32(binary.LittleEndian.Uint32(b[24:])))
	if n < 0 {
		return syscall.EINVAL
	}
	if n > usbfsMemory {
		return syscall.ENOMEM
	}
	switch u.typ {
	case 2:
		if n < 8 {
			return syscall.EINVAL
		}
		u.setup = cl.peek(u.bufAddr, 8)
		u.in = u.setup[0]&0x80 != 0
		if u.in {
			u.buf = make([]byte, n-8)
		} else {
			u.buf = cl.peek(u.bufAddr+8, n-8)
		}
	case 3, 1:
		u.in = u.ep&0x80 != 0
		if d.model.Endpoints[u.ep] == nil {
			return syscall.ENOENT
		}
		if !cl.owns(u.ep) {
			return syscall.ENOENT // the kernel claims it by itself and warns; be stricter
		}
		if u.in {
			u.buf = make([]byte, n)
		} else {
			u.buf = cl.peek(u.bufAddr, n)
		}
	default:
		return syscall.EINVAL
	}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	d.mu.Lock()
	if d.gone {
		d.mu.Unlock()
		return syscall.ENODEV
	}
	held := n
	for c := range d.clients {
		for o := range c.pending {
			held += len(o.buf)
		}
	}
	if held > usbfsMemory {
		d.mu.Unlock()
		return syscall.ENOMEM
	}
	cl.pending[u] = true
	q := d.workers[u.ep]
	if q == nil {
		q = make(chan *urb, 1024)
		d.workers[u.ep] = q
		go d.work(q)
	}
	d.mu.Unlock()
	q <- u
	return 0
}

func (cl *client) owns(ep uint8) bool {
	cl.d.mu.Lock()
	defer cl.d.mu.Unlock()
	for _, i := range cl.d.model.Interfaces {
		if i.In == ep || i.Out == ep {
			return cl.d.claimed[uint32(i.Number)] == cl
		}
	}
	return false
}

func (d *Dev) work(q chan *urb) {
	for u := range q {
		var n int
		var err error
		if u.ctx.Err() != nil {
			err = u.ctx.Err()
		} else if u.typ == 2 {
			var in []byte
			in, err = d.model.Control(model.ParseSetup(u.setup), u.buf)
			if u.in {
				n = copy(u.buf, in)
			} else {
				n = len(u.buf)
			}
		} else {
			n, err = d.model.Endpoints[u.ep].Transfer(u.ctx, u.buf)
		}
		d.mu.Lock()
		u.actual = n
		switch {
		case err == nil:
		case errors.Is(err, model.ErrStall):
			u.status = -int32(syscall.EPIPE)
		case errors.Is(err, model.ErrBabble):
			u.status = -int32(syscall.EOVERFLOW)
		case u.unlinked:
			u.status = -int32(syscall.ENOENT)
		case d.gone:
			u.status = -int32(syscall.ESHUTDOWN)
		default:
			u.status = -int32(syscall.EPROTO)
		}
		u.cancel()
		delete(u.cl.pending, u)
		if d.clients[u.cl] {
			u.cl.done = append(u.cl.done, u)
		}
		d.update()
		d.mu.Unlock()
	}
}

// update sets the node's readiness from what can be reaped. d.mu is held.
func (d *Dev) update() {
	r := false
	for c := range d.clients {
		r = r || len(c.done) > 0
	}
	d.setReady(r)
}
