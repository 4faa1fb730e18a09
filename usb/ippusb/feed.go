package ippusb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
)

const (
	// pieceSize is how much of a large body is read, framed and written at once, in bytes. A whole piece is no multiple of a packet:
	// its last packet is a short one, so that no printer waits for more to come.
	pieceSize = 512<<10 - 8
	// pieceHead is room for the size of a chunk before its content, pieceTail for what comes after the last.
	pieceHead = len("7fff8\r\n")
	pieceTail = len("\r\n0\r\n\r\n")
)

// feed reads a request's body ahead in a goroutine of its own, since a client may stop in the midst of it and never be heard of again.
type feed struct {
	t    *Transport
	req  *http.Request
	body io.ReadCloser // nil: none

	taker Taker // the body, if it wants to know; nil: it does not
	first span  // where it is in what begin returned

	want chan *[]byte // pieces to fill; their reading ends with an error
	got  chan piece
	left chan struct{} // closed when nobody wants more of it

	leaving, closing sync.Once
	total            int64
}

// piece is what one Read brought: content to be framed in place.
type piece struct {
	buf *[]byte
	n   int
	err error
}

func newFeed(t *Transport, req *http.Request) *feed {
	f := &feed{t: t, req: req, left: make(chan struct{})}
	if req.Body != nil && req.Body != http.NoBody {
		f.body = req.Body
		if taker, ok := req.Body.(Taker); ok {
			f.taker = taker
			taker.Taken(0)
		}
	}
	return f
}

// leave says that nobody wants more of the body, and closes it. It does not wait: some bodies' Close waits for their Read.
func (f *feed) leave() {
	f.leaving.Do(func() {
		close(f.left)
		if f.body != nil {
			go f.close() // it ends when the client's Close does
		}
	})
}

// close closes the body once.
func (f *feed) close() {
	f.closing.Do(func() {
		defer func() { _ = recover() }() // a body that panics has nobody left to tell
		_ = f.body.Close()               // its content has been read, or is not wanted
	})
}

// begin reads up to prefetch bytes, and returns how the request begins: with all of the body if that is all. Else it is more, and chunks
// follow.
func (f *feed) begin(head []byte) (out []byte, more bool, err error) {
	size := f.req.ContentLength
	if f.body == nil {
		if size > 0 {
			return nil, false, fmt.Errorf("%w: a request of %d bytes without a body", ErrRefused, size)
		}
		switch f.req.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch: // RFC 9110 §8.6
			head = append(head, "Content-Length: 0\r\n"...)
		}
		return append(head, "\r\n"...), false, nil
	}
	f.want, f.got = make(chan *[]byte, 2), make(chan piece, 2)
	room := int64(prefetch)
	if size > 0 {
		room = min(room, size+1) // of which the last stays empty, if it is as long as it says
	}
	first := make([]byte, room)
	f.want <- &first
	go f.run() // it ends when the client's Read does
	ctx := f.req.Context()
	var p piece
	select {
	case p = <-f.got:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	case <-f.t.base.Done():
		return nil, false, context.Cause(f.t.base)
	}
	content := first[:p.n]
	switch {
	case errors.Is(p.err, io.EOF):
		head = append(head, "Content-Length: "...)
		head = strconv.AppendInt(head, int64(p.n), 10)
		head = append(head, "\r\n\r\n"...)
		f.first = span{len(head), p.n}
		return append(head, content...), false, nil
	case p.err != nil:
		return nil, false, fmt.Errorf("read the request's body: %w", p.err)
	}
	head = append(head, "Transfer-Encoding: chunked\r\n\r\n"...)
	head = append(strconv.AppendInt(head, int64(p.n), 16), "\r\n"...)
	f.first = span{len(head), p.n}
	return append(append(head, content...), "\r\n"...), true, nil
}

// run fills what is wanted: the first wholly, then each by what one Read brings.
func (f *feed) run() {
	defer f.close()
	for whole := true; ; whole = false {
		select {
		case <-f.left:
			return
		case buf := <-f.want:
			room := *buf
			if !whole {
				room = room[pieceHead : len(room)-pieceTail]
			}
			p := piece{buf: buf}
			for p.err == nil && (p.n == 0 || whole && p.n < len(room)) {
				var n int
				n, p.err = f.read(room[p.n:])
				p.n += n
			}
			f.got <- p // there is room: two are wanted at most
			if p.err != nil {
				return
			}
		}
	}
}

// read reads once, and holds the body to what it says of itself. A body that panics is one that cannot be read.
func (f *feed) read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = 0, fmt.Errorf("read the request's body: it panicked: %v", r)
		}
	}()
	for range 100 {
		n, err = f.body.Read(p)
		if n < 0 || n > len(p) {
			return 0, fmt.Errorf("read the request's body: it says that %d bytes are in %d", n, len(p))
		}
		if n > 0 || err != nil {
			f.total += int64(n)
			size := f.req.ContentLength
			switch {
			case size > 0 && f.total > size:
				return n - int(f.total-size), fmt.Errorf("read the request's body: it is longer than the %d bytes that were announced", size)
			case size > 0 && f.total < size && errors.Is(err, io.EOF):
				return n, io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// framed is the piece as a chunk, and the last chunk after it if the body ended with it; and where in that the piece is.
func (p piece) framed() ([]byte, span) {
	b := *p.buf
	var size [pieceHead]byte
	head := append(strconv.AppendInt(size[:0], int64(p.n), 16), "\r\n"...)
	from := pieceHead - len(head)
	copy(b[from:], head)
	end := pieceHead + p.n
	end += copy(b[end:], "\r\n")
	if errors.Is(p.err, io.EOF) {
		end += copy(b[end:], lastChunk)
	}
	return b[from:end], span{len(head), p.n}
}

// lastChunk ends a body (RFC 9112 §7.1).
const lastChunk = "0\r\n\r\n"
