//go:build cgo && !nousb

package libusb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/usb/bus"
)

// translated is usb/bus's error for one of gousb's, with its text.
func translated(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %v", meaning(err), err)
}

func meaning(err error) error {
	var status gousb.TransferStatus
	if errors.As(err, &status) {
		switch status {
		case gousb.TransferNoDevice:
			return bus.ErrGone
		case gousb.TransferStall:
			return bus.ErrStalled
		case gousb.TransferOverflow:
			return bus.ErrOverflow
		}
		return bus.ErrFailed
	}
	switch code(err) {
	case gousb.ErrorNoDevice:
		return bus.ErrGone
	case gousb.ErrorAccess:
		return bus.ErrAccess
	case gousb.ErrorBusy:
		return bus.ErrBusy
	case gousb.ErrorPipe:
		return bus.ErrStalled
	case gousb.ErrorOverflow:
		return bus.ErrOverflow
	case gousb.ErrorNoMem:
		return bus.ErrNoMemory
	}
	return bus.ErrFailed
}

// code is libusb's error in err. gousb writes it with %v at the end of its own when it claims an interface or sets a configuration.
func code(err error) gousb.Error {
	var e gousb.Error
	if errors.As(err, &e) {
		return e
	}
	for _, e := range []gousb.Error{gousb.ErrorNoDevice, gousb.ErrorAccess, gousb.ErrorBusy, gousb.ErrorPipe, gousb.ErrorOverflow, gousb.ErrorNoMem} {
		if strings.HasSuffix(err.Error(), e.Error()) {
			return e
		}
	}
	return gousb.ErrorOther
}
