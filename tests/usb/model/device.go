// Package model models a USB device in user space. One model is served by two
// carriers: mockbus (umockdev's preload library, no kernel) and usbipd (the
// kernel's vhci_hcd, a real USB stack).
package model

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unicode/utf16"
)

var (
	ErrStall  = errors.New("usb: stall")        // -EPIPE
	ErrGone   = errors.New("usb: disconnected") // -ESHUTDOWN
	ErrBabble = errors.New("usb: overflow")     // -EOVERFLOW
)

type Setup struct {
	RequestType, Request uint8
	Value, Index, Length uint16
}

func ParseSetup(b []byte) Setup {
	return Setup{b[0], b[1], binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:])}
}

// Endpoint carries out one transfer at a time, in order. Transfer blocks while
// the endpoint NAKs, until ctx is done.
type Endpoint interface {
	Transfer(ctx context.Context, p []byte) (int, error)
}

type EndpointFunc func(ctx context.Context, p []byte) (int, error)

func (f EndpointFunc) Transfer(ctx context.Context, p []byte) (int, error) { return f(ctx, p) }

type Interface struct {
	Number, Alt            uint8
	Class, SubClass, Proto uint8
	In, Out                uint8 // endpoint addresses, 0 for none
	String                 string
}

type Device struct {
	VID, PID, BCD   uint16
	Manufacturer    string
	Product, Serial string
	Interfaces      []Interface
	Endpoints       map[uint8]Endpoint
	// Class answers class and vendor control requests; nil data with ErrStall refuses.
	Class func(s Setup, out []byte) ([]byte, error)

	mu     sync.Mutex
	config uint8
	alts   map[uint8]uint8
}

func (d *Device) DeviceDescriptor() []byte {
	b := make([]byte, 18)
	b[0], b[1] = 18, 1
	binary.LittleEndian.PutUint16(b[2:], 0x0200)
	b[7] = 64
	binary.LittleEndian.PutUint16(b[8:], d.VID)
	binary.LittleEndian.PutUint16(b[10:], d.PID)
	binary.LittleEndian.PutUint16(b[12:], d.BCD)
	b[14], b[15], b[16] = 1, 2, 3
	b[17] = 1
	return b
}

func (d *Device) NumInterfaces() int {
	seen := map[uint8]bool{}
	for _, i := range d.Interfaces {
		seen[i.Number] = true
	}
	return len(seen)
}

func (d *Device) ConfigDescriptor() []byte {
	b := []byte{9, 2, 0, 0, uint8(d.NumInterfaces()), 1, 0, 0xC0, 1}
	for k, i := range d.Interfaces {
		var eps []byte
		n := uint8(0)
		for _, a := range []uint8{i.Out, i.In} {
			if a != 0 {
				eps = append(eps, 7, 5, a, 2, 0x00, 0x02, 0) // bulk, 512
				n++
			}
		}
		s := uint8(0)
		if i.String != "" {
			s = uint8(4 + k)
		}
		b = append(b, 9, 4, i.Number, i.Alt, n, i.Class, i.SubClass, i.Proto, s)
		b = append(b, eps...)
	}
	binary.LittleEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func (d *Device) stringDescriptor(i uint8) ([]byte, error) {
	if i == 0 {
		return []byte{4, 3, 0x09, 0x04}, nil
	}
	var s string
	switch {
	case i == 1:
		s = d.Manufacturer
	case i == 2:
		s = d.Product
	case i == 3:
		s = d.Serial
	case int(i) >= 4 && int(i)-4 < len(d.Interfaces):
		s = d.Interfaces[i-4].String
	default:
		return nil, ErrStall
	}
	u := utf16.Encode([]rune(s))
	b := []byte{uint8(2 + 2*len(u)), 3}
	for _, c := range u {
		b = append(b, uint8(c), uint8(c>>8))
	}
	return b, nil
}

func (d *Device) Config() uint8 { d.mu.Lock(); defer d.mu.Unlock(); return d.config }

func (d *Device) SetConfig(c uint8) { d.mu.Lock(); d.config = c; d.alts = nil; d.mu.Unlock() }

func (d *Device) SetAlt(ifc, alt uint8) error {
	for _, i := range d.Interfaces {
		if i.Number == ifc && i.Alt == alt {
			d.mu.Lock()
			if d.alts == nil {
				d.alts = map[uint8]uint8{}
			}
			d.alts[ifc] = alt
			d.mu.Unlock()
			return nil
		}
	}
	return ErrStall
}

// Control answers every control transfer.
func (d *Device) Control(s Setup, out []byte) ([]byte, error) {
	if s.RequestType&0x60 != 0 {
		if d.Class == nil {
			return nil, ErrStall
		}
		in, err := d.Class(s, out)
		return clip(in, s.Length), err
	}
	switch s.Request {
	case 0: // GET_STATUS
		return clip([]byte{1, 0}, s.Length), nil
	case 1, 3: // CLEAR_FEATURE, SET_FEATURE
		return nil, nil
	case 6:
		var b []byte
		var err error
		switch s.Value >> 8 {
		case 1:
			b = d.DeviceDescriptor()
		case 2:
			b = d.ConfigDescriptor()
		case 3:
			b, err = d.stringDescriptor(uint8(s.Value))
		default: // qualifier, BOS, ...
			err = ErrStall
		}
		return clip(b, s.Length), err
	case 8:
		return []byte{d.Config()}, nil
	case 9:
		d.SetConfig(uint8(s.Value))
		return nil, nil
	case 10:
		d.mu.Lock()
		defer d.mu.Unlock()
		return []byte{d.alts[uint8(s.Index)]}, nil
	case 11:
		return nil, d.SetAlt(uint8(s.Index), uint8(s.Value))
	}
	return nil, fmt.Errorf("request %#x: %w", s.Request, ErrStall)
}

func clip(b []byte, n uint16) []byte {
	if len(b) > int(n) {
		return b[:n]
	}
	return b
}
