package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/discovery"
)

func (g gateway) Readings(context.Context) map[mfpgate.DeviceID]mfpgate.Reading {
	return g.registry.Readings()
}

func (g gateway) Device(ctx context.Context, id mfpgate.DeviceID) (control.DeviceDetail, error) {
	d, err := g.registry.Detail(id)
	if err != nil {
		return control.DeviceDetail{}, deviceError(err)
	}
	out := control.DeviceDetail{Device: d.Device, NameGiven: d.Given, Identity: d.Identity,
		Conflict: d.Conflict, Reading: d.Reading, ReadAt: control.ReadTimes(d.ReadAt)}
	for _, s := range d.Sightings {
		out.Sightings = append(out.Sightings, control.SightingDetail(s))
	}
	if out.Alerts, err = g.reporter.Recent(ctx, id); err != nil {
		return out, err
	}
	return out, nil
}

func (g gateway) PinDevices(ctx context.Context, keep mfpgate.DeviceID, others []mfpgate.DeviceID) error {
	return deviceError(g.registry.Pin(ctx, keep, others))
}

func (g gateway) SplitDevice(ctx context.Context, id mfpgate.DeviceID, sighting mfpgate.SightingID) (mfpgate.DeviceID, error) {
	made, err := g.registry.Split(ctx, id, sighting)
	return made, deviceError(err)
}

func (g gateway) RenameDevice(ctx context.Context, id mfpgate.DeviceID, name string) error {
	return deviceError(g.registry.Rename(ctx, id, name))
}

func (g gateway) ForgetDevice(ctx context.Context, id mfpgate.DeviceID) error {
	if err := g.registry.Forget(ctx, id); err != nil {
		return deviceError(err)
	}
	return g.reporter.Forget(ctx, id) // also of one that the cloud never heard of
}

func (g gateway) ScanDevices(context.Context) (control.Scan, error) {
	scan, err := g.sources.scanNow()
	if err != nil {
		return scan, fmt.Errorf("%w: %w", control.ErrDevice, err)
	}
	scan.Text = "Asking by " + strings.Join(scan.Sources, " and ") + "; what answers appears in the list within a minute."
	if scan.Addresses > 0 {
		scan.Text = fmt.Sprintf("Asking by %s, %d addresses; what answers appears in the list as it does.", strings.Join(scan.Sources, " and "), scan.Addresses)
	}
	return scan, nil
}

// deviceError gives the registry's refusals the API's names.
func deviceError(err error) error {
	switch {
	case errors.Is(err, discovery.ErrNoDevice):
		return fmt.Errorf("%w: %w", control.ErrNoDevice, err)
	case errors.Is(err, discovery.ErrAdmin):
		return fmt.Errorf("%w: %w", control.ErrDevice, err)
	}
	return err
}
