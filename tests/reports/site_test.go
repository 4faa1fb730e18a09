package reports_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// site is some printers and a region, with a front before the region that counts and meddles.
type site struct {
	region   *servertest.Region
	front    *httptest.Server
	printers []*printer.Printer
	tokens   map[string]mfpgate.Secret

	mu     sync.Mutex
	calls  map[string]int                                                  // by method and the path's last fixed part
	meddle func(kind string, w http.ResponseWriter, forward func() func()) // nil: forward
}

func newSite(t *testing.T, printers int) *site {
	t.Helper()
	s := &site{region: servertest.Start(t), calls: map[string]int{}, tokens: map[string]mfpgate.Secret{}}
	to, err := url.Parse(s.region.URL)
	servertest.Must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = s.region.HTTP(t).Transport
	s.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := kindOf(r)
		s.mu.Lock()
		s.calls[kind]++
		meddle := s.meddle
		s.mu.Unlock()
		if meddle == nil {
			proxy.ServeHTTP(w, r)
			return
		}
		meddle(kind, w, func() func() { // the region has it; what is returned gives its answer
			answer := httptest.NewRecorder()
			proxy.ServeHTTP(answer, r)
			return func() {
				for name, values := range answer.Header() {
					w.Header()[name] = values
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(answer.Body.Bytes())
				_ = http.NewResponseController(w).Flush()
			}
		})
	}))
	t.Cleanup(s.front.Close)
	network := printertest.Start(t, printer.SiteOptions{})
	for n := range printers {
		s.printers = append(s.printers, printertest.Add(t, network, printer.Options{Serial: fmt.Sprintf("SER%04d", n),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 77, byte(n + 1)})}, NoSNMP: true}))
	}
	return s
}

// kindOf is PUT devices, POST alerts, GET contract…
func kindOf(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/") // "", v1, gateways, id, what
	if len(parts) < 5 {
		return r.Method
	}
	return r.Method + " " + parts[4]
}

func (s *site) when(meddle func(kind string, w http.ResponseWriter, forward func() func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle = meddle
}

func (s *site) count(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[kind]
}

// config is that of a gateway with the first so many printers.
func (s *site) config(t *testing.T, dir, gateway string, printers int, status string) string {
	t.Helper()
	if s.tokens[gateway] == "" {
		s.tokens[gateway] = s.region.Gateway(t, gateway)
	}
	token := rig.WriteFile(t, dir, "token-"+gateway, s.tokens[gateway].Reveal()+"\n")
	var b strings.Builder
	b.WriteString("  allow: [{host: update.vendor.example, ports: [443]}]\n")
	fmt.Fprintf(&b, "cloud: {url: %q, gateway_id: %s, token: {file: %s}}\n", s.front.URL, gateway, token)
	fmt.Fprintf(&b, "devices:\n  monitoring: polling\n  dns_sd: true\n  polling: {status: %s}\n  static:\n", status)
	for n, p := range s.printers[:printers] {
		at := p.IPP()
		fmt.Fprintf(&b, "    - {name: \"copier %d\", address: %s, uri: \"ipp://%s/ipp/print\", market: us}\n", n, at.Addr(), at)
	}
	if printers == 0 {
		return strings.Replace(b.String(), "  static:\n", "", 1)
	}
	return b.String()
}

// cloud reads the region as a gateway.
func (s *site) cloud(t *testing.T, gateway string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: s.region.URL, Gateway: gateway, Token: s.tokens[gateway], Clock: mfpgate.SystemClock{}, RootCAs: s.region.Roots})
	servertest.Must(t, err)
	t.Cleanup(c.Close)
	return c
}

func alerts(t *testing.T, c *client.Client) (all []api.StoredAlert) {
	t.Helper()
	for cursor := ""; ; {
		page, err := c.Alerts(t.Context(), false, cursor)
		servertest.Must(t, err)
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

func devices(t *testing.T, c *client.Client) []api.DeviceEntry {
	t.Helper()
	page, err := c.Devices(t.Context(), "")
	servertest.Must(t, err)
	return page.Items
}

func known(t *testing.T, g *rig.Gateway) map[string]mfpgate.Device {
	t.Helper()
	var list struct{ Items []mfpgate.Device }
	g.API(t, "devices", &list)
	all := map[string]mfpgate.Device{}
	for _, d := range list.Items {
		all[d.Serial] = d
	}
	return all
}

func degraded(t *testing.T, g *rig.Gateway, reason mfpgate.Reason) string {
	t.Helper()
	for _, d := range g.Status(t).Degraded {
		if d.Reason == reason {
			return d.Text
		}
	}
	return ""
}
