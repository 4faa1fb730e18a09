//go:build !cgo || nousb

package libusb

import "github.com/mfpgate/mfpgate/usb/bus"

// Built says that this build has USB.
const Built = false

// Open returns ErrNotBuilt.
func Open(Options) (bus.Bus, error) { return nil, ErrNotBuilt }
