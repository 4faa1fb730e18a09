package mockbus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// Dev is a device from when it was plugged in until Unplug.
type Dev struct {
	bus     *Bus
	model   *model.Device
	port    string // 1-1
	num     int    // its address
	syspath string // /sys/devices/…
	node    string // /dev/bus/usb/001/002
	socket  net.Listener
	fifo    int
	work    sync.WaitGroup // URBs being carried out, and what listens
	out     chan struct{}  // closed when Unplug is over

	mu          sync.Mutex
	ready       bool // the node says POLLOUT
	gone        bool
	refuses     net.Listener // while it is denied
	reenumerate bool
	lose        bool
	claimed     map[uint32]*client // other is another program
	driver      map[uint32]string  // interface -> kernel driver
	detached    map[uint32]string  // the driver that was taken from it
	queues      map[uint8][]*urb   // by endpoint; the first is being carried out
	clients     map[*client]bool
	counts      map[string]int
	serving     int // ioctls
	resets      int
}

// other is the client that stands for another program.
var other = &client{}

// plug makes the device and its files.
func (b *Bus) plug(m *model.Device, port, path string) (*Dev, error) {
	num := b.address()
	d := &Dev{bus: b, model: m, port: port, num: num, syspath: "/sys/devices/" + path, node: fmt.Sprintf("/dev/bus/usb/001/%03d", num),
		out: make(chan struct{}), claimed: map[uint32]*client{}, driver: map[uint32]string{}, detached: map[uint32]string{},
		queues: map[uint8][]*urb{}, clients: map[*client]bool{}, counts: map[string]int{}}
	if err := errors.Join(d.laySys(), d.layNode()); err != nil {
		return nil, err
	}
	var err error
	if d.socket, err = net.Listen("unix", d.socketPath()); err != nil {
		return nil, err
	}
	if err := os.Chmod(d.socketPath(), 0o666); err != nil {
		return nil, err
	}
	d.work.Add(1)
	go d.accept()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plugged = append(b.plugged, d)
	return d, nil
}

// address is the next free one, from 1 to 127 over and over, as the kernel gives them. libusb passes over a device beyond 255.
func (b *Bus) address() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		num := b.next
		b.next = b.next%127 + 1
		if !slices.ContainsFunc(b.plugged, func(o *Dev) bool { return o.num == num }) {
			return num
		}
	}
}

// Unplug ends every URB with ESHUTDOWN, answers ENODEV from then on, removes the node and tells the monitors of udev. It returns when
// the device's goroutines have ended.
func (d *Dev) Unplug() error {
	d.mu.Lock()
	again := d.gone
	d.gone = true
	if !again {
		d.model.Leave()
	}
	d.cancelAll()
	d.mu.Unlock()
	if again {
		<-d.out
		return nil
	}
	defer close(d.out)
	b := d.bus
	b.mu.Lock()
	b.plugged = slices.DeleteFunc(b.plugged, func(o *Dev) bool { return o == d })
	b.mu.Unlock()
	err := b.uevent(d, "remove")
	_ = d.Allow() // what is left of it goes next
	d.clearFiles()
	d.socket.Close()
	d.work.Wait()
	d.model.Detach()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closeNode()
	return err
}

// closeNode lets the node go once no program can poll it. mu is held.
func (d *Dev) closeNode() {
	if d.gone && len(d.clients) == 0 && d.fifo >= 0 {
		syscall.Close(d.fifo)
		d.fifo = -1
	}
}

// Out is closed once the device is out and all of it has ended, be it by Unplug, by a fault or by a reset.
func (d *Dev) Out() <-chan struct{} { return d.out }

// cancelAll ends all URBs. mu is held.
func (d *Dev) cancelAll() {
	for _, queue := range d.queues {
		for _, u := range queue {
			u.cancel()
		}
	}
}

// BindDriver pretends that a kernel driver (usblp) has bound an interface. A program that detaches it gives it back with its
// attach, and so does a reset.
func (d *Dev) BindDriver(iface uint32, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.driver[iface] = name
	d.linkDriver(iface)
}

// Driver is the kernel driver that has an interface, "" for none; a program's claim is none.
func (d *Dev) Driver(iface uint32) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.driver[iface]
}

// Hold has another program claim an interface.
func (d *Dev) Hold(iface uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claimed[iface] = other
	d.linkDriver(iface)
}

// Unhold has it released.
func (d *Dev) Unhold(iface uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claimed[iface] == other {
		delete(d.claimed, iface)
		d.linkDriver(iface)
	}
}

// Claimed is how many interfaces programs have claimed now, Hold's not counted.
func (d *Dev) Claimed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, cl := range d.claimed {
		if cl != other {
			n++
		}
	}
	return n
}

// Opened is how many programs' descriptors of the node are open now.
func (d *Dev) Opened() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.clients)
}

// Resets is how often the device was reset by RESET.
func (d *Dev) Resets() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.resets
}

// Count is how often an ioctl was called: SUBMITURB, REAPURBNDELAY, …
func (d *Dev) Count(ioctl string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[ioctl]
}

// Busy reports whether an ioctl is under way, or an URB that has ended is not reaped yet.
func (d *Dev) Busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	busy := d.serving > 0
	for cl := range d.clients {
		busy = busy || len(cl.done) > 0
	}
	return busy
}

// Address is the device's on the bus.
func (d *Dev) Address() int { return d.num }

// ReenumerateOnReset makes a reset end this plug of the device, and begin another under a new address: firmware whose descriptors
// changed. Without it the device keeps its address, as the kernel has it.
func (d *Dev) ReenumerateOnReset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reenumerate = true
}

// LoseOnReset makes the device not come back from a reset.
func (d *Dev) LoseOnReset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lose = true
}

// reset is RESET. usbfs has no pre_reset, so the kernel unbinds it, and binds the drivers that were there before.
func (d *Dev) reset() syscall.Errno {
	d.mu.Lock()
	d.resets++
	lose, again := d.lose, d.reenumerate
	d.cancelAll()
	for iface, cl := range d.claimed {
		if cl != other {
			delete(d.claimed, iface)
		}
	}
	for iface, name := range d.detached {
		if d.claimed[iface] == nil {
			d.driver[iface] = name
		}
	}
	clear(d.detached)
	for _, i := range d.model.Interfaces {
		d.linkDriver(uint32(i.Number))
	}
	d.mu.Unlock()
	if !lose && !again {
		d.model.Reset()
		return 0
	}
	_ = d.Unplug() // a monitor that was not told asks again
	if again && !lose {
		if next, err := d.bus.Plug(d.model, d.port); err == nil {
			next.ReenumerateOnReset()
		}
	}
	return syscall.ENODEV
}
