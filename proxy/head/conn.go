package head

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Conn is a client's connection behind the edge. It is used by one goroutine at a time, as net/http's server does.
type Conn struct {
	*net.TCPConn

	clock   mfpgate.Clock
	timeout time.Duration // for a head, from its first byte

	lent     *[readSize]byte // of blocks, under buf until buf outgrows it
	buf      []byte          // read from the socket and not yet given on; a head or the start of one, then what came with it
	released int             // of buf, how much the framing lets go
	seen     int             // of buf, how much has been searched for the end of a head
	phase    phase
	body     chunks
	length   int64 // of the content still to come, in phase content
	refusal  *Error
	eof      bool
}

type phase uint8

const (
	inHead phase = iota
	inContent
	inChunks
	inTunnel // a CONNECT was released: what follows is no HTTP of ours
	ended    // refused; nothing more is read
)

// New puts a connection behind the edge. A head must be whole within timeout of its first byte.
func New(conn *net.TCPConn, clock mfpgate.Clock, timeout time.Duration) *Conn {
	return &Conn{TCPConn: conn, clock: clock, timeout: timeout}
}

// ReadHead reads the next head and leaves what follows it unread. It returns io.EOF if the client left between requests, an
// *Error if the head must be refused, and else the connection's error. The caller has set a read deadline for the head.
func (c *Conn) ReadHead() (*Head, error) {
	for {
		if err := c.skipEmptyLine(); err != nil {
			return nil, err
		}
		end, bad := find(c.buf, c.seen)
		if bad != nil {
			return nil, bad
		}
		if end > 0 {
			h, bad := parse(string(c.buf[:end]))
			if bad != nil {
				return nil, bad
			}
			c.seen = 0
			c.released = end
			return h, nil
		}
		c.seen = len(c.buf)
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) && len(c.buf) > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// skipEmptyLine drops one CRLF before a request line, which old clients send after a body (RFC 9112 §2.2).
func (c *Conn) skipEmptyLine() error {
	if len(c.buf) >= 2 && c.buf[0] == '\r' && c.buf[1] == '\n' {
		c.buf, c.seen = c.buf[2:], 0
		if len(c.buf) >= 1 && (c.buf[0] == '\r' || c.buf[0] == '\n') {
			return bad("empty lines stand before the request line")
		}
	}
	return nil
}

// Consume drops the head that ReadHead returned, for a caller that answers it itself.
func (c *Conn) Consume() {
	c.buf, c.released = c.buf[c.released:], 0
}

// Early hands over what the client sent behind the consumed head: the first bytes of a tunnel.
func (c *Conn) Early() []byte {
	early := bytes.Clone(c.buf) // not the buffer: a tunnel would hold it for its life
	c.buf, c.seen = nil, 0
	c.giveBack()
	if len(early) == 0 {
		return nil
	}
	return early
}

// HasEarly reports whether the client has sent bytes behind the consumed head.
func (c *Conn) HasEarly() bool { return len(c.buf) > 0 }

// Release lets net/http read the head that ReadHead returned, and then the rest of the connection through Read.
func (c *Conn) Release(h *Head) { c.frame(h) }

// Unread puts bytes back that net/http had buffered when the connection was hijacked from it.
func (c *Conn) Unread(b []byte) {
	c.buf = append(append(make([]byte, 0, len(b)+len(c.buf)), b...), c.buf...)
	c.released = 0
}

// Refusal says why req, which net/http has read from this connection, stands for one that was refused; nil if it does not.
// The handler answers it and closes; so the answer keeps its place behind those of earlier requests, which may still be
// under way: net/http reads ahead.
func (c *Conn) Refusal(req *http.Request) *Error {
	if req.RequestURI != standInTarget {
		return nil
	}
	return c.refusal
}

// standIn is what net/http reads in the place of a refused head. No client can send its target: the edge takes ASCII alone.
const (
	standInTarget = "http://refused.invalid/\u00b7"
	standIn       = "GET " + standInTarget + " HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"
)

// Read gives net/http what the framing has released.
func (c *Conn) Read(p []byte) (int, error) {
	for c.released == 0 {
		if err := c.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[:c.released])
	c.buf = c.buf[n:]
	c.released -= n
	if len(c.buf) == 0 {
		c.buf = nil // an idle connection holds no buffer
	}
	return n, nil
}

// advance reads and judges until something is released.
func (c *Conn) advance() error {
	switch c.phase {
	case ended:
		return io.EOF
	case inHead:
		return c.nextHead()
	case inContent:
		if len(c.buf) == 0 {
			if err := c.fill(); err != nil {
				return err
			}
		}
		c.released = int(min(int64(len(c.buf)), c.length))
		c.length -= int64(c.released)
		if c.length == 0 {
			c.phase = inHead
		}
	case inChunks:
		if len(c.buf) == 0 {
			if err := c.fill(); err != nil {
				return err
			}
		}
		n, done, err := c.body.scan(c.buf)
		if err != nil {
			c.phase = ended
			return err
		}
		c.released = n
		if done {
			c.phase = inHead
		}
	case inTunnel:
		if len(c.buf) == 0 {
			if err := c.fill(); err != nil {
				return err
			}
		}
		c.released = len(c.buf)
	}
	return nil
}

func (c *Conn) nextHead() error {
	if len(c.buf) == 0 {
		if err := c.fill(); err != nil {
			return err
		}
	}
	// net/http counts a wait for the next request as idle until Read returns, so the head's own bound is set here.
	if err := c.SetReadDeadline(c.clock.Now().Add(c.timeout)); err != nil {
		return err
	}
	h, err := c.ReadHead()
	var refused *Error
	if errors.As(err, &refused) {
		c.refusal, c.phase = refused, ended
		c.buf, c.released = []byte(standIn), len(standIn)
		return nil
	}
	if err != nil {
		return err
	}
	c.frame(h)
	return nil
}

func (c *Conn) frame(h *Head) {
	switch {
	case h.Method == "CONNECT":
		c.phase = inTunnel
	case h.chunked:
		c.phase, c.body = inChunks, chunks{}
	case h.length > 0:
		c.phase, c.length = inContent, h.length
	default:
		c.phase = inHead
	}
}

const readSize = 4 << 10

var blocks = sync.Pool{New: func() any { return new([readSize]byte) }}

// giveBack returns the lent block, to which nothing may refer any more.
func (c *Conn) giveBack() {
	if c.lent != nil {
		blocks.Put(c.lent)
		c.lent = nil
	}
}

func (c *Conn) fill() error {
	if c.eof {
		return io.EOF
	}
	if c.buf == nil {
		if c.lent == nil {
			c.lent = blocks.Get().(*[readSize]byte)
		}
		c.buf = c.lent[:0]
	}
	if cap(c.buf)-len(c.buf) < readSize/2 {
		c.buf = append(make([]byte, 0, max(readSize, 2*len(c.buf)+readSize/2)), c.buf...)
	}
	n, err := c.TCPConn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	c.eof = errors.Is(err, io.EOF)
	return err
}

// WriteTo hides TCPConn's, which would read past the framing.
func (c *Conn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }
