package endpoint_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

func TestIPPTool(t *testing.T) {
	ipptool := need.Program(t, "ipptool")
	model := &ippPrinter{}
	p := serve(t, newEndpoints(t, nil), "a", printer(t, model))
	uri := "ipp://" + p.Address().String() + "/ipp/print"
	document := filepath.Join(t.TempDir(), "a.pdf")
	if err := os.WriteFile(document, bytes.Repeat([]byte("page "), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-t", uri, "testdata/get.ipptool"},
		{"-t", "-f", document, uri, "print-job.test"},       // Content-Length
		{"-t", "-c", "-f", document, uri, "print-job.test"}, // chunked
	} {
		if out, err := exec.Command(ipptool, args...).CombinedOutput(); err != nil {
			t.Errorf("ipptool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if n := model.bytes.Load(); n != 2*5<<20 {
		t.Errorf("the printer got %d bytes of two documents, want %d", n, 2*5<<20)
	}
	model.hosts.Range(func(host, _ any) bool {
		if host != "localhost" {
			t.Errorf("the printer was called %s, want localhost", host)
		}
		return true
	})
}

// TestTheGatewaysPoller asks as telemetry does, with nothing shared.
func TestTheGatewaysPoller(t *testing.T) {
	p := serve(t, newEndpoints(t, func(o *endpoint.Options) { o.Share = endpoint.Off }), "a", printer(t, &ippPrinter{}))
	c := ipp.New(ipp.Options{Clock: mfpgate.SystemClock{}})
	defer c.Close()
	got, err := c.Read(t.Context(), mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: p.Address(), Path: "ipp/print"}, mfpgate.PartStatus)
	if err != nil || got.Status == nil || got.Status.State != mfpgate.PrinterIdle {
		t.Errorf("%+v %v", got, err)
	}
}

func TestCurlPrints(t *testing.T) {
	model := &ippPrinter{}
	p := serve(t, newEndpoints(t, nil), "a", printer(t, model))
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	file := filepath.Join(dir, "job")
	if err := os.WriteFile(file, append(printJob(t), bytes.Repeat([]byte{7}, 3<<20)...), 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"-H", "Expect: 100-continue"}, {"-H", "Transfer-Encoding: chunked"}, {"--http1.0"}} {
		status, body := curl(t, uint32(os.Geteuid()), append(more, "-H", "Content-Type: application/ipp", "--data-binary", "@"+file, p.URL()+"/ipp/print")...)
		if status != "200" {
			t.Errorf("%s: %s %q", more, status, body)
		}
	}
	if n := model.bytes.Load(); n != 4*3<<20 {
		t.Errorf("the printer got %d bytes, want %d", n, 4*3<<20)
	}
}

func printJob(t *testing.T) []byte {
	t.Helper()
	m := goipp.NewRequest(goipp.MakeVersion(2, 0), goipp.OpPrintJob, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String("ipp://localhost/ipp/print")))
	b, err := m.EncodeBytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A document of any size takes the same memory.
func TestMemoryIsFlatOverALargeJob(t *testing.T) {
	size := int64(256 << 20)
	switch {
	case need.Long:
		size = 1 << 30
	case need.Racing:
		size = 64 << 20
	}
	model := &ippPrinter{}
	p := serve(t, newEndpoints(t, nil), "a", printer(t, model))
	head := printJob(t)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak uint64
	watched := &watching{r: io.LimitReader(zeros{}, size), every: size / 64, look: func() {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	}}
	began := time.Now()
	r, err := http.Post(p.URL()+"/ipp/print", "application/ipp", io.MultiReader(bytes.NewReader(head), watched))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	took := time.Since(began)
	if model.bytes.Load() != size || r.StatusCode != 200 {
		t.Fatalf("%s, %d bytes of %d", r.Status, model.bytes.Load(), size)
	}
	grown := int64(peak) - int64(before.HeapInuse)
	t.Logf("%d MiB in %v, %.0f MiB/s, heap grew by %d KiB at most", size>>20, took, float64(size>>20)/took.Seconds(), grown>>10)
	if grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

type watching struct {
	r     io.Reader
	n     int64
	every int64
	look  func()
}

func (w *watching) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.n/w.every != (w.n+int64(n))/w.every {
		w.look()
	}
	w.n += int64(n)
	return n, err
}
