package ippusb

import (
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// hop are the fields that are for one connection only (RFC 9110 §7.6.1), and those that the transport says itself. A printer is asked
// for no 100 (Continue), which some never send.
var hop = [...]string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Expect",
	"Content-Length", "Host",
}

// head is the request's head as the printer gets it, but for the body's length and the last line.
func (t *Transport) head(req *http.Request) ([]byte, error) {
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	switch {
	case req.URL == nil:
		return nil, fmt.Errorf("%w: a request without a URL", ErrRefused)
	case method == http.MethodConnect:
		return nil, fmt.Errorf("%w: CONNECT: a printer on USB is no proxy", ErrRefused)
	case req.Header.Get("Upgrade") != "":
		return nil, fmt.Errorf("%w: Upgrade to %q: a USB interface speaks HTTP/1.1 alone", ErrRefused, req.Header.Get("Upgrade"))
	case !token(method):
		return nil, fmt.Errorf("%w: method %q", ErrRefused, method)
	}
	target := req.URL.RequestURI()
	if strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("%w: request target %q", ErrRefused, target)
	}
	var b bytes.Buffer
	b.Grow(1 << 10)
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, target) // which every printer takes
	if connection := t.o.Quirks.Connection; connection != "" {
		fmt.Fprintf(&b, "Connection: %s\r\n", connection)
	}
	without := map[string]bool{}
	for _, name := range hop {
		without[name] = true
	}
	for _, v := range req.Header["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			without[http.CanonicalHeaderKey(textproto.TrimString(name))] = true
		}
	}
	for name := range req.Header {
		if canonical := http.CanonicalHeaderKey(name); without[canonical] || strings.HasPrefix(canonical, "Proxy-") {
			without[name] = true // also where the map's key is not canonical
		}
	}
	if err := req.Header.WriteSubset(&b, without); err != nil { // it drops names, and mends values, that would break the head
		return nil, fmt.Errorf("write the request's head: %w", err)
	}
	return b.Bytes(), nil
}

// token reports whether s is one (RFC 9110 §5.6.2).
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// clean takes from an answer what is for one connection only.
func clean(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}
