package head

// chunks follows a chunked body (RFC 9112 §7.1) without changing it, and knows where it ends.
type chunks struct {
	state chunkState
	left  int64 // of the chunk's data
	line  int   // bytes of the present size, extension or trailer line
	total int   // bytes of the trailer section
}

type chunkState uint8

const (
	atSize chunkState = iota
	inSize
	inExtension
	afterSizeCR
	inData
	afterData
	afterDataCR
	atTrailer
	inTrailer
	afterTrailerCR
	afterLastCR
)

// maxChunkLine bounds a size line with its extensions, and each trailer line.
const maxChunkLine = 4 << 10

// scan returns how many bytes of b belong to the body, and whether the last of them ends it.
func (s *chunks) scan(b []byte) (n int, done bool, err error) {
	for n < len(b) {
		if s.state == inData {
			k := min(s.left, int64(len(b)-n))
			n, s.left = n+int(k), s.left-k
			if s.left == 0 {
				s.state = afterData
			}
			continue
		}
		done, bad := s.step(b[n])
		if bad != nil {
			return 0, false, bad
		}
		n++
		if done {
			return n, true, nil
		}
	}
	return n, false, nil
}

func (s *chunks) step(c byte) (done bool, err *Error) {
	if s.line++; s.line > maxChunkLine {
		return false, bad("a chunk's size line or a trailer is over 4 KiB")
	}
	switch s.state {
	case atSize, inSize:
		switch d, ok := hexDigit(c); {
		case ok && s.left < 1<<56:
			s.left, s.state = s.left<<4|d, inSize
		case s.state == inSize && c == ';':
			s.state = inExtension
		case s.state == inSize && c == '\r':
			s.state = afterSizeCR
		default:
			return false, bad("a chunk's size is not a hexadecimal number")
		}
	case inExtension:
		if c == '\r' {
			s.state = afterSizeCR
		} else if c == '\n' || c == 0 {
			return false, bad("a chunk's extension holds a control character")
		}
	case afterSizeCR:
		if c != '\n' {
			return false, bad("a chunk's size line does not end in CRLF")
		}
		s.line = 0
		if s.state = inData; s.left == 0 {
			s.state = atTrailer
		}
	case afterData:
		if c != '\r' {
			return false, bad("a chunk's data do not end in CRLF")
		}
		s.state = afterDataCR
	case afterDataCR:
		if c != '\n' {
			return false, bad("a chunk's data do not end in CRLF")
		}
		s.line, s.state = 0, atSize
	case atTrailer:
		switch c {
		case '\r':
			s.state = afterLastCR
		case ' ', '\t', '\n', ':':
			return false, bad("a trailer field has no valid name")
		default:
			s.state = inTrailer
		}
	case inTrailer:
		if c == '\r' {
			s.state = afterTrailerCR
		} else if c == '\n' || c == 0 {
			return false, bad("a trailer field holds a control character")
		}
	case afterTrailerCR:
		if c != '\n' {
			return false, bad("a trailer field does not end in CRLF")
		}
		if s.total += s.line; s.total > MaxBytes {
			return false, bad("the trailer section is over 32 KiB")
		}
		s.line, s.state = 0, atTrailer
	case afterLastCR:
		if c != '\n' {
			return false, bad("the body's last line is not CRLF")
		}
		return true, nil
	}
	return false, nil
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}
