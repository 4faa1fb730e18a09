package raw

import (
	"errors"
	"fmt"
	"io"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// sniff is how many bytes of a document are looked at to know what it is.
const sniff = 64

// The ways in which a document's content fails.
var (
	errEmpty  = errors.New("the document is empty")
	errLength = errors.New("the document is not as long as was said")
)

// block is a part of a document. err, with or without bytes, says that it is the last: io.EOF at the document's end.
type block struct {
	bytes []byte
	err   error
}

// content reads a document ahead, in one goroutine, into buffers that go round.
type content struct {
	blocks chan block
	free   chan []byte
	quit   chan struct{}
	done   chan struct{} // the goroutine has ended
}

// read begins to read. The first block has at least sniff bytes, if the document has.
func read(doc mfpgate.Document) *content {
	c := &content{
		blocks: make(chan block), // no capacity: a block that is not full goes as soon as somebody waits for it
		free:   make(chan []byte, buffers), quit: make(chan struct{}), done: make(chan struct{}),
	}
	size := blockSize
	if doc.Size >= 0 && doc.Size < int64(size) {
		size = max(int(doc.Size)+1, sniff) // one more byte than there should be shows that there is more
	}
	for range buffers {
		c.free <- make([]byte, size)
	}
	go c.run(doc) // stop waits for it
	return c
}

// buffers is one that is sent and one that is filled, each of the largest transfer: more of them only leave the processor's cache.
const (
	blockSize = bus.MaxTransfer
	buffers   = 2
)

func (c *content) run(doc mfpgate.Document) {
	defer close(c.done)
	total, least := int64(0), sniff
	for {
		var buffer []byte
		select {
		case buffer = <-c.free:
		case <-c.quit:
			return
		}
		n, idle := 0, 0
		for {
			select {
			case <-c.quit:
				return
			default:
			}
			k, err := doc.Content.Read(buffer[n:])
			n, total = n+k, total+int64(k)
			if k > 0 {
				idle = 0
			} else if idle++; err == nil && idle == 100 {
				err = io.ErrNoProgress
			}
			if doc.Size >= 0 && (total > doc.Size || errors.Is(err, io.EOF) && total < doc.Size) {
				err = fmt.Errorf("%w: %d of %d bytes", errLength, total, doc.Size)
				n -= int(max(total-doc.Size, 0)) // what is too much is not sent
			}
			if err == nil && n < least {
				continue
			}
			if err == nil && n < len(buffer) && least == 1 { // the first waits: who is to send it may only be coming
				// Not full: it goes if the printer waits for it. A pause of many seconds ends a job in some printers.
				select {
				case c.blocks <- block{bytes: buffer[:n]}:
				default:
					continue
				}
			} else {
				select {
				case c.blocks <- block{buffer[:n], err}:
				case <-c.quit:
					return
				}
			}
			if err != nil {
				return
			}
			break
		}
		least = 1
	}
}

// reuse gives a block's buffer back.
func (c *content) reuse(b block) {
	c.free <- b.bytes[:cap(b.bytes)]
}

// stop ends the reading, and returns when Content is no longer in use: after a Read that is in progress.
func (c *content) stop() {
	close(c.quit)
	<-c.done
}
