package usb_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

// await waits for a state, in real time.
func await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !reached() {
		select {
		case <-late.Done():
			t.Fatal("not reached: " + what)
		case <-tick.C:
		}
	}
}

// TestServedOverHTTP: real endpoints, real TCP; a printer has its URL on whichever port it is plugged in.
func TestServedOverHTTP(t *testing.T) {
	db := memory.New()
	defer db.Close()
	endpoints, err := endpoint.New(endpoint.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Store: db, Share: endpoint.Off})
	if err != nil {
		t.Fatal(err)
	}
	b := membus.New()
	printers := usb.New(usb.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Bus: b, Store: db,
		Endpoints: endpoints, Sighted: func(mfpgate.Sighting) {}, Every: 2 * time.Millisecond})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- printers.Run(ctx) }() // the test waits for it
	stop := sync.OnceFunc(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	defer stop()
	p := model.New(model.Options{Serial: "S1"})
	at := func(port bus.Port) (url string) {
		await(t, "an endpoint", func() bool {
			if u := printers.Port(id(port)); u != nil {
				url = u.URL
			}
			return url != ""
		})
		return url
	}
	get := func(base string) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Post(base+"/ipp/print", "application/ipp", strings.NewReader("no IPP"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("it answers %s", resp.Status)
		}
	}

	plugged := b.Plug(p.Device, "1-1")
	first := at("1-1")
	get(first)
	u, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if got := printers.Behind(netip.MustParseAddrPort(u.Host)); got != id("1-1") {
		t.Errorf("behind %s is %q", u.Host, got)
	}
	plugged.Unplug()
	plugged = b.Plug(p.Device, "1-4")
	defer plugged.Unplug()
	if second := at("1-4"); second != first {
		t.Errorf("served at %s, and on another port at %s", first, second)
	}
	get(first)

	stop()
	if _, err := http.Post(first, "text/plain", nil); err == nil {
		t.Error("served after Run has ended")
	}
}

// paper takes down what is published.
type paper struct {
	mu   sync.Mutex
	text []string
}

func (p *paper) Publish(all dnssd.Publication) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = nil
	for _, s := range all.Services {
		p.text = append(p.text, s.Type)
		if s.Text != nil {
			p.text = append(p.text, s.Text("gate.local")...)
		}
	}
	return func() {}, nil
}

func (p *paper) Host() string                  { return "gate.local" }
func (p *paper) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (p *paper) has(pair string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.text, pair)
}

// TestWhatIsPublished: once the site's network may use a printer, what it says of itself is published.
func TestWhatIsPublished(t *testing.T) {
	db, paper := memory.New(), &paper{}
	defer db.Close()
	endpoints, err := endpoint.New(endpoint.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Store: db, Share: endpoint.LAN, Publisher: paper})
	if err != nil {
		t.Fatal(err)
	}
	b := membus.New()
	printers := usb.New(usb.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Bus: b, Store: db,
		Endpoints: endpoints, Sighted: func(mfpgate.Sighting) {}, Every: 2 * time.Millisecond})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- printers.Run(ctx) }() // the test waits for it
	defer func() {
		end()
		<-ended
	}()
	p := model.New(model.Options{Serial: "S1"})
	plugged := b.Plug(p.Device, "1-1")
	defer plugged.Unplug()
	await(t, "its UUID is published", func() bool { return paper.has("UUID=" + p.UUID()) })
	asked := func() bool {
		return slices.ContainsFunc(p.IPP.Requests(), func(r model.Request) bool { return r.Path == "/eSCL/ScannerCapabilities" })
	}
	if asked() {
		t.Error("its scanner was asked before anybody may know of it")
	}
	printers.Share(true)
	await(t, "its scanner is asked for", asked)
	await(t, "shown as shared", func() bool { u := printers.Port(id("1-1")); return u != nil && u.Shared })
}

// TestPrintsThroughIPPUSB: a real HTTP server stands in ipp-usb's place, with the same printer behind it.
func TestPrintsThroughIPPUSB(t *testing.T) {
	db := memory.New()
	t.Cleanup(func() { db.Close() })
	theirs, err := endpoint.New(endpoint.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Store: db, Share: endpoint.Off})
	if err != nil {
		t.Fatal(err)
	}
	b := membus.New()
	p := model.New(model.Options{Serial: "S1"})
	plugged := b.Plug(p.Device, "1-1")
	t.Cleanup(plugged.Unplug)
	running := func(o usb.Options) *usb.Printers {
		o.Clock, o.Log, o.Metrics, o.Bus, o.Store = mfpgate.SystemClock{}, telemetry.Discard(), telemetry.NewMetrics(), b, db
		o.Sighted, o.Every = func(mfpgate.Sighting) {}, 2*time.Millisecond
		m := usb.New(o)
		ctx, end := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }() // the cleanup waits for it
		t.Cleanup(func() {
			end()
			<-ended
		})
		return m
	}
	daemon := running(usb.Options{Endpoints: theirs})
	var served string
	await(t, "the daemon serves it", func() bool {
		if u := daemon.Port(id("1-1")); u != nil {
			served = u.URL
		}
		return served != ""
	})
	u, err := url.Parse(served)
	if err != nil {
		t.Fatal(err)
	}
	ours := running(usb.Options{Daemon: &other{port: netip.MustParseAddrPort(u.Host).Port()}})
	await(t, "its port is used", func() bool { u := ours.Port(id("1-1")); return u != nil && u.URL == served })
	doc, digest := document(500_000)
	status, err := ours.Print(t.Context(), id("1-1"), doc, nil)
	if err != nil || status.State != mfpgate.JobCompleted {
		t.Errorf("%+v, %v", status, err)
	}
	if got := p.IPP.Documents(); len(got) != 1 || got[0].SHA256 != digest {
		t.Errorf("it printed %+v", got)
	}
}
