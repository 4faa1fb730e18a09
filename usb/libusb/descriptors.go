//go:build cgo && !nousb

package libusb

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/usb/bus"
)

// device is what gousb read of a device's descriptors. They are foreign: nothing need be there, and any number may be any.
func device(d *gousb.DeviceDesc) bus.Device {
	device := bus.Device{Port: port(d), Bus: d.Bus, Address: d.Address, Vendor: uint16(d.Vendor), Product: uint16(d.Product), Release: uint16(d.Device)}
	// gousb keeps configurations by their values and not their order, which follows the values wherever anybody has seen.
	for index, value := range slices.Sorted(maps.Keys(d.Configs)) {
		for _, i := range d.Configs[value].Interfaces {
			for _, setting := range i.AltSettings {
				device.Interfaces = append(device.Interfaces, bus.Interface{
					Config: value, ConfigIndex: index, Number: setting.Number, Alternate: setting.Alternate,
					Class: uint8(setting.Class), SubClass: uint8(setting.SubClass), Protocol: uint8(setting.Protocol),
					In: bulk(setting, gousb.EndpointDirectionIn), Out: bulk(setting, gousb.EndpointDirectionOut),
				})
			}
		}
	}
	return device
}

// port is the kernel's name of where a device is plugged in; a root hub's is usb and its bus.
func port(d *gousb.DeviceDesc) bus.Port {
	if len(d.Path) == 0 {
		return bus.Port(fmt.Sprintf("usb%d", d.Bus))
	}
	path := make([]string, len(d.Path))
	for i, n := range d.Path {
		path[i] = strconv.Itoa(n)
	}
	return bus.Port(fmt.Sprintf("%d-%s", d.Bus, strings.Join(path, ".")))
}

// maxPacket is the part of wMaxPacketSize that is the size (USB 2.0 §9.6.6).
const maxPacket = 0x7ff

// bulk is the setting's bulk endpoint of a direction, of several the one with the lowest number. One that takes packets of no bytes is none.
func bulk(setting gousb.InterfaceSetting, direction gousb.EndpointDirection) bus.Endpoint {
	var found bus.Endpoint
	for _, e := range setting.Endpoints {
		size := e.MaxPacketSize & maxPacket
		if e.TransferType != gousb.TransferTypeBulk || e.Direction != direction || e.Number == 0 || size == 0 {
			continue
		}
		if found.Number == 0 || e.Number < found.Number {
			found = bus.Endpoint{Number: e.Number, MaxPacket: size}
		}
	}
	return found
}

// numbered puts each interface at the place of its number, where gousb looks for it, and all settings of one together, however the
// descriptors are ordered and whatever is missing.
func numbered(interfaces []gousb.InterfaceDesc) []gousb.InterfaceDesc {
	const none = -1 // no interface's number
	var placed []gousb.InterfaceDesc
	for _, i := range interfaces {
		for len(placed) <= i.Number {
			placed = append(placed, gousb.InterfaceDesc{Number: none})
		}
		placed[i.Number].Number = i.Number
		placed[i.Number].AltSettings = append(placed[i.Number].AltSettings, i.AltSettings...)
	}
	return placed
}
