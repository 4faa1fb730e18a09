package endpoint_test

import (
	"context"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/mdns"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

// browse is what avahi shows on a host: "name host address port text" each, of IPv4.
func browse(t *testing.T, h *lan.Host, service string) (found []string) {
	t.Helper()
	h.Avahi(t)
	out, _ := h.Try(t, "avahi-browse", "-rpt", service) // fails while its own name is probed for
	for line := range strings.Lines(out) {
		if f := strings.SplitN(strings.TrimSpace(line), ";", 10); f[0] == "=" && len(f) == 10 && f[2] == "IPv4" {
			found = append(found, strings.NewReplacer(`\032`, " ", `\040`, "(", `\041`, ")").Replace(f[3])+" "+strings.Join(f[6:], " "))
		}
	}
	return found
}

// running is a gateway's endpoints on a host.
type running struct {
	*endpoint.Endpoints
	stop func()
}

func runOn(t *testing.T, h *lan.Host, o endpoint.Options) running {
	t.Helper()
	o.Clock, o.Log, o.Host = mfpgate.SystemClock{}, telemetry.Discard(), h.Name
	e, err := endpoint.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Do(func() error { return e.Run(ctx) }) }()
	r := running{e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(func() {
		if ctx.Err() == nil {
			r.stop()
		}
	})
	return r
}

func serveOn(t *testing.T, h *lan.Host, e running, rt http.RoundTripper) (p *endpoint.Endpoint) {
	t.Helper()
	err := h.Do(func() (err error) {
		p, err = e.Serve(t.Context(), "1209:0001:RIG1", rt, endpoint.About{Make: "Rigworks", Model: "Composite 100", Location: "Floor 3; left",
			UUID: "urn:uuid:01234567-89AB-cdef-0123-456789abcdef", Formats: []string{"application/pdf", "image/urf"}, URF: []string{"CP1", "W8"},
			Color: endpoint.Yes, Duplex: endpoint.No, Scanner: &endpoint.Scanner{Colors: []string{"color"}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPublishedOnTheSitesNetwork(t *testing.T) {
	t.Parallel()
	l := lan.New(t, 3)
	gateway, client, other := l.Gateway(), l.Host(1), l.Host(2)
	gateway.Avahi(t) // beside us
	other.Announce(t, "Rigworks Composite 100", "_ipp._tcp", 631, "rp=ipp/print")
	rt := printer(t, &ippPrinter{})
	o := endpoint.Options{Store: memory.New(), Share: endpoint.LAN, Clients: func(a netip.Addr) bool { return a == gateway.V4 || a == client.V4 }}
	e := runOn(t, gateway, o)
	p := serveOn(t, gateway, e, rt)
	const name = "Rigworks Composite 100 (2)"
	want := name + ` mfpgate-h0.local 10.77.0.1 61000 `
	text := ` "usb_MDL=Composite 100" "usb_MFG=Rigworks" "kind=document" "product=(Rigworks Composite 100)" "priority=40" "adminurl=http://mfpgate-h0.local:61000/" ` +
		`"note=Floor 3; left" "Duplex=F" "Color=T" "URF=CP1,W8" "pdl=application/pdf,image/urf" "UUID=01234567-89ab-cdef-0123-456789abcdef" ` +
		`"ty=Rigworks Composite 100" "rp=ipp/print" "qtotal=1" "txtvers=1"`
	shown := func(h *lan.Host, service, line string) func() bool {
		return func() bool {
			return slices.ContainsFunc(browse(t, h, service), func(got string) bool { return strings.HasPrefix(got, line) })
		}
	}
	rig.Until(t, "the client sees it", shown(client, "_ipp._tcp", want))
	got := browse(t, client, "_ipp._tcp")
	if i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }); i < 0 || !sameTexts(got[i][len(want):], text) {
		t.Errorf("got  %q\nwant %q", got, want+text)
	}
	rig.Until(t, "AirPrint's clients see it", shown(client, "_universal._sub._ipp._tcp", want))
	rig.Until(t, "scanning clients see it", shown(client, "_uscan._tcp", want+`"adminurl=`))
	rig.Until(t, "so does avahi on the gateway", shown(gateway, "_ipp._tcp", want))
	if p.Name() != name {
		t.Errorf("named %q", p.Name())
	}
	test, err := filepath.Abs("testdata/get.ipptool")
	if err != nil {
		t.Fatal(err)
	}
	client.Output(t, "ipptool", "-t", "ipp://10.77.0.1:61000/ipp/print", test)
	if out, err := other.Try(t, "ipptool", "-t", "ipp://10.77.0.1:61000/ipp/print", test); err == nil {
		t.Errorf("a host that is no client got %s", out)
	}

	// The gateway's own querier hears it as anybody does: the registry is told whose port it is.
	sightings := make(chan mfpgate.Sighting, 100)
	q, err := mdns.New(mdns.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Sighted: func(s mfpgate.Sighting) { sightings <- s }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- gateway.Do(func() error { return q.Run(ctx) }) }()
	seen := map[string]bool{}
	for end := time.After(rig.Deadline); len(seen) < 2; {
		select {
		case s := <-sightings:
			if strings.HasSuffix(string(s.ID), "._ipp._tcp.local") && len(s.Endpoints) > 0 {
				seen[s.Name] = true
				ours := slices.ContainsFunc(s.Endpoints, func(at mfpgate.Endpoint) bool { return at.Address == netip.MustParseAddrPort("10.77.0.1:61000") })
				if ours != (s.Name == name) || ours && s.Identity.UUID != "01234567-89ab-cdef-0123-456789abcdef" {
					t.Errorf("ours %v: %+v", ours, s)
				}
			}
		case <-end:
			t.Fatalf("saw %v", seen)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	// It is taken back when it is not shared any more, and when the gateway stops; what it was called is kept.
	if err := gateway.Do(func() error { return e.Reconfigure(endpoint.Local) }); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, "it is gone", func() bool { return !shown(client, "_ipp._tcp", name)() })
	if _, err := client.DialContext(t.Context(), "tcp", "10.77.0.1:61000"); err == nil {
		t.Error("the network still reaches it")
	}
	if err := gateway.Do(func() error { return e.Reconfigure(endpoint.LAN) }); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, "it is back", shown(client, "_ipp._tcp", want))
	e.stop()
	rig.Until(t, "a gateway that stopped is gone", func() bool { return !shown(client, "_ipp._tcp", name)() })
	closeNow(t, p)
	e = runOn(t, gateway, o)
	p = serveOn(t, gateway, e, rt)
	if p.Name() != name || p.Address() != loopback(61000) {
		t.Errorf("after a restart it is %q at %s", p.Name(), p.Address())
	}
	rig.Until(t, "a restarted gateway has its name", shown(client, "_ipp._tcp", want))
	closeNow(t, p)
}

// sameTexts compares in any order: avahi turns it around, or not.
func sameTexts(a, b string) bool {
	split := func(s string) []string {
		all := strings.Split(strings.Trim(strings.TrimSpace(s), `"`), `" "`)
		slices.Sort(all)
		return all
	}
	return slices.Equal(split(a), split(b))
}
