package portaltest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// Devices implements control.Gateway.
func (g *Gateway) Devices(context.Context) []mfpgate.Device {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.DevicesAre)
}

// Readings implements control.Gateway.
func (g *Gateway) Readings(context.Context) map[mfpgate.DeviceID]mfpgate.Reading {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.ReadingsAre)
}

// Device implements control.Gateway.
func (g *Gateway) Device(_ context.Context, id mfpgate.DeviceID) (control.DeviceDetail, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.DetailsRead++
	i, err := g.find(id)
	if err != nil {
		return control.DeviceDetail{}, err
	}
	d := g.DetailsAre[id]
	d.Device = g.DevicesAre[i]
	if reading, ok := g.ReadingsAre[id]; ok {
		d.Reading = &reading
	}
	return d, nil
}

func (g *Gateway) find(id mfpgate.DeviceID) (int, error) {
	for i := range g.DevicesAre {
		if g.DevicesAre[i].ID == id {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: %s", control.ErrNoDevice, id)
}

// change finds the devices, unless changes fail.
func (g *Gateway) change(ids ...mfpgate.DeviceID) error {
	for _, id := range ids {
		if _, err := g.find(id); err != nil {
			return err
		}
	}
	return g.ChangeFails
}

// PinDevices implements control.Gateway.
func (g *Gateway) PinDevices(_ context.Context, keep mfpgate.DeviceID, others []mfpgate.DeviceID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.change(append(slices.Clone(others), keep)...); err != nil {
		return err
	}
	kept := g.DetailsAre[keep]
	for _, id := range others {
		for _, s := range g.DetailsAre[id].Sightings {
			s.Pinned = true
			kept.Sightings = append(kept.Sightings, s)
		}
		g.drop(id)
	}
	g.DetailsAre[keep] = kept
	return nil
}

// SplitDevice implements control.Gateway.
func (g *Gateway) SplitDevice(_ context.Context, id mfpgate.DeviceID, sighting mfpgate.SightingID) (mfpgate.DeviceID, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.change(id); err != nil {
		return "", err
	}
	old := g.DetailsAre[id]
	i := slices.IndexFunc(old.Sightings, func(s control.SightingDetail) bool { return s.ID == sighting })
	if i < 0 || len(old.Sightings) < 2 {
		return "", fmt.Errorf("%w: the device has no other sighting than this one", control.ErrDevice)
	}
	moved := old.Sightings[i]
	old.Sightings = slices.Delete(slices.Clone(old.Sightings), i, i+1)
	g.DetailsAre[id] = old
	moved.Pinned = true
	made := mfpgate.Device{ID: id + "_split", Name: moved.Name, Attachment: mfpgate.AttachmentNetwork, State: mfpgate.DeviceUnknown, Since: Now,
		Reason: "not-named", MonitoringMode: mfpgate.MonitoringProxy, Location: moved.Location, LastSeen: moved.At}
	g.DevicesAre = append(slices.Clone(g.DevicesAre), made)
	g.DetailsAre[made.ID] = control.DeviceDetail{Identity: moved.Identity, Sightings: []control.SightingDetail{moved}}
	return made.ID, nil
}

// RenameDevice implements control.Gateway.
func (g *Gateway) RenameDevice(_ context.Context, id mfpgate.DeviceID, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.change(id); err != nil {
		return err
	}
	i, _ := g.find(id)
	d := g.DetailsAre[id]
	d.NameGiven = name
	g.DetailsAre[id] = d
	g.DevicesAre = slices.Clone(g.DevicesAre)
	g.DevicesAre[i].Name = name
	if name == "" {
		g.DevicesAre[i].Name = g.DevicesAre[i].Model
	}
	return nil
}

// ForgetDevice implements control.Gateway.
func (g *Gateway) ForgetDevice(_ context.Context, id mfpgate.DeviceID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.change(id); err != nil {
		return err
	}
	g.drop(id)
	return nil
}

func (g *Gateway) drop(id mfpgate.DeviceID) {
	g.DevicesAre = slices.DeleteFunc(slices.Clone(g.DevicesAre), func(d mfpgate.Device) bool { return d.ID == id })
	delete(g.DetailsAre, id)
	delete(g.ReadingsAre, id)
}

// ScanDevices implements control.Gateway.
func (g *Gateway) ScanDevices(context.Context) (control.Scan, error) {
	return control.Scan{Sources: []string{"dns-sd", "snmp"}, Addresses: 254, Text: "254 addresses are asked; look again in a minute"}, g.ChangeFails
}
