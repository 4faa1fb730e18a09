package usbip

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// The commands about URBs (USBIP_CMD_SUBMIT and so on), each with a header of 48 bytes.
const (
	submit       = 1
	unlink       = 2
	submitAnswer = 3
	unlinkAnswer = 4
	headerSize   = 48
)

// most bounds a transfer, in bytes: the kernel's own limit is less.
const most = 16 << 20

// urb is one transfer of the kernel's.
type urb struct {
	seq      uint32
	in       bool
	endpoint uint8
	setup    model.Setup
	zero     bool // a packet without bytes ends whole packets
	buf      []byte
	ctx      context.Context
	cancel   context.CancelFunc
	unlinked uint32 // number of the unlink that hit it, 0: none
}

// session is a connection that carries URBs.
type session struct {
	d          *model.Device
	configured bool // only the goroutine of endpoint 0 uses it
	work       sync.WaitGroup

	writing sync.Mutex
	c       net.Conn

	mu     sync.Mutex
	queues map[uint8][]*urb // by endpoint; the first is being carried out
}

// Serve carries out URBs until the connection ends. The device is attached, and about to be detached afterwards.
func Serve(c net.Conn, d *model.Device) {
	s := &session{d: d, c: c, queues: map[uint8][]*urb{}}
	defer s.work.Wait()
	defer s.cancelAll()
	defer c.Close()
	defer d.Leave()
	r := bufio.NewReaderSize(c, 64<<10)
	var head [headerSize]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		switch binary.BigEndian.Uint32(head[0:]) {
		case submit:
			u, err := parse(head, r)
			if err != nil {
				return
			}
			s.queue(u)
		case unlink:
			s.unlink(binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[20:]))
		default:
			return
		}
	}
}

// parse reads a transfer, with what it sends.
func parse(head [headerSize]byte, r io.Reader) (*urb, error) {
	word := func(at int) uint32 { return binary.BigEndian.Uint32(head[at:]) }
	const zeroPacket = 0x40 // URB_ZERO_PACKET
	u := &urb{seq: word(4), in: word(12) == 1, endpoint: uint8(word(16)), zero: word(20)&zeroPacket != 0, setup: model.ParseSetup(head[40:])}
	n := int(int32(word(24)))
	if n < 0 || n > most {
		return nil, errors.New("a transfer that is too long")
	}
	u.buf = make([]byte, n)
	if u.in && u.endpoint != 0 {
		u.endpoint |= 0x80
	}
	if !u.in {
		if _, err := io.ReadFull(r, u.buf); err != nil {
			return nil, err
		}
	}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	return u, nil
}

func (s *session) cancelAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, queue := range s.queues {
		for _, u := range queue {
			u.cancel()
		}
	}
}

func (s *session) queue(u *urb) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[u.endpoint] = append(s.queues[u.endpoint], u)
	if len(s.queues[u.endpoint]) == 1 {
		s.work.Go(func() { s.carryOut(u.endpoint) })
	}
}

// unlink cancels a transfer, whose goroutine answers; one that is over already is answered here.
func (s *session) unlink(seq, victim uint32) {
	s.mu.Lock()
	for _, queue := range s.queues {
		for _, u := range queue {
			if u.seq == victim {
				u.unlinked = seq
				u.cancel()
				s.mu.Unlock()
				return
			}
		}
	}
	s.mu.Unlock()
	s.answer(unlinkAnswer, seq, 0, 0, nil)
}

// carryOut carries out an endpoint's transfers, in order, until there is none.
func (s *session) carryOut(endpoint uint8) {
	for {
		s.mu.Lock()
		u := s.queues[endpoint][0]
		s.mu.Unlock()
		n, err := s.transfer(u)
		s.mu.Lock()
		s.queues[endpoint] = s.queues[endpoint][1:]
		last, unlinked := len(s.queues[endpoint]) == 0, u.unlinked
		u.cancel()
		s.mu.Unlock()
		switch {
		case unlinked != 0 && err != nil:
			s.answer(unlinkAnswer, unlinked, -int32(syscall.ECONNRESET), 0, nil)
		default:
			var data []byte
			if u.in {
				data = u.buf[:n]
			}
			s.answer(submitAnswer, u.seq, status(err), n, data)
			if unlinked != 0 {
				s.answer(unlinkAnswer, unlinked, 0, 0, nil)
			}
		}
		if last {
			return
		}
	}
}

func (s *session) transfer(u *urb) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	if err := s.d.Submit(u.endpoint); err != nil {
		return 0, err
	}
	if u.endpoint != 0 {
		n, err := s.d.Transfer(u.ctx, u.endpoint, u.buf)
		if err == nil && !u.in && u.zero && n > 0 && n%model.MaxPacket == 0 {
			_, err = s.d.Transfer(u.ctx, u.endpoint, nil)
		}
		return n, err
	}
	const setConfiguration = 9
	if u.setup.RequestType == 0 && u.setup.Request == setConfiguration {
		if s.configured {
			s.d.Reset()
		}
		s.configured = true
	}
	if !u.in {
		_, err := s.d.Control(u.ctx, u.setup, u.buf)
		return len(u.buf), err
	}
	in, err := s.d.Control(u.ctx, u.setup, nil)
	return copy(u.buf, in), err
}

// status is how the kernel says how an URB ended.
func status(err error) int32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, model.ErrStall), errors.Is(err, model.ErrNoEndpoint):
		return -int32(syscall.EPIPE)
	case errors.Is(err, model.ErrBabble):
		return -int32(syscall.EOVERFLOW)
	case errors.Is(err, model.ErrNoMemory):
		return -int32(syscall.ENOMEM)
	}
	return -int32(syscall.EPROTO)
}

// answer sends an answer; where the peer has gone, Serve's read says so.
func (s *session) answer(command, seq uint32, status int32, n int, data []byte) {
	b := make([]byte, headerSize, headerSize+len(data))
	binary.BigEndian.PutUint32(b[0:], command)
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[20:], uint32(status))
	binary.BigEndian.PutUint32(b[24:], uint32(n))
	s.writing.Lock()
	defer s.writing.Unlock()
	_, _ = s.c.Write(append(b, data...))
}
