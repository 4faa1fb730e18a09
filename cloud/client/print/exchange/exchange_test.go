package exchange_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

func TestConnectionsComeFromTheSource(t *testing.T) {
	var from string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { from = r.RemoteAddr }))
	defer s.Close()
	c := exchange.NewHTTP(exchange.Options{Source: netip.MustParseAddr("127.0.0.9")})
	defer c.CloseIdleConnections()
	resp, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if at, err := netip.ParseAddrPort(from); err != nil || at.Addr() != netip.MustParseAddr("127.0.0.9") {
		t.Errorf("it came from %s (%v), want 127.0.0.9", from, err)
	}
}
