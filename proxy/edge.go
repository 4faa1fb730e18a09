package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/head"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// accept takes connections until the listener is closed. Without a descriptor it waits instead of spinning: the kernel
// keeps the clients in the backlog.
func (r *Relay) accept(l *net.TCPListener) error {
	pause := 5 * time.Millisecond
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			r.conns.Add(1)
			go r.serve(conn) // Drain waits for it, or for what takes the connection over, through conns
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, unix.ECONNABORTED): // the client left before it was accepted
		default: // mostly EMFILE: whatever it is, the next try may fail alike
			r.Log.Warn().Err(err).Msg(event.RelayStarved)
			if mfpgate.Wait(r.stopping, r.clock, pause) != nil {
				return nil
			}
			pause = min(2*pause, time.Second)
		}
	}
}

// gone ends a connection's count, which it has from accept on: as a head that is waited for, a tunnel or net/http's.
func (r *Relay) gone(conn *net.TCPConn) {
	r.sources.leave(source(conn).Addr())
	r.open.Add(-1)
	r.conns.Done()
}

// serve answers CONNECT on a connection until it becomes a tunnel, and gives it to net/http at the first other request.
func (r *Relay) serve(conn *net.TCPConn) {
	from := source(conn).Addr()
	if r.open.Add(1) > int64(r.limit) {
		r.turnAway(conn, &refusal{reason: Descriptors, retryAfter: time.Second})
		return
	}
	// Before a byte is read: a stranger holds a connection for the time of one answer, and nobody holds them all.
	if !r.policy.Load().allowsClient(from) {
		r.turnAway(conn, refuse(ClientNotAllowed))
		return
	}
	if !r.sources.enter(from, max(minPerSource, r.limit/4)) {
		r.turnAway(conn, refuse(SourceConnections))
		return
	}
	c := head.New(conn, r.clock, r.policy.Load().HeadTimeout)
	for answered, again := false, true; again; answered = true {
		again = false
		h, err := r.nextHead(c)
		if err != nil {
			r.refuseHead(c, err)
			break
		}
		if h.Method != http.MethodConnect {
			c.Release(h)
			if r.plain.take(c) {
				return // net/http's server closes it
			}
			break
		}
		c.Consume()
		switch r.connect(c, h, answered) {
		case tunnelled:
			return // the tunnel closes it
		case refusedKeep:
			again = r.stopping.Err() == nil
		}
	}
	r.close(conn)
}

// nextHead reads a head that must be whole within the head timeout.
func (r *Relay) nextHead(c *head.Conn) (*head.Head, error) {
	if !r.waiting.add(c.TCPConn, r.clock.Now().Add(r.policy.Load().HeadTimeout)) {
		return nil, io.EOF
	}
	defer r.waiting.remove(c.TCPConn)
	h, err := c.ReadHead()
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	return h, err
}

// refuseHead answers a malformed head. A client that was silent or has gone gets nothing.
func (r *Relay) refuseHead(c *head.Conn, err error) {
	bad, ok := errors.AsType[*head.Error](err)
	if !ok {
		return
	}
	x := r.record.start(source(c.TCPConn), "")
	r.answer(c, x, asRefusal(r.stopping, bad), false)
}

// answer writes a refusal to a connection that net/http does not serve, and records it. It reports whether the connection
// may be used further.
func (r *Relay) answer(c *head.Conn, x *exchange, no *refusal, keep bool) bool {
	x.refused(no)
	_ = c.SetWriteDeadline(r.clock.Now().Add(lingerLimit))
	_, err := c.Write(no.wire(r.Name, keep))
	return keep && err == nil && c.SetWriteDeadline(time.Time{}) == nil
}

// turnAway answers a connection whatever it asks.
func (r *Relay) turnAway(conn *net.TCPConn, no *refusal) {
	r.record.start(source(conn), "").refused(no)
	_ = conn.SetWriteDeadline(r.clock.Now().Add(time.Second))
	_, _ = conn.Write(no.wire(r.Name, false))
	if no.reason == Descriptors {
		_ = conn.Close() // at once: another waits for the descriptor
	} else {
		r.end(conn)
	}
	r.open.Add(-1)
	r.conns.Done()
}

// lingerLimit is for a client to take its last answer.
const lingerLimit = 2 * time.Second

// close ends a connection so that the last answer arrives: bytes that nobody read would turn the close into a reset that
// overtakes it.
func (r *Relay) close(conn *net.TCPConn) {
	r.end(conn)
	r.gone(conn)
}

func (r *Relay) end(conn *net.TCPConn) {
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(r.clock.Now().Add(lingerLimit))
	if r.stopping.Err() == nil {
		_, _ = io.CopyN(io.Discard, conn, 256<<10)
	}
	_ = conn.Close()
}

// whileThere returns a context that ends when the client leaves, and a function that must be called before anything else
// reads from the connection. A client that has sent bytes behind its CONNECT and then ended its stream has not left: it
// waits for the answer.
func (r *Relay) whileThere(c *head.Conn, early bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(r.stopping)
	watching := make(chan struct{})
	// Most set-ups are over before it is worth a goroutine to watch the client.
	stop := r.clock.AfterFunc(watchAfter, func() { // the returned function waits for it
		defer close(watching)
		raw, err := c.SyscallConn()
		if err == nil {
			err = raw.Read(func(fd uintptr) bool { return hasLeft(int(fd), early) })
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel(context.Canceled)
		}
	})
	return ctx, func() {
		if !stop() {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			<-watching
			_ = c.SetReadDeadline(time.Time{})
		}
		cancel(context.Canceled)
	}
}

const watchAfter = 20 * time.Millisecond

func hasLeft(fd int, early bool) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
		return false
	}
	if fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
		return true
	}
	pending, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return !early && err == nil && pending == 0
}

func source(conn *net.TCPConn) netip.AddrPort {
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}
