//go:build cgo && !nousb

package libusb

// #cgo pkg-config: libusb-1.0
// #include <libusb.h>
import "C"

import (
	"errors"
	"reflect"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/usb/bus"
)

// errOtherGousb is for a gousb that keeps libusb's handle elsewhere than the one that is pinned; the tests would say so first.
var errOtherGousb = errors.New("this gousb's Device has no handle of libusb's to clear a halt on")

// clearHalt clears an endpoint's halt and toggles in the device and in the host (USB 2.0 §9.4.5). No transfer may be on the endpoint.
// The kernel gives the device five seconds.
func clearHalt(d *gousb.Device, address gousb.EndpointAddress) error {
	handle := reflect.ValueOf(d).Elem().FieldByName("handle")
	if !handle.IsValid() || handle.Kind() != reflect.Pointer {
		return errOtherGousb
	}
	if handle.IsNil() {
		return bus.ErrClosed
	}
	if status := C.libusb_clear_halt((*C.libusb_device_handle)(handle.UnsafePointer()), C.uchar(address)); status != C.LIBUSB_SUCCESS {
		return gousb.Error(status)
	}
	return nil
}
