package membus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// Bus is a machine's USB.
type Bus struct {
	mu      sync.Mutex
	plugged []*Plugged
	address int
	closed  bool
	opens   int
	lists   int
}

// New returns a bus with nothing plugged in.
func New() *Bus { return &Bus{} }

// Plugged is a device from when it was plugged in until Unplug.
type Plugged struct {
	bus  *Bus
	dev  *model.Device
	port bus.Port

	// guarded by bus.mu
	address int
	gone    chan struct{} // closed when this plug of it ends: by Unplug or a reset
	out     bool          // it was unplugged
	lost    bool
	denied  bool
	held    map[int]bool
	claims  map[int]*claim
	memory  int // bytes that a transfer may have
	claimed int // claims that were ever made
	resets  int
	users   sync.WaitGroup // transfers under way; Unplug waits for them
	done    chan struct{}  // closed when Unplug is over
}

// Plug plugs a device in. A port takes one device, and a device one port; it panics if the test forgot either, or if the port does not
// begin with a number of a bus.
func (b *Bus) Plug(d *model.Device, port bus.Port) *Plugged {
	p := &Plugged{bus: b, dev: d, port: port, gone: make(chan struct{}), done: make(chan struct{}), held: map[int]bool{}, claims: map[int]*claim{}, memory: bus.MaxTransfer}
	b.mu.Lock()
	taken := slices.ContainsFunc(b.plugged, func(o *Plugged) bool { return o.port == port })
	b.mu.Unlock()
	if taken {
		panic("membus: something is plugged into port " + string(port))
	}
	number(port)
	if err := d.Attach(p.Unplug); err != nil {
		panic(fmt.Sprintf("membus: port %s: %v", port, err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.address++
	p.address = b.address
	b.plugged = append(b.plugged, p)
	return p
}

// Memory leaves the kernel room for transfers of up to n bytes; longer ones get bus.ErrNoMemory.
func (p *Plugged) Memory(n int) {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	p.memory = n
}

// room is the largest transfer that there is memory for, in bytes.
func (p *Plugged) room() int {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	return p.memory
}

// number is the bus's in a port's name.
func number(port bus.Port) int {
	text, _, _ := strings.Cut(string(port), "-")
	n, err := strconv.Atoi(text)
	if err != nil {
		panic("membus: port " + string(port) + " has no number of a bus")
	}
	return n
}

// Unplug pulls the cable: all calls that wait get bus.ErrGone. It returns when they have, and the device's goroutines have ended.
func (p *Plugged) Unplug() {
	b := p.bus
	b.mu.Lock()
	again := p.out
	if !again {
		p.out = true
		p.dev.Leave()
		p.end()
		b.plugged = slices.DeleteFunc(b.plugged, func(o *Plugged) bool { return o == p })
	}
	b.mu.Unlock()
	if again {
		<-p.done
		return
	}
	p.users.Wait()
	p.dev.Detach()
	close(p.done)
}

// end ends this plug. The bus is locked.
func (p *Plugged) end() {
	select {
	case <-p.gone:
	default:
		close(p.gone)
	}
	clear(p.claims)
}

// Out is closed once the device is out and all of it has ended, be it by Unplug or by a fault.
func (p *Plugged) Out() <-chan struct{} { return p.done }

// Hold gives the interface to another program: to claim it is bus.ErrBusy.
func (p *Plugged) Hold(iface int) { p.set(func() { p.held[iface] = true }) }

// Unhold takes it back.
func (p *Plugged) Unhold(iface int) { p.set(func() { delete(p.held, iface) }) }

// Deny takes the right to the device: to open it is bus.ErrAccess.
func (p *Plugged) Deny() { p.set(func() { p.denied = true }) }

// Allow gives it back.
func (p *Plugged) Allow() { p.set(func() { p.denied = false }) }

// LoseOnReset makes the device not come back from a reset.
func (p *Plugged) LoseOnReset() { p.set(func() { p.lost = true }) }

func (p *Plugged) set(change func()) {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	change()
}

// Claimed is how many claims are open now.
func (p *Plugged) Claimed() int {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	return len(p.claims)
}

// Claims is how many claims were ever made.
func (p *Plugged) Claims() int {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	return p.claimed
}

// Resets is how often the device was reset.
func (p *Plugged) Resets() int {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	return p.resets
}

// Opens is how many handles are open now.
func (b *Bus) Opens() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opens
}

// Lists is how often Printers was called.
func (b *Bus) Lists() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lists
}

// Printers lists what is plugged in.
func (b *Bus) Printers(ctx context.Context, wanted func(bus.Device) bool) ([]bus.Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lists++
	if b.closed {
		return nil, fmt.Errorf("list printers: %w", bus.ErrClosed)
	}
	var all []bus.Device
	for _, p := range b.plugged {
		if d := p.describe(); p.open() && wanted(d) {
			all = append(all, d)
		}
	}
	return all, nil
}

// open reports whether the device can be seen: it is in, and no reset is under way. The bus is locked.
func (p *Plugged) open() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// Device is how the bus lists the device now.
func (p *Plugged) Device() bus.Device {
	p.bus.mu.Lock()
	defer p.bus.mu.Unlock()
	return p.describe()
}

func (p *Plugged) describe() bus.Device {
	d := bus.Device{Port: p.port, Bus: number(p.port), Address: p.address, Vendor: p.dev.VID, Product: p.dev.PID, Release: p.dev.BCD}
	for _, i := range p.dev.Interfaces {
		d.Interfaces = append(d.Interfaces, bus.Interface{Config: 1, Number: int(i.Number), Alternate: int(i.Alt),
			Class: i.Class, SubClass: i.SubClass, Protocol: i.Proto, In: endpoint(i.In), Out: endpoint(i.Out)})
	}
	return d
}

func endpoint(address uint8) bus.Endpoint {
	if address == 0 {
		return bus.Endpoint{}
	}
	return bus.Endpoint{Number: int(address & 0x0f), MaxPacket: model.MaxPacket}
}

// Open opens a device.
func (b *Bus) Open(ctx context.Context, d bus.Device) (bus.Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("open %s: %w", d.Port, bus.ErrClosed)
	}
	for _, p := range b.plugged {
		if p.port != d.Port || p.address != d.Address || !p.open() {
			continue
		}
		if p.denied {
			return nil, fmt.Errorf("open %s: %w", d.Port, bus.ErrAccess)
		}
		b.opens++
		return newHandle(p), nil
	}
	return nil, fmt.Errorf("open %s: %w", d.Port, bus.ErrGone)
}

// ErrOpen is Close's while handles are open, which package bus forbids.
var ErrOpen = errors.New("handles are open")

// Close ends the bus. What is plugged in stays so; tests unplug it.
func (b *Bus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.opens > 0 {
		return fmt.Errorf("close bus: %w: %d", ErrOpen, b.opens)
	}
	return nil
}

// word is a model's error in package bus's words.
func word(err error) error {
	switch {
	case errors.Is(err, model.ErrStall):
		return bus.ErrStalled
	case errors.Is(err, model.ErrBabble):
		return bus.ErrOverflow
	case errors.Is(err, model.ErrNoMemory):
		return bus.ErrNoMemory
	case errors.Is(err, model.ErrWire), errors.Is(err, model.ErrNoEndpoint):
		return bus.ErrFailed
	}
	return err
}
