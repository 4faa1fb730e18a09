package mockbus

import (
	"encoding/binary"
	"slices"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// call is one of usbfs's ioctls (linux/usbdevice_fs.h).
type call struct {
	name string
	do   func(cl *client, arg uint64) (int, syscall.Errno)
	gone bool // answers also after the device was unplugged
}

func calls() map[uint8]call {
	return map[uint8]call{
		3:  {name: "RESETEP", do: (*client).nothing}, // the host's toggle alone
		4:  {name: "SETINTERFACE", do: (*client).setInterface},
		5:  {name: "SETCONFIGURATION", do: (*client).setConfiguration},
		8:  {name: "GETDRIVER", do: (*client).getDriver},
		10: {name: "SUBMITURB", do: (*client).submit},
		11: {name: "DISCARDURB", do: (*client).discard},
		12: {name: "REAPURB", do: (*client).reap, gone: true},
		13: {name: "REAPURBNDELAY", do: (*client).reap, gone: true},
		15: {name: "CLAIMINTERFACE", do: func(cl *client, arg uint64) (int, syscall.Errno) { return 0, cl.claim(cl.peek32(arg)) }},
		16: {name: "RELEASEINTERFACE", do: (*client).release, gone: true},
		18: {name: "IOCTL", do: (*client).driverCall},
		20: {name: "RESET", do: func(cl *client, _ uint64) (int, syscall.Errno) { return 0, cl.d.reset() }},
		21: {name: "CLEAR_HALT", do: (*client).clearHalt},
		26: {name: "GET_CAPABILITIES", do: (*client).capabilities},
		27: {name: "DISCONNECT_CLAIM", do: (*client).disconnectClaim},
		31: {name: "GET_SPEED", do: func(*client, uint64) (int, syscall.Errno) { return 3, 0 }}, // high
	}
}

func (cl *client) ioctl(request uint32, arg uint64) (int, syscall.Errno) {
	d := cl.d
	c, known := calls()[uint8(request)]
	if uint8(request>>8) != 'U' || !known {
		return 0, syscall.ENOTTY
	}
	d.mu.Lock()
	d.counts[c.name]++
	gone := d.gone
	d.mu.Unlock()
	if gone && !c.gone {
		return 0, syscall.ENODEV
	}
	return c.do(cl, arg)
}

func (cl *client) nothing(uint64) (int, syscall.Errno) { return 0, 0 }

func (cl *client) capabilities(arg uint64) (int, syscall.Errno) {
	const zeroPacket, noPacketSizeLimit, scatterGather, reapAfterDisconnect = 1, 4, 8, 16
	cl.poke32(arg, zeroPacket|noPacketSizeLimit|scatterGather|reapAfterDisconnect)
	return 0, 0
}

func (cl *client) claim(iface uint32) syscall.Errno {
	d := cl.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.ContainsFunc(d.model.Interfaces, func(i model.Interface) bool { return uint32(i.Number) == iface }) {
		return syscall.ENOENT
	}
	if owner := d.claimed[iface]; owner != nil && owner != cl || d.driver[iface] != "" {
		return syscall.EBUSY
	}
	d.claimed[iface] = cl
	d.linkDriver(iface)
	return 0
}

func (cl *client) release(arg uint64) (int, syscall.Errno) {
	iface, d := cl.peek32(arg), cl.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claimed[iface] != cl {
		return 0, syscall.EINVAL
	}
	delete(d.claimed, iface)
	d.linkDriver(iface)
	return 0, 0
}

// disconnectClaim takes an interface from its kernel driver and claims it, in one.
func (cl *client) disconnectClaim(arg uint64) (int, syscall.Errno) {
	iface, d := cl.peek32(arg), cl.d
	d.mu.Lock()
	if owner := d.claimed[iface]; owner == nil || owner == cl {
		d.detach(iface)
	}
	d.mu.Unlock()
	return 0, cl.claim(iface)
}

// detach takes an interface from its kernel driver. mu is held.
func (d *Dev) detach(iface uint32) {
	if name := d.driver[iface]; name != "" {
		d.detached[iface] = name
		delete(d.driver, iface)
		d.linkDriver(iface)
	}
}

// driverCall is IOCTL with DISCONNECT or CONNECT, which detach and attach a kernel driver.
func (cl *client) driverCall(arg uint64) (int, syscall.Errno) {
	const disconnect, connect = 22, 23
	b := cl.peek(arg, 8)
	iface, code := binary.LittleEndian.Uint32(b), b[4]
	d := cl.d
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case code == disconnect && d.driver[iface] == "":
		return 0, syscall.ENODATA
	case code == disconnect:
		d.detach(iface)
		return 0, 0
	case code != connect:
		return 0, syscall.ENOTTY
	case d.claimed[iface] != nil:
		return 0, syscall.EBUSY
	case d.detached[iface] == "":
		return 0, 0
	}
	d.driver[iface] = d.detached[iface]
	delete(d.detached, iface)
	d.linkDriver(iface)
	return 1, 0
}

func (cl *client) getDriver(arg uint64) (int, syscall.Errno) {
	iface, d := cl.peek32(arg), cl.d
	d.mu.Lock()
	name := d.driver[iface]
	if d.claimed[iface] != nil {
		name = "usbfs"
	}
	d.mu.Unlock()
	if name == "" {
		return 0, syscall.ENODATA
	}
	b := make([]byte, 256)
	copy(b, name)
	cl.poke(arg+4, b)
	return 0, 0
}

// setInterface chooses a setting, which ends what is under way in the one before.
func (cl *client) setInterface(arg uint64) (int, syscall.Errno) {
	b, d := cl.peek(arg, 8), cl.d
	number, alt := b[0], b[4]
	d.mu.Lock()
	owner := d.claimed[uint32(number)]
	for _, queue := range d.queues {
		for _, u := range queue {
			if i, ok := d.model.Owner(u.ep); ok && i.Number == number {
				u.cancel()
			}
		}
	}
	d.mu.Unlock()
	if owner != cl {
		return 0, syscall.EBUSY // the kernel claims it by itself and warns; be stricter
	}
	if d.model.SetAlt(number, alt) != nil {
		return 0, syscall.EINVAL
	}
	for _, i := range d.model.Interfaces {
		if i.Number == number && i.Alt == alt && d.layInterface(i) != nil {
			return 0, syscall.ENODEV // its files have gone
		}
	}
	return 0, 0
}

func (cl *client) setConfiguration(arg uint64) (int, syscall.Errno) {
	d := cl.d
	d.mu.Lock()
	busy := len(d.claimed) > 0 || len(d.driver) > 0
	d.mu.Unlock()
	switch {
	case busy:
		return 0, syscall.EBUSY
	case d.model.SetConfig(uint8(cl.peek32(arg))) != nil:
		return 0, syscall.EINVAL
	}
	return 0, 0
}

func (cl *client) clearHalt(arg uint64) (int, syscall.Errno) {
	endpoint := uint8(cl.peek32(arg))
	if !cl.owns(endpoint) || cl.d.model.ClearHalt(endpoint) != nil {
		return 0, syscall.ENOENT
	}
	return 0, 0
}

// owns reports whether the client has claimed an endpoint's interface.
func (cl *client) owns(endpoint uint8) bool {
	i, ok := cl.d.model.Owner(endpoint)
	cl.d.mu.Lock()
	defer cl.d.mu.Unlock()
	return ok && cl.d.claimed[uint32(i.Number)] == cl
}
