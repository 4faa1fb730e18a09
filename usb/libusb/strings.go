//go:build cgo && !nousb

package libusb

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
	"unicode/utf16"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// Of GET_DESCRIPTOR (USB 2.0 §9.4.3, §9.6.1 and §9.6.7).
const (
	getDescriptor    = 6
	fromDevice       = 0x80
	deviceDescriptor = 1
	stringDescriptor = 3
	deviceSize       = 18 // bytes of a device descriptor, and where in it are the strings' numbers:
	manufacturerAt   = 14
	productAt        = 15
	serialAt         = 16
	maxDescriptor    = 255 // bytes of a string descriptor
	american         = 0x0409
)

// stringPatience is for one descriptor: a device has all of them at hand, or does not answer at all.
const stringPatience = time.Second

// Strings implements bus.Handle. gousb's own would put a question mark for each character beyond ASCII.
func (h *handle) Strings(ctx context.Context) (manufacturer, product, serial string, err error) {
	about := make([]byte, deviceSize)
	n, err := h.descriptor(ctx, deviceDescriptor, 0, 0, about)
	if err != nil || n < deviceSize {
		return "", "", "", err
	}
	language, failed := h.language(ctx)
	if failed != nil && !errors.Is(failed, bus.ErrFailed) {
		return "", "", "", failed
	}
	for _, text := range []struct {
		into *string
		at   int
	}{{&manufacturer, manufacturerAt}, {&product, productAt}, {&serial, serialAt}} {
		if about[text.at] == 0 {
			continue
		}
		raw := make([]byte, maxDescriptor)
		n, err := h.descriptor(ctx, stringDescriptor, about[text.at], language, raw)
		switch {
		case err == nil:
			*text.into = text16(raw[:n])
		case errors.Is(err, bus.ErrFailed): // the others may do better
			failed = err
		default:
			return manufacturer, product, serial, err
		}
	}
	return manufacturer, product, serial, failed
}

// language is the first that the device has; some have strings and no list of languages.
func (h *handle) language(ctx context.Context) (uint16, error) {
	raw := make([]byte, maxDescriptor)
	n, err := h.descriptor(ctx, stringDescriptor, 0, 0, raw)
	if err != nil || n < 4 || raw[1] != stringDescriptor {
		return american, err
	}
	return binary.LittleEndian.Uint16(raw[2:]), nil
}

// descriptor reads one. What the device refuses to tell has no bytes and is no error.
func (h *handle) descriptor(ctx context.Context, kind, number uint8, language uint16, into []byte) (int, error) {
	n, err := h.control(ctx, stringPatience, fromDevice, getDescriptor, uint16(kind)<<8|uint16(number), language, into)
	if errors.Is(err, bus.ErrStalled) || errors.Is(err, bus.ErrOverflow) {
		return 0, nil
	}
	return n, err
}

// text16 is a string descriptor's text without what cannot be shown and spaces around it; "" if it is none.
func text16(raw []byte) string {
	if len(raw) < 2 || raw[1] != stringDescriptor {
		return ""
	}
	raw = raw[2:max(2, min(len(raw), int(raw[0])))]
	units := make([]uint16, 0, len(raw)/2)
	for ; len(raw) >= 2; raw = raw[2:] {
		units = append(units, binary.LittleEndian.Uint16(raw))
	}
	return mfpgate.CleanText(string(utf16.Decode(units)), 3*len(units))
}
