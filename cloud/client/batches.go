package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// ErrBatch is returned, before anything is sent, for a batch that the region would refuse: without items, with more than
// api.MaxBatchItems, longer than api.MaxBatchBytes, or with sequences that do not rise. Half of a batch that is too large may
// be sent; a single item always fits if it was made by api.FromReading or api.FromAlert.
var ErrBatch = errors.New("not a batch that a region takes")

// PostTelemetry sends readings and returns the last sequence of the stream that the region has stored: all up to it is safe.
// After an error the same batch may be sent again at any time, whole or in other cuts; each item is stored once. The caller
// must not have two batches of one stream under way at once. A refusal with reason api.StreamEnded means that another
// stream of this gateway has begun.
func (c *Client) PostTelemetry(ctx context.Context, b api.TelemetryBatch) (accepted uint64, err error) {
	accepted, err = post(ctx, c, "telemetry", b.Stream, b, b.Items, func(i api.TelemetryItem) uint64 { return i.Sequence })
	if err != nil {
		return 0, fmt.Errorf("post telemetry: %w", err)
	}
	return accepted, nil
}

// PostAlerts sends alerts, under the rules of PostTelemetry. Its streams are counted apart.
func (c *Client) PostAlerts(ctx context.Context, b api.AlertBatch) (accepted uint64, err error) {
	accepted, err = post(ctx, c, "alerts", b.Stream, b, b.Items, func(i api.AlertItem) uint64 { return i.Sequence })
	if err != nil {
		return 0, fmt.Errorf("post alerts: %w", err)
	}
	return accepted, nil
}

func post[B, I any](ctx context.Context, c *Client, kind, stream string, batch B, items []I, sequence func(I) uint64) (uint64, error) {
	if len(items) == 0 || len(items) > api.MaxBatchItems {
		return 0, fmt.Errorf("%d items, must be 1 to %d: %w", len(items), api.MaxBatchItems, ErrBatch)
	}
	last := uint64(0)
	for _, i := range items {
		if sequence(i) <= last {
			return 0, fmt.Errorf("sequence %d after %d: %w", sequence(i), last, ErrBatch)
		}
		last = sequence(i)
	}
	data, err := json.Marshal(batch)
	if err != nil {
		return 0, err
	}
	if len(data) > api.MaxBatchBytes {
		return 0, fmt.Errorf("%d bytes, at most %d: %w", len(data), api.MaxBatchBytes, ErrBatch)
	}
	// The key follows from what the items are, so that a process that lost its memory sends the same one again.
	key := kind + "/" + stream + "/" + strconv.FormatUint(sequence(items[0]), 10) + "-" + strconv.FormatUint(last, 10)
	var out api.Accepted
	if _, err := c.call(ctx, http.MethodPost, c.gateway(kind), header{"Idempotency-Key": key}, json.RawMessage(data), &out); err != nil {
		return 0, err
	}
	if out.Stream != stream {
		return 0, fmt.Errorf("%w: it speaks of stream %q", ErrAnswer, clip(out.Stream))
	}
	return out.Accepted, nil
}

// DeleteDevice makes the region forget a device and what it has of it, and frees it for other gateways. etag is the version
// that the caller has read; a stale one is a refusal with status 412, a device that is not there one with 404.
func (c *Client) DeleteDevice(ctx context.Context, id mfpgate.DeviceID, etag string) error {
	if _, err := c.call(ctx, http.MethodDelete, c.gateway("devices", string(id)), header{"If-Match": etag}, nil, nil); err != nil {
		return fmt.Errorf("delete device %s: %w", id, err)
	}
	return nil
}

// Reading returns the last that the region has of a device's own words, and its entity tag.
func (c *Client) Reading(ctx context.Context, id mfpgate.DeviceID) (api.DeviceReading, string, error) {
	var out api.DeviceReading
	tag, err := c.call(ctx, http.MethodGet, c.gateway("devices", string(id), "reading"), nil, nil, &out)
	if err != nil {
		return out, "", fmt.Errorf("reading of %s: %w", id, err)
	}
	return out, tag, nil
}

// Alerts returns one page of the alerts of this gateway's devices, the oldest first, or of those that are open. cursor is as
// for Devices.
func (c *Client) Alerts(ctx context.Context, open bool, cursor string) (api.Page[api.StoredAlert], error) {
	u, query := c.gateway("alerts"), url.Values{}
	if open {
		query.Set("open", "true")
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	u.RawQuery = query.Encode()
	var out api.Page[api.StoredAlert]
	if _, err := c.call(ctx, http.MethodGet, u, nil, nil, &out); err != nil {
		return out, fmt.Errorf("alerts: %w", err)
	}
	return out, nil
}
