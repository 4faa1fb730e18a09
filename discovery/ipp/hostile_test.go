package ipp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// message is an answer made by hand: RFC 8010 §3.1's header, the operation group's two attributes, then rest.
func message(rest ...byte) []byte {
	head := []byte{2, 0, 0, 0, 0, 0, 0, 1, 1}
	for _, pair := range [][2]string{{"\x47attributes-charset", "utf-8"}, {"\x48attributes-natural-language", "en"}} {
		head = append(head, pair[0][0])
		head = append(append(head, 0, byte(len(pair[0])-1)), pair[0][1:]...)
		head = append(append(head, 0, byte(len(pair[1]))), pair[1]...)
	}
	return append(head, rest...)
}

// nested is one attribute of collections within one another.
func nested(levels int) []byte {
	open := bytes.Repeat([]byte{0x4a, 0, 0, 0, 1, 'm', 0x34, 0, 0, 0, 0}, levels-1)
	closed := bytes.Repeat([]byte{0x37, 0, 0, 0, 0}, levels)
	return message(slices.Concat([]byte{4, 0x34, 0, 1, 'a', 0, 0}, open, closed, []byte{3})...)
}

// many is one attribute of many values.
func many(values int) []byte {
	return message(append(append([]byte{4, 0x21, 0, 1, 'a', 0, 4, 0, 0, 0, 1}, bytes.Repeat([]byte{0x21, 0, 0, 0, 4, 0, 0, 0, 1}, values)...), 3)...)
}

func TestHostileAnswers(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\n"
	body := func(b []byte) string {
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(b), b)
	}
	for _, tc := range []struct {
		rule   string
		answer string
		want   error
	}{
		{"closes at once", "", ipp.ErrNotIPP},
		{"no HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n", ipp.ErrNotIPP},
		{"a page", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", ipp.ErrNotIPP},
		{"no IPP", body([]byte("hello, this is a telnet server of a kind")), ipp.ErrNotIPP},
		{"an empty body", body(nil), ipp.ErrNotIPP},
		{"a message that ends early", body(message(4, 0x21, 0, 1)), ipp.ErrNotIPP},
		{"a body cut off", ok + "Content-Length: 500\r\n\r\n\x02\x00\x00\x00", ipp.ErrNotIPP},
		{"a length of 10 MB", ok + "Content-Length: 10485760\r\n\r\n", ipp.ErrTooLarge},
		{"collections 50,000 deep", body(nested(50_000)), ipp.ErrNotIPP},
		{"collections 9 deep", body(nested(9)), ipp.ErrNotIPP},
		{"collections 8 deep, and no printer", body(nested(8)), ipp.ErrNotPrinter},
		{"a hundred thousand values", body(many(100_000)), ipp.ErrNotIPP},
		{"an integer of one byte", body(message(4, 0x23, 0, 13, 'p', 'r', 'i', 'n', 't', 'e', 'r', '-', 's', 't', 'a', 't', 'e', 0, 1, 3, 3)), ipp.ErrNotIPP},
		{"503 with a body cut off, as after power-on", "HTTP/1.1 503 Busy\r\nContent-Length: 900\r\n\r\n<htm", ipp.ErrBusy},
		{"426", "HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", ipp.ErrElsewhere},
		{"a redirect", "HTTP/1.1 301 Moved\r\nLocation: http://10.9.9.9/\r\nContent-Length: 0\r\n\r\n", ipp.ErrElsewhere},
		{"401", "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", ipp.ErrAuth},
		{"404", "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", ipp.ErrNotPrinter},
		{"500", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ipp.ErrNotIPP},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			client, _ := newClient(t)
			endpoint := raw(t, func(conn net.Conn) { io.WriteString(conn, tc.answer) })
			_, err := client.Identify(t.Context(), endpoint)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v; want %v", err, tc.want)
			}
			t.Log(err)
		})
	}
}

// TestEndlessAnswer proves that an answer without a length is not read to its end.
func TestEndlessAnswer(t *testing.T) {
	const whole = 64 << 20 // the kernel's buffers take some, too
	var written atomic.Int64
	done := make(chan struct{})
	endpoint := serve(t, "", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		for chunk := make([]byte, 64<<10); written.Load() < whole; written.Add(int64(len(chunk))) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}), false)
	client, _ := newClient(t)
	if _, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus); !errors.Is(err, ipp.ErrTooLarge) {
		t.Errorf("%v; want %v", err, ipp.ErrTooLarge)
	}
	<-done
	t.Logf("%d bytes were taken", written.Load())
	if written.Load() >= whole {
		t.Error("the whole answer was taken")
	}
}

// TestEndlessHeader proves the same of a header.
func TestEndlessHeader(t *testing.T) {
	const whole = 9 << 20 // net/http's own bound is 10 MiB
	taken := make(chan int, 1)
	endpoint := raw(t, func(conn net.Conn) {
		written, _ := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for field := strings.Repeat("X-A: 1\r\n", 1000); written < whole; {
			n, err := io.WriteString(conn, field)
			if written += n; err != nil {
				break
			}
		}
		taken <- written
	})
	client, _ := newClient(t)
	if _, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus); !errors.Is(err, ipp.ErrNotIPP) {
		t.Errorf("%v; want %v", err, ipp.ErrNotIPP)
	}
	if n := <-taken; n >= whole {
		t.Errorf("%d bytes were taken", n)
	}
}

func TestTimeout(t *testing.T) {
	hold := func(answer string) func(net.Conn) {
		return func(conn net.Conn) {
			io.WriteString(conn, answer)
			io.Copy(io.Discard, conn) // until the client gives up
		}
	}
	for rule, answer := range map[string]string{
		"never answers":             "",
		"stops within the header":   "HTTP/1.1 200 OK\r\nContent-",
		"stops within the body":     "HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: 900\r\n\r\n\x02",
		"continues, and no more":    "HTTP/1.1 100 Continue\r\n\r\n",
		"holds a chunk's remainder": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\x02\r\n",
	} {
		t.Run(rule, func(t *testing.T) {
			clock := fakeclock.New(time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC))
			client := ipp.New(ipp.Options{Clock: clock, Timeout: 7 * time.Second})
			defer client.Close()
			endpoint := raw(t, hold(answer))
			failed := make(chan error, 1)
			go func() { // ends with the read
				_, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus)
				failed <- err
			}()
			clock.AwaitTimers(1)
			clock.Advance(7*time.Second - 1)
			select {
			case err := <-failed:
				t.Fatalf("before its time: %v", err)
			default:
			}
			clock.Advance(1)
			if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v; want %v", err, context.DeadlineExceeded)
			}
		})
	}
	t.Run("a byte a second does not prolong it", func(t *testing.T) {
		clock := fakeclock.New(time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC))
		client := ipp.New(ipp.Options{Clock: clock, Timeout: 7 * time.Second})
		defer client.Close()
		second := make(chan struct{})
		endpoint := raw(t, func(conn net.Conn) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
			for range second {
				conn.Write([]byte{2})
			}
		})
		failed := make(chan error, 1)
		go func() { // ends with the read
			_, err := client.Read(t.Context(), endpoint, mfpgate.PartStatus)
			failed <- err
		}()
		for range 7 {
			clock.AwaitTimers(1)
			second <- struct{}{}
			clock.Advance(time.Second)
		}
		close(second)
		if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v; want %v", err, context.DeadlineExceeded)
		}
	})
	t.Run("the caller goes away", func(t *testing.T) {
		client, _ := newClient(t)
		ctx, cancel := context.WithCancel(t.Context())
		endpoint := raw(t, func(conn net.Conn) { cancel(); hold("")(conn) })
		if _, err := client.Read(ctx, endpoint, mfpgate.PartStatus); !errors.Is(err, context.Canceled) {
			t.Errorf("%v; want %v", err, context.Canceled)
		}
	})
}

// TestBombs proves that what is within the message's bounds is within the reading's, too.
func TestBombs(t *testing.T) {
	long := strings.Repeat("x", 30_000)
	var reasons, supplies []string
	var kinds goipp.Collection
	for i := range 2000 {
		reasons = append(reasons, fmt.Sprintf("reason-%d-error", i))
		supplies = append(supplies, fmt.Sprintf("index=%d;type=toner;level=1;maxcapacity=%s", i, long[:100]))
		kinds.Add(number(fmt.Sprintf("kind-%d", i), i))
	}
	attrs := repeat(1000, func(n string) goipp.Attribute { return text("vendor-"+n, "x") })
	attrs = append(attrs, enum("printer-state", 3), text("printer-name", long), text("printer-state-message", long),
		text("printer-device-id", strings.Repeat("MFG:"+long[:200]+";", 100)), words("printer-state-reasons", reasons...),
		octets("printer-supply", supplies...), goipp.MakeAttribute("printer-impressions-completed-col", goipp.TagBeginCollection, kinds))
	m := goipp.NewResponse(goipp.DefaultVersion, goipp.StatusOk, 1)
	m.Printer = attrs
	data, err := m.EncodeBytes()
	if err != nil {
		t.Fatal(err)
	}
	s, r, err := ipp.DecodeForTest(data, everything)
	if err != nil {
		t.Fatal(err)
	}
	checkBounds(t, s, r)
	if len(r.Status.Reasons) != 64 || len(r.Supplies) != 64 || len(r.Counters) != 64 {
		t.Errorf("%d reasons, %d supplies, %d counters", len(r.Status.Reasons), len(r.Supplies), len(r.Counters))
	}
}
