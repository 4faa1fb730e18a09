package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/bench/document"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/libusb"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// gateway is the daemon's USB: the driver, the printers, their endpoints.
type gateway struct {
	bus      bus.Bus
	store    store.Store
	printers *usb.Printers
	stop     context.CancelFunc
	ended    chan error
}

func openPrinters(ctx context.Context) (host, error) {
	clock, log := mfpgate.SystemClock{}, telemetry.NewLogger(os.Stdout, mfpgate.SystemClock{}, &telemetry.Level{}, false)
	driver, err := libusb.Open(libusb.Options{Log: log})
	if err != nil {
		return nil, err
	}
	g := &gateway{bus: driver, store: memory.New(), ended: make(chan error, 1)}
	served, err := endpoint.New(endpoint.Options{Clock: clock, Log: log, Store: g.store, Share: endpoint.Local})
	if err != nil {
		return nil, err
	}
	g.printers = usb.New(usb.Options{Clock: clock, Log: log, Metrics: telemetry.NewMetrics(), Bus: driver, Store: g.store, Quirks: quirk.Known(),
		Endpoints: served, Sighted: func(mfpgate.Sighting) {}})
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.stop = stop
	go func() { g.ended <- g.printers.Run(running) }() // close waits for it
	for began := clock.Now(); ; {
		if all := g.printers.List(); len(all) == 1 && all[0].USB.Mode != mfpgate.USBModeUnused {
			return g, nil
		}
		if clock.Now().Sub(began) > plugged {
			return nil, errors.Join(fmt.Errorf("no printer is driven: %+v", g.printers.List()), g.close())
		}
		if err := mfpgate.Wait(ctx, clock, lookAgain); err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
}

func (g *gateway) printer() string {
	p := g.printers.List()[0]
	return string(p.USB.Mode) + " " + p.USB.URL
}

func (g *gateway) print(ctx context.Context, d *document.Document, size int64, _ int, mark func()) (int64, error) {
	status, err := g.printers.Print(ctx, g.printers.List()[0].Sighting, mfpgate.Document{Size: size, Content: d.Reader(size, mark)}, nil)
	if err == nil && status.State != mfpgate.JobCompleted {
		err = fmt.Errorf("the job is %s: %s", status.State, status.Message)
	}
	return status.Sent, err
}

func (g *gateway) close() error {
	g.stop()
	return errors.Join(<-g.ended, g.bus.Close(), g.store.Close())
}
