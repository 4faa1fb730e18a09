package document

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// errOver is what a body that is over reads.
var errOver = errors.New("the document is not sent any more")

// body is a document on its way: it counts, watches over the size, and can be ended.
type body struct {
	clock   mfpgate.Clock
	content io.Reader
	size    int64 // negative: not known
	head    int64 // bytes of the message before it

	mu    sync.Mutex // held while Content is read
	state sync.Mutex // guards what stands below
	over  bool
	sent  int64 // read, and given to the transport
	whole bool
	taken int64 // of the printer, with what comes before the document: known where
	tells bool  // the transport tells of it
	err   error // what Content failed with
	moved time.Time
}

// Read implements io.Reader for the transport, which may read on when the exchange is over.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Lock()
	over, left := b.over, b.size-b.sent
	b.state.Unlock()
	if over {
		return 0, errOver
	}
	if b.size >= 0 {
		p = p[:min(int64(len(p)), left+1)] // one more than there should be shows that there is more
	}
	n, err := b.content.Read(p)
	b.state.Lock()
	defer b.state.Unlock()
	if b.size >= 0 && (b.sent+int64(n) > b.size || errors.Is(err, io.EOF) && b.sent+int64(n) < b.size) {
		err = fmt.Errorf("the document is not as long as was said: %d of %d bytes", b.sent+int64(n), b.size)
		n = int(min(int64(n), b.size-b.sent))
	}
	b.sent += int64(n)
	if n > 0 {
		b.moved = b.clock.Now()
	}
	if errors.Is(err, io.EOF) {
		b.whole = true
	} else if err != nil {
		b.err = err
	}
	return n, err
}

// quit lets nobody read any more.
func (b *body) quit() {
	b.state.Lock()
	defer b.state.Unlock()
	b.over = true
}

// end is quit, and returns when Content is not in use.
func (b *body) end() {
	b.quit()
	b.mu.Lock()
	defer b.mu.Unlock()
}

// progress is how much of it the printer took, or, where the transport does not tell, the transport.
func (b *body) progress() (sent int64, moved time.Time) {
	b.state.Lock()
	defer b.state.Unlock()
	if b.tells {
		return min(max(b.taken-b.head, 0), b.sent), b.moved
	}
	return b.sent, b.moved
}

// read is how much the transport took of it.
func (b *body) read() int64 {
	b.state.Lock()
	defer b.state.Unlock()
	return b.sent
}

// upload is a body behind the message that brings it, as the transport gets it. net/http knows no way to read it a second time, and so
// never sends it a second time by itself.
type upload struct {
	io.Reader
	body *body
}

// Close is needed for it to come to the transport as it is.
func (u upload) Close() error { return nil }

// Taken tells how many further bytes the printer took, the message's too. Transports that can tell call it (ippusb.Taker).
func (u upload) Taken(n int) {
	b := u.body
	b.state.Lock()
	defer b.state.Unlock()
	b.tells = true
	if n > 0 {
		b.taken += int64(n)
		b.moved = b.clock.Now()
	}
}

// outcome is how it ended. A document whose size is known is whole with its last byte, whether or not its end was read.
func (b *body) outcome() (whole bool, err error) {
	b.state.Lock()
	defer b.state.Unlock()
	return b.whole || b.size >= 0 && b.sent == b.size && b.err == nil, b.err
}
