package mockbus

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// Preload is the library that programs must be started with.
const Preload = "libumockdev-preload.so.0"

// Bus is one bus, number 1.
type Bus struct {
	Dir string // the value for UMOCKDEV_DIR

	mu      sync.Mutex
	plugged []*Dev
	next    int // address of the next device
	events  int
}

// New lays the bus out in a temporary directory with a short name.
func New() (*Bus, error) {
	dir, err := os.MkdirTemp("", "usb")
	if err != nil {
		return nil, err
	}
	return NewAt(dir)
}

const controller = "pci0000:00/0000:00:14.0/usb1" // the root hub, below /sys/devices

// NewAt lays the bus out in an empty directory. To serve another user's process, that directory must have mode 01777: monitors of udev
// bind their sockets in it.
func NewAt(dir string) (*Bus, error) {
	b := &Bus{Dir: dir, next: 1}
	for _, d := range []string{"sys/bus/usb/devices", "sys/bus/usb/drivers", "sys/class", "sys/devices/pci0000:00/0000:00:14.0", "sys/dev/char",
		"dev/bus/usb/001", "dev/.node", "ioctl/dev/bus/usb/001", "denied"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	hub := &model.Device{VID: 0x1d6b, PID: 2, BCD: 0x0601, Manufacturer: "Linux", Product: "xHCI Host Controller", Serial: "0000:00:14.0",
		Interfaces: []model.Interface{{Class: classHub}}}
	if err := hub.Attach(nil); err != nil {
		return nil, err
	}
	_, err := b.plug(hub, "usb1", controller)
	return b, err
}

// Close unplugs everything and removes the directory. All programs that use the bus have ended, or have closed what they had of it.
func (b *Bus) Close() {
	b.mu.Lock()
	all := slices.Clone(b.plugged)
	b.mu.Unlock()
	slices.Reverse(all) // what is behind a hub before the hub
	for _, d := range all {
		_ = d.Unplug() // nobody listens any more
	}
	os.RemoveAll(b.Dir)
}

// Plug plugs a device in, and tells every monitor of udev. A port is named as the kernel names it: "1-2", or "1-2.4" behind a hub, which
// is plugged in first if it is not there.
func (b *Bus) Plug(m *model.Device, port string) (*Dev, error) {
	if _, taken := b.At(port); taken {
		return nil, fmt.Errorf("something is plugged into port %s", port)
	}
	at, err := b.hub(port)
	if err != nil {
		return nil, err
	}
	var d *Dev
	ready := make(chan struct{})
	pull := func() {
		<-ready
		_ = d.Unplug() // a monitor that was not told asks again
	}
	if err := m.Attach(pull); err != nil {
		return nil, fmt.Errorf("plug into port %s: %w", port, err)
	}
	defer close(ready)
	if d, err = b.plug(m, port, at+"/"+port); err != nil {
		m.Detach()
		return nil, fmt.Errorf("plug into port %s: %w", port, err)
	}
	return d, b.uevent(d, "add")
}

// hub is the place of the hub that a port is at, below /sys/devices.
func (b *Bus) hub(port string) (string, error) {
	i := strings.LastIndexByte(port, '.')
	if i < 0 {
		return controller, nil
	}
	port = port[:i]
	if d, ok := b.At(port); ok {
		return strings.TrimPrefix(d.syspath, "/sys/devices/"), nil
	}
	d, err := b.Plug(&model.Device{VID: 0x05e3, PID: 0x0608, BCD: 0x8536, Product: "USB2.0 Hub", Interfaces: []model.Interface{{Class: classHub}}}, port)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(d.syspath, "/sys/devices/"), nil
}

// At is the device at a port, which is another one after a reset under ReenumerateOnReset.
func (b *Bus) At(port string) (*Dev, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.plugged {
		if d.port == port {
			return d, true
		}
	}
	return nil, false
}
