// Package usbip serves a model.Device to the kernel's vhci_hcd by USB/IP, so
// that a real Linux USB stack enumerates it.
package usbip

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

const busID = "1-1"

// Attach plugs the device into vhci_hcd directly, over a socket pair: no usbip
// tool and no TCP. Close the returned connection to unplug.
func Attach(d *model.Device, port int) (io.Closer, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours := os.NewFile(uintptr(fds[0]), "usbip")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, err
	}
	const high = 3 // USB_SPEED_HIGH
	err = os.WriteFile("/sys/devices/platform/vhci_hcd.0/attach", []byte(fmt.Sprintf("%d %d %d %d", port, fds[1], 1<<16|2, high)), 0)
	syscall.Close(fds[1])
	if err != nil {
		c.Close()
		return nil, err
	}
	go Serve(c, d)
	return c, nil
}

// Listen serves OP_REQ_DEVLIST and OP_REQ_IMPORT, for `usbip attach`.
func Listen(l net.Listener, d *model.Device) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var h [8]byte
			if _, err := io.ReadFull(c, h[:]); err != nil {
				return
			}
			switch binary.BigEndian.Uint16(h[2:]) {
			case 0x8005:
				b := []byte{1, 0x11, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1}
				b = append(b, devRecord(d)...)
				seen := map[uint8]bool{}
				for _, i := range d.Interfaces {
					if !seen[i.Number] {
						b = append(b, i.Class, i.SubClass, i.Proto, 0)
					}
					seen[i.Number] = true
				}
				c.Write(b)
			case 0x8003:
				var id [32]byte
				if _, err := io.ReadFull(c, id[:]); err != nil {
					return
				}
				if strings.TrimRight(string(id[:]), "\x00") != busID {
					c.Write([]byte{1, 0x11, 0, 3, 0, 0, 0, 1})
					return
				}
				c.Write(append([]byte{1, 0x11, 0, 3, 0, 0, 0, 0}, devRecord(d)...))
				Serve(c, d)
			}
		}()
	}
}

func devRecord(d *model.Device) []byte {
	b := make([]byte, 312)
	copy(b, "/sys/devices/rig/usb1/"+busID)
	copy(b[256:], busID)
	binary.BigEndian.PutUint32(b[288:], 1)
	binary.BigEndian.PutUint32(b[292:], 2)
	binary.BigEndian.PutUint32(b[296:], 3)
	binary.BigEndian.PutUint16(b[300:], d.VID)
	binary.BigEndian.PutUint16(b[302:], d.PID)
	binary.BigEndian.PutUint16(b[304:], d.BCD)
	b[309], b[310], b[311] = d.Config(), 1, uint8(d.NumInterfaces())
	return b
}

type job struct {
	seq      uint32
	in       bool
	ep       uint8
	setup    model.Setup
	buf      []byte
	ctx      context.Context
	cancel   context.CancelFunc
	unlinked uint32 // sequence number of the UNLINK that hit it
}

type session struct {
	d    *model.Device
	c    net.Conn
	mu   sync.Mutex
	live map[uint32]*job
	wm   sync.Mutex
	q    map[uint8]chan *job
}

// Serve carries out URBs until the connection ends.
func Serve(c net.Conn, d *model.Device) {
	s := &session{d: d, c: c, live: map[uint32]*job{}, q: map[uint8]chan *job{}}
	defer c.Close()
	defer func() {
		s.mu.Lock()
		for _, j := range s.live {
			j.cancel()
		}
		for _, q := range s.q {
			close(q)
		}
		s.mu.Unlock()
	}()
	r := bufio.NewReaderSize(c, 64<<10)
	var h [48]byte
	be := binary.BigEndian
	for {
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return
		}
		seq := be.Uint32(h[4:])
		switch be.Uint32(h[0:]) {
		case 1:
			j := &job{seq: seq, in: be.Uint32(h[12:]) == 1, ep: uint8(be.Uint32(h[16:])), setup: model.ParseSetup(h[40:])}
			n := int(be.Uint32(h[24:]))
			if n < 0 || n > 16<<20 {
				return
			}
			j.buf = make([]byte, n)
			if !j.in {
				if _, err := io.ReadFull(r, j.buf); err != nil {
					return
				}
			} else if j.ep != 0 {
				j.ep |= 0x80
			}
			j.ctx, j.cancel = context.WithCancel(context.Background())
			s.mu.Lock()
			s.live[seq] = j
			q := s.q[j.ep]
			if q == nil {
				q = make(chan *job, 1024)
				s.q[j.ep] = q
				go s.work(q)
			}
			s.mu.Unlock()
			q <- j
		case 2:
			victim := be.Uint32(h[20:])
			s.mu.Lock()
			j := s.live[victim]
			if j != nil {
				j.unlinked = seq
				j.cancel()
			}
			s.mu.Unlock()
			if j == nil {
				s.reply(4, seq, 0, 0, nil) // already done
			}
		default:
			return
		}
	}
}

func (s *session) work(q chan *job) {
	for j := range q {
		var n int
		var err error
		if err = j.ctx.Err(); err != nil {
		} else if j.ep == 0 {
			var in []byte
			in, err = s.d.Control(j.setup, j.buf)
			if j.in {
				n = copy(j.buf, in)
			} else {
				n = len(j.buf)
			}
		} else if e := s.d.Endpoints[j.ep]; e != nil {
			n, err = e.Transfer(j.ctx, j.buf)
		} else {
			err = model.ErrStall
		}
		s.mu.Lock()
		delete(s.live, j.seq)
		u := j.unlinked
		j.cancel()
		s.mu.Unlock()
		st := int32(0)
		switch {
		case err == nil:
		case errors.Is(err, model.ErrStall):
			st = -int32(syscall.EPIPE)
		case errors.Is(err, model.ErrBabble):
			st = -int32(syscall.EOVERFLOW)
		default:
			st = -int32(syscall.EPROTO)
		}
		if u != 0 && err != nil {
			s.reply(4, u, -int32(syscall.ECONNRESET), 0, nil)
			continue
		}
		var data []byte
		if j.in {
			data = j.buf[:n]
		}
		s.reply(3, j.seq, st, n, data)
		if u != 0 {
			s.reply(4, u, 0, 0, nil)
		}
	}
}

func (s *session) reply(cmd, seq uint32, status int32, n int, data []byte) {
	b := make([]byte, 48, 48+len(data))
	be := binary.BigEndian
	be.PutUint32(b[0:], cmd)
	be.PutUint32(b[4:], seq)
	be.PutUint32(b[20:], uint32(status))
	be.PutUint32(b[24:], uint32(n))
	s.wm.Lock()
	s.c.Write(append(b, data...))
	s.wm.Unlock()
}
