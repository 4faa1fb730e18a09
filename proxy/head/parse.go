package head

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// The bounds of a head.
const (
	MaxBytes  = 32 << 10
	MaxFields = 100
)

// Error says why a head was refused and with which status to answer. After it the connection is closed: where the next
// request begins is unknown.
type Error struct {
	Status int
	Text   string
}

func (e *Error) Error() string { return e.Text }

func bad(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...)}
}

// Head is one request head. Its strings share one copy of the head's bytes.
type Head struct {
	Method string
	Target string
	Minor  int // of the version: HTTP/1.0 or HTTP/1.1
	Fields []Field

	length  int64 // of the content; 0 if there is none
	chunked bool
}

// Field is one header field line, its value without surrounding white space.
type Field struct{ Name, Value string }

// Get returns the value of the first field of that name, compared without case, and whether there is one.
func (h *Head) Get(name string) (string, bool) {
	for _, f := range h.Fields {
		if len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

// Count returns how many fields have that name.
func (h *Head) Count(name string) (n int) {
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, name) {
			n++
		}
	}
	return n
}

// KeepAlive reports whether the connection stays open after the response (RFC 9112 §9.3). Proxy-Connection, which clients
// from before HTTP/1.1 proxies send, counts as Connection.
func (h *Head) KeepAlive() bool {
	keep := h.Minor == 1
	for _, f := range h.Fields {
		if !strings.EqualFold(f.Name, "Connection") && !strings.EqualFold(f.Name, "Proxy-Connection") {
			continue
		}
		for option := range strings.SplitSeq(f.Value, ",") {
			switch option = strings.TrimSpace(option); {
			case strings.EqualFold(option, "close"):
				return false
			case strings.EqualFold(option, "keep-alive"):
				keep = true
			}
		}
	}
	return keep
}

// find looks for a whole head at the start of b, from after the bytes that an earlier call has seen. It returns the length
// of the head with its empty line, or 0 if more bytes are needed. Every line must end in CRLF and hold no other control.
func find(b []byte, seen int) (int, *Error) {
	start := 0
	if seen > 3 {
		start = seen - 3
	}
	if i := bytes.Index(b[start:], []byte("\r\n\r\n")); i >= 0 {
		if end := start + i + 4; end <= MaxBytes {
			return end, nil
		}
		return 0, tooLarge()
	}
	// Lenient readers end a head at bare LFs: refuse now instead of waiting for a CRLF that never comes.
	for i := start; i < len(b); i++ {
		if b[i] == '\n' && (i == 0 || b[i-1] != '\r') {
			return 0, bad("a line ends in a bare LF; end each line with CRLF")
		}
	}
	if len(b) >= MaxBytes {
		return 0, tooLarge()
	}
	return 0, nil
}

func tooLarge() *Error {
	return &Error{Status: http.StatusRequestHeaderFieldsTooLarge, Text: "the request head is over 32 KiB; send less"}
}

// parse reads one whole head, as find delimited it.
func parse(text string) (*Head, *Error) {
	line, rest, _ := strings.Cut(text, "\r\n")
	h := &Head{length: -1}
	if err := h.requestLine(line); err != nil {
		return nil, err
	}
	h.Fields = make([]Field, 0, 8)
	hosts := 0
	for rest != "\r\n" {
		line, rest, _ = strings.Cut(rest, "\r\n")
		name, value, colon := strings.Cut(line, ":")
		switch {
		case line == "":
			return nil, bad("an empty line stands inside the head")
		case line[0] == ' ' || line[0] == '\t':
			return nil, bad("a field is folded over two lines, which RFC 9112 forbids; write it on one")
		case !colon || !isToken(name):
			return nil, bad("a header field has no valid name")
		case !isFieldValue(value):
			return nil, bad("a header field holds a control character")
		case len(h.Fields) == MaxFields:
			return nil, &Error{Status: http.StatusRequestHeaderFieldsTooLarge, Text: "the request has over 100 header fields; send fewer"}
		}
		value = strings.Trim(value, " \t")
		h.Fields = append(h.Fields, Field{name, value})
		switch {
		case strings.EqualFold(name, "Host"):
			hosts++
		case strings.EqualFold(name, "Content-Length"):
			if err := h.contentLength(value); err != nil {
				return nil, err
			}
		case strings.EqualFold(name, "Transfer-Encoding"):
			if h.chunked {
				return nil, bad("Transfer-Encoding stands twice")
			}
			if !strings.EqualFold(value, "chunked") {
				return nil, &Error{Status: http.StatusNotImplemented, Text: "only the transfer coding chunked is known here"}
			}
			h.chunked = true
		}
	}
	switch {
	case hosts > 1 || h.Minor == 1 && hosts == 0:
		return nil, bad("the request must have exactly one Host field")
	case h.chunked && h.length >= 0:
		return nil, bad("Content-Length and Transfer-Encoding stand together; send one")
	case h.chunked && h.Minor == 0:
		return nil, bad("HTTP/1.0 has no Transfer-Encoding")
	case h.Method == http.MethodConnect && (h.chunked || h.length > 0):
		return nil, bad("CONNECT carries no content; send it through the tunnel")
	}
	h.length = max(h.length, 0)
	return h, nil
}

func (h *Head) requestLine(line string) *Error {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) || !isTarget(target) {
		return bad("the request line must be a method, a target and a version with one space between them")
	}
	switch version {
	case "HTTP/1.1":
		h.Minor = 1
	case "HTTP/1.0":
	default:
		if strings.HasPrefix(version, "HTTP/") && isTarget(version) {
			return &Error{Status: http.StatusHTTPVersionNotSupported, Text: "this proxy speaks HTTP/1.1 and HTTP/1.0"}
		}
		return bad("the request line must be a method, a target and a version with one space between them")
	}
	h.Method, h.Target = method, target
	return nil
}

func (h *Head) contentLength(value string) *Error {
	if h.length >= 0 {
		return bad("Content-Length stands twice")
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n > math.MaxInt64 || strings.Trim(value, "0123456789") != "" {
		return bad("Content-Length must be one whole number")
	}
	h.length = int64(n)
	return nil
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isTarget takes visible ASCII: what is more must be percent-encoded (RFC 3986).
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// isFieldValue takes visible characters, space, tab and obs-text (RFC 9110 §5.5); CR, LF and NUL are the dangerous rest.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
