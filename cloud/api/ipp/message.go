package ipp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/OpenPrinting/goipp"
)

// ErrMessage is wrapped by what Decode returns for bytes that are no IPP message, or one beyond the bounds.
var ErrMessage = errors.New("not an IPP message")

// The bounds of a message. The largest real answer of a system service has some hundred values; goipp recurses per level of
// collection and keeps some hundred bytes per value.
const (
	MaxValues = 4096
	MaxDepth  = 4
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
func Decode(body []byte) (m *goipp.Message, err error) {
	if err := bounded(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	defer func() { // goipp has panics for what it thinks cannot be; these bytes come from elsewhere
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("%w: %v", ErrMessage, p)
		}
	}()
	m = &goipp.Message{}
	if err := m.DecodeBytes(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return m, nil
}

// bounded walks over a message's values without decoding them (RFC 8010 §3.1) and says what is beyond the bounds.
func bounded(body []byte) error {
	if len(body) < headerSize {
		return errors.New("shorter than its header")
	}
	if body[0] < 1 || body[0] > 2 {
		return fmt.Errorf("IPP version %d.%d", body[0], body[1])
	}
	values, depth, grouped := 0, 0, false
	for rest := body[headerSize:]; ; {
		if len(rest) == 0 {
			return errors.New("ends early")
		}
		tag := goipp.Tag(rest[0])
		rest = rest[1:]
		if tag.IsDelimiter() {
			switch {
			case depth != 0:
				return errors.New("a collection does not end")
			case tag == goipp.TagEnd && len(rest) > 0:
				return fmt.Errorf("%d bytes after its end", len(rest))
			case tag == goipp.TagEnd:
				return nil
			}
			grouped = true
			continue
		}
		if !grouped {
			return errors.New("a value outside of a group")
		}
		for range 2 { // name, value
			if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
				return errors.New("ends early")
			}
			rest = rest[2+int(binary.BigEndian.Uint16(rest)):]
		}
		switch tag {
		case goipp.TagBeginCollection:
			depth++
		case goipp.TagEndCollection:
			depth--
		}
		if depth < 0 {
			return errors.New("a collection ends that has not begun")
		}
		if values++; values > MaxValues || depth > MaxDepth {
			return fmt.Errorf("more than %d values or %d levels", MaxValues, MaxDepth)
		}
	}
}
