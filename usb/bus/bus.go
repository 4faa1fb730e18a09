package bus

import (
	"context"
	"errors"
	"fmt"
)

// The errors of a driver, wrapped with what it was doing.
var (
	// ErrGone says that the device was unplugged, or left the bus by a reset.
	ErrGone = errors.New("the USB device is gone")
	// ErrAccess says that the gateway has no right to the device's node.
	ErrAccess = errors.New("no right to the USB device")
	// ErrBusy says that another program has claimed the interface. Kernel drivers do not count: they are detached.
	ErrBusy = errors.New("another program has the USB interface")
	// ErrStalled says that the device refused: an endpoint's halt, or a request that it does not know. The driver has cleared the halt.
	ErrStalled = errors.New("the USB device stalled")
	// ErrOverflow says that the device sent more than was asked for (babble). What came is lost.
	ErrOverflow = errors.New("the USB device sent more than it was asked for")
	// ErrNoMemory says that the kernel has no room for the transfer (usbfs_memory_mb); less may go.
	ErrNoMemory = errors.New("no memory for the USB transfer")
	// ErrFailed says that a transfer failed on the wire.
	ErrFailed = errors.New("the USB transfer failed")
	// ErrClosed says that the gateway itself closed what was used.
	ErrClosed = errors.New("closed")
)

// MaxTransfer is the largest transfer, in bytes. All programs of a machine share 16 MiB of usbfs's memory (usbfs_memory_mb), which is
// 16 of these; each transfer has its cost, whatever its length (make bench BENCH=usb). A slow printer gets less at once (usb/raw).
const MaxTransfer = 1 << 20

// Port is where a device is plugged in, as the kernel names it: bus, dash, ports from the root on with dots: 1-2.4.
type Port string

// Device is a printer that is plugged in: what its descriptors say. It takes no rights to know.
type Device struct {
	Port    Port
	Bus     int // number of the bus, and
	Address int // address on it: another one after each plug and each reset of the bus
	Vendor  uint16
	Product uint16
	Release uint16 // bcdDevice
	// Interfaces are all of its interfaces in all of their settings, in the descriptors' order.
	Interfaces []Interface
}

// Plug names one plug of a device, from when it came until it left.
type Plug struct {
	Port         Port
	Bus, Address int
}

// Plug is the device's.
func (d Device) Plug() Plug { return Plug{d.Port, d.Bus, d.Address} }

// ID is vendor and product in hex: 03f0:e911.
func (d Device) ID() string { return fmt.Sprintf("%04x:%04x", d.Vendor, d.Product) }

// Interface is one alternate setting of an interface.
type Interface struct {
	Config                    int // bConfigurationValue
	ConfigIndex               int // its place among the descriptors from 0, which GET_DEVICE_ID wants
	Number, Alternate         int
	Class, SubClass, Protocol uint8
	// In and Out are its bulk endpoints; number 0: it has none.
	In, Out Endpoint
}

// Is reports whether the interface is of a class, a subclass and a protocol.
func (i Interface) Is(class, subClass, protocol uint8) bool {
	return i.Class == class && i.SubClass == subClass && i.Protocol == protocol
}

// Endpoint is a bulk endpoint.
type Endpoint struct {
	Number    int // without the direction's bit
	MaxPacket int // bytes
}

// Bus is a host's USB.
type Bus interface {
	// Printers lists what is plugged in and has an interface that wanted accepts; it opens nothing, and is cheap: tens of µs.
	Printers(ctx context.Context, wanted func(Device) bool) ([]Device, error)
	// Open opens a device. The errors are ErrGone and ErrAccess.
	Open(ctx context.Context, d Device) (Handle, error)
	// Close ends it; all handles are closed before.
	Close() error
}

// Handle is an open device.
type Handle interface {
	// Strings are the texts of the device's descriptor (USB 2.0 §9.6.7); what it does not have, or does not tell, is "". Beside an error
	// stand those that could be read; after ErrFailed the others may be read later.
	Strings(ctx context.Context) (manufacturer, product, serial string, err error)
	// Control is a control transfer on endpoint 0; in is filled where requestType's direction is to the host, else sent.
	Control(ctx context.Context, requestType, request uint8, value, index uint16, data []byte) (n int, err error)
	// Claim takes an interface in one of its settings, from a kernel driver if need be, which gets it back from Close.
	Claim(ctx context.Context, i Interface) (Claim, error)
	// Reset resets the device's port. It may come back under another address, or not at all: the handle is of no use afterwards.
	Reset(ctx context.Context) error
	Close() error
}

// Claim is an interface that the gateway has alone.
type Claim interface {
	// Write sends to the bulk OUT endpoint, in transfers of at most MaxTransfer, and waits while the printer takes nothing: paper
	// may be out for hours. n is what the printer took, also where err is not nil. An empty p is a zero-length packet.
	Write(ctx context.Context, p []byte) (n int, err error)
	// Read receives from the bulk IN endpoint, in one transfer of len(p) bytes, which must be a multiple of the endpoint's
	// MaxPacket: else a printer overflows. It returns with a short packet: n may be 0 without an error.
	Read(ctx context.Context, p []byte) (n int, err error)
	// ClearHalt clears both endpoints' halts and toggles.
	ClearHalt(ctx context.Context) error
	Close() error
}
