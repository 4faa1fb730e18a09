package model

import (
	"context"
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// Setup is the first packet of a control transfer (USB 2.0 §9.3).
type Setup struct {
	RequestType, Request uint8
	Value, Index, Length uint16
}

// ParseSetup reads its eight bytes.
func ParseSetup(b []byte) Setup {
	return Setup{b[0], b[1], binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:])}
}

// ToHost reports whether the data go to the host.
func (s Setup) ToHost() bool { return s.RequestType&0x80 != 0 }

// The strings of the device's descriptor; those of its interfaces follow.
const (
	stringManufacturer = iota + 1
	stringProduct
	stringSerial
	stringInterface
)

// DeviceDescriptor is the device's (USB 2.0 §9.6.1).
func (d *Device) DeviceDescriptor() []byte {
	b := []byte{18, 1, 0x00, 0x02, 0, 0, 0, 64}
	b = binary.LittleEndian.AppendUint16(b, d.VID)
	b = binary.LittleEndian.AppendUint16(b, d.PID)
	b = binary.LittleEndian.AppendUint16(b, d.BCD)
	return append(b, index(d.Manufacturer, stringManufacturer), index(d.Product, stringProduct), index(d.Serial, stringSerial), 1)
}

func index(text string, i uint8) uint8 {
	if text == "" {
		return 0
	}
	return i
}

// NumInterfaces is how many interfaces the device has, however many settings they have.
func (d *Device) NumInterfaces() int {
	seen := map[uint8]bool{}
	for _, i := range d.Interfaces {
		seen[i.Number] = true
	}
	return len(seen)
}

// ConfigDescriptor is the one configuration's, with its interfaces and endpoints (USB 2.0 §9.6.3).
func (d *Device) ConfigDescriptor() []byte {
	b := []byte{9, 2, 0, 0, uint8(d.NumInterfaces()), 1, 0, 0xC0, 1}
	for k, i := range d.Interfaces {
		var endpoints []byte
		var n uint8
		for _, address := range []uint8{i.Out, i.In} {
			if address != 0 {
				endpoints = append(endpoints, 7, 5, address, 2, MaxPacket&0xff, MaxPacket>>8, 0)
				n++
			}
		}
		b = append(b, 9, 4, i.Number, i.Alt, n, i.Class, i.SubClass, i.Proto, index(i.String, stringInterface+uint8(k)))
		b = append(b, endpoints...)
	}
	binary.LittleEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func (d *Device) stringDescriptor(i uint8) ([]byte, error) {
	var text string
	switch {
	case i == 0:
		return []byte{4, 3, 0x09, 0x04}, nil // English alone
	case i == stringManufacturer:
		text = d.Manufacturer
	case i == stringProduct:
		text = d.Product
	case i == stringSerial:
		text = d.Serial
	case int(i-stringInterface) < len(d.Interfaces):
		text = d.Interfaces[i-stringInterface].String
	}
	if text == "" {
		return nil, ErrStall
	}
	units := utf16.Encode([]rune(text))
	units = units[:min(len(units), 126)] // a descriptor's length is one byte
	b := []byte{uint8(2 + 2*len(units)), 3}
	for _, c := range units {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b, nil
}

// Control carries out one control transfer, and waits while endpoint 0 NAKs. out is what the host sends.
func (d *Device) Control(ctx context.Context, s Setup, out []byte) ([]byte, error) {
	for {
		d.control.mu.Lock()
		ended, err := d.control.due()
		d.control.halted = false // endpoint 0's halt ends with the next setup packet (USB 2.0 §8.5.3.4)
		paused, wake := d.control.waits(), d.control.wake
		d.control.mu.Unlock()
		switch {
		case ended:
			return nil, err
		case !paused:
			in, err := d.answer(s, out)
			in = in[:min(len(in), int(s.Length))]
			d.control.mu.Lock()
			d.control.carried(len(in) + len(out))
			d.control.mu.Unlock()
			return in, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// The standard requests (USB 2.0 §9.4).
const (
	getStatus        = 0
	clearFeature     = 1
	setFeature       = 3
	getDescriptor    = 6
	getConfiguration = 8
	setConfiguration = 9
	getInterface     = 10
	setInterface     = 11
)

func (d *Device) answer(s Setup, out []byte) ([]byte, error) {
	if s.RequestType&0x60 != 0 { // class or vendor
		if d.Class == nil {
			return nil, ErrStall
		}
		return d.Class(s, out)
	}
	const endpoint = 2 // the recipient
	switch s.Request {
	case getStatus:
		return d.status(s), nil
	case clearFeature:
		if s.RequestType&0x1f == endpoint && s.Value == 0 && s.Index&0x0f != 0 {
			return nil, d.refused(d.ClearHalt(uint8(s.Index)))
		}
		return nil, nil
	case setFeature:
		return nil, nil
	case getDescriptor:
		return d.descriptor(s)
	case getConfiguration:
		return []byte{d.Config()}, nil
	case setConfiguration:
		return nil, d.SetConfig(uint8(s.Value))
	case getInterface:
		return []byte{d.Alt(uint8(s.Index))}, nil
	case setInterface:
		return nil, d.SetAlt(uint8(s.Index), uint8(s.Value))
	}
	return nil, fmt.Errorf("request %#x: %w", s.Request, ErrStall)
}

func (d *Device) refused(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStall, err)
	}
	return nil
}

// status is the answer to GET_STATUS: self-powered, or whether an endpoint is halted.
func (d *Device) status(s Setup) []byte {
	if s.RequestType&0x1f != 2 {
		return []byte{1, 0}
	}
	i, ok := d.Owner(uint8(s.Index))
	if ok && (s.Index&0x80 != 0 && i.ToHost.Halted() || s.Index&0x80 == 0 && i.FromHost.Halted()) {
		return []byte{1, 0}
	}
	return []byte{0, 0}
}

func (d *Device) descriptor(s Setup) ([]byte, error) {
	switch s.Value >> 8 {
	case 1:
		return d.DeviceDescriptor(), nil
	case 2:
		return d.ConfigDescriptor(), nil
	case 3:
		return d.stringDescriptor(uint8(s.Value))
	}
	return nil, ErrStall // a qualifier, BOS, …: the device has none
}
