package tunnel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// flow moves one direction of a tunnel.
type flow struct {
	t        *Tunnel
	src, dst *net.TCPConn
	in, out  syscall.RawConn

	// The calls below run inside RawConn's, which take a function: made once, they cost no allocation a turn.
	readable, fill, empty func(fd uintptr) bool

	avail int  // bytes that the source has ready; 0 at its end
	bulk  bool // so much moved last that what is ready is not counted; avail is a guess then
	pipe  *pipe
	want  int // bytes to splice in
	got   int // bytes in the pipe
	err   error
	heard func(n int) // of the first bytes; nil afterwards

	waits           atomic.Bool // for its turn: nobody reads from the source
	spliced, copied atomic.Int64
	stalled         atomic.Int64 // since when the destination takes nothing; 0 if it does
}

// From this many ready bytes on a splice, two system calls and no copy, is cheaper than a read and a write.
const spliceFrom = 16 << 10

// errDestination marks an error of the side that is written to.
var errDestination = errors.New("write to the destination")

// errUndecided cuts a tunnel whose Inspect breaks its promise.
var errUndecided = errors.New("inspect did not decide at its final call")

var buffers = sync.Pool{New: func() any { b := make([]byte, spliceFrom); return &b }}

func (f *flow) init(t *Tunnel, src, dst *net.TCPConn) {
	f.t, f.src, f.dst = t, src, dst
	// SyscallConn fails only on a nil connection.
	f.in, _ = src.SyscallConn()
	f.out, _ = dst.SyscallConn()
	f.readable = f.isReadable
}

// pump moves bytes until the source's end, which it passes on.
func (f *flow) pump(first []byte, inspect Inspect) error {
	if inspect != nil {
		var err error
		if first, err = f.inspect(first, inspect); err != nil {
			return err
		}
	}
	if len(first) > 0 {
		f.tell(len(first))
		if err := f.forward(first); err != nil {
			return err
		}
	}
	for {
		if err := f.in.Read(f.readable); err != nil {
			return err
		}
		if f.err != nil {
			return f.err
		}
		if f.avail == 0 {
			break
		}
		if f.heard != nil {
			f.tell(f.avail)
		}
		if err := f.turn(&f.avail); err != nil {
			return err
		}
		if err := f.move(f.avail); err != nil {
			return err
		}
		f.t.moved.Store(f.t.registry.now())
	}
	if f.t.running.Load() == 1 {
		return nil // the other direction has ended before: the tunnel closes both now
	}
	if err := f.dst.CloseWrite(); err != nil && !errors.Is(err, unix.ENOTCONN) {
		return fmt.Errorf("%w: %w", errDestination, err)
	}
	return nil
}

func (f *flow) tell(n int) {
	if f.heard != nil {
		f.heard(n)
		f.heard = nil
	}
}

// maxTurn bounds what moves between two questions for the turn and the rate.
const maxTurn = 1 << 20

func (f *flow) turn(n *int) error {
	*n = min(*n, maxTurn)
	if f.t.Turn == nil {
		return nil
	}
	if f.t.MaxTurn > 0 {
		*n = min(*n, f.t.MaxTurn)
	}
	f.waits.Store(true)
	defer f.waits.Store(false)
	if err := f.t.Turn.Take(life{f.t}, *n); err != nil {
		return err
	}
	return f.t.Turn.Move(life{f.t})
}

// isReadable parks the goroutine until bytes, the end or an error are there, and reads nothing.
func (f *flow) isReadable(fd uintptr) bool {
	// One call for all answers: MSG_TRUNC with MSG_PEEK counts what is there and copies nothing (tcp(7)). Counting walks
	// through all that is ready, which costs in bulk.
	most := uintptr(maxTurn)
	if f.bulk {
		most = 1
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, 0, most, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	f.avail, f.err = 0, nil
	switch errno {
	case 0:
		if f.avail = int(n); f.bulk && n > 0 {
			f.avail = maxTurn
		}
	case unix.EAGAIN, unix.EINTR:
		return false
	default:
		f.err = errno
	}
	return true
}

func (f *flow) move(n int) error {
	if n >= spliceFrom {
		if p := f.t.registry.pipes.get(); p != nil {
			return f.splice(p, n)
		}
	}
	f.bulk = false
	return f.copy(n)
}

func (f *flow) copy(n int) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	n, err := f.src.Read((*buf)[:min(n, len(*buf))])
	if err != nil {
		return err
	}
	return f.write((*buf)[:n])
}

// write copies b to the destination, waiting as long as the destination takes some.
func (f *flow) write(b []byte) error {
	f.stalled.Store(f.t.registry.now())
	defer f.stalled.Store(0)
	n, err := f.dst.Write(b)
	f.copied.Add(int64(n))
	if err != nil {
		return fmt.Errorf("%w: %w", errDestination, err)
	}
	return nil
}

// splice moves n bytes that are ready through a pipe. The pipe goes back empty, or not at all.
func (f *flow) splice(p *pipe, n int) error {
	if f.fill == nil {
		f.fill, f.empty = f.fillPipe, f.emptyPipe
	}
	f.pipe = p
	defer func() {
		f.t.registry.pipes.put(p, f.got == 0)
		f.pipe = nil
	}()
	guessed := f.bulk
	for n > 0 {
		f.want = n
		if err := f.in.Read(f.fill); err != nil {
			return err
		}
		if f.err != nil {
			return f.err
		}
		if f.got == 0 {
			if guessed {
				f.bulk = false // no more was there: count at the next look
				return nil
			}
			// splice(2) stops at an urgent mark that a peek counts past; only a read steps over it.
			return f.copy(n)
		}
		n -= f.got
		f.bulk = f.got >= bulkFrom && f.t.MaxTurn == 0
		f.stalled.Store(f.t.registry.now())
		for f.got > 0 {
			if err := f.out.Write(f.empty); err != nil {
				return fmt.Errorf("%w: %w", errDestination, err)
			}
			if f.err != nil {
				return fmt.Errorf("%w: %w", errDestination, f.err)
			}
		}
		f.stalled.Store(0)
		if n == 0 && f.bulk {
			// So much at a time does not end here: go on without a call that only looks.
			n, guessed = maxTurn, true
			if err := f.turn(&n); err != nil {
				return err
			}
		}
	}
	return nil
}

// bulkFrom is how much moved at once tells a transfer from a conversation.
const bulkFrom = 128 << 10

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

func (f *flow) fillPipe(fd uintptr) bool {
	n, err := retry(func() (int64, error) { return unix.Splice(int(fd), nil, f.pipe.w, nil, f.want, spliceFlags) })
	if f.err = err; err == unix.EAGAIN {
		f.err = nil
	}
	f.got = int(max(n, 0))
	return true
}

func (f *flow) emptyPipe(fd uintptr) bool {
	n, err := retry(func() (int64, error) { return unix.Splice(f.pipe.r, nil, int(fd), nil, f.got, spliceFlags) })
	if err == unix.EAGAIN {
		return false
	}
	if f.err = err; err == nil {
		f.got -= int(n)
		f.spliced.Add(n)
		now := f.t.registry.now()
		f.stalled.Store(now)
		f.t.moved.Store(now)
	}
	return true
}

func retry(call func() (int64, error)) (int64, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// broken reports whether the source's connection has been reset, without reading from it.
func (f *flow) broken() (broken bool) {
	_ = f.in.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}} // POLLERR and POLLHUP need not be asked for
		n, err := unix.Poll(fds, 0)
		broken = err == nil && n > 0 && fds[0].Revents&unix.POLLERR|fds[0].Revents&unix.POLLHUP != 0
	})
	return broken
}

// inspect collects the client's first bytes until the verdict lets them pass, and returns them.
func (f *flow) inspect(first []byte, verdict Inspect) ([]byte, error) {
	timed := false
	for final := false; len(first) > 0 || !final; {
		if len(first) > 0 {
			last := final || len(first) >= MaxFirst
			pass, err := verdict(first, last)
			if err != nil {
				return nil, err
			}
			if pass {
				break
			}
			if last {
				return nil, errUndecided
			}
			if !timed {
				timed = true
				if err := f.src.SetReadDeadline(f.t.registry.clock.Now().Add(f.t.registry.limits.FirstBytes)); err != nil {
					return nil, err
				}
			}
		}
		err := f.in.Read(f.readable)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			final = true
			continue
		case err != nil:
			return nil, err
		case f.err != nil:
			return nil, f.err
		case f.avail == 0:
			final = true
			continue
		}
		buf := make([]byte, len(first)+min(f.avail, MaxFirst-len(first)))
		copy(buf, first)
		n, err := f.src.Read(buf[len(first):])
		if err != nil {
			return nil, err
		}
		first = buf[:len(first)+n]
	}
	if timed {
		return first, f.src.SetReadDeadline(time.Time{})
	}
	return first, nil
}

// forward sends bytes that were read before the flow began.
func (f *flow) forward(b []byte) error {
	for len(b) > 0 {
		n := len(b)
		if err := f.turn(&n); err != nil {
			return err
		}
		if err := f.write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		f.t.moved.Store(f.t.registry.now())
	}
	return nil
}
