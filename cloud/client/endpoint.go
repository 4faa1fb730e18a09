package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// EndpointOptions say which server of a region, and with which credential. URL and Clock are required.
type EndpointOptions struct {
	URL       string         // https://host[:port], without a path
	Token     mfpgate.Secret // "": none is sent
	Clock     mfpgate.Clock
	RootCAs   *x509.CertPool                        // nil: the system's
	Proxy     func(*http.Request) (*url.URL, error) // nil: none
	UserAgent string                                // "": mfpgate
	Timeout   time.Duration                         // of one call with its answer; 0: 30 s
}

// Endpoint calls one server with one credential, under the promises of the package. It is safe for concurrent use.
type Endpoint struct {
	o    EndpointOptions
	base *url.URL
	http *http.Client
}

// Dial checks the options. It makes no connection.
func Dial(o EndpointOptions) (*Endpoint, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	switch {
	case base.Host == "" || strings.Trim(base.Path, "/") != "" || base.User != nil || base.RawQuery != "":
		return nil, fmt.Errorf("url %q: must be https://host[:port] and nothing more", base.Redacted())
	case base.Scheme != "https" && !(base.Scheme == "http" && mfpgate.Loopback(base.Hostname())):
		return nil, fmt.Errorf("url %q: must start with https://; plain http is for loopback addresses only", base.Redacted())
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.UserAgent == "" {
		o.UserAgent = "mfpgate"
	}
	return &Endpoint{o: o, base: base, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: o.Proxy, TLSClientConfig: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
			MaxIdleConns: 4, MaxResponseHeaderBytes: 32 << 10,
		},
	}}, nil
}

// Close frees idle connections.
func (e *Endpoint) Close() { e.http.CloseIdleConnections() }

// Path is the URL of a path and, below it, segments that are not escaped.
func (e *Endpoint) Path(path string, segments ...string) *url.URL {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	return e.base.JoinPath(path).JoinPath(escaped...)
}

// Call is one exchange.
type Call struct {
	Method  string
	URL     *url.URL          // of Path
	Header  map[string]string // those without a value are not sent
	In, Out any               // JSON documents; nil: none
	Bound   int64             // of the answer, in bytes; 0: 4 MiB
	Timeout time.Duration     // 0: the endpoint's
}

// Call returns the answer's entity tag. A refusal is *Error, what is no answer of a region ErrAnswer; 304 is ErrNotModified.
func (e *Endpoint) Call(ctx context.Context, call Call) (etag string, err error) {
	if call.Bound <= 0 {
		call.Bound = maxAnswer
	}
	if call.Timeout <= 0 {
		call.Timeout = e.o.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, call.Timeout)
	defer cancel()
	req, err := e.request(ctx, call)
	if err != nil {
		return "", err
	}
	res, err := e.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified:
		return "", ErrNotModified
	case res.StatusCode >= 400:
		return "", e.refusal(res)
	case res.StatusCode >= 300:
		return "", fmt.Errorf("%w: redirect to %q", ErrAnswer, clip(res.Header.Get("Location")))
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, call.Bound+1))
	if err != nil {
		return "", err
	}
	if int64(len(data)) > call.Bound {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrAnswer, call.Bound)
	}
	if call.Out != nil {
		if err := json.Unmarshal(data, call.Out); err != nil {
			return "", fmt.Errorf("%w: %v", ErrAnswer, err)
		}
	}
	return res.Header.Get("ETag"), nil
}

func (e *Endpoint) request(ctx context.Context, call Call) (*http.Request, error) {
	var body io.Reader
	if call.In != nil {
		data, err := json.Marshal(call.In)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, call.URL.String(), body)
	if err != nil {
		return nil, err
	}
	for name, value := range call.Header {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if call.In != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if e.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+e.o.Token.Reveal())
	}
	req.Header.Set("User-Agent", e.o.UserAgent)
	return req, nil
}

// refusal reads a problem; an answer that is none, say of a proxy on the way, becomes one by its status.
func (e *Endpoint) refusal(res *http.Response) error {
	out := &Error{RetryAfter: RetryAfter(res.Header, e.o.Clock.Now())}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	if err != nil || json.Unmarshal(data, &out.Problem) != nil || out.Problem.Title == "" {
		out.Problem = api.Problem{Type: "about:blank", Title: http.StatusText(res.StatusCode)}
	}
	out.Problem.Status = res.StatusCode // not what the body claims
	return out
}

// RetryAfter reads RFC 9110 §10.2.3 in both its forms; 0 if there is none, and at most one hour: a clock that is wrong
// at one end must not silence the other.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), time.Hour)
}

func clip(s string) string { return s[:min(len(s), 128)] }
