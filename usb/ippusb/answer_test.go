package ippusb_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/usb/ippusb"
)

func TestAnswers(t *testing.T) {
	long := big(100000)
	for rule, tc := range map[string]struct {
		method, answer string
		status         int
		body           string
		header         http.Header
	}{
		"a length":                  {answer: okay, status: 200, body: "ok", header: http.Header{"Content-Length": {"2"}}},
		"a length of 0":             {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, header: http.Header{"Content-Length": {"0"}}},
		"a long one":                {answer: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), status: 200, body: long, header: http.Header{"Content-Length": {"100000"}}},
		"whole packets":             {answer: padded(2048), status: 200, body: strings.Repeat("x", 2048-len(padded(0))), header: http.Header{"Content-Length": {"2007"}}},
		"chunks":                    {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", status: 200, body: "abcde", header: http.Header{}},
		"a chunk that is long":      {answer: fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%X\r\n%s\r\n0\r\n\r\n", len(long), long), status: 200, body: long, header: http.Header{}},
		"no chunk":                  {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200, header: http.Header{}},
		"a trailer":                 {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1 \r\na\r\n0\r\nX: y\r\n\r\n", status: 200, body: "a", header: http.Header{}},
		"lines that end by LF":      {answer: "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\na\n0\n\n", status: 200, body: "a", header: http.Header{}},
		"1xx before it":             {answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + okay, status: 200, body: "ok", header: http.Header{"Content-Length": {"2"}}},
		"a line too many before it": {answer: "\r\n\r\n" + okay, status: 200, body: "ok", header: http.Header{"Content-Length": {"2"}}},
		"a line too many behind it": {answer: okay + "\r\n", status: 200, body: "ok", header: http.Header{"Content-Length": {"2"}}},
		"HEAD":                      {method: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", status: 200, header: http.Header{"Content-Length": {"2"}}},
		"204":                       {answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, header: http.Header{}},
		"304":                       {answer: "HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n", status: 304, header: http.Header{"Etag": {"x"}}},
		"what is for one connection": {answer: "HTTP/1.0 503 No\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 1\r\nContent-Length: 2\r\n\r\nno", status: 503, body: "no",
			header: http.Header{"Content-Length": {"2"}}},
	} {
		for split, sizes := range map[string][]int{"": nil, ", byte by byte": {1}, ", in uneven packets": {512, 7, 100, 512, 512, 3}} {
			if len(tc.answer) > 5000 && len(sizes) == 1 {
				continue
			}
			t.Run(rule+split, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := 0
					r := plug(t, 1, answering(func(*peer, *http.Request, []byte) string {
						if n++; n == 1 {
							return tc.answer
						}
						return okay
					}))
					r.ins[0].Split(sizes...)
					r.open(t, nil)
					resp, err := r.RoundTrip(request(t.Context(), tc.method, "/", nil))
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tc.body, string(got)); diff != "" || resp.StatusCode != tc.status {
						t.Errorf("status %d, body (-want +got):\n%.200s", resp.StatusCode, diff)
					}
					if diff := cmp.Diff(tc.header, resp.Header); diff != "" {
						t.Errorf("header (-want +got):\n%s", diff)
					}
					synctest.Wait()
					if s := r.Stats(); s.Busy != 0 {
						t.Errorf("after its end: %+v", s)
					}
					r.mustGet(t)
				})
			})
		}
	}
}

// padded is an answer of n bytes in all.
func padded(n int) string {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: %4d\r\n\r\n"
	k := len(fmt.Sprintf(head, 0))
	return fmt.Sprintf(head, max(0, n-k)) + strings.Repeat("x", max(0, n-k))
}

// TestAnswersThatPutThePrinterOutOfStep: the client is told, Broken is called once with the same, and nothing works any more.
func TestAnswersThatPutThePrinterOutOfStep(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for rule, tc := range map[string]struct {
		method, answer string
		cause          error
		says           string
	}{
		"no HTTP":                       {answer: "@PJL INFO STATUS", says: `begins with "@PJL`},
		"something like HTTP":           {answer: "HTTQ/1.1 200 OK\r\n\r\n", says: "begins with"},
		"no status":                     {answer: "HTTP/1.1 OK\r\n\r\n", says: "malformed"},
		"a field without a name":        {answer: "HTTP/1.1 200 OK\r\n: x\r\n\r\n", says: "malformed"},
		"a body until the end":          {answer: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", says: "ends with the connection"},
		"HTTP/1.0 in chunks":            {answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", says: "ends with the connection"},
		"another encoding":              {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", says: "transfer encoding"},
		"two lengths":                   {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", says: "Content-Length"},
		"a negative length":             {answer: "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", says: "Content-Length"},
		"another protocol":              {answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", says: "switches protocols"},
		"1xx for ever":                  {answer: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), says: "informational"},
		"a head of many fields":         {answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n", says: "500 fields"},
		"a head that is long":           {answer: "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 70000) + "\r\n\r\n", says: "more than"},
		"lines before a head":           {answer: strings.Repeat("\r\n", 40000) + okay, says: "begins with"},
		"a chunk without a size":        {answer: chunked + "x\r\n", says: "chunk of size"},
		"a chunk of a signed size":      {answer: chunked + "+1\r\na\r\n0\r\n\r\n", says: "chunk of size"},
		"a chunk of an endless size":    {answer: chunked + "fffffffffffffffff\r\n", says: "chunk of size"},
		"a size that is long":           {answer: chunked + strings.Repeat("0", 5000) + "1\r\na\r\n0\r\n\r\n", says: "a line of more than"},
		"more than a chunk":             {answer: chunked + "1\r\nabc\r\n0\r\n\r\n", says: "follows a chunk"},
		"extensions for ever":           {answer: chunked + strings.Repeat("1;"+strings.Repeat("x", 4000)+"\r\na\r\n", 10) + "0\r\n\r\n", says: "extensions"},
		"a trailer of many fields":      {answer: chunked + "0\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n", says: "trailer"},
		"a trailer that is long":        {answer: chunked + "0\r\n" + strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 100) + "\r\n", says: "trailer"},
		"more than the length":          {answer: okay + "more", says: "after the end"},
		"a body of HEAD":                {method: "HEAD", answer: okay, says: "after the end"},
		"nothing":                       {answer: "", cause: ippusb.ErrTimeout, says: "no byte"},
		"half a head":                   {answer: "HTTP/1.1 200 OK\r\nConte", cause: ippusb.ErrTimeout, says: "no byte"},
		"less than the length":          {answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", cause: ippusb.ErrTimeout, says: "no byte"},
		"less than a chunk":             {answer: chunked + "5\r\nok", cause: ippusb.ErrTimeout, says: "no byte"},
		"no last chunk":                 {answer: chunked + "2\r\nok\r\n", cause: ippusb.ErrTimeout, says: "no byte"},
		"an answer that is a word long": {answer: "H", cause: ippusb.ErrTimeout, says: "no byte"},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := plug(t, 2, fixed(tc.answer)).open(t, nil)
				resp, err := r.RoundTrip(request(t.Context(), tc.method, "/", nil))
				if err == nil {
					_, err = io.ReadAll(resp.Body)
				}
				synctest.Wait()
				broken := r.breaks()
				if len(broken) != 1 {
					t.Fatalf("Broken was called with %v; the client got %v", broken, err)
				}
				if tc.cause == nil {
					tc.cause = ippusb.ErrProtocol
				}
				if !errors.Is(broken[0], ippusb.ErrBroken) || !errors.Is(broken[0], tc.cause) || !strings.Contains(broken[0].Error(), tc.says) {
					t.Errorf("Broken was called with %v, want %v that says %q", broken[0], tc.cause, tc.says)
				}
				if err != nil && !errors.Is(err, broken[0]) {
					t.Errorf("the client got %v", err)
				}
				if _, err := r.get(t.Context()); !errors.Is(err, ippusb.ErrBroken) || errors.Is(err, tc.cause) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("a later request got %v", err) // its own answer was not late, nor malformed
				}
				if s := r.Stats(); s.Busy != 0 || s.Waiting != 0 || s.Interfaces != 2 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestZeroLengthReads: they are no answer's end, cost no time where they end a transfer, and a printer may send many while it thinks.
func TestZeroLengthReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plug(t, 1, fixed(padded(1024))).open(t, nil)
		r.ins[0].Fail(faults(100)...)
		for range 2 {
			if got, err := r.get(t.Context()); err != nil || len(got) != 1024-len(padded(0)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
	})
}

// TestWholePacketsWithoutAnEnd: a printer that sends whole packets and nothing behind them has said all.
func TestWholePacketsWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := 1024
		r := plug(t, 1, answering(func(*peer, *http.Request, []byte) string {
			head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %6d\r\n\r\n", 0)
			n := size - len(head)
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %6d\r\n\r\n%s", n, big(n))
		}))
		r.ins[0].Unended(true)
		r.open(t, nil)
		for _, tc := range []struct {
			size int
			lost time.Duration
		}{{1024, 100 * time.Millisecond}, {16<<10 + 8<<10, 0}} { // of the second, it is known how much more comes
			size = tc.size
			begun := time.Now()
			if _, err := r.get(t.Context()); err != nil || time.Since(begun) > tc.lost {
				t.Errorf("%d bytes: %v after %v", size, err, time.Since(begun))
			}
		}
	})
}

// TestShortAnswerOfAPrinterThatStarts: with the quirk, a packet without bytes and silence behind it end a body.
func TestShortAnswerOfAPrinterThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r := plug(t, 1, answering(func(p *peer, _ *http.Request, _ []byte) string {
			if n++; n%2 == 0 {
				return okay
			}
			p.in.Fail(zeroRead(int64(len("HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nbusy"))))
			return "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nbusy"
		}))
		r.open(t, func(o *ippusb.Options) { o.Quirks.ZLPEnds = true })
		for range 2 {
			if got, err := r.get(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || got != "busy" {
				t.Errorf("%q, %v", got, err)
			}
			r.mustGet(t)
		}
	})
}

// TestLittleMemory: where the kernel has no room for a transfer, smaller ones go, both ways.
func TestLittleMemory(t *testing.T) {
	for _, room := range []int{512, 9000} {
		synctest.Test(t, func(t *testing.T) {
			r := plug(t, 1, answering(func(_ *peer, _ *http.Request, b []byte) string {
				return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
			})).open(t, nil)
			r.plugged.Memory(room)
			resp, err := r.RoundTrip(request(t.Context(), "POST", "/", io.MultiReader(strings.NewReader(big(200_000)))))
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 200_000)
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != big(200_000) {
				t.Errorf("with room for %d bytes: %v, or another answer", room, err)
			}
		})
	}
}

// TestTransferFaults: those that lose nothing are overcome; the others put the printer out of step.
func TestTransferFaults(t *testing.T) {
	for rule, tc := range faultCases {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				long := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n%s", big(100000))
				r := plug(t, 2, fixed(long)).open(t, nil)
				r.ins[0].Fail(tc.in...)
				r.outs[0].Fail(tc.out...)
				resp, err := r.RoundTrip(request(t.Context(), "POST", "/", io.MultiReader(strings.NewReader(big(100000)))))
				if err == nil {
					var b []byte
					if b, err = io.ReadAll(resp.Body); err == nil && string(b) != big(100000) {
						t.Error("the answer is another")
					}
				}
				synctest.Wait()
				if !errors.Is(err, tc.want) || len(r.breaks()) != 0 != (tc.want != nil) {
					t.Errorf("got %v, Broken %v, want %v", err, r.breaks(), tc.want)
				}
				if s := r.Stats(); s.Busy != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}
