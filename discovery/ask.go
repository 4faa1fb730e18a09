package discovery

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Way is where and how a device can be asked.
type Way struct {
	// Sighting is the sighting that answered here, "" where nothing has answered yet.
	Sighting mfpgate.SightingID
	// Endpoint has protocol ipp, ipps or snmp, of which a port of 0 stands for the usual ones; or usb, whose path is the port that the
	// printer is plugged in at. With Sighting of USB an endpoint of ipp is the gateway's own: see AskedOverUSB.
	Endpoint mfpgate.Endpoint
}

// Target is a device that can be asked.
type Target struct {
	ID      mfpgate.DeviceID
	Name    string
	Mode    mfpgate.MonitoringMode
	Ways    []Way // those that answered before first
	Suspect bool  // who and where it is must be asked again
}

// maxTried bounds the ways that have not answered yet.
const maxTried = 6

// Target says how a device can be asked; ok is false for one of which nothing tells a way.
func (r *Registry) Target(id mfpgate.DeviceID) (t Target, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[id]
	if d == nil {
		return Target{}, false
	}
	t = Target{ID: id, Name: d.found.name, Mode: r.monitoring(d), Suspect: d.suspect}
	answered := map[mfpgate.Endpoint]bool{}
	addresses := map[netip.Addr]bool{}
	snmp := map[netip.Addr]bool{}
	for _, s := range d.inOrder() {
		if s.live() { // also one that is not driven: to ask says why
			at := s.Endpoints
			if len(at) == 0 {
				at = []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolUSB, Path: strings.TrimPrefix(string(s.ID), string(mfpgate.SourceUSB)+":")}}
			}
			for _, e := range at {
				t.Ways = append(t.Ways, Way{s.ID, e})
			}
			continue
		}
		if source := s.ID.Source(); !s.Answered || s.Gone || source != mfpgate.SourceIPP && source != mfpgate.SourceSNMP {
			continue
		}
		for _, e := range s.Endpoints {
			t.Ways = append(t.Ways, Way{s.ID, e})
			answered[bare(e)], addresses[e.Address.Addr()] = true, true
			snmp[e.Address.Addr()] = snmp[e.Address.Addr()] || e.Protocol == mfpgate.ProtocolSNMP
		}
	}
	// Where the configuration has it first: others may only say that they are it.
	slices.SortStableFunc(t.Ways, func(a, b Way) int {
		return cmp.Or(compareBool(d.configuredAt(b.Endpoint), d.configuredAt(a.Endpoint)), cmp.Compare(rank(a.Endpoint.Protocol), rank(b.Endpoint.Protocol)))
	})
	var tried []Way
	try := func(e mfpgate.Endpoint) {
		if !answered[bare(e)] && len(tried) < maxTried && e.Address.Addr().IsValid() {
			answered[bare(e)] = true
			tried = append(tried, Way{Endpoint: e})
		}
	}
	if s := d.static; s != nil && s.Endpoint != nil {
		try(*s.Endpoint)
	}
	for _, s := range d.inOrder() {
		if s.ID.Source() != mfpgate.SourceDNSSD {
			continue
		}
		for _, e := range s.Endpoints {
			if e.Protocol == mfpgate.ProtocolIPP || e.Protocol == mfpgate.ProtocolIPPS {
				try(e)
			}
		}
	}
	if s := d.static; s != nil && s.Address.IsValid() && (r.policy.AskStatic || t.Mode == mfpgate.MonitoringPolling) {
		if s.Endpoint == nil && !addresses[s.Address] {
			try(mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(s.Address, 0)})
		}
		addresses[s.Address] = true
	}
	for _, s := range d.sightings {
		if s.ID.Source() == mfpgate.SourceDNSSD && len(s.Endpoints) > 0 && len(addresses) == 0 {
			addresses[s.Endpoints[0].Address.Addr()] = true // a printer that announces LPD or AppSocket alone
		}
	}
	for a := range addresses {
		agent := d.static != nil && d.static.Address == a || slices.ContainsFunc(r.policy.Agents, func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) })
		if !snmp[a] && agent {
			try(mfpgate.Endpoint{Protocol: mfpgate.ProtocolSNMP, Address: netip.AddrPortFrom(a, 0)})
		}
	}
	t.Ways = append(t.Ways, tried...)
	return t, len(t.Ways) > 0
}

// configuredAt reports whether an endpoint is at the address that the configuration gives the device.
func (d *device) configuredAt(e mfpgate.Endpoint) bool {
	return d.static != nil && d.static.Address.IsValid() && e.Address.Addr() == d.static.Address
}

// bare is an endpoint by where it is alone.
func bare(e mfpgate.Endpoint) mfpgate.Endpoint {
	e.Host = ""
	if e.Protocol == mfpgate.ProtocolSNMP {
		e.Address = netip.AddrPortFrom(e.Address.Addr(), 0)
	}
	return e
}

// rank prefers plain IPP for questions: nothing secret is in them, and TLS costs a printer seconds.
func rank(p mfpgate.Protocol) int {
	return slices.Index([]mfpgate.Protocol{mfpgate.ProtocolIPP, mfpgate.ProtocolIPPS, mfpgate.ProtocolUSB, mfpgate.ProtocolSNMP}, p)
}

// Answered notes what the device of a sighting said, by part, and returns which device that is; ok is false if the sighting
// is no device's any more.
func (r *Registry) Answered(sighting mfpgate.SightingID, reading mfpgate.Reading) (device mfpgate.Device, ok bool) {
	r.mu.Lock()
	defer r.release()
	d := r.bySighting[sighting]
	if d == nil {
		return mfpgate.Device{}, false
	}
	now := r.Clock.Now()
	if s := d.sightings[sighting]; now.After(s.At) {
		s.At = now.Round(0).UTC().Truncate(time.Millisecond)
	}
	if !d.asked.ok {
		d.asked.since = now
	}
	d.asked.ok, d.asked.reason, d.asked.at = true, "", now
	if d.readings == nil {
		d.readings = &mfpgate.Reading{}
	}
	kept := *d.readings // who shows it has a copy of the old one
	kept.At = reading.At
	if reading.Status != nil {
		kept.Status, d.readAt.Status = reading.Status, reading.At
	}
	if reading.Supplies != nil {
		kept.Supplies, d.readAt.Supplies = reading.Supplies, reading.At
	}
	if reading.Counters != nil {
		kept.Counters, d.readAt.Counters = reading.Counters, reading.At
	}
	kept.Firmware = cmp.Or(reading.Firmware, kept.Firmware)
	d.readings = &kept
	r.refresh(d, now)
	return r.show(d), true
}

// Failed notes that a device did not answer in any way, and why, and returns what is true of it now.
func (r *Registry) Failed(id mfpgate.DeviceID, why mfpgate.Reason) (device mfpgate.Device, ok bool) {
	r.mu.Lock()
	defer r.release()
	d := r.devices[id]
	if d == nil {
		return mfpgate.Device{}, false
	}
	now := r.Clock.Now()
	if d.asked.ok || d.asked.since.IsZero() {
		d.asked.since = now
	}
	d.asked.ok, d.asked.reason, d.asked.at = false, why, now
	r.refresh(d, now)
	return r.show(d), true
}

// Readings returns what every device said last, by part. One that is offline has no status.
func (r *Registry) Readings() map[mfpgate.DeviceID]mfpgate.Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[mfpgate.DeviceID]mfpgate.Reading, len(r.devices))
	for id, d := range r.devices {
		if d.readings == nil {
			continue
		}
		reading := *d.readings
		if d.state == mfpgate.DeviceOffline {
			reading.Status = nil
		}
		all[id] = reading
	}
	return all
}

// Doubtful reports whether what a device said of itself, or where, is to be asked again.
func (r *Registry) Doubtful(id mfpgate.DeviceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[id]
	return d != nil && d.suspect
}

// Asking ends the doubt about a device: whoever calls it asks.
func (r *Registry) Asking(id mfpgate.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.devices[id]; d != nil {
		d.suspect = false
	}
}
