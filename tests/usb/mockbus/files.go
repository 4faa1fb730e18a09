package mockbus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

const classHub = 9

// laySys makes the device's files below sys/.
func (d *Dev) laySys() error {
	m, dir := d.model, d.bus.Dir
	descriptor := m.DeviceDescriptor()
	if m.Interfaces[0].Class == classHub {
		descriptor[4] = classHub
	}
	at := filepath.Join(dir, d.syspath)
	path := strings.TrimPrefix(d.syspath, "/sys/devices/")
	files := map[string]string{
		"uevent": fmt.Sprintf("MAJOR=189\nMINOR=%d\nDEVNAME=bus/usb/001/%03d\nDEVTYPE=usb_device\nDRIVER=usb\nPRODUCT=%x/%x/%x\nTYPE=0/0/0\nBUSNUM=001\nDEVNUM=%03d\n",
			d.minor(), d.num, m.VID, m.PID, m.BCD, d.num),
		"dev":                 fmt.Sprintf("189:%d\n", d.minor()),
		"busnum":              "1\n",
		"devnum":              fmt.Sprintf("%d\n", d.num),
		"speed":               "480\n",
		"bConfigurationValue": "1\n",
		"bNumConfigurations":  "1\n",
		"idVendor":            fmt.Sprintf("%04x\n", m.VID),
		"idProduct":           fmt.Sprintf("%04x\n", m.PID),
		"bcdDevice":           fmt.Sprintf("%04x\n", m.BCD),
		"descriptors":         string(descriptor) + string(m.ConfigDescriptor()),
	}
	for name, text := range map[string]string{"manufacturer": m.Manufacturer, "product": m.Product, "serial": m.Serial} {
		if text != "" {
			files[name] = text + "\n"
		}
	}
	links := map[string]string{
		filepath.Join(at, "subsystem"):                                       up(path, 2) + "bus/usb",
		filepath.Join(dir, "sys/bus/usb/devices", d.port):                    "../../../devices/" + path,
		filepath.Join(dir, "sys/dev/char", fmt.Sprintf("189:%d", d.minor())): "../../devices/" + path,
	}
	err := layFiles(at, files)
	if m.Interfaces[0].Class != classHub {
		for _, i := range m.Interfaces {
			if i.Alt != 0 {
				continue
			}
			name := d.interfaceName(uint32(i.Number))
			err = errors.Join(err, d.layInterface(i))
			links[filepath.Join(at, name, "subsystem")] = up(path, 3) + "bus/usb"
			links[filepath.Join(dir, "sys/bus/usb/devices", name)] = "../../../devices/" + path + "/" + name
		}
	}
	for name, to := range links {
		err = errors.Join(err, os.Symlink(to, name))
	}
	return err
}

func (d *Dev) minor() int { return d.num - 1 }

func (d *Dev) interfaceName(number uint32) string { return fmt.Sprintf("%s:1.%d", d.port, number) }

// up is the way from a folder below sys/devices to sys, and more levels.
func up(path string, more int) string { return strings.Repeat("../", strings.Count(path, "/")+more) }

func layFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// layInterface writes what sysfs says of an interface in its setting.
func (d *Dev) layInterface(i model.Interface) error {
	m := d.model
	return layFiles(filepath.Join(d.bus.Dir, d.syspath, d.interfaceName(uint32(i.Number))), map[string]string{
		"bInterfaceClass":    fmt.Sprintf("%02x\n", i.Class),
		"bInterfaceSubClass": fmt.Sprintf("%02x\n", i.SubClass),
		"bInterfaceProtocol": fmt.Sprintf("%02x\n", i.Proto),
		"bInterfaceNumber":   fmt.Sprintf("%02x\n", i.Number),
		"bAlternateSetting":  fmt.Sprintf("%2d\n", i.Alt),
		"uevent":             fmt.Sprintf("DEVTYPE=usb_interface\nPRODUCT=%x/%x/%x\nINTERFACE=%d/%d/%d\n", m.VID, m.PID, m.BCD, i.Class, i.SubClass, i.Proto),
	})
}

// linkDriver makes the link from an interface to what has it, as far as the interface is there. mu is held.
func (d *Dev) linkDriver(iface uint32) {
	name := d.driver[iface]
	if d.claimed[iface] != nil {
		name = "usbfs"
	}
	link := filepath.Join(d.bus.Dir, d.syspath, d.interfaceName(iface), "driver")
	os.Remove(link)
	if name == "" {
		return
	}
	// A device that is being unplugged has no files left.
	_ = os.MkdirAll(filepath.Join(d.bus.Dir, "sys/bus/usb/drivers", name), 0o755)
	_ = os.Symlink(up(strings.TrimPrefix(d.syspath, "/sys/devices/"), 3)+"bus/usb/drivers/"+name, link)
}

// layNode makes the device node; see the package's comment.
func (d *Dev) layNode() error {
	fifo := d.bus.Dir + d.node
	if err := syscall.Mkfifo(fifo, 0o660); err != nil {
		return fmt.Errorf("make %s: %w", fifo, err)
	}
	if err := os.Chmod(fifo, 0o666); err != nil { // past the umask
		return err
	}
	fd, err := syscall.Open(fifo, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", fifo, err)
	}
	const setPipeSize = 1031 // F_SETPIPE_SZ
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), setPipeSize, 4096); e != 0 {
		syscall.Close(fd)
		return fmt.Errorf("make %s a pipe of one slot: %w", fifo, e)
	}
	d.fifo, d.ready = fd, true
	d.setReady(false)
	return os.Symlink(fmt.Sprintf("189:%d", d.minor()), filepath.Join(d.bus.Dir, "dev/.node", d.nodeName()))
}

func (d *Dev) nodeName() string { return fmt.Sprintf("bus_usb_001_%03d", d.num) }

// setReady sets whether poll(2) on the node says POLLOUT. mu is held, or the device is new.
func (d *Dev) setReady(ready bool) {
	if ready == d.ready || d.fifo < 0 {
		return
	}
	d.ready = ready
	var p [1]byte
	if ready {
		_, _ = syscall.Read(d.fifo, p[:]) // it holds the one byte
	} else {
		_, _ = syscall.Write(d.fifo, p[:]) // it has room for one byte
	}
}

// Deny takes everybody's right to open the node: EACCES. Modes do not stop root, but for those of sysctls: the node becomes a link to one
// that nobody may write. The preload library has room for some 40 opens that fail so in the life of a process, and aborts then. At no time
// is the node or its socket away: the library ends a program that meets one without the other.
func (d *Dev) Deny() error {
	const readOnly = "/proc/sys/kernel/ostype"
	node := d.bus.Dir + d.node
	if os.Geteuid() != 0 {
		if err := os.Chmod(node, 0); err != nil {
			return err
		}
	} else if err := errors.Join(os.Link(node, d.asideNode()), os.Symlink(readOnly, d.asideNode()+".link"), os.Rename(d.asideNode()+".link", node)); err != nil {
		return err
	}
	if err := os.Link(d.socketPath(), d.asideNode()+".socket"); err != nil {
		return err
	}
	refuses, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.asideNode() + ".refuses", Net: "unix"})
	if err != nil {
		return err
	}
	refuses.SetUnlinkOnClose(false)
	d.mu.Lock()
	d.refuses = refuses
	d.mu.Unlock()
	d.work.Add(1)
	go d.refuse(refuses) // Unplug waits for it
	return errors.Join(os.Chmod(d.asideNode()+".refuses", 0o666), os.Rename(d.asideNode()+".refuses", d.socketPath()))
}

// refuse ends what the preload library opens for opens that failed, and never closes. It ends with the socket.
func (d *Dev) refuse(l net.Listener) {
	defer d.work.Done()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// Allow gives it back.
func (d *Dev) Allow() error {
	d.mu.Lock()
	refuses := d.refuses
	d.refuses = nil
	d.mu.Unlock()
	if refuses == nil {
		return nil
	}
	if err := os.Rename(d.asideNode()+".socket", d.socketPath()); err != nil {
		return err
	}
	refuses.Close()
	node := d.bus.Dir + d.node
	if os.Geteuid() != 0 {
		return os.Chmod(node, 0o666)
	}
	return os.Rename(d.asideNode(), node)
}

func (d *Dev) socketPath() string { return d.bus.Dir + "/ioctl" + d.node }

func (d *Dev) asideNode() string { return filepath.Join(d.bus.Dir, "denied", filepath.Base(d.node)) }

// clearFiles removes all that the device has.
func (d *Dev) clearFiles() {
	dir := d.bus.Dir
	for _, name := range []string{d.node, "denied/" + filepath.Base(d.node), "dev/.node/" + d.nodeName(), fmt.Sprintf("sys/dev/char/189:%d", d.minor()), "sys/bus/usb/devices/" + d.port} {
		os.Remove(filepath.Join(dir, name))
	}
	interfaces, _ := filepath.Glob(filepath.Join(dir, "sys/bus/usb/devices", d.port+":*"))
	for _, name := range interfaces {
		os.Remove(name)
	}
	os.RemoveAll(dir + d.syspath)
}
