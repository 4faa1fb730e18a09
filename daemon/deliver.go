package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/usb/delivery"
)

// packagePrinters is what deliveries need of the printers on USB.
type packagePrinters interface {
	// Print sends a document as one job to the printer that a port shows.
	Print(ctx context.Context, id mfpgate.SightingID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error)
	// TakesPackages says whether the printer at a port installs what comes as a raw job.
	TakesPackages(id mfpgate.SightingID) bool
}

// newDeliveries makes what brings software to the printers on USB. It asks nobody while the configuration names no cloud.
func newDeliveries(d *Daemon, printers packagePrinters) (*delivery.Deliveries, error) {
	return delivery.New(deliveryOptions(d, printers))
}

func deliveryOptions(d *Daemon, printers packagePrinters) delivery.Options {
	return delivery.Options{
		Clock: d.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Log: d.log,
		Store: store.Prefix(d.local, "delivery/"), Dir: filepath.Join(d.config.Load().StateDir, "deliveries"),
		Cloud: deliveryRegion{d},
		Devices: func() []mfpgate.Device {
			if d.config.Load().Cloud.URL == nil {
				return nil
			}
			return d.registry.List()
		},
		Takes: func(v mfpgate.Device) bool { return v.USB != nil && printers.TakesPackages(sightingOf(v)) },
		Print: func(ctx context.Context, id mfpgate.DeviceID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
			for _, v := range d.registry.List() {
				if v.ID == id && v.USB != nil {
					return printers.Print(ctx, sightingOf(v), doc, told)
				}
			}
			return mfpgate.JobStatus{State: mfpgate.JobAborted}, errUnplugged
		},
		Slot: func(ctx context.Context, v mfpgate.Device) (delivery.Work, error) {
			w, err := d.relay.Work(ctx, v.ID, v.Name)
			if err != nil {
				return nil, err // not a *proxy.Work that is nil
			}
			return w, nil
		},
	}
}

// errUnplugged ends a job before it begins.
var errUnplugged = errors.New("the printer is not on the gateway's USB")

// sightingOf is how a device on USB is shown.
func sightingOf(v mfpgate.Device) mfpgate.SightingID {
	return mfpgate.NewSightingID(mfpgate.SourceUSB, v.USB.Bus)
}

// deliveryRegion is the cloud that the configuration names now, as deliveries on USB see it.
type deliveryRegion struct{ daemon *Daemon }

var _ delivery.Cloud = deliveryRegion{}

func (r deliveryRegion) now() (*client.Client, error) {
	cloud := r.daemon.config.Load().Cloud
	if cloud.URL == nil {
		return nil, errNoCloud
	}
	return r.daemon.call(cloud)
}

func (r deliveryRegion) CheckIn(ctx context.Context, device mfpgate.DeviceID, firmware string, there bool, key string) (*mfpgate.DeliveryOrder, time.Duration, error) {
	c, err := r.now()
	if err != nil {
		return nil, 0, err
	}
	return c.CheckIn(ctx, device, firmware, there, key)
}

func (r deliveryRegion) Delivered(ctx context.Context, device mfpgate.DeviceID, report mfpgate.DeliveryReport, key string) error {
	c, err := r.now()
	if err != nil {
		return err
	}
	return c.Delivered(ctx, device, report, key)
}

func (r deliveryRegion) Package(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), p mfpgate.Package, offset int64) (delivery.Content, error) {
	c, err := r.now()
	if err != nil {
		return delivery.Content{}, err
	}
	content, err := c.Package(ctx, dial, p, offset)
	if err != nil {
		return delivery.Content{}, err
	}
	return delivery.Content(content), nil
}
