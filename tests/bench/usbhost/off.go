//go:build !cgo || nousb

package main

import (
	"context"

	"github.com/mfpgate/mfpgate/usb/libusb"
)

func openBare(context.Context) (host, error) { return nil, libusb.ErrNotBuilt }
