package model

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Interface is one alternate setting of an interface.
type Interface struct {
	Number, Alt            uint8
	Class, SubClass, Proto uint8
	Out                    uint8 // address of the bulk OUT endpoint, 0: none
	In                     uint8 // address of the bulk IN endpoint with its bit 0x80, 0: none
	FromHost               *Out  // what stands behind Out
	ToHost                 *In   // what stands behind In
	String                 string
	// Serve is the device's work behind the endpoints. It begins when the setting is chosen and returns soon after ctx ends; nil: none.
	Serve func(ctx context.Context)
}

// Device is a USB device. What is exported is set before it is attached and does not change then.
type Device struct {
	VID, PID, BCD                 uint16
	Manufacturer, Product, Serial string // empty: the device has no such descriptor
	Interfaces                    []Interface
	// Dry is called by a fault PaperOut of an OUT endpoint; nil: the endpoint NAKs, and no more.
	Dry func()
	// Class answers class and vendor requests; ErrStall refuses one.
	Class func(s Setup, out []byte) ([]byte, error)

	control line // endpoint 0

	power sync.Mutex // one plug, reset or choice of a setting at a time; never held with a transfer under way for it
	once  sync.Once

	mu       sync.Mutex
	pull     func()        // of the plug that is in
	detached chan struct{} // closed by Detach; nil: it is not in
	leaving  bool
	config   uint8
	chosen   map[uint8]uint8 // setting by interface
	running  map[uint8]work  // by interface
	resets   int
}

// work is an interface's Serve while it runs.
type work struct {
	stop context.CancelFunc
	done chan struct{}
}

// ErrAttached says that the device is plugged in already.
var ErrAttached = errors.New("the device is plugged in already")

// Attach plugs the device in: it is configured, and its interfaces work. pull must unplug it from the carrier; a fault Unplug calls it
// in a goroutine of its own. Between Leave and Detach it waits for Detach.
func (d *Device) Attach(pull func()) error {
	for {
		d.mu.Lock()
		detached, leaving := d.detached, d.leaving
		d.mu.Unlock()
		switch {
		case detached == nil:
			d.power.Lock()
			if d.attach(pull) {
				d.restart()
				d.power.Unlock()
				return nil
			}
			d.power.Unlock() // another was quicker
		case !leaving:
			return ErrAttached
		default:
			<-detached
		}
	}
}

func (d *Device) attach(pull func()) bool {
	d.once.Do(d.wire)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.detached != nil {
		return false
	}
	d.pull, d.detached, d.leaving = pull, make(chan struct{}), false
	return true
}

// Leave says that the carrier is about to Detach.
func (d *Device) Leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving = true
}

// Detach unplugs it. The carrier has no transfer under way.
func (d *Device) Detach() {
	d.power.Lock()
	defer d.power.Unlock()
	d.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.detached != nil {
		close(d.detached)
	}
	d.pull, d.detached, d.leaving = nil, nil, false
}

// Reset is a reset of the bus: all endpoints are empty, all settings 0, and what was half done is dropped.
func (d *Device) Reset() {
	d.power.Lock()
	defer d.power.Unlock()
	d.mu.Lock()
	attached := d.detached != nil
	d.resets++
	d.mu.Unlock()
	if attached {
		d.restart()
	}
}

// Resets is how often the bus was reset under the device.
func (d *Device) Resets() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.resets
}

// Endpoint is an endpoint in the settings in force, as a test disturbs it; address 0 is the one of control transfers.
func (d *Device) Endpoint(address uint8) (Endpoint, bool) {
	d.once.Do(d.wire)
	i, ok := d.Owner(address)
	switch {
	case address&0x0f == 0:
		return &d.control, true
	case !ok:
		return nil, false
	case address&0x80 != 0:
		return i.ToHost, true
	}
	return i.FromHost, true
}

// wire gives every endpoint what it needs of the device.
func (d *Device) wire() {
	d.control.init()
	pull := func() func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.pull
	}
	d.control.pull = pull
	for _, i := range d.Interfaces {
		if i.FromHost != nil {
			i.FromHost.pull, i.FromHost.dry = pull, d.Dry
		}
		if i.ToHost != nil {
			i.ToHost.pull = pull
		}
	}
}

// restart is what follows a plug and a reset. power is held.
func (d *Device) restart() {
	d.stop()
	d.mu.Lock()
	d.config, d.chosen = 1, map[uint8]uint8{}
	d.mu.Unlock()
	d.control.set(func() { d.control.paused = false; d.control.renew() }) // a device that hung works again
	for _, i := range d.Interfaces {
		i.clear()
		if i.Alt == 0 {
			d.start(i)
		}
	}
}

// stop ends all work and waits for it. power is held.
func (d *Device) stop() {
	d.mu.Lock()
	running := d.running
	d.running = map[uint8]work{}
	d.mu.Unlock()
	for _, w := range running {
		w.stop()
	}
	for _, w := range running {
		<-w.done
	}
}

// start begins the work of a setting. power is held; Detach, Reset and SetAlt wait for its end.
func (d *Device) start(i Interface) {
	if i.Serve == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := work{cancel, make(chan struct{})}
	d.mu.Lock()
	out := d.detached == nil // a host that has not noticed may still choose a setting
	if !out {
		d.running[i.Number] = w
	}
	d.mu.Unlock()
	if out {
		cancel()
		return
	}
	go func() { defer close(w.done); i.Serve(ctx) }()
}

// clear empties the setting's endpoints.
func (i Interface) clear() {
	if i.FromHost != nil {
		i.FromHost.reset()
	}
	if i.ToHost != nil {
		i.ToHost.reset()
	}
}

// SetConfig chooses the configuration, which puts all interfaces in setting 0. The device has configuration 1 alone.
func (d *Device) SetConfig(c uint8) error {
	if c > 1 {
		return fmt.Errorf("configuration %d: %w", c, ErrStall)
	}
	d.power.Lock()
	defer d.power.Unlock()
	if c == d.Config() {
		return nil
	}
	d.restart()
	d.mu.Lock()
	d.config = c
	d.mu.Unlock()
	return nil
}

// Config is the configuration in force.
func (d *Device) Config() uint8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config
}

// SetAlt chooses a setting of an interface, which takes the one before away, with all that was half done in it. To choose the one that
// is in force clears the halts of its endpoints, and no more.
func (d *Device) SetAlt(number, alt uint8) error {
	next, found := d.setting(number, alt)
	if !found {
		return fmt.Errorf("setting %d of interface %d: %w", alt, number, ErrStall)
	}
	d.power.Lock()
	defer d.power.Unlock()
	d.mu.Lock()
	before := d.chosen[number]
	d.chosen[number] = alt
	d.mu.Unlock()
	if before == alt {
		for _, address := range []uint8{next.Out, next.In} {
			if address != 0 {
				_ = d.ClearHalt(address) // it is the setting's own
			}
		}
		return nil
	}
	d.rework(next)
	return nil
}

// rework ends an interface's work and begins that of a setting, with empty endpoints. power is held.
func (d *Device) rework(next Interface) {
	d.mu.Lock()
	w, works := d.running[next.Number]
	delete(d.running, next.Number)
	d.mu.Unlock()
	if works {
		w.stop()
		<-w.done
	}
	next.clear()
	d.start(next)
}

// Alt is the setting of an interface in force.
func (d *Device) Alt(number uint8) uint8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.chosen[number]
}

func (d *Device) setting(number, alt uint8) (Interface, bool) {
	for _, i := range d.Interfaces {
		if i.Number == number && i.Alt == alt {
			return i, true
		}
	}
	return Interface{}, false
}

// Owner is the interface that an endpoint belongs to in the settings in force.
func (d *Device) Owner(address uint8) (Interface, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range d.Interfaces {
		if i.Alt == d.chosen[i.Number] && address&0x0f != 0 && (i.Out == address || i.In == address) {
			return i, true
		}
	}
	return Interface{}, false
}

// Submit is the host's acceptance of a transfer to a bulk endpoint, or to endpoint 0. Only a fault refuses it: ErrNoMemory.
func (d *Device) Submit(address uint8) error {
	if address&0x0f == 0 {
		return d.control.submit()
	}
	i, ok := d.Owner(address)
	switch {
	case !ok:
		return ErrNoEndpoint
	case address&0x80 != 0:
		return i.ToHost.submit()
	}
	return i.FromHost.submit()
}

// Transfer carries out one bulk transfer, and waits while the endpoint NAKs. n is what was carried, also with an error.
func (d *Device) Transfer(ctx context.Context, address uint8, p []byte) (n int, err error) {
	i, ok := d.Owner(address)
	switch {
	case !ok:
		return 0, ErrNoEndpoint
	case address&0x80 != 0:
		return i.ToHost.Transfer(ctx, p)
	}
	return i.FromHost.Transfer(ctx, p)
}

// ClearHalt is CLEAR_FEATURE(ENDPOINT_HALT).
func (d *Device) ClearHalt(address uint8) error {
	i, ok := d.Owner(address)
	switch {
	case !ok:
		return ErrNoEndpoint
	case address&0x80 != 0:
		i.ToHost.ClearHalt()
	default:
		i.FromHost.ClearHalt()
	}
	return nil
}
