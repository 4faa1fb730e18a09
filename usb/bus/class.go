package bus

import (
	"context"
	"errors"
)

// Requests of the printer class (USB printer class 1.1 §4.2), and their types.
const (
	GetDeviceID   = 0
	GetPortStatus = 1
	softReset     = 2

	FromInterface = 0xa1 // class request, from the interface
	toInterface   = 0x21 // class request, to the interface: what release 1.1 wants for SOFT_RESET
	toOther       = 0x23 // to "other": what release 1.0 wanted for it
)

// SoftReset sends an interface the class's SOFT_RESET, which flushes its buffers and ends its halts: first as release 1.1 has it,
// then as 1.0 had.
func SoftReset(ctx context.Context, h Handle, number int) error {
	_, err := h.Control(ctx, toInterface, softReset, 0, uint16(number), nil)
	if errors.Is(err, ErrStalled) {
		_, err = h.Control(ctx, toOther, softReset, 0, uint16(number), nil)
	}
	return err
}

// IsSoftReset reports whether a control transfer is one.
func IsSoftReset(requestType, request uint8) bool {
	return request == softReset && (requestType == toInterface || requestType == toOther)
}
