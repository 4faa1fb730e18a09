//go:build cgo && !nousb

package libusb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

const (
	// controlTimeout is how long a device may take for a request (USB 2.0 §9.2.6.1).
	controlTimeout = 5 * time.Second
	// maxControl is the most that libusb moves with one request, in bytes.
	maxControl = 4096
)

type handle struct {
	host  *host
	clock mfpgate.Clock
	dev   *gousb.Device
	gate  *gate
	lost  context.Context // ends when the device is gone
	lose  context.CancelCauseFunc
	ep0   chan struct{} // whose turn it is to request
	ended func() error

	mu     sync.Mutex
	reset  bool
	config *gousb.Config // open while there are claims
	claims map[*claim]struct{}
}

func newHandle(host *host, dev *gousb.Device) *handle {
	h := &handle{host: host, clock: host.clock, dev: dev, ep0: make(chan struct{}, 1), claims: map[*claim]struct{}{}}
	h.lost, h.lose = context.WithCancelCause(context.Background())
	h.gate = newGate(h.lost)
	h.ended = sync.OnceValue(h.end)
	return h
}

// told translates gousb's error. Once it is that the device is gone, everything else that the handle has ends with it.
func (h *handle) told(err error) error {
	err = translated(err)
	if errors.Is(err, bus.ErrGone) {
		h.lose(bus.ErrGone)
	}
	return err
}

// Control implements bus.Handle. Requests go one by one; data has at most 4096 bytes.
func (h *handle) Control(ctx context.Context, requestType, request uint8, value, index uint16, data []byte) (int, error) {
	return h.control(ctx, controlTimeout, requestType, request, value, index, data)
}

func (h *handle) control(ctx context.Context, patience time.Duration, requestType, request uint8, value, index uint16, data []byte) (int, error) {
	if len(data) > maxControl {
		return 0, fmt.Errorf("USB request %#02x/%#02x: %d bytes are more than %d", requestType, request, len(data), maxControl)
	}
	buffer := bytes.Clone(data) // the caller's is its own again when it is let go
	n, err := attempt(ctx, h.gate, func(inside context.Context) (int, error) {
		giveBack, err := take(inside, h.ep0)
		if err != nil {
			return 0, err
		}
		defer giveBack()
		h.dev.ControlTimeout = patience
		n, err := h.dev.Control(requestType, request, value, index, buffer)
		return max(n, 0), h.told(err)
	}, nil)
	if err != nil {
		return n, fmt.Errorf("USB request %#02x/%#02x: %w", requestType, request, err)
	}
	if requestType&fromDevice != 0 {
		copy(data, buffer[:min(n, len(buffer))])
	}
	return n, nil
}

// Claim implements bus.Handle. An interface of another configuration than the one in force is had by setting that, unless interfaces
// of this one are claimed; it stays in force.
func (h *handle) Claim(ctx context.Context, i bus.Interface) (bus.Claim, error) {
	claimed, err := attempt(ctx, h.gate, func(context.Context) (*claim, error) { return h.claim(i) }, func(late *claim) { _ = late.Close() })
	if err != nil {
		return nil, fmt.Errorf("claim USB interface %d: %w", i.Number, err)
	}
	return claimed, nil
}

func (h *handle) claim(i bus.Interface) (*claim, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reset {
		return nil, bus.ErrGone
	}
	if h.config == nil {
		config, err := configure(h.dev, i.Config)
		if err != nil {
			return nil, h.told(err)
		}
		h.config = config
	} else if h.config.Desc.Number != i.Config {
		return nil, fmt.Errorf("it is in configuration %d, and interfaces of configuration %d are in use", i.Config, h.config.Desc.Number)
	}
	claimed, err := newClaim(h, i)
	if err != nil {
		return nil, errors.Join(h.told(err), h.unconfigure())
	}
	h.claims[claimed] = struct{}{}
	return claimed, nil
}

// unconfigure closes the configuration that nothing is claimed of. h.mu is held.
func (h *handle) unconfigure() error {
	if h.config == nil || len(h.claims) > 0 {
		return nil
	}
	err := h.config.Close()
	h.config = nil
	return err
}

// release gives an interface back, and the configuration with the last.
func (h *handle) release(c *claim) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.taken.Close()
	delete(h.claims, c)
	return h.unconfigure()
}

// releaseAll ends all claims; who waits in them gets why.
func (h *handle) releaseAll(why error) error {
	h.mu.Lock()
	open := make([]*claim, 0, len(h.claims))
	for c := range h.claims {
		open = append(open, c)
	}
	h.mu.Unlock()
	var errs []error
	for _, c := range open {
		errs = append(errs, c.end(why))
	}
	return errors.Join(errs...)
}

// Reset implements bus.Handle. Claims end with ErrGone, and so does what comes after; drivers of the kernel get their interfaces back.
func (h *handle) Reset(ctx context.Context) error {
	spent := func(error) { h.lose(bus.ErrGone) }
	failed, err := attempt(ctx, h.gate, func(inside context.Context) (error, error) {
		if _, err := take(inside, h.ep0); err != nil { // it is not given back
			return nil, err
		}
		h.mu.Lock()
		h.reset = true
		h.mu.Unlock()
		if err := h.releaseAll(bus.ErrGone); err != nil {
			return err, nil
		}
		err := h.dev.Reset()
		if errors.Is(err, gousb.ErrorNotFound) { // it came back as another device
			err = nil
		}
		return translated(err), nil
	}, spent)
	if err == nil {
		spent(nil)
		err = failed
	}
	if err != nil {
		return fmt.Errorf("reset the USB device: %w", err)
	}
	return nil
}

// Close implements bus.Handle; claims that are open yet it ends.
func (h *handle) Close() error { return h.ended() }

func (h *handle) end() error {
	h.gate.shut(bus.ErrClosed)
	err := h.releaseAll(bus.ErrClosed)
	h.lose(bus.ErrClosed)
	h.host.forget(h)
	if err := errors.Join(err, h.dev.Close()); err != nil {
		return fmt.Errorf("close the USB device: %w", err)
	}
	return nil
}
