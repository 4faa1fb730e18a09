//go:build cgo && !nousb

package main

import (
	"context"
	"fmt"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/tests/bench/document"
)

// bareHost is what a program does that knows its printer: no status, no background read, no read-ahead.
type bareHost struct {
	context *gousb.Context
	device  *gousb.Device
	done    func()
	out     *gousb.OutEndpoint
}

func openBare(context.Context) (host, error) {
	h := &bareHost{context: gousb.NewContext()}
	found, err := h.context.OpenDevices(func(d *gousb.DeviceDesc) bool { return d.Vendor == 0x1209 })
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%d printers: %v", len(found), err)
	}
	h.device = found[0]
	i, done, err := h.device.DefaultInterface()
	if err != nil {
		return nil, err
	}
	h.done = done
	h.out, err = i.OutEndpoint(1)
	return h, err
}

func (h *bareHost) printer() string { return "bare" }

func (h *bareHost) print(_ context.Context, d *document.Document, size int64, chunk int, mark func()) (int64, error) {
	for at := int64(0); at < size; {
		if at >= document.Mark && mark != nil {
			mark()
			mark = nil
		}
		n, err := h.out.Write(d.At(at, int(min(int64(chunk), size-at))))
		at += int64(n)
		if err != nil {
			return at, err
		}
	}
	return size, nil
}

func (h *bareHost) close() error {
	h.done()
	if err := h.device.Close(); err != nil {
		return err
	}
	return h.context.Close()
}
