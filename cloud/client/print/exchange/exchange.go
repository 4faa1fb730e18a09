package exchange

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client"
)

// MaxAnswer is how many bytes of an answer are read.
const MaxAnswer = 64 << 10

const (
	defaultTimeout = 30 * time.Second
	maxURL         = 2048 // bytes
	// userAgent is the same for all: what asks is the gateway.
	userAgent = "mfpgate"
)

// ErrAnswer is returned for an answer that the protocol does not have: too long, not JSON, a name given twice, a redirect.
var ErrAnswer = errors.New("not an answer of a print service")

// Options say how to reach a service.
type Options struct {
	RootCAs *x509.CertPool                        // nil: the system's
	Proxy   func(*http.Request) (*url.URL, error) // nil: none
	Timeout time.Duration                         // of one exchange with its answer; 0: 30 s
	Source  netip.Addr                            // address that connections come from; the zero Addr: the system's choice
}

// idle is how many connections to a service are kept: net/http's own 2 would make a handshake of most of a hundred polls a second.
const idle = 8

// NewHTTP returns a client of which every part has a bound. Its idle connections end by themselves.
func NewHTTP(o Options) *http.Client {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if o.Source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.Source, 0))
	}
	return &http.Client{
		Timeout: o.Timeout, CheckRedirect: stay,
		Transport: &http.Transport{
			Proxy: o.Proxy, TLSClientConfig: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: o.Timeout, IdleConnTimeout: 30 * time.Second,
			MaxIdleConns: idle, MaxIdleConnsPerHost: idle, MaxResponseHeaderBytes: 32 << 10,
		},
	}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Secure parses an absolute URL to which a secret may be sent: https, or http to a loopback address; no user in it, no fragment.
func Secure(text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, fmt.Errorf("url longer than %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("url %q cannot be read", clip(text))
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("url %q names no host", u.Redacted())
	case u.User != nil || u.Fragment != "" || strings.Contains(text, "#"):
		return nil, fmt.Errorf("url %q must have no user and no fragment", u.Redacted())
	case u.Scheme != "https" && !(u.Scheme == "http" && mfpgate.Loopback(u.Hostname())):
		return nil, fmt.Errorf("url %q must start with https://; plain http is for loopback addresses only", u.Redacted())
	}
	return u, nil
}

// Answer is what a service answered, of whatever status but a redirect.
type Answer struct {
	Status int
	Header http.Header
	Body   Object // nil if the answer is no JSON object; never so for a status below 300, but 204
	Now    time.Time
}

// Do makes one exchange. The error wraps ErrAnswer, or is of the network or the context.
func Do(h *http.Client, clock mfpgate.Clock, req *http.Request) (Answer, error) {
	if _, err := Secure(req.URL.String()); err != nil {
		return Answer{}, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json, application/problem+json")
	once := *h
	once.CheckRedirect = stay
	res, err := once.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	out := Answer{Status: res.StatusCode, Header: res.Header, Now: clock.Now()}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return out, fmt.Errorf("%w: status %d, to %q", ErrAnswer, res.StatusCode, clip(withoutQuery(res.Header.Get("Location"))))
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return out, fmt.Errorf("read answer of status %d: %w", res.StatusCode, err)
	case res.StatusCode == http.StatusNoContent:
		return out, nil
	case len(data) > MaxAnswer:
		err = fmt.Errorf("%w: longer than %d bytes", ErrAnswer, MaxAnswer)
	case !isJSON(res.Header.Get("Content-Type")):
		err = fmt.Errorf("%w: %q, not JSON", ErrAnswer, clip(res.Header.Get("Content-Type")))
	default:
		out.Body, err = ParseObject(data)
	}
	if err != nil && res.StatusCode < 300 {
		return out, err
	}
	return out, nil // the status says enough
}

// RetryAfter is how long the service wants to be left alone; 0 if it does not say.
func (a Answer) RetryAfter() time.Duration { return client.RetryAfter(a.Header, a.Now) }

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"))
}

// withoutQuery keeps what a service put into the query of a redirect, maybe a secret, out of an error.
func withoutQuery(location string) string {
	location, _, _ = strings.Cut(location, "?")
	return location
}

func clip(s string) string { return s[:min(len(s), 128)] }
