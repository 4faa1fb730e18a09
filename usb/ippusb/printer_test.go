package ippusb_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

// printing is a transport to a printer with net/http's server and goipp's decoder behind its interfaces.
func printing(tb testing.TB) (*ippusb.Transport, *model.Printer) {
	printer := model.NewPrinter("A")
	b := membus.New()
	plugged := b.Plug(printer.Device, "1-1")
	tb.Cleanup(plugged.Unplug)
	h := must(b.Open(tb.Context(), plugged.Device()))
	tb.Cleanup(func() { h.Close() })
	tr := must(ippusb.New(ippusb.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Handle: h,
		Interfaces: ippInterfaces(plugged.Device()), Broken: func(err error) { tb.Error(err) }}))
	tb.Cleanup(func() { tr.Close() })
	return tr, printer
}

// printJob is the request's beginning, before the document.
func printJob() []byte {
	m := goipp.NewRequest(goipp.DefaultVersion, goipp.OpPrintJob, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String("ipp://localhost/ipp/print")))
	return must(m.EncodeBytes())
}

// print sends a document.
func print(tb testing.TB, client *http.Client, address string, document io.Reader) {
	req := must(http.NewRequestWithContext(tb.Context(), "POST", address+"/ipp/print", io.MultiReader(bytes.NewReader(printJob()), document)))
	req.Header.Set("Content-Type", "application/ipp")
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var m goipp.Message
	if err := m.Decode(resp.Body); err != nil || m.Code >= 0x100 {
		tb.Fatalf("%v: %v", goipp.Status(m.Code), err)
	}
}

// printed compares what the printer got, by length and digest, with documents of which the n-th has sizes[n] bytes.
func printed(t *testing.T, printer *model.Printer, sizes ...int) {
	t.Helper()
	var got, want []string
	for _, d := range printer.IPP.Documents() {
		got = append(got, fmt.Sprint(d.Bytes, d.SHA256, d.Cut))
	}
	for _, n := range sizes {
		h := sha256.New()
		_, _ = io.Copy(h, document(n))
		want = append(want, fmt.Sprint(n, hex.EncodeToString(h.Sum(nil)), false))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the printer got (-want +got):\n%s", diff)
	}
}

// document is one of n bytes that a printer cannot guess.
func document(n int) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), int64(n)) }

func TestPrintsToAPrinter(t *testing.T) {
	tr, printer := printing(t)
	if err := tr.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: tr}
	sizes := []int{0, 1, 16 << 10, 100_001, 20 << 20}
	for _, n := range sizes {
		print(t, client, "http://printer", document(n))
	}
	printed(t, printer, sizes...)
	if s := tr.Stats(); s.Busy != 0 {
		t.Errorf("%+v", s)
	}
	for _, r := range printer.IPP.Requests() {
		if !r.Whole || r.Host != "localhost" || r.Proto != "HTTP/1.1" {
			t.Errorf("%+v", r)
		}
	}
	if n := printer.IPP.Connections(); n != 2 {
		t.Errorf("the printer ended connections: it had %d on 2 interfaces", n)
	}
}

// TestBehindAReverseProxy: the transport serves net/http's own, whose bodies end with their handlers.
func TestBehindAReverseProxy(t *testing.T) {
	tr, printer := printing(t)
	to := must(url.Parse("http://printer"))
	srv := httptest.NewServer(&httputil.ReverseProxy{Transport: tr, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorLog: log.New(io.Discard, "", 0)})
	defer srv.Close()
	print(t, srv.Client(), srv.URL, document(300_000))
	print(t, srv.Client(), srv.URL, document(300))
	printed(t, printer, 300_000, 300)

	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	go func() {
		_, _ = io.Copy(out, io.MultiReader(bytes.NewReader(printJob()), document(300_000)))
		cancel()                                 // and the connection breaks
		_ = out.CloseWithError(context.Canceled) // net/http may wait for the body's Read
	}()
	req := must(http.NewRequestWithContext(ctx, "POST", srv.URL+"/ipp/print", in))
	req.Header.Set("Content-Type", "application/ipp")
	if _, err := srv.Client().Do(req); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	print(t, srv.Client(), srv.URL, document(1))
	print(t, srv.Client(), srv.URL, document(1)) // each interface still works
	within, done := context.WithTimeout(t.Context(), 10*time.Second)
	defer done()
	for len(printer.IPP.Documents()) != 5 { // the proxy may not have seen yet that the connection broke
		if mfpgate.Wait(within, mfpgate.SystemClock{}, time.Millisecond) != nil {
			t.Fatalf("%+v", printer.IPP.Documents())
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestMemoryIsFlat: 64 MiB pass, both ways, through the buffers that the first MiB needed.
func TestMemoryIsFlat(t *testing.T) {
	const size = 64 << 20
	r := plug(t, 1, func(p *peer) {
		p.r = bufio.NewReader(readFunc(func(b []byte) (int, error) { return p.out.Read(p.ctx, b) })) // which remembers nothing
		for {
			req, err := http.ReadRequest(p.r)
			if err != nil {
				return
			}
			n, _ := io.Copy(io.Discard, req.Body)
			p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n))
			_, _ = io.CopyN(readFrom(func(b []byte) (int, error) { return p.in.Write(p.ctx, b) }), endless{}, n)
		}
	}).open(t, nil)
	both := func(n int64) {
		resp := must(r.RoundTrip(request(t.Context(), "POST", "/", io.LimitReader(endless{}, n))))
		if got, err := io.Copy(io.Discard, resp.Body); got != n || err != nil {
			t.Errorf("%d bytes came back: %v", got, err)
		}
	}
	both(1 << 20)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	both(size)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

type readFrom func([]byte) (int, error)

func (f readFrom) Write(p []byte) (int, error) { return f(p) }

// BenchmarkPrintJob against BenchmarkBare is what the transport costs.
func BenchmarkPrintJob(b *testing.B) {
	const size = 20 << 20
	tr, _ := printing(b)
	client := &http.Client{Transport: tr}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		print(b, client, "http://printer", io.LimitReader(endless{}, size))
	}
}

// BenchmarkSink is a request to a printer that does nothing with it, and BenchmarkBare writes to the same.
func BenchmarkSink(b *testing.B) {
	const size = 20 << 20
	r := plug(b, 1, sink).open(b, nil)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		resp := must(r.RoundTrip(request(b.Context(), "POST", "/", io.LimitReader(endless{}, size))))
		resp.Body.Close()
	}
}

func BenchmarkBare(b *testing.B) {
	const size = 20 << 20
	r := plug(b, 1, sink)
	h := must(r.handle(b))
	c := must(h.Claim(b.Context(), ippInterfaces(r.plugged.Device())[0]))
	defer c.Close()
	piece := make([]byte, 128<<10)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		for range size / len(piece) {
			if _, err := c.Write(b.Context(), piece); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// sink takes all, and answers whenever a last chunk went by.
func sink(p *peer) {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.out.Read(p.ctx, buf)
		if err != nil {
			return
		}
		if bytes.HasSuffix(buf[:n], []byte("0\r\n\r\n")) {
			p.say(okay)
		}
	}
}
