package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// What a gateway does for a device on its USB, which reaches no cloud itself.

// CheckIn asks for the device's work: an order, or nil, and when to ask again. The device is idle, or stopped while it is not there.
func (c *Client) CheckIn(ctx context.Context, device mfpgate.DeviceID, firmware string, there bool, key string) (*mfpgate.DeliveryOrder, time.Duration, error) {
	in := api.DeviceCheckIn{Firmware: api.ClipFirmware(firmware), State: "idle"}
	if !there {
		in.State = "stopped"
	}
	var out api.CheckInAnswer
	if _, err := c.call(ctx, http.MethodPost, c.gateway("devices", string(device), "check-ins"), header{"Idempotency-Key": key}, in, &out); err != nil {
		return nil, 0, fmt.Errorf("check in %s: %w", device, err)
	}
	if out.Delivery == nil {
		return nil, time.Duration(out.PollInterval), nil
	}
	if err := out.Delivery.Check(); err != nil {
		return nil, 0, fmt.Errorf("check in %s: %w: %v", device, ErrAnswer, err)
	}
	order := out.Delivery.Root()
	return &order, time.Duration(out.PollInterval), nil
}

// Delivered tells what became of a delivery. It is idempotent by the key.
func (c *Client) Delivered(ctx context.Context, device mfpgate.DeviceID, r mfpgate.DeliveryReport, key string) error {
	_, err := c.call(ctx, http.MethodPost, c.gateway("devices", string(device), "reports"), header{"Idempotency-Key": key}, api.FromDeliveryReport(r), nil)
	if err != nil {
		return fmt.Errorf("report delivery %s of %s: %w", r.Delivery, device, err)
	}
	return nil
}

// Content is what a region sends of a package.
type Content struct {
	io.ReadCloser
	Begins int64 // the byte of the package that comes first: 0 in place of what was asked for, if the region has no ranges of it
	Length int64 // how many bytes are announced from there on; -1: that is not said
}

// Package opens a package's bytes from offset on, through connections that dial makes, one for each call. The caller closes it, holds
// what comes against the package, and bounds how long that takes: ctx ends the reading too.
func (c *Client) Package(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), p mfpgate.Package, offset int64) (Content, error) {
	way := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: c.o.RootCAs, MinVersion: tls.VersionTLS12}, DisableCompression: true,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: c.o.Timeout, MaxResponseHeaderBytes: 32 << 10, DisableKeepAlives: true}
	req, err := c.endpoint.request(ctx, Call{Method: http.MethodGet, URL: c.endpoint.Path("/v1/packages", p.ID, "content")})
	if err != nil {
		return Content{}, fmt.Errorf("package %.64s: %w", p.ID, err)
	}
	req.Header.Set("Accept", "application/octet-stream, application/problem+json")
	if offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
		req.Header.Set("If-Range", `"`+p.SHA256+`"`)
	}
	res, err := way.RoundTrip(req)
	if err != nil {
		return Content{}, fmt.Errorf("package %.64s: %w", p.ID, err)
	}
	begins, err := c.begins(res, offset)
	if err != nil {
		_ = res.Body.Close()
		return Content{}, fmt.Errorf("package %.64s: %w", p.ID, err)
	}
	return Content{res.Body, begins, res.ContentLength}, nil
}

// begins judges the answer's head.
func (c *Client) begins(res *http.Response, offset int64) (begins int64, err error) {
	switch {
	case res.StatusCode >= 400:
		return 0, c.endpoint.refusal(res)
	case res.StatusCode == http.StatusPartialContent && offset > 0:
		rest, isBytes := strings.CutPrefix(res.Header.Get("Content-Range"), "bytes ")
		if first, _, _ := strings.Cut(rest, "-"); !isBytes || first != strconv.FormatInt(offset, 10) {
			return 0, fmt.Errorf("%w: the range %q does not begin at byte %d", ErrAnswer, clip(res.Header.Get("Content-Range")), offset)
		}
		begins = offset
	case res.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%w: status %d", ErrAnswer, res.StatusCode)
	}
	if coding := res.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return 0, fmt.Errorf("%w: content coding %q", ErrAnswer, clip(coding))
	}
	return begins, nil
}
