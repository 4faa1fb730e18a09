package e2e_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// hello answers what a client needs to see: who was asked for what.
func hello(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(body))
}

// echo sends back what comes, until its end.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// refused checks an answer against the promise of every refusal: status, Proxy-Status (RFC 9209) with the reason, and a
// sentence that begins with it.
func refused(t *testing.T, resp *http.Response, body string, status int, reason string) {
	t.Helper()
	if resp.StatusCode != status {
		t.Errorf("status is %d, want %d: %s", resp.StatusCode, status, body)
	}
	if got := resp.Header.Get("Proxy-Status"); !strings.HasPrefix(got, "mfpgate-e2e; error=") || !strings.HasSuffix(got, fmt.Sprintf("details=%q", reason)) {
		t.Errorf("Proxy-Status is %q, want the reason %q", got, reason)
	}
	if !strings.HasPrefix(body, reason+": ") {
		t.Errorf("body is %q, want the reason %q first", body, reason)
	}
}

// clientHello returns the first bytes of a TLS client that asks for name ("" sends no server name).
func clientHello(t *testing.T, name string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { // ends when theirs closes
		_ = tls.Client(ours, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
		_ = ours.Close()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(theirs, head); err != nil {
		t.Fatal(err)
	}
	record := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(theirs, record); err != nil {
		t.Fatal(err)
	}
	return string(head) + string(record)
}
