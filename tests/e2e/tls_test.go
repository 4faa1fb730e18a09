package e2e_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// What the first bytes of a client are decides whether a tunnel lives. No byte of a refused one reaches the origin.
func TestFirstBytesOfATunnel(t *testing.T) {
	match, others := clientHello(t, "localhost"), clientHello(t, "evil.example")
	none := clientHello(t, "")
	// crypto/tls sends no address as a name; OpenSSL does. Both names have nine bytes.
	literal := strings.Replace(match, "localhost", "127.0.0.1", 1)
	for _, c := range []struct {
		rule, options, host string
		first               string
		outcome             string // "" passes
	}{
		{"the name of the CONNECT", "", "localhost", match, ""},
		{"the name in capitals", "", "LOCALHOST", match, ""},
		{"the name with a final dot", "", "localhost.", match, ""},
		{"another name", "", "localhost", others, "sni-mismatch"},
		{"a name for an address", "", "127.0.0.1", match, "sni-mismatch"},
		{"the address of the CONNECT", "", "127.0.0.1", literal, ""},
		{"an address for a name", "", "localhost", literal, "sni-mismatch"},
		{"no name", "", "localhost", none, ""},
		{"another name under sni: any", "sni: any", "localhost", others, ""},
		{"another name under sni: any, tls: required", "sni: any, tls: required", "localhost", others, ""},
		{"another name under tls: required", "tls: required", "localhost", others, "sni-mismatch"},
		{"no TLS", "", "localhost", "SSH-2.0-x\r\n", ""},
		{"HTTP inside", "", "localhost", "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", ""},
		{"no TLS under tls: required", "tls: required", "localhost", "SSH-2.0-x\r\n", "not-tls"},
		{"one byte of no TLS under tls: required", "tls: required", "localhost", "S", "not-tls"},
		{"no TLS under sni: any, tls: required", "sni: any, tls: required", "localhost", "SSH-2.0-x\r\n", "not-tls"},
		{"a damaged hello", "", "localhost", "\x16\x03\x01\x00\x10\x01\xff\xff\xff" + strings.Repeat("x", 12), "hello-malformed"},
		{"a record that is no hello", "", "localhost", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "hello-malformed"},
		{"a damaged hello under sni: any", "sni: any", "localhost", "\x16\x03\x01\x00\x10\x01\xff\xff\xff" + strings.Repeat("x", 12), ""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			origin := rig.Listen(t, func(conn *net.TCPConn) {
				b := make([]byte, len(c.first))
				n, _ := io.ReadFull(conn, b)
				got <- string(b[:n])
				_, _ = io.WriteString(conn, "seen")
			})
			options := c.options
			if options != "" {
				options = ", " + options
			}
			g := rig.Start(t, "  allow:\n    - {host: localhost, ports: ["+origin.Port+"], private: true"+options+"}\n"+
				"    - {host: 127.0.0.1, ports: ["+origin.Port+"], private: true"+options+"}\n")
			for _, segments := range []string{"one segment", "single bytes"} {
				conn := g.Raw(t)
				conn.Connect(c.host + ":" + origin.Port)
				if err := conn.SetNoDelay(true); err != nil {
					t.Fatal(err)
				}
				var err error
				if segments == "one segment" {
					_, err = conn.Write([]byte(c.first))
				}
				for i := 0; i < len(c.first) && segments != "one segment" && err == nil; i++ {
					_, err = conn.Write([]byte{c.first[i]})
				}
				if c.outcome == "" {
					if err != nil {
						t.Fatal(err)
					}
					if first := rig.Wait(t, "the origin has the bytes", got); first != c.first {
						t.Errorf("%s: the origin got %.40q", segments, first)
					}
					conn.Expect("seen")
					continue
				}
				if rest, _ := conn.Rest(); rest != "" {
					t.Errorf("%s: the client got %q", segments, rest)
				}
				if first := rig.Wait(t, "the origin is closed", got); first != "" {
					t.Errorf("%s: the origin got %.40q", segments, first)
				}
			}
			if c.outcome == "" {
				return
			}
			g.Log.Event(t, event.RelayClosed, field.Outcome, c.outcome, field.BytesUp, 0)
			rig.Until(t, "the metric counts both", func() bool {
				return g.Metric(t, `mfpgate_relay_tunnels_total{outcome="`+c.outcome+`"}`) == 2
			})
		})
	}
}

// Who speaks first is not known beforehand: the server's words pass while the client's are awaited, and TLS goes through
// untouched with the origin's own certificate.
func TestTLSGoesThrough(t *testing.T) {
	server, port := rig.HTTP(t, true, hello)
	g := rig.Start(t, "  allow: [{host: localhost, ports: ["+port+"], private: true, tls: required}]\n")
	client := g.Client(t)
	resp, err := client.Get("https://localhost:" + port + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "GET /x 0" {
		t.Errorf("got %q, %v", body, err)
	}
	if !resp.TLS.PeerCertificates[0].Equal(server.Certificate()) {
		t.Error("the certificate is not the origin's")
	}
	if v := resp.TLS.Version; v != tls.VersionTLS13 {
		t.Errorf("the version is %x", v)
	}
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}
