package ipp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/OpenPrinting/goipp"
)

// ErrMessage is wrapped by what Decode returns for bytes that are no IPP message, or one beyond the bounds.
var ErrMessage = errors.New("not an IPP message")

// Limits are the bounds of a message: goipp recurses per level of collection and keeps some hundred bytes per value, so that a body of
// 1 MiB could take a hundred times that.
type Limits struct {
	Values int
	Depth  int // levels of collections
	// Lenient takes what printers are known to send: collections whose members have no names, bytes behind the end.
	Lenient bool
}

// The bounds in use.
var (
	// System bounds messages of system services, whose largest real answer has some hundred values, and of those who ask the reference
	// one.
	System = Limits{Values: 4096, Depth: 4}
	// Printer bounds answers of printers. The largest of a real one to what the gateway asks has some two thousand values and four levels.
	Printer = Limits{Values: 16384, Depth: 8, Lenient: true}
)

const headerSize = 8 // version, operation or status, request id (RFC 8010 §3.1.1)

// Header reads what is before the groups, which is what an answer needs even where the rest is broken. False if it is too short.
func Header(body []byte) (version goipp.Version, code goipp.Code, id uint32, ok bool) {
	if len(body) < headerSize {
		return 0, 0, 0, false
	}
	return goipp.Version(binary.BigEndian.Uint16(body)), goipp.Code(binary.BigEndian.Uint16(body[2:])), binary.BigEndian.Uint32(body[4:]), true
}

// Decode reads a whole message without document data.
func Decode(body []byte, of Limits) (m *goipp.Message, err error) {
	if err := of.bounded(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	defer func() { // goipp has panics for what it thinks cannot be; these bytes come from elsewhere
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("%w: %v", ErrMessage, p)
		}
	}()
	m = &goipp.Message{}
	if err := m.DecodeBytesEx(body, goipp.DecoderOptions{EnableWorkarounds: of.Lenient}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return m, nil
}

// bounded walks over a message's values without decoding them (RFC 8010 §3.1) and says what is beyond the bounds. What is wrong with their
// order is goipp's to say.
func (l Limits) bounded(body []byte) error {
	if len(body) < headerSize {
		return errors.New("shorter than its header")
	}
	if body[0] < 1 || body[0] > 2 {
		return fmt.Errorf("IPP version %d.%d", body[0], body[1])
	}
	values, depth := 0, 0
	for rest := body[headerSize:]; ; {
		if len(rest) == 0 {
			return errors.New("ends early")
		}
		tag := goipp.Tag(rest[0])
		rest = rest[1:]
		switch {
		case tag == goipp.TagEnd && len(rest) > 0 && !l.Lenient:
			return fmt.Errorf("%d bytes after its end", len(rest))
		case tag == goipp.TagEnd:
			return nil
		case tag.IsDelimiter(): // a group costs memory, too
			depth = 0
		default:
			for range 2 { // name, value
				if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
					return errors.New("ends early")
				}
				rest = rest[2+int(binary.BigEndian.Uint16(rest)):]
			}
		}
		switch tag {
		case goipp.TagBeginCollection:
			depth++
		case goipp.TagEndCollection:
			depth--
		}
		if values++; values > l.Values || depth > l.Depth {
			return fmt.Errorf("more than %d groups and values, or %d levels", l.Values, l.Depth)
		}
	}
}
