package ipp_test

import (
	"errors"
	"net/http"
	"net/netip"
	"syscall"
	"testing"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
)

// at serves a handler at one path and knows nothing of others.
func at(path string, handler http.Handler) http.Handler {
	mux := http.NewServeMux()
	if path == "/" {
		path = "/{$}"
	}
	mux.Handle(path, handler)
	return mux
}

// TestFind needs the ports of IPP, at addresses of the loopback network that are nobody's.
func TestFind(t *testing.T) {
	p := &printer{t: t, attrs: goipp.Attributes{enum("printer-state", 3)}}
	busy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	login := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	upgrade := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUpgradeRequired) })
	for _, tc := range []struct {
		rule    string
		address string
		clear   http.Handler // at port 631
		secure  http.Handler // at port 443
		want    mfpgate.SightingID
		err     error
		sent    int64
	}{
		{rule: "IPP Everywhere's path", address: "127.64.31.1", clear: at("/ipp/print", p), want: "ipp:ipp://127.64.31.1:631/ipp/print", sent: 1},
		{rule: "the root of an old one", address: "127.64.31.2", clear: at("/", p), want: "ipp:ipp://127.64.31.2:631/", sent: 4},
		{rule: "TLS only", address: "127.64.31.3", secure: at("/ipp/print", p), want: "ipp:ipps://127.64.31.3:443/ipp/print", sent: 2},
		{rule: "sent on to TLS", address: "127.64.31.4", clear: upgrade, secure: at("/ipp", p), want: "ipp:ipps://127.64.31.4:443/ipp", sent: 5},
		{rule: "nothing listens", address: "127.64.31.5", err: syscall.ECONNREFUSED, sent: 2},
		{rule: "busy is found", address: "127.64.31.6", clear: busy, err: ipp.ErrBusy, sent: 1},
		{rule: "a login goes before another page", address: "127.64.31.7", clear: at("/ipp/printer", login), err: ipp.ErrAuth, sent: 6},
		{rule: "a web server is none", address: "127.64.31.8", secure: http.NotFoundHandler(), err: ipp.ErrNotPrinter, sent: 5},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if tc.clear != nil {
				serve(t, tc.address+":631", tc.clear, false)
			}
			if tc.secure != nil {
				serve(t, tc.address+":443", tc.secure, true)
			}
			client, sent := newClient(t)
			s, err := client.Find(t.Context(), netip.MustParseAddr(tc.address))
			if s.ID != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("%q, %v; want %q, %v", s.ID, err, tc.want, tc.err)
			}
			if sent.Load() != tc.sent {
				t.Errorf("%d requests; want %d", sent.Load(), tc.sent)
			}
		})
	}
}
