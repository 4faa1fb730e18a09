//go:build cgo && !nousb

package libusb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// Built says that this build has USB.
const Built = true

// blindFor is how long the bus is not asked again after gousb panicked over a device's descriptors: each time it loses some memory.
const blindFor = 30 * time.Second

type host struct {
	clock   mfpgate.Clock
	log     telemetry.Logger
	context *gousb.Context
	gate    *gate
	ended   func() error

	mu      sync.Mutex
	handles map[*handle]struct{}
	blinded time.Time // gousb panicked last
	blind   error     // and that is what it is said to be until it is asked again
	passed  string    // what was last said of devices that were passed over
}

// Open opens the machine's USB. The errors are ErrNotBuilt, and libusb's where the machine has no USB or does not let it listen to udev.
func Open(o Options) (bus.Bus, error) {
	if o.Clock == nil {
		o.Clock = mfpgate.SystemClock{}
	}
	h := &host{clock: o.Clock, log: o.Log, gate: newGate(context.Background()), handles: map[*handle]struct{}{}}
	if err := unpanicked(func() { h.context = gousb.NewContext() }); err != nil { // it panics where libusb refuses
		return nil, fmt.Errorf("open USB: %w", err)
	}
	h.ended = sync.OnceValue(h.end)
	return h, nil
}

func unpanicked(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	f()
	return nil
}

// Printers implements bus.Bus. A device whose descriptors cannot be read is passed over.
func (h *host) Printers(ctx context.Context, wanted func(bus.Device) bool) ([]bus.Device, error) {
	_, leave, err := h.gate.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("list USB devices: %w", err)
	}
	defer leave()
	var found []bus.Device
	_, err = h.devices(func(d *gousb.DeviceDesc) bool {
		if device := device(d); wanted(device) {
			found = append(found, device)
		}
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("list USB devices: %w", err)
	}
	return found, nil
}

// devices shows each device to open and opens those for which it says yes. What is said of one that cannot be read is no error.
func (h *host) devices(open func(*gousb.DeviceDesc) bool) (opened []*gousb.Device, err error) {
	h.mu.Lock()
	blind, since := h.blind, h.clock.Now().Sub(h.blinded)
	h.mu.Unlock()
	if blind != nil && since < blindFor {
		return nil, blind
	}
	var said error
	seen, asked := false, false
	panicked := unpanicked(func() {
		opened, said = h.context.OpenDevices(func(d *gousb.DeviceDesc) bool {
			seen = true
			yes := open(d)
			asked = asked || yes
			return yes
		})
	})
	if panicked != nil {
		err := fmt.Errorf("a device that is plugged in has descriptors that cannot be read (%w); unplug it", panicked)
		h.mu.Lock()
		h.blinded, h.blind = h.clock.Now(), err
		h.mu.Unlock()
		return nil, err
	}
	if said != nil && (!seen || asked && len(opened) == 0) {
		return nil, translated(said)
	}
	h.remark(said)
	return opened, nil
}

// remark logs what keeps a device from being seen, once and not each time that the devices are listed.
func (h *host) remark(said error) {
	text := ""
	if said != nil {
		text = said.Error()
	}
	h.mu.Lock()
	fresh := text != h.passed
	h.passed = text
	h.mu.Unlock()
	if fresh && said != nil {
		h.log.Warn().Err(said).Msg(event.USBUnread)
	}
}

// Open implements bus.Bus.
func (h *host) Open(ctx context.Context, d bus.Device) (bus.Handle, error) {
	opened, err := attempt(ctx, h.gate, func(context.Context) (*handle, error) { return h.open(d) }, func(late *handle) { _ = late.Close() })
	if err != nil {
		return nil, fmt.Errorf("open the USB device at %s: %w", d.Port, err)
	}
	return opened, nil
}

func (h *host) open(d bus.Device) (*handle, error) {
	found := false
	opened, err := h.devices(func(seen *gousb.DeviceDesc) bool {
		if found || port(seen) != d.Port || seen.Bus != d.Bus || seen.Address != d.Address {
			return false
		}
		found = true
		return true
	})
	if err != nil {
		return nil, err
	}
	if len(opened) == 0 {
		return nil, bus.ErrGone
	}
	handle := newHandle(h, opened[0])
	h.mu.Lock()
	h.handles[handle] = struct{}{}
	h.mu.Unlock()
	return handle, nil
}

func (h *host) forget(closed *handle) {
	h.mu.Lock()
	delete(h.handles, closed)
	h.mu.Unlock()
}

// Close implements bus.Bus; handles that are open yet it closes.
func (h *host) Close() error { return h.ended() }

func (h *host) end() error {
	h.gate.shut(bus.ErrClosed)
	h.mu.Lock()
	open := make([]*handle, 0, len(h.handles))
	for handle := range h.handles {
		open = append(open, handle)
	}
	h.mu.Unlock()
	var errs []error
	for _, handle := range open {
		errs = append(errs, handle.Close())
	}
	if err := h.context.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close USB: %w", err))
	}
	return errors.Join(errs...)
}
