// Package document is what the benches of USB print: bytes that are the same for everybody who prints them, of any length, at the cost
// of a copy at most. They repeat with a period that no transfer's size divides: what is lost, comes twice or in another order shows in
// the digest. They are no page description language and hold no escape, so that nobody looks into them.
package document

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
)

// Longest is the longest part that At gives, in bytes.
const Longest = 2 << 20

// Mark is how much of a document a reader has given when it says so: memory that grows behind it grows with the document.
const Mark = 16_000_000

const period = 1_000_003 // a prime

// Document is an endless document.
type Document struct{ bytes []byte }

// New makes it.
func New() *Document {
	d := &Document{make([]byte, period+Longest)}
	source := rand.New(rand.NewPCG(7, 1))
	for i := range period {
		d.bytes[i] = byte(' ' + source.IntN('~'-' ')) //nolint:gosec // printable
	}
	for i := range Longest { // forward: the copy is longer than the period
		d.bytes[period+i] = d.bytes[i]
	}
	return d
}

// At is a part of it, of n bytes at most, which is not to be written to.
func (d *Document) At(offset int64, n int) []byte {
	from := int(offset % period)
	return d.bytes[from : from+min(n, Longest)]
}

// SHA256 is the digest of its first bytes, in hex.
func (d *Document) SHA256(size int64) string {
	digest := sha256.New()
	for at := int64(0); at < size; {
		part := d.At(at, int(min(Longest, size-at)))
		digest.Write(part)
		at += int64(len(part))
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// Reader reads its first bytes, and calls mark once when Mark of them have gone.
func (d *Document) Reader(size int64, mark func()) io.Reader {
	return &reader{d: d, size: size, mark: mark}
}

type reader struct {
	d        *Document
	at, size int64
	mark     func()
}

func (r *reader) Read(p []byte) (int, error) {
	if r.at == r.size {
		return 0, io.EOF
	}
	if r.at >= Mark && r.mark != nil {
		r.mark()
		r.mark = nil
	}
	n := copy(p, r.d.At(r.at, int(min(int64(len(p)), r.size-r.at))))
	r.at += int64(n)
	return n, nil
}
