package mockbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// uevent sends udevd's message to every monitor's socket.
func (b *Bus) uevent(d *Dev, action string) error {
	b.mu.Lock()
	b.events++
	number := b.events
	b.mu.Unlock()
	body := []byte(strings.Join([]string{
		"ACTION=" + action, "DEVPATH=" + strings.TrimPrefix(d.syspath, "/sys"), "SUBSYSTEM=usb", fmt.Sprintf("SEQNUM=%d", number),
		"MAJOR=189", fmt.Sprintf("MINOR=%d", d.minor()), "DEVNAME=" + d.node, "DEVTYPE=usb_device",
		fmt.Sprintf("PRODUCT=%x/%x/%x", d.model.VID, d.model.PID, d.model.BCD), "TYPE=0/0/0", "BUSNUM=001", fmt.Sprintf("DEVNUM=%03d", d.num),
	}, "\x00") + "\x00")
	// libudev's header: magic, sizes, and hashes for the kernel's filter.
	message := make([]byte, 40, 40+len(body))
	copy(message, "libudev\x00")
	binary.BigEndian.PutUint32(message[8:], 0xfeedcafe)
	binary.LittleEndian.PutUint32(message[12:], 40)
	binary.LittleEndian.PutUint32(message[16:], 40)
	binary.LittleEndian.PutUint32(message[20:], uint32(len(body)))
	binary.BigEndian.PutUint32(message[24:], murmur2("usb"))
	binary.BigEndian.PutUint32(message[28:], murmur2("usb_device"))
	message = append(message, body...)

	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("tell the monitors: %w", err)
	}
	defer syscall.Close(fd)
	for _, socket := range b.sockets() {
		err := syscall.Sendto(fd, message, 0, &syscall.SockaddrUnix{Name: socket})
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) { // a monitor that has closed
			os.Remove(socket)
		} else if err != nil {
			return fmt.Errorf("tell monitor %s: %w", socket, err)
		}
	}
	return nil
}

func (b *Bus) sockets() []string {
	all, _ := filepath.Glob(b.Dir + "/event[0-9]*")
	return all
}

// Monitors is how many of udev's monitors listen: one for each of libusb's contexts.
func (b *Bus) Monitors() int {
	n := 0
	for _, socket := range b.sockets() {
		if c, err := net.Dial("unixgram", socket); err == nil { // a monitor that has closed leaves its name behind
			n++
			c.Close()
		}
	}
	return n
}

// murmur2 is the hash of systemd's filters for monitors.
func murmur2(text string) uint32 {
	const m, r = 0x5bd1e995, 24
	d := []byte(text)
	h := uint32(len(d))
	for ; len(d) >= 4; d = d[4:] {
		k := binary.LittleEndian.Uint32(d) * m
		k ^= k >> r
		h = h*m ^ k*m
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
