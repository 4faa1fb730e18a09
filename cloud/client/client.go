package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

const (
	maxAnswer      = 4 << 20  // bytes; a full page of devices stays below
	maxSchedule    = 32 << 20 // bytes; a full page of deliveries, and what became of a proposal of a hundred thousand changes, stay below
	maxProblem     = 64 << 10
	defaultTimeout = 30 * time.Second
)

// ErrNotModified is returned by a read whose caller has the present version.
var ErrNotModified = fmt.Errorf("not modified: %w", mfpgate.ErrUnchanged)

// ErrAnswer is returned for an answer that is no document of this API: too long, not JSON, or a redirect.
var ErrAnswer = errors.New("not an answer of a region")

// Error is a refusal by the region, or by something before it that answers in its place.
type Error struct {
	Problem    api.Problem
	RetryAfter time.Duration // 0: the answer names none
}

// Error is the problem's text.
func (e *Error) Error() string { return e.Problem.Error() }

// Reason is the problem's stable word, or "" if the answer was no problem of a region.
func (e *Error) Reason() mfpgate.Reason { return mfpgate.Reason(e.Problem.Reason()) }

// Delay is RetryAfter.
func (e *Error) Delay() time.Duration { return e.RetryAfter }

// Is says what the refusal means for what comes next: mfpgate.ErrStale if what was sent was computed from what has changed since,
// mfpgate.ErrRefused if the same call will be refused again. Neither is for one that may go well another time, or with another token.
func (e *Error) Is(target error) bool {
	status := e.Problem.Status
	stale := status == http.StatusPreconditionFailed || e.Problem.Reason() == api.StaleSnapshot
	switch target {
	case mfpgate.ErrStale:
		return stale
	case mfpgate.ErrRefused:
		passing := status >= 500 || status == http.StatusUnauthorized || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests ||
			status == http.StatusProxyAuthRequired || status == http.StatusTooEarly
		return !stale && !passing
	}
	return false
}

// Options say which region and as whom. URL, Gateway, Token and Clock are required.
type Options struct {
	URL       string // https://host[:port], without a path
	Gateway   string
	Token     mfpgate.Secret
	Clock     mfpgate.Clock
	RootCAs   *x509.CertPool                        // nil: the system's
	Proxy     func(*http.Request) (*url.URL, error) // nil: none
	UserAgent string                                // "": mfpgate
	Timeout   time.Duration                         // of one call with its answer; 0: 30 s
}

// Client calls one region as one gateway. It is safe for concurrent use.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
}

// New checks the options. It makes no connection.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("cloud url: %w", err)
	}
	switch {
	case base.Host == "" || strings.Trim(base.Path, "/") != "" || base.User != nil || base.RawQuery != "":
		return nil, fmt.Errorf("cloud url %q: must be https://host[:port] and nothing more", base.Redacted())
	case base.Scheme != "https" && !(base.Scheme == "http" && mfpgate.Loopback(base.Hostname())):
		return nil, fmt.Errorf("cloud url %q: must start with https://; plain http is for loopback addresses only", base.Redacted())
	case o.Gateway == "" || o.Token == "":
		return nil, errors.New("cloud: gateway id and token are required")
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.UserAgent == "" {
		o.UserAgent = "mfpgate"
	}
	return &Client{o: o, base: base, http: &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: o.Proxy, TLSClientConfig: &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: o.Timeout, IdleConnTimeout: 90 * time.Second,
			MaxIdleConns: 4, MaxResponseHeaderBytes: 32 << 10,
		},
	}}, nil
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Contract returns the gateway's contract and its entity tag. With the tag of the version that the caller has ("" for
// none) it returns ErrNotModified if that is still in force. An answer that breaks the contract's rules is ErrAnswer, so
// that the caller keeps its last known good.
func (c *Client) Contract(ctx context.Context, etag string) (api.Contract, string, error) {
	var out api.Contract
	tag, err := c.call(ctx, http.MethodGet, c.gateway("contract"), header{"If-None-Match": etag}, nil, &out)
	if err != nil {
		return api.Contract{}, "", fmt.Errorf("contract: %w", err)
	}
	if err := out.Check(calendar.Texts{}); err != nil {
		return api.Contract{}, "", fmt.Errorf("contract: %w: %v", ErrAnswer, err)
	}
	return out, tag, nil
}

// Device returns what the region has of a device, and its entity tag.
func (c *Client) Device(ctx context.Context, id mfpgate.DeviceID) (api.Device, string, error) {
	var out api.Device
	tag, err := c.call(ctx, http.MethodGet, c.gateway("devices", string(id)), nil, nil, &out)
	if err != nil {
		return api.Device{}, "", fmt.Errorf("device %s: %w", id, err)
	}
	return out, tag, nil
}

// PutDevice tells the region of a device and returns the new entity tag. etag is that of the version to replace, or ""
// to create the device; *Error with status 412 means that the region has another version.
func (c *Client) PutDevice(ctx context.Context, d api.Device, etag string) (string, error) {
	condition := header{"If-Match": etag}
	if etag == "" {
		condition = header{"If-None-Match": "*"}
	}
	tag, err := c.call(ctx, http.MethodPut, c.gateway("devices", d.DeviceID), condition, d, nil)
	if err != nil {
		return "", fmt.Errorf("put device %s: %w", d.DeviceID, err)
	}
	return tag, nil
}

// Devices returns one page of the devices that the region has of this gateway. cursor is "" for the first page, then
// the page's NextCursor until that is empty.
func (c *Client) Devices(ctx context.Context, cursor string) (api.Page[api.DeviceEntry], error) {
	u := c.gateway("devices")
	if cursor != "" {
		u.RawQuery = url.Values{"cursor": {cursor}}.Encode()
	}
	var out api.Page[api.DeviceEntry]
	if _, err := c.call(ctx, http.MethodGet, u, nil, nil, &out); err != nil {
		return out, fmt.Errorf("devices: %w", err)
	}
	return out, nil
}

type header map[string]string

func (c *Client) gateway(parts ...string) *url.URL {
	return c.base.JoinPath(append([]string{"v1", "gateways", url.PathEscape(c.o.Gateway)}, escaped(parts)...)...)
}

func escaped(parts []string) []string {
	out := make([]string, len(parts))
	for i, p := range parts {
		out[i] = url.PathEscape(p)
	}
	return out
}

func (c *Client) call(ctx context.Context, method string, u *url.URL, h header, in, out any) (etag string, err error) {
	return c.callUpTo(ctx, maxAnswer, method, u, h, in, out)
}

// callUpTo is call with a bound on the answer, in bytes.
func (c *Client) callUpTo(ctx context.Context, bound int64, method string, u *url.URL, h header, in, out any) (etag string, err error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return "", err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return "", err
	}
	for name, value := range h {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("Authorization", "Bearer "+c.o.Token.Reveal())
	req.Header.Set("User-Agent", c.o.UserAgent)
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified:
		return "", ErrNotModified
	case res.StatusCode >= 400:
		return "", c.refusal(res)
	case res.StatusCode >= 300:
		return "", fmt.Errorf("%w: redirect to %q", ErrAnswer, clip(res.Header.Get("Location")))
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, bound+1))
	if err != nil {
		return "", err
	}
	if int64(len(data)) > bound {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrAnswer, bound)
	}
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			return "", fmt.Errorf("%w: %v", ErrAnswer, err)
		}
	}
	return res.Header.Get("ETag"), nil
}

// refusal reads a problem; an answer that is none, say of a proxy on the way, becomes one by its status.
func (c *Client) refusal(res *http.Response) error {
	e := &Error{RetryAfter: RetryAfter(res.Header, c.o.Clock.Now())}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	if err != nil || json.Unmarshal(data, &e.Problem) != nil || e.Problem.Title == "" {
		e.Problem = api.Problem{Type: "about:blank", Title: http.StatusText(res.StatusCode)}
	}
	e.Problem.Status = res.StatusCode // not what the body claims
	return e
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
