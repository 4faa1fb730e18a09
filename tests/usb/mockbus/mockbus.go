// Package mockbus plays a USB bus to libusb through umockdev's preload library.
//
// It lays out what libumockdev-preload.so.0 expects below $UMOCKDEV_DIR (sys/,
// dev/, dev/.node/, event* sockets) and answers the usbdevfs ioctls that the
// library forwards over $UMOCKDEV_DIR/ioctl/<device node>. No GLib, no C.
//
// A device node is a FIFO with a one-slot pipe: full means "no URB to reap" (no
// POLLOUT), empty means "an URB is done" (POLLOUT), which is what usbfs tells
// libusb. With umockdev's own regular file the node is always ready and libusb
// spins.
package mockbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

const Preload = "libumockdev-preload.so.0"

// Bus is one emulated bus, number 1.
type Bus struct {
	Dir  string
	seq  atomic.Uint64
	mu   sync.Mutex
	devs map[string]*Dev
	next int
}

// Dev is a plugged device.
type Dev struct {
	bus     *Bus
	model   *model.Device
	port    string // "1-1"
	num     int
	syspath string
	node    string // /dev/bus/usb/001/002
	sock    net.Listener
	fifo    int
	ready   bool

	mu      sync.Mutex
	gone    bool
	claimed map[uint32]*client
	driver  map[uint32]string // interface -> kernel driver ("usblp")
	workers map[uint8]chan *urb
	clients map[*client]bool
	Ioctls  map[string]int // how often, by name
}

func New() (*Bus, error) {
	dir, err := os.MkdirTemp("", "umd") // short: below are unix socket paths
	if err != nil {
		return nil, err
	}
	return NewAt(dir)
}

// NewAt lays the bus out in an empty directory. To serve another user's process,
// make it mode 01777: udev monitors bind their sockets in it.
func NewAt(dir string) (*Bus, error) {
	b := &Bus{Dir: dir, devs: map[string]*Dev{}, next: 1}
	for _, d := range []string{"sys/bus/usb/devices", "sys/class", "sys/devices/pci0000:00/0000:00:14.0", "dev/bus/usb/001", "dev/.node", "ioctl/dev/bus/usb/001", "sys/dev/char"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	hub := &model.Device{VID: 0x1d6b, PID: 2, BCD: 0x0601, Manufacturer: "Linux", Product: "xHCI Host Controller", Serial: "0000:00:14.0",
		Interfaces: []model.Interface{{Class: 9}}}
	hub.SetConfig(1)
	if _, err := b.plug(hub, "usb1", "pci0000:00/0000:00:14.0/usb1"); err != nil {
		return nil, err
	}
	return b, nil
}

// Close removes the tree.
func (b *Bus) Close() {
	b.mu.Lock()
	ds := b.devs
	b.devs = map[string]*Dev{}
	b.mu.Unlock()
	for _, d := range ds {
		d.stop()
	}
	os.RemoveAll(b.Dir)
}

// Plug adds a device at port "1-N" and tells every udev monitor.
func (b *Bus) Plug(m *model.Device, port string) (*Dev, error) {
	m.SetConfig(1)
	d, err := b.plug(m, port, "pci0000:00/0000:00:14.0/usb1/"+port)
	if err == nil {
		err = b.uevent(d, "add")
	}
	return d, err
}

// BindDriver pretends that a kernel driver (usblp) holds an interface.
func (d *Dev) BindDriver(ifc uint32, name string) { d.mu.Lock(); d.driver[ifc] = name; d.mu.Unlock() }

func (b *Bus) plug(m *model.Device, port, path string) (*Dev, error) {
	b.mu.Lock()
	num := b.next
	b.next++
	b.mu.Unlock()
	d := &Dev{bus: b, model: m, port: port, num: num, syspath: "/sys/devices/" + path, node: fmt.Sprintf("/dev/bus/usb/001/%03d", num),
		claimed: map[uint32]*client{}, driver: map[uint32]string{}, workers: map[uint8]chan *urb{}, clients: map[*client]bool{}, Ioctls: map[string]int{}}
	sys := b.Dir + d.syspath
	if err := os.MkdirAll(sys, 0o755); err != nil {
		return nil, err
	}
	minor := num - 1
	dd := m.DeviceDescriptor()
	if port == "usb1" {
		dd[4] = 9
	}
	w := func(name, val string) { os.WriteFile(filepath.Join(sys, name), []byte(val), 0o644) }
	w("uevent", fmt.Sprintf("MAJOR=189\nMINOR=%d\nDEVNAME=bus/usb/001/%03d\nDEVTYPE=usb_device\nDRIVER=usb\nPRODUCT=%x/%x/%x\nTYPE=0/0/0\nBUSNUM=001\nDEVNUM=%03d\n", minor, num, m.VID, m.PID, m.BCD, num))
	w("dev", fmt.Sprintf("189:%d\n", minor))
	w("busnum", "1\n")
	w("devnum", fmt.Sprintf("%d\n", num))
	w("speed", "480\n")
	w("bConfigurationValue", "1\n")
	w("bNumConfigurations", "1\n")
	w("idVendor", fmt.Sprintf("%04x\n", m.VID))
	w("idProduct", fmt.Sprintf("%04x\n", m.PID))
	w("manufacturer", m.Manufacturer+"\n")
	w("product", m.Product+"\n")
	w("serial", m.Serial+"\n")
	w("descriptors", string(dd)+string(m.ConfigDescriptor()))
	os.Symlink(strings.Repeat("../", strings.Count(path, "/")+2)+"bus/usb", filepath.Join(sys, "subsystem"))
	os.Symlink("../../../devices/"+path, filepath.Join(b.Dir, "sys/bus/usb/devices", port))
	os.Symlink("../../devices/"+path, filepath.Join(b.Dir, "sys/dev/char", fmt.Sprintf("189:%d", minor)))
	if port != "usb1" {
		for _, i := range m.Interfaces {
			n := fmt.Sprintf("%s:1.%d", port, i.Number)
			id := filepath.Join(sys, n)
			if os.Mkdir(id, 0o755) != nil {
				continue
			}
			for k, v := range map[string]string{"bInterfaceClass": fmt.Sprintf("%02x\n", i.Class), "bInterfaceSubClass": fmt.Sprintf("%02x\n", i.SubClass),
				"bInterfaceProtocol": fmt.Sprintf("%02x\n", i.Proto), "bInterfaceNumber": fmt.Sprintf("%02x\n", i.Number), "bAlternateSetting": "0\n",
				"uevent": fmt.Sprintf("DEVTYPE=usb_interface\nPRODUCT=%x/%x/%x\nINTERFACE=%d/%d/%d\n", m.VID, m.PID, m.BCD, i.Class, i.SubClass, i.Proto)} {
				os.WriteFile(filepath.Join(id, k), []byte(v), 0o644)
			}
			os.Symlink(strings.Repeat("../", strings.Count(path, "/")+3)+"bus/usb", filepath.Join(id, "subsystem"))
			os.Symlink("../../../devices/"+path+"/"+n, filepath.Join(b.Dir, "sys/bus/usb/devices", n))
		}
	}
	// node
	fifo := b.Dir + d.node
	if err := syscall.Mkfifo(fifo, 0o660); err != nil {
		return nil, err
	}
	os.Chmod(fifo, 0o666) // past the umask
	fd, err := syscall.Open(fifo, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	const fSetPipeSz = 1031
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), fSetPipeSz, 4096); e != 0 {
		return nil, e
	}
	d.fifo, d.ready = fd, true
	d.setReady(false)
	os.Symlink(fmt.Sprintf("189:%d", minor), filepath.Join(b.Dir, "dev/.node", fmt.Sprintf("bus_usb_001_%03d", num)))
	l, err := net.Listen("unix", b.Dir+"/ioctl"+d.node)
	if err != nil {
		return nil, err
	}
	os.Chmod(b.Dir+"/ioctl"+d.node, 0o666)
	d.sock = l
	go d.accept()
	b.mu.Lock()
	b.devs[port] = d
	b.mu.Unlock()
	return d, nil
}

// setReady sets whether poll(2) on the node says POLLOUT. Callers hold d.mu or
// are alone.
func (d *Dev) setReady(r bool) {
	if r == d.ready {
		return
	}
	d.ready = r
	var p [1]byte
	if r {
		syscall.Read(d.fifo, p[:])
	} else {
		syscall.Write(d.fifo, p[:])
	}
}

// Unplug ends every URB with ESHUTDOWN, answers ENODEV from now on, removes the
// node and tells the udev monitors.
func (d *Dev) Unplug() error {
	d.mu.Lock()
	d.gone = true
	cs := d.clients
	for c := range cs {
		for u := range c.pending {
			u.cancel()
		}
	}
	d.mu.Unlock()
	b := d.bus
	b.mu.Lock()
	delete(b.devs, d.port)
	b.mu.Unlock()
	err := b.uevent(d, "remove")
	os.Remove(b.Dir + d.node)
	os.Remove(filepath.Join(b.Dir, "dev/.node", fmt.Sprintf("bus_usb_001_%03d", d.num)))
	os.Remove(filepath.Join(b.Dir, "sys/dev/char", fmt.Sprintf("189:%d", d.num-1)))
	ls, _ := filepath.Glob(filepath.Join(b.Dir, "sys/bus/usb/devices", d.port+"*"))
	for _, l := range ls {
		if n := filepath.Base(l); n == d.port || strings.HasPrefix(n, d.port+":") {
			os.Remove(l)
		}
	}
	os.RemoveAll(b.Dir + d.syspath)
	d.sock.Close()
	return err
}

func (d *Dev) stop() {
	d.mu.Lock()
	d.gone = true
	d.mu.Unlock()
	d.sock.Close()
	syscall.Close(d.fifo)
}

// uevent sends udevd's message to each monitor socket.
func (b *Bus) uevent(d *Dev, action string) error {
	props := []string{"ACTION=" + action, "DEVPATH=" + strings.TrimPrefix(d.syspath, "/sys"), "SUBSYSTEM=usb", fmt.Sprintf("SEQNUM=%d", b.seq.Add(1)),
		"MAJOR=189", fmt.Sprintf("MINOR=%d", d.num-1), "DEVNAME=" + d.node, "DEVTYPE=usb_device",
		fmt.Sprintf("PRODUCT=%x/%x/%x", d.model.VID, d.model.PID, d.model.BCD), "TYPE=0/0/0", "BUSNUM=001", fmt.Sprintf("DEVNUM=%03d", d.num)}
	body := []byte(strings.Join(props, "\x00") + "\x00")
	h := make([]byte, 40)
	copy(h, "libudev\x00")
	binary.BigEndian.PutUint32(h[8:], 0xfeedcafe)
	binary.LittleEndian.PutUint32(h[12:], 40)
	binary.LittleEndian.PutUint32(h[16:], 40)
	binary.LittleEndian.PutUint32(h[20:], uint32(len(body)))
	binary.BigEndian.PutUint32(h[24:], murmur2("usb"))
	binary.BigEndian.PutUint32(h[28:], murmur2("usb_device"))
	socks, _ := filepath.Glob(b.Dir + "/event[0-9]*")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	for _, s := range socks {
		err := syscall.Sendto(fd, append(h, body...), 0, &syscall.SockaddrUnix{Name: s})
		if errors.Is(err, syscall.ECONNREFUSED) { // a monitor that has closed
			os.Remove(s)
		} else if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// Monitors says how many udev monitors (libusb contexts) listen.
func (b *Bus) Monitors() int { s, _ := filepath.Glob(b.Dir + "/event[0-9]*"); return len(s) }

func murmur2(s string) uint32 { // the hash of systemd's monitor filters
	const m, r = 0x5bd1e995, 24
	d := []byte(s)
	h := uint32(len(d))
	for len(d) >= 4 {
		k := binary.LittleEndian.Uint32(d)
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
		d = d[4:]
	}
	switch len(d) {
	case 3:
		h ^= uint32(d[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(d[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(d[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
