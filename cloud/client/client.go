package client

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	o        Options
	endpoint *Endpoint
}

// New checks the options. It makes no connection.
func New(o Options) (*Client, error) {
	if o.Gateway == "" || o.Token == "" {
		return nil, errors.New("cloud: gateway id and token are required")
	}
	e, err := Dial(EndpointOptions{URL: o.URL, Token: o.Token, Clock: o.Clock, RootCAs: o.RootCAs, Proxy: o.Proxy, UserAgent: o.UserAgent, Timeout: o.Timeout})
	if err != nil {
		return nil, fmt.Errorf("cloud %w", err)
	}
	o.Timeout = e.o.Timeout
	return &Client{o: o, endpoint: e}, nil
}

// Close frees idle connections.
func (c *Client) Close() { c.endpoint.Close() }

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
	return c.endpoint.Path("/v1/gateways", append([]string{c.o.Gateway}, parts...)...)
}

func (c *Client) call(ctx context.Context, method string, u *url.URL, h header, in, out any) (etag string, err error) {
	return c.callUpTo(ctx, maxAnswer, method, u, h, in, out)
}

// callUpTo is call with a bound on the answer, in bytes.
func (c *Client) callUpTo(ctx context.Context, bound int64, method string, u *url.URL, h header, in, out any) (etag string, err error) {
	return c.endpoint.Call(ctx, Call{Method: method, URL: u, Header: h, In: in, Out: out, Bound: bound})
}
