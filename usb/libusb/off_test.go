//go:build !cgo || nousb

package libusb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/usb/libusb"
)

func TestABuildWithoutLibusbSaysHowToGetIt(t *testing.T) {
	b, err := libusb.Open(libusb.Options{})
	if b != nil || !errors.Is(err, libusb.ErrNotBuilt) || libusb.Built {
		t.Fatalf("%v, %v, built %v", b, err, libusb.Built)
	}
	for _, fix := range []string{"CGO_ENABLED=1", "libusb-1.0-0-dev", "usb.enabled: false"} {
		if !strings.Contains(err.Error(), fix) {
			t.Errorf("%q does not name %s", err, fix)
		}
	}
}
