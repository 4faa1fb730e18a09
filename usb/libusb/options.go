package libusb

import (
	"errors"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
)

// ErrNotBuilt is returned by Open of a build without libusb.
var ErrNotBuilt = errors.New("this build has no USB; build with CGO_ENABLED=1 and libusb-1.0-0-dev, or set usb.enabled: false")

// Options are what Open needs.
type Options struct {
	// Clock is for waits between attempts; nil is the system's.
	Clock mfpgate.Clock
	Log   telemetry.Logger
}
