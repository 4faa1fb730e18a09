package discovery

import (
	"cmp"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Why a device is in its state.
const (
	NeverSeen mfpgate.Reason = "never-seen" // configured, and nothing has shown that it lives
	NotNamed  mfpgate.Reason = "not-named"  // at the relay, and neither configured nor found by any other source
	Silent    mfpgate.Reason = "silent"     // not at the relay for Present, and nothing else tells of it
	Withdrawn mfpgate.Reason = "withdrawn"  // it took its services back (DNS-SD), and there is no way to ask it

	NoRoute       mfpgate.Reason = "no-route"       // the network has no way to its address
	Refused       mfpgate.Reason = "refused"        // its address answers, its port does not
	NoAnswer      mfpgate.Reason = "no-answer"      // nothing came back in time
	SNMPSilent    mfpgate.Reason = "snmp-silent"    // no answer to SNMP, which says the same of a wrong community
	SNMPOff       mfpgate.Reason = "snmp-off"       // it can be asked by SNMP alone, which the configuration has off
	TLSFailed     mfpgate.Reason = "tls-failed"     // no TLS connection could be made
	NotAPrinter   mfpgate.Reason = "not-a-printer"  // something answers that is no printer
	Busy          mfpgate.Reason = "busy"           // it says that it cannot answer now
	NotAuthorized mfpgate.Reason = "not-authorized" // it wants other credentials
	BadAnswer     mfpgate.Reason = "bad-answer"     // what it answers is too much, or breaks its protocol

	Unplugged  mfpgate.Reason = "unplugged"   // from the gateway's USB, and there is no other way to reach it
	USBOff     mfpgate.Reason = "usb-off"     // the gateway does not look at its USB
	USBOpening mfpgate.Reason = "usb-opening" // it was plugged in just now: no failure
)

// stateOf is what can truthfully be said of a device now, and since when if that is not now.
func (r *Registry) stateOf(d *device, now time.Time) (state mfpgate.DeviceState, reason mfpgate.Reason, since time.Time) {
	relayed := !d.seen.IsZero() && now.Sub(d.seen) <= Present
	announced := false
	withdrawn := time.Time{}
	for _, s := range d.sightings {
		if s.ID.Source() == mfpgate.SourceDNSSD || s.ID.Source() == mfpgate.SourceUSB {
			announced = announced || !s.Gone
			if s.Gone && s.At.After(withdrawn) {
				withdrawn = s.At
			}
		}
	}
	unplugged, isUnplugged := d.unplugged()
	switch {
	case !d.strong() && d.static == nil && len(d.accounts()) == 0:
		return mfpgate.DeviceUnknown, NotNamed, time.Time{}
	case isUnplugged && r.usbOff:
		return mfpgate.DeviceOffline, USBOff, unplugged.At
	case isUnplugged:
		return mfpgate.DeviceOffline, Unplugged, unplugged.At
	case relayed, d.asked.ok, announced && d.asked.at.IsZero():
		return mfpgate.DeviceOnline, "", time.Time{}
	case !d.asked.at.IsZero():
		return mfpgate.DeviceOffline, d.asked.reason, d.asked.since
	case !withdrawn.IsZero():
		return mfpgate.DeviceOffline, Withdrawn, withdrawn
	case !d.seen.IsZero():
		return mfpgate.DeviceOffline, Silent, d.seen
	}
	return mfpgate.DeviceKnown, NeverSeen, time.Time{}
}

// refresh brings a device's state up to date. The lock is held.
func (r *Registry) refresh(d *device, now time.Time) {
	if d.found == nil {
		return
	}
	if d.found.touched.Swap(false) {
		if now.Sub(d.seen) > Present {
			d.heard = now
		}
		d.seen = now
		if now.Sub(d.saved) > saveEvery {
			r.queue[d.id] = struct{}{}
		}
	}
	state, reason, since := r.stateOf(d, now)
	if state == d.state {
		if reason != d.reason {
			d.reason = reason
			r.changed(d)
		}
		return
	}
	before := d.state
	d.state, d.reason, d.since = state, reason, since
	switch {
	case state == mfpgate.DeviceOnline && !d.heard.IsZero() && now.Sub(d.seen) <= Present && before != "":
		d.since = d.heard
	case since.IsZero() && state != mfpgate.DeviceKnown:
		d.since = now
	}
	if before != "" {
		r.Log.Info().Str(field.Device, string(d.id)).Str(field.DeviceName, d.found.name).Str(field.State, string(state)).
			Str(field.Reason, string(reason)).Msg(event.DeviceChanged)
	}
	r.changed(d)
}

// Sweep takes note of connections since the last sweep, and of devices that have been silent for too long.
func (r *Registry) Sweep() {
	r.mu.Lock()
	defer r.release()
	r.sweep()
	r.wrong = r.wrong || r.stale > 0
}

func (r *Registry) sweep() {
	now := r.Clock.Now()
	for _, d := range r.devices {
		r.refresh(d, now)
	}
}

// List returns every device, by name.
func (r *Registry) List() []mfpgate.Device {
	r.mu.Lock()
	defer r.release()
	r.sweep()
	list := make([]mfpgate.Device, 0, len(r.devices))
	for _, d := range r.devices {
		list = append(list, r.show(d))
	}
	slices.SortFunc(list, func(a, b mfpgate.Device) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (r *Registry) show(d *device) mfpgate.Device {
	i := d.identity()
	out := mfpgate.Device{ID: d.id, Name: d.found.name, Make: i.Make, Model: i.Model, Serial: i.Serial, Attachment: d.attachment(),
		State: d.state, Reason: d.reason, Since: d.since, MonitoringMode: r.monitoring(d), Market: r.market(d), Home: r.home(d.id),
		LastSeen: d.lastSeen()}
	if d.readings != nil {
		out.Firmware = d.readings.Firmware
	}
	for _, s := range d.inOrder() {
		out.Firmware, out.Location = cmp.Or(out.Firmware, s.Firmware), cmp.Or(out.Location, s.Location)
	}
	if addresses := d.addresses(); len(addresses) > 0 {
		out.Address = addresses[0].String()
	} else {
		for _, s := range d.inOrder() {
			if all := network(s.Sighting); len(all) > 0 {
				out.Address = all[0].Address.Addr().String()
				break
			}
		}
		if d.attachment() == mfpgate.AttachmentUSB {
			out.Address = d.plug()
		}
	}
	out.USB = r.pluggedIn(d)
	return out
}

// lastSeen is when anything showed that the device lives. Of asking it only an answer counts: asked.at of a device that is
// silent is the time of a failure.
func (d *device) lastSeen() time.Time {
	last := d.seen
	see := func(at time.Time) {
		if at.After(last) {
			last = at
		}
	}
	if d.asked.ok {
		see(d.asked.at)
	}
	see(d.readAt.Status)
	see(d.readAt.Supplies)
	see(d.readAt.Counters)
	for _, s := range d.sightings {
		if s.ID.Source() != mfpgate.SourceStatic { // the time of an entry of the configuration is that of its reading
			see(s.At)
		}
	}
	if last.IsZero() {
		return last
	}
	return last.UTC().Truncate(time.Second)
}

// Detail is all that is known of a device.
type Detail struct {
	Device     mfpgate.Device
	Given      string // the administrator's name for it
	Configured bool   // the configuration names it
	Identity   mfpgate.Identity
	Conflict   string
	Sightings  []Shown
	Reading    *mfpgate.Reading
	ReadAt     ReadAt
}

// Shown is a sighting of a device.
type Shown struct {
	mfpgate.Sighting
	Pinned bool
}

// Detail returns what is known of one device.
func (r *Registry) Detail(id mfpgate.DeviceID) (Detail, error) {
	r.mu.Lock()
	defer r.release()
	d := r.devices[id]
	if d == nil {
		return Detail{}, ErrNoDevice
	}
	r.refresh(d, r.Clock.Now())
	return r.detail(d), nil
}

// Details returns what is known of every device, in no order.
func (r *Registry) Details() []Detail {
	r.mu.Lock()
	defer r.release()
	r.sweep()
	all := make([]Detail, 0, len(r.devices))
	for _, d := range r.devices {
		all = append(all, r.detail(d))
	}
	return all
}

func (r *Registry) detail(d *device) Detail {
	out := Detail{Device: r.show(d), Given: d.given, Configured: d.static != nil, Identity: d.identity(), Conflict: d.conflict, ReadAt: d.readAt}
	for _, s := range d.inOrder() {
		if s.ID.Source() != mfpgate.SourceStatic || len(d.sightings) == 1 {
			out.Sightings = append(out.Sightings, Shown{s.Sighting, s.Pinned})
		}
	}
	if d.readings != nil {
		reading := *d.readings
		if d.state == mfpgate.DeviceOffline {
			reading.Status = nil // what it did when it answered last is not what it does
		}
		out.Reading = &reading
	}
	return out
}

// Conflict notes why the cloud refuses a device, "" if it does not.
func (r *Registry) Conflict(id mfpgate.DeviceID, text string) {
	r.mu.Lock()
	defer r.release()
	if d := r.devices[id]; d != nil && d.conflict != text {
		d.conflict = text
		r.tell(id)
	}
}

// Collect brings the metrics up to date.
func (r *Registry) Collect() {
	type series struct {
		attachment mfpgate.Attachment
		state      mfpgate.DeviceState
	}
	counts := map[series]int{}
	for _, state := range []mfpgate.DeviceState{mfpgate.DeviceOnline, mfpgate.DeviceOffline, mfpgate.DeviceKnown, mfpgate.DeviceUnknown} {
		counts[series{mfpgate.AttachmentNetwork, state}] = 0
		counts[series{mfpgate.AttachmentUSB, state}] = 0
	}
	r.mu.Lock()
	r.sweep()
	for _, d := range r.devices {
		counts[series{d.attachment(), d.state}]++
	}
	r.release()
	for s, n := range counts {
		r.Metrics.Devices.WithLabelValues(string(s.attachment), string(s.state)).Set(float64(n))
	}
}
