package daemon

import (
	"context"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// gateway is the daemon as control and the portal see it.
type gateway struct{ *Daemon }

var _ control.Gateway = gateway{}

func (g gateway) Status(context.Context) control.Status {
	cfg := g.config.Load()
	slots := g.relay.Slots()
	_, until := g.contracts.capacity(cfg.Relay.Capacity.InForce.At)(g.Clock.Now())
	limit, open := g.relay.Limit()
	wrong, loadedAt := g.health.list()
	status := control.Status{
		Version:   g.Build.Version,
		Site:      control.Site{Name: cfg.Site.Name, Region: cfg.Site.Region, Location: cfg.Site.Location, TimeZone: cfg.Site.TimeZone.String()},
		StartedAt: g.started.UTC(),
		Ready:     g.health.ready(),
		Degraded:  wrong,
		Off:       switchedOff(cfg),
		Relay: control.Relay{Listen: addresses(g.where.Relay), Capacity: slots.Capacity, CapacityUntil: until.UTC(), Served: slots.Served,
			Queued: slots.Queued, Tunnels: len(g.relay.Tunnels()), Connections: open, ConnectionsLimit: limit, Draining: g.stopping.Load()},
		Config: control.Config{File: g.ConfigFile, LoadedAt: loadedAt.UTC()},
	}
	if status.Off == nil {
		status.Off = []string{}
	}
	for _, d := range wrong {
		if d.Reason == ConfigRefused {
			status.Config.LastError = d.Text
		}
	}
	if free, err := g.db.FreeBytes(); err == nil {
		status.Store.FreeBytes = free
	}
	if r := g.db.Recovered(); r != nil {
		status.Store.Recovered = r.String()
	}
	return status
}

func (g gateway) Devices(context.Context) []mfpgate.Device { return g.registry.List() }

func (g gateway) Slots(context.Context) []control.Slot {
	names := map[string]string{}
	for _, d := range g.registry.List() {
		names[string(d.ID)] = d.Name
	}
	var list []control.Slot
	for _, s := range g.relay.Slots().Devices {
		slot := control.Slot{Device: mfpgate.DeviceID(s.Key), Name: names[string(s.Key)], State: string(s.State), Connections: s.Connections,
			Position: s.Position, Since: s.Since}
		if slot.Name == "" {
			slot.Name = string(s.Key) // named by an inner gateway, or an address that is not recorded
		}
		list = append(list, slot)
	}
	return list
}

func (g gateway) Tunnels(context.Context) []control.Tunnel {
	var list []control.Tunnel
	for _, t := range g.relay.Tunnels() {
		up, down, spliced := t.Bytes()
		list = append(list, control.Tunnel{Device: t.Label.Device, Name: t.Label.DeviceName, Client: t.Label.Client,
			Destination: t.Label.Destination, Forwarded: t.Label.Forwarded, Rule: t.Label.Rule, Seconds: t.Age().Seconds(), Quiet: t.Quiet().Seconds(),
			BytesUp: up, BytesDown: down, Spliced: spliced})
	}
	return list
}

func (g gateway) Refusals(context.Context) []control.Refusal {
	var list []control.Refusal
	for _, r := range g.relay.Refusals() {
		list = append(list, control.Refusal{Time: r.Time.UTC(), Device: r.Device, Name: r.DeviceName, Client: r.Client,
			Destination: r.Destination, Reason: r.Reason})
	}
	return list
}

func (g gateway) History(context.Context) []control.Sample {
	return g.history.list()
}
