package ippusb

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// head reads an answer's head, and passes over those that only inform (1xx). There is no content if the answer has no body.
func (x *exchange) head(ctx context.Context) (*http.Response, *content, error) {
	room := maxHead
	x.failed = false
	for range maxInformed + 1 {
		resp, err := x.oneHead(ctx, &room)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, nil, fmt.Errorf("%w: it switches protocols, which nobody asked for", ErrProtocol)
		case resp.StatusCode < 200:
			continue
		}
		c := &content{x: x, left: resp.ContentLength}
		switch {
		case x.req.Method == http.MethodHead, resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified, resp.ContentLength == 0:
			c = nil
		case len(resp.TransferEncoding) > 0:
			c.chunked, c.left = true, 0
		case resp.ContentLength < 0:
			return nil, nil, fmt.Errorf("%w: its answer of status %d ends with the connection, which USB has not", ErrProtocol, resp.StatusCode)
		}
		x.failed = resp.StatusCode >= 500
		clean(resp.Header)
		resp.Close, resp.Trailer = false, nil
		return resp, c, nil
	}
	return nil, nil, fmt.Errorf("%w: more than %d informational answers", ErrProtocol, maxInformed)
}

// oneHead reads one head of *room bytes at most.
func (x *exchange) oneHead(ctx context.Context, room *int) (*http.Response, error) {
	const begins = "HTTP/"
	var head bytes.Buffer
	for lines := 0; ; lines++ {
		var line []byte
		if lines == 0 { // seen at once, not after maxHead bytes or a time-out
			for len(line) < len(begins) {
				if x.pair.r == x.pair.w {
					if err := x.pair.fill(ctx, x, 0); err != nil {
						return nil, err
					}
				}
				c := x.pair.in[x.pair.r]
				if len(line) == 0 && (c == '\r' || c == '\n') && *room > 0 { // RFC 9112 §2.2, of a message that follows another
					x.pair.r++
					*room--
					continue
				}
				if c != begins[len(line)] {
					rest := x.pair.in[x.pair.r:x.pair.w]
					return nil, fmt.Errorf("%w: its answer begins with %q", ErrProtocol, append(line, rest[:min(len(rest), 32)]...))
				}
				line = append(line, c)
				x.pair.r++
			}
		}
		if err := x.pair.line(ctx, &line, *room, x); err != nil {
			return nil, err
		}
		*room -= len(line) + 2
		if *room < 0 || lines > maxFields {
			return nil, fmt.Errorf("%w: an answer's head of more than %d bytes or %d fields", ErrProtocol, maxHead, maxFields)
		}
		head.Write(line)
		head.WriteString("\r\n")
		if len(line) == 0 {
			break
		}
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(&head, 1<<10), x.req)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrProtocol, err)
	}
	return resp, nil
}

// content takes an answer's framing away. It can be interrupted anywhere by its context and go on where it was.
type content struct {
	x       *exchange
	chunked bool
	left    int64 // of the body, or of the chunk
	at      place
	line    []byte // what came of a line
	excess  int64  // bytes of framing beyond what content of that length needs
	trailer int    // lines of it
	room    int    // for it
}

// place is where a chunked body is.
type place int

const (
	atSize    place = iota // before a chunk's size
	atEnd                  // after a chunk's content
	atTrailer              // after the last chunk
	atLast                 // after all
)

// next waits for content, and reports false at its end.
func (c *content) next(ctx context.Context) (bool, error) {
	for c.left == 0 {
		if !c.chunked || c.at == atLast {
			return false, nil
		}
		most := 4 << 10
		if c.at == atTrailer {
			most = maxHead
		}
		if err := c.x.pair.line(ctx, &c.line, most, c.x); err != nil {
			return false, err
		}
		line := string(c.line)
		c.line = c.line[:0]
		switch c.at {
		case atSize:
			size, err := chunkSize(line)
			if err != nil {
				return false, err
			}
			// As net/http does: a sender of tiny chunks with large extensions would keep everybody busy for ever.
			if c.excess = max(0, c.excess+int64(len(line))+2-16-2*size); c.excess > 16<<10 {
				return false, fmt.Errorf("%w: chunks that hold little but extensions", ErrProtocol)
			}
			if c.left, c.at = size, atEnd; size == 0 {
				c.at, c.room = atTrailer, maxHead
			}
		case atEnd:
			if line != "" {
				return false, fmt.Errorf("%w: %.32q follows a chunk", ErrProtocol, line)
			}
			c.at = atSize
		case atTrailer:
			c.room -= len(line) + 2
			if c.trailer++; c.room < 0 || c.trailer > maxFields {
				return false, fmt.Errorf("%w: a trailer of more than %d bytes or %d fields", ErrProtocol, maxHead, maxFields)
			}
			if line == "" {
				c.at = atLast
			}
		}
	}
	return true, nil
}

// chunkSize parses the line before a chunk (RFC 9112 §7.1), whose extensions mean nothing to anybody.
func chunkSize(line string) (int64, error) {
	size, _, _ := strings.Cut(line, ";")
	size = strings.TrimRight(size, " \t")
	n, err := strconv.ParseUint(size, 16, 60)
	if err != nil || strings.HasPrefix(size, "+") {
		return 0, fmt.Errorf("%w: a chunk of size %.32q", ErrProtocol, line)
	}
	return int64(n), nil
}

// ahead reports whether all of it has been read ahead.
func (c *content) ahead() bool { return !c.chunked && c.left <= int64(c.x.pair.w-c.x.pair.r) }

// take is all of it, of what was read ahead.
func (c *content) take() []byte {
	p := c.x.pair
	all := bytes.Clone(p.in[p.r : p.r+int(c.left)])
	p.r, c.left = p.r+int(c.left), 0
	return all
}

// known is how much more is known to come, in bytes; 0: it is not.
func (c *content) known() int64 {
	if c.chunked {
		return 0
	}
	return c.left
}

// read takes content. n is 0 only with an error, or at the end, which it reports by false.
func (c *content) read(ctx context.Context, b []byte) (n int, more bool, err error) {
	if more, err = c.next(ctx); err != nil || !more {
		return 0, false, err
	}
	p := c.x.pair
	most := int(min(int64(len(b)), c.left, int64(p.largest())))
	if whole := most / p.iface.In.MaxPacket * p.iface.In.MaxPacket; p.r == p.w && whole >= len(p.in) {
		n, err = p.receive(ctx, b[:whole], c.x) // straight to who wants it: no more can come than the content has
	} else {
		if p.r == p.w {
			if err = p.fill(ctx, c.x, c.known()); err != nil {
				return 0, true, err
			}
		}
		n = copy(b[:most], p.in[p.r:p.w])
		p.r += n
	}
	c.left -= int64(n)
	return n, true, err
}

// skip reads content for nobody.
func (c *content) skip(ctx context.Context) (n int, more bool, err error) {
	if more, err = c.next(ctx); err != nil || !more {
		return 0, false, err
	}
	p := c.x.pair
	if p.r == p.w {
		if err = p.fill(ctx, c.x, c.known()); err != nil {
			return 0, true, err
		}
	}
	n = int(min(int64(p.w-p.r), c.left))
	p.r += n
	c.left -= int64(n)
	return n, true, nil
}
