package rig

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// ClientVia returns a net/http client that uses the proxy at address, with an account where user is not nil. TLS origins
// are not verified: theirs is the test's own certificate.
func ClientVia(t testing.TB, address string, user *url.Userinfo) *http.Client {
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: address, User: user}),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: Deadline}
}

// Conn is a raw client. Every call has the Deadline, and an error is the test's end.
type Conn struct {
	*net.TCPConn
	in *bufio.Reader
	t  testing.TB
}

// Raw connects to address, from a source address if one is given. The connection goes with the test.
func Raw(t testing.TB, address string, source ...string) *Conn {
	t.Helper()
	var d net.Dialer
	if len(source) > 0 {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source[0])}
	}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &Conn{conn.(*net.TCPConn), bufio.NewReader(conn), t}
}

func (c *Conn) arm() { _ = c.SetDeadline(time.Now().Add(Deadline)) }

// Send writes text as it is.
func (c *Conn) Send(text string) {
	c.t.Helper()
	c.arm()
	if _, err := io.WriteString(c.TCPConn, text); err != nil {
		c.t.Fatalf("send %.40q: %v", text, err)
	}
}

// Answer reads one response to a request of that method, with its body.
func (c *Conn) Answer(method string) (*http.Response, string) {
	c.t.Helper()
	c.arm()
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read the answer to %s: %v", method, err)
	}
	if method == http.MethodConnect && resp.StatusCode == http.StatusOK {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read the body of %s: %v", resp.Status, err)
	}
	return resp, string(body)
}

// Connect asks for a tunnel, with further header lines, and returns the answer; a refusal has a body.
func (c *Conn) Connect(target string, lines ...string) (*http.Response, string) {
	c.t.Helper()
	c.Send(ConnectRequest(target, lines...))
	return c.Answer(http.MethodConnect)
}

// ConnectRequest is the text of a CONNECT.
func ConnectRequest(target string, lines ...string) string {
	return fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, target, strings.Join(append(lines, ""), "\r\n"))
}

// Expect reads exactly this text.
func (c *Conn) Expect(text string) {
	c.t.Helper()
	c.arm()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c.in, got); err != nil || string(got) != text {
		c.t.Fatalf("got %.80q (%v), want %.80q", got[:n], err, text)
	}
}

// Rest reads to the end and returns what came, and the error that ended it if it was not the end of the stream.
func (c *Conn) Rest() (string, error) {
	c.arm()
	rest, err := io.ReadAll(c.in)
	return string(rest), err
}

// ExpectEnd reads the end of the stream.
func (c *Conn) ExpectEnd() {
	c.t.Helper()
	if rest, err := c.Rest(); rest != "" || err != nil {
		c.t.Fatalf("got %.80q and %v, want the end of the stream", rest, err)
	}
}

// Reset breaks the connection with a RST.
func (c *Conn) Reset() {
	_ = c.SetLinger(0)
	_ = c.Close()
}
