package usb

import (
	"context"
	"errors"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// metered counts what passes a handle's claims.
type metered struct {
	bus.Handle
	metrics *telemetry.Metrics
	mode    mfpgate.USBMode
}

func (m metered) Claim(ctx context.Context, i bus.Interface) (bus.Claim, error) {
	c, err := m.Handle.Claim(ctx, i)
	if err != nil {
		countError(m.metrics, err)
		return nil, err
	}
	return &meteredClaim{c, m.metrics, m.metrics.USBBytes.WithLabelValues(string(m.mode), "out"), m.metrics.USBBytes.WithLabelValues(string(m.mode), "in")}, nil
}

// Control counts soft resets.
func (m metered) Control(ctx context.Context, requestType, request uint8, value, index uint16, data []byte) (int, error) {
	n, err := m.Handle.Control(ctx, requestType, request, value, index, data)
	if err == nil && bus.IsSoftReset(requestType, request) {
		m.metrics.USBResets.Inc()
	}
	return n, err
}

type meteredClaim struct {
	bus.Claim
	metrics *telemetry.Metrics
	out, in telemetry.Counter
}

func (m *meteredClaim) Write(ctx context.Context, p []byte) (int, error) {
	n, err := m.Claim.Write(ctx, p)
	m.out.Add(float64(n))
	countError(m.metrics, err)
	return n, err
}

func (m *meteredClaim) Read(ctx context.Context, p []byte) (int, error) {
	n, err := m.Claim.Read(ctx, p)
	m.in.Add(float64(n))
	countError(m.metrics, err)
	return n, err
}

// countError counts a failed transfer by its kind. What the gateway itself ended did not fail.
func countError(m *telemetry.Metrics, err error) {
	if err == nil {
		return
	}
	for _, k := range []struct {
		is   error
		kind string
	}{
		{bus.ErrGone, "gone"}, {bus.ErrAccess, "access"}, {bus.ErrBusy, "busy"}, {bus.ErrStalled, "stalled"}, {bus.ErrOverflow, "overflow"},
		{bus.ErrNoMemory, "no-memory"}, {bus.ErrFailed, "failed"}, {context.DeadlineExceeded, "timeout"},
	} {
		if errors.Is(err, k.is) {
			m.USBTransferErrors.WithLabelValues(k.kind).Inc()
			return
		}
	}
}
