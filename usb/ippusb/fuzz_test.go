package ippusb_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// FuzzAnswer gives clients what a hostile printer says, in packets of its choice. Never a hang, a panic or a lost interface; and what
// passes for an answer is what net/http reads there.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		okay, okay + okay, "\r\n" + okay, padded(1024), "HTTP/1.1 100 Continue\r\n\r\n" + okay, "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n0\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "\x00\x01", "",
	} {
		for _, method := range []byte{0, 1} {
			f.Add([]byte(s), method, uint16(0))
			f.Add([]byte(s), method, uint16(3))
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte, how byte, split uint16) {
		answer = answer[:min(len(answer), 200_000)]
		method := []string{"GET", "HEAD", "POST"}[how%3]
		synctest.Test(t, func(t *testing.T) {
			r := plug(t, 1, fixed(string(answer)))
			if split > 0 && (split > 20 || len(answer) < 5000) {
				r.ins[0].Split(int(split%512)+1, int(split/512)+1)
			}
			r.open(t, func(o *ippusb.Options) { o.Quirks.ZLPEnds = how&8 != 0 })
			var body io.Reader
			if method == "POST" {
				body = strings.NewReader("x")
			}
			resp, err := r.RoundTrip(request(t.Context(), method, "/", body))
			var got []byte
			if err == nil {
				if how&16 != 0 {
					resp.Body.Close()
				} else {
					got, err = io.ReadAll(resp.Body)
				}
			}
			pause(time.Hour)
			synctest.Wait()
			if s := r.Stats(); s.Busy != 0 || s.Waiting != 0 {
				t.Errorf("lost: %+v", s)
			}
			if n := len(r.breaks()); n > 1 || n == 0 && err != nil && err != io.ErrUnexpectedEOF {
				t.Errorf("the client got %v, Broken was called with %v", err, r.breaks())
			}
			if err == nil && how&16 == 0 {
				compare(t, answer, method, resp, got)
			}
		})
	})
}

// compare holds an answer against what net/http reads.
func compare(t *testing.T, answer []byte, method string, resp *http.Response, got []byte) {
	b := bufio.NewReader(bytes.NewReader(bytes.TrimLeft(answer, "\r\n")))
	for {
		want, err := http.ReadResponse(b, &http.Request{Method: method})
		if err != nil {
			t.Errorf("net/http reads no answer: %v; we read %v", err, resp)
			return
		}
		if want.StatusCode < 200 {
			for {
				if c, err := b.Peek(1); err != nil || c[0] != '\r' && c[0] != '\n' {
					break
				}
				_, _ = b.ReadByte()
			}
			continue
		}
		content, err := io.ReadAll(want.Body)
		if want.StatusCode != resp.StatusCode || err == nil && !bytes.Equal(content, got) {
			t.Errorf("we read %d %q, net/http %d %q (%v)", resp.StatusCode, got, want.StatusCode, content, err)
		}
		return
	}
}
