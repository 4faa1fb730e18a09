package endpoint_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

const deadline = 30 * time.Second

func TestMain(m *testing.M) {
	lan.Alone()
	m.Run()
}

// publisher keeps what is published.
type publisher struct {
	mu    sync.Mutex
	there []dnssd.Publication
}

func (p *publisher) Publish(x dnssd.Publication) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.there = append(p.there, x)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range p.there {
			if p.there[i].Name == x.Name {
				p.there = append(p.there[:i], p.there[i+1:]...)
				return
			}
		}
	}, nil
}

func (p *publisher) published() []dnssd.Publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]dnssd.Publication(nil), p.there...)
}

func (p *publisher) Host() string { return "mfpgate-gate.local" }

func (p *publisher) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// newEndpoints makes Endpoints that end with the test.
func newEndpoints(t *testing.T, edit func(*endpoint.Options)) *endpoint.Endpoints {
	t.Helper()
	o := endpoint.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Store: memory.New(), Share: endpoint.Local, Host: "gate.example",
		Publisher: &publisher{}}
	if edit != nil {
		edit(&o)
	}
	e, err := endpoint.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func serve(t *testing.T, e *endpoint.Endpoints, key string, rt http.RoundTripper) *endpoint.Endpoint {
	t.Helper()
	p, err := e.Serve(t.Context(), key, rt, endpoint.About{Make: "Rigworks", Model: "Composite 100"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, p) })
	return p
}

func closeNow(t *testing.T, p *endpoint.Endpoint) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
}

// printer is a real HTTP server behind a RoundTripper, as a printer is behind its USB.
func printer(t *testing.T, h http.Handler) http.RoundTripper {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	rt := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}, DisableCompression: true}
	t.Cleanup(rt.CloseIdleConnections)
	return rt
}

// ippPrinter answers as a printer that takes itself for localhost does.
type ippPrinter struct {
	jobs  atomic.Int64
	bytes atomic.Int64
	hosts sync.Map
}

func (p *ippPrinter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.hosts.Store(r.Host, true)
	var m goipp.Message
	if r.Method != http.MethodPost || m.Decode(r.Body) != nil {
		http.Error(w, "no IPP", http.StatusBadRequest)
		return
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	a := goipp.NewResponse(m.Version, goipp.StatusOk, m.RequestID)
	a.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	a.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	switch goipp.Op(m.Code) {
	case goipp.OpGetPrinterAttributes:
		a.Printer.Add(goipp.MakeAttribute("printer-uri-supported", goipp.TagURI, goipp.String("ipp://localhost/ipp/print")))
		a.Printer.Add(goipp.MakeAttribute("printer-make-and-model", goipp.TagText, goipp.String("Rigworks Composite 100")))
		a.Printer.Add(goipp.MakeAttribute("printer-state", goipp.TagEnum, goipp.Integer(3)))
	case goipp.OpPrintJob:
		p.bytes.Add(n)
		a.Job.Add(goipp.MakeAttribute("job-id", goipp.TagInteger, goipp.Integer(p.jobs.Add(1))))
		a.Job.Add(goipp.MakeAttribute("job-uri", goipp.TagURI, goipp.String("ipp://localhost/jobs/1")))
		a.Job.Add(goipp.MakeAttribute("job-state", goipp.TagEnum, goipp.Integer(9)))
		a.Job.Add(goipp.MakeAttribute("job-state-reasons", goipp.TagKeyword, goipp.String("none")))
	default:
		a.Code = goipp.Code(goipp.StatusErrorOperationNotSupported)
	}
	b, err := a.EncodeBytes()
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", goipp.ContentType)
	_, _ = w.Write(b)
}

// roundTripper is a printer that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// unsure commits, and then says that it does not know.
type unsure struct {
	store.Store
	times atomic.Int32
}

func (u *unsure) Update(ctx context.Context, fn func(store.Tx) error) error {
	err := u.Store.Update(ctx, fn)
	if err == nil && u.times.Add(-1) >= 0 {
		return store.ErrUnknown
	}
	return err
}
