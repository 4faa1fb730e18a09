package server

import (
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

const (
	// batchTime is how long the body of a batch may take: 1 MiB through a slow site's line.
	batchTime = time.Minute
	// clockSkew is how far ahead a device's time may be before it no longer holds against an earlier one: a gateway whose clock
	// was once years ahead must not freeze what is known of its devices.
	clockSkew = 5 * time.Minute
	// maxHistory is how many changes of a device's counters are kept, at most as many as fit into one record.
	maxHistory = 400
)

// readingRecord is the last of a device's own words.
type readingRecord struct {
	Version int64             `json:"version"`
	Reading api.DeviceReading `json:"reading"` // without the history
}

// historyRecord is the ring of a device's counters, the newest last. It is apart from the reading, which changes much more often.
type historyRecord struct {
	Entries []api.CounterSnapshot `json:"entries"`
}

func readingKey(gateway, device string) string { return "reading/" + gateway + "/" + device }
func historyKey(gateway, device string) string { return "counters/" + gateway + "/" + device }

func (s *Server) registerTelemetry(a huma.API) {
	telemetry := operation(a, http.MethodPost, "/v1/gateways/{gw}/telemetry", "post-telemetry",
		"Readings of devices, each stored once by stream and sequence", roleGateway)
	telemetry.MaxBodyBytes, telemetry.BodyReadTimeout = api.MaxBatchBytes, batchTime
	huma.Register(a, telemetry, s.postTelemetry)
	alerts := operation(a, http.MethodPost, "/v1/gateways/{gw}/alerts", "post-alerts",
		"Begins and ends of conditions of devices, each stored once by stream and sequence", roleGateway)
	alerts.MaxBodyBytes, alerts.BodyReadTimeout = api.MaxBatchBytes, batchTime
	huma.Register(a, alerts, s.postAlerts)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/alerts", "list-alerts",
		"The last alerts of the gateway's devices, the oldest first; or those that are open, by device", roleGateway, roleOperator), s.listAlerts)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/devices/{id}/reading", "get-reading",
		"The last that a device said of itself, part by part", roleGateway, roleOperator), s.getReading)
}

func (s *Server) postTelemetry(ctx context.Context, in *struct {
	GatewayPath
	Idempotent
	Body api.TelemetryBatch
}) (*posted[api.Accepted], error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	now := s.Clock.Now().UTC()
	answer, err := take(ctx, s, batch[api.TelemetryItem]{
		gateway: in.Gateway, kind: kindTelemetry, stream: in.Body.Stream, items: in.Body.Items,
		sequence: func(i api.TelemetryItem) uint64 { return i.Sequence },
		cost: func(i api.TelemetryItem, touched map[string]bool) int {
			if touched[i.DeviceID] {
				return 0
			}
			touched[i.DeviceID] = true
			return 2
		},
		keep: func(tx store.Tx, _ *streamRecord, items []api.TelemetryItem) error {
			return keepReadings(tx, in.Gateway, items, now)
		},
	})
	if err != nil {
		return nil, err
	}
	return answered(answer, false), nil
}

// kept is a device's records while a chunk is merged into them.
type kept struct {
	reading     readingRecord
	history     historyRecord
	hasCounters bool // the history was read
	counted     bool // and has changed
}

func keepReadings(tx store.Tx, gateway string, items []api.TelemetryItem, now time.Time) error {
	devices := map[string]*kept{}
	for _, i := range items {
		k, ok := devices[i.DeviceID]
		if !ok {
			r, _, err := store.FindJSON[readingRecord](tx, readingKey(gateway, i.DeviceID))
			if err != nil {
				return err
			}
			r.Reading.DeviceID = i.DeviceID
			k = &kept{reading: r}
			devices[i.DeviceID] = k
		}
		if len(i.Reading.Counters) > 0 && !k.hasCounters {
			var err error
			if k.history, _, err = store.FindJSON[historyRecord](tx, historyKey(gateway, i.DeviceID)); err != nil {
				return err
			}
			k.hasCounters = true
		}
		k.merge(i.Reading, now)
	}
	for id, k := range devices {
		k.reading.Version++
		if err := put(tx, readingKey(gateway, id), k.reading); err != nil {
			return err
		}
		if !k.counted {
			continue
		}
		k.history.trim()
		if err := put(tx, historyKey(gateway, id), k.history); err != nil {
			return err
		}
	}
	return nil
}

// merge takes each part that is not older than what is there.
func (k *kept) merge(r api.Reading, now time.Time) {
	d, at := &k.reading.Reading, r.At.UTC()
	newer := func(than time.Time) bool { return !at.Before(than) || than.After(now.Add(clockSkew)) }
	seen := at
	if seen.After(now) {
		seen = now
	}
	if !at.IsZero() && (d.LastSeen == nil || seen.After(*d.LastSeen)) {
		d.LastSeen = &seen
	}
	if r.Status != nil && (d.Status == nil || newer(d.Status.At)) {
		d.Status = &api.StatusPart{At: at, Status: *r.Status}
	}
	if len(r.Supplies) > 0 && (d.Supplies == nil || newer(d.Supplies.At)) {
		d.Supplies = &api.SuppliesPart{At: at, Items: r.Supplies}
	}
	if r.Firmware != "" && (d.Firmware == nil || newer(d.Firmware.At)) {
		d.Firmware = &api.FirmwarePart{At: at, Version: r.Firmware}
	}
	if len(r.Counters) > 0 && (d.Counters == nil || newer(d.Counters.At)) {
		d.Counters = &api.CountersPart{At: at, Items: r.Counters}
		k.count(at, r.Counters)
	}
}

// count adds to the history what differs from its end.
func (k *kept) count(at time.Time, counters []api.Counter) {
	values := make(map[string]int64, len(counters))
	for _, c := range counters {
		values[c.Name] = c.Value
	}
	if n := len(k.history.Entries); n > 0 && maps.Equal(k.history.Entries[n-1].Values, values) {
		return
	}
	k.history.Entries = append(k.history.Entries, api.CounterSnapshot{At: at, Values: values})
	k.counted = true
}

// trim drops the oldest until the rest fits into one record.
func (h *historyRecord) trim() {
	const perEntry, perValue = 64, 24 // bytes of JSON around the names
	size, first := 0, len(h.Entries)
	for first > 0 && len(h.Entries)-first < maxHistory {
		size += perEntry
		for name := range h.Entries[first-1].Values {
			size += perValue + len(name)
		}
		if size > store.MaxValue-1024 {
			break
		}
		first--
	}
	h.Entries = h.Entries[first:]
}

func (s *Server) getReading(ctx context.Context, in *struct {
	DevicePath
	Conditional
}) (*read[api.DeviceReading], error) {
	r, tag, err := s.Reading(ctx, in.Gateway, in.Device)
	if err != nil {
		return nil, err
	}
	return &read[api.DeviceReading]{Status: in.answer(tag), ETag: tag, Body: r}, nil
}

// Reading returns the last that a device said of itself, with the history of its counters, and the entity tag. Its errors are
// the API's.
func (s *Server) Reading(ctx context.Context, gateway, device string) (api.DeviceReading, string, error) {
	var r readingRecord
	var h historyRecord
	var there bool
	err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
		if r, there, err = store.FindJSON[readingRecord](at, readingKey(gateway, device)); err != nil || !there {
			return err
		}
		h, _, err = store.FindJSON[historyRecord](at, historyKey(gateway, device))
		return err
	})
	if err != nil {
		return api.DeviceReading{}, "", internal(err)
	}
	if !there {
		return api.DeviceReading{}, "", refuse(http.StatusNotFound, ReasonNoReading, "the gateway has sent no reading of this device")
	}
	r.Reading.CounterHistory = h.Entries
	return r.Reading, versionTag(r.Version), nil
}
