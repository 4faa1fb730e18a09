package ipp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/OpenPrinting/goipp"
)

// maxHeader bounds the header of an HTTP answer, in bytes.
const maxHeader = 32 << 10

// newTransport makes one connection per request and closes it afterwards; see the package's comment. It uses no proxy, and
// no compression, behind which a short answer could be a long one.
func newTransport() *http.Transport {
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}}
	return &http.Transport{
		DialContext: dialer.DialContext,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			name, _ := ctx.Value(serverName{}).(string)
			secure := tls.Client(conn, tlsConfig(name))
			if err := secure.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, fmt.Errorf("%w: %v", ErrTLS, err)
			}
			return secure, nil
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// serverName keys the name for SNI in a request's context.
type serverName struct{}

// tlsConfig takes what printers have: own certificates, TLS from 1.0 on, key exchange by RSA. The package's comment says why. The
// curves are the classic ones, because a hello with a post-quantum share does not fit into one segment, and old stacks read one.
func tlsConfig(name string) *tls.Config {
	var suites []uint16
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !strings.Contains(suite.Name, "_RC4_") {
			suites = append(suites, suite.ID)
		}
	}
	return &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       suites,
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
	}
}

// exchange sends one request and decodes its answer, whatever the status in it.
func (c *Client) exchange(ctx context.Context, t target, d dialect, names []string) (answer, error) {
	body, err := encode(d.version(), t.asked, d.names(names))
	if err != nil {
		return answer{}, fmt.Errorf("encode request: %w", err)
	}
	ctx, cancel := c.within(ctx, c.timeout)
	defer cancel()
	answered, err := c.post(ctx, t, body)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return answer{}, fmt.Errorf("no answer: %w", cause) // the transport says less: "operation was canceled"
	}
	if err != nil {
		return answer{}, err
	}
	return decode(answered)
}

// post is the HTTP part (RFC 8010 §4): the body of a 200, or an error.
func (c *Client) post(ctx context.Context, t target, body []byte) ([]byte, error) {
	if hostName(t.endpoint.Host) {
		ctx = context.WithValue(ctx, serverName{}, t.endpoint.Host)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://printer/", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	dial := t.dial
	req.URL, req.Host = &dial, t.host
	req.Header = http.Header{
		"Content-Type": {goipp.ContentType},
		"Accept":       {goipp.ContentType},
		"User-Agent":   {c.userAgent},
	}
	c.sent()
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, sorted(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, httpFailure(resp) // its body is not read: it may never come
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); strings.HasPrefix(media, "text/") {
		return nil, fmt.Errorf("%w: a page of %s", ErrNotIPP, media)
	}
	if resp.ContentLength > MaxAnswer {
		return nil, ErrTooLarge
	}
	var answered bytes.Buffer
	if _, err := answered.ReadFrom(io.LimitReader(resp.Body, MaxAnswer+1)); err != nil {
		return nil, sorted(err)
	}
	if answered.Len() > MaxAnswer {
		return nil, ErrTooLarge
	}
	return answered.Bytes(), nil
}

// sorted tells an error of the network, which stays as it is, from an answer that is no HTTP.
func sorted(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, ErrTLS), errors.As(err, &network), errors.Is(err, net.ErrClosed):
		return err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: connection closed early", ErrNotIPP)
	}
	return fmt.Errorf("%w: %v", ErrNotIPP, err)
}

// within is context.WithTimeout by the client's clock.
func (c *Client) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := c.clock.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}
