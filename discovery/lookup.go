package discovery

import (
	"cmp"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// table is what look-ups read: never changed once it is in place.
type table struct {
	byIPv4    map[[4]byte]*found // of its own: with keys of four bytes a Go map takes half the time, and most sites have no others
	byIPv6    map[netip.Addr]*found
	byAccount map[string]*found
}

func (t *table) size() int { return len(t.byIPv4) + len(t.byIPv6) }

// rebuild makes a new table. The lock is held.
func (r *Registry) rebuild() {
	t := &table{byIPv4: make(map[[4]byte]*found, len(r.byAddress)), byIPv6: map[netip.Addr]*found{}, byAccount: map[string]*found{}}
	for a, holders := range r.byAddress {
		d := holder(a, holders)
		f := d.found
		if !d.entitled(a) {
			f = d.elsewhere
		}
		if a.Is4() {
			t.byIPv4[a.As4()] = f
		} else {
			t.byIPv6[a] = f
		}
	}
	for _, d := range r.devices {
		for _, name := range d.accounts() {
			t.byAccount[name] = d.found
		}
	}
	r.table.Store(t)
	r.stale, r.wrong = 0, false
}

// entitled reports whether a device is let in from an address as the one that the configuration names: from the configured
// address, and from one where an administrator pinned what answers. Anybody can say to be the device.
func (d *device) entitled(a netip.Addr) bool {
	if d.static == nil || d.static.Address == a {
		return d.static != nil
	}
	for _, s := range d.sightings {
		if s.Pinned && s.Answered && slices.ContainsFunc(network(s.Sighting), func(e mfpgate.Endpoint) bool { return e.Address.Addr() == a }) {
			return true
		}
	}
	return false
}

// holder is the device that an address means where several answer at it: the one that the configuration names there, else
// the one that was met first.
func holder(a netip.Addr, all []*device) *device {
	first := all[0]
	for _, d := range all {
		if d.static != nil && d.static.Address == a {
			return d
		}
		if d.id < first.id {
			first = d
		}
	}
	return first
}

// renew gives look-ups the device's present name and standing.
func (r *Registry) renew(d *device) {
	next := found{id: d.id, name: d.name(), known: d.static != nil, touched: &atomic.Bool{}}
	if next.name == "" {
		for _, a := range d.addresses() {
			next.name = a.String()
			break
		}
		if next.name == "" {
			next.name = d.plug()
		}
	}
	if f := d.found; f != nil {
		if f.name == next.name && f.known == next.known {
			return
		}
		next.touched, r.wrong = f.touched, true
	}
	// What a device says of itself is no proof to the relay: at an address that the configuration does not give it, it is
	// the same device, and nobody has let it in.
	elsewhere := next
	elsewhere.known = false
	d.found, d.elsewhere = &next, &elsewhere
}

// Lookup finds the device of an account or, where account is empty, of a source address, without noting anything. It
// neither locks nor allocates, and may miss a device that was met within the last second.
func (r *Registry) Lookup(address netip.Addr, account string) (id mfpgate.DeviceID, name string, known, ok bool) {
	f := r.table.Load().find(address, account)
	if f == nil {
		return "", "", false, false
	}
	return f.id, f.name, f.known || account != "", true
}

func (t *table) find(address netip.Addr, account string) *found {
	switch {
	case account != "":
		return t.byAccount[account]
	case address.Is4():
		return t.byIPv4[address.As4()]
	}
	return t.byIPv6[address]
}

// Identify finds the device of an account or, where account is empty, of a source address, and notes that it was seen.
// An account that proved its password is known, whether or not the configuration names it.
func (r *Registry) Identify(address netip.Addr, account string) (id mfpgate.DeviceID, name string, known bool) {
	f := r.table.Load().find(address, account)
	if f == nil {
		return r.meet(address, account)
	}
	if !f.touched.Load() { // else every connection would write to one cache line
		f.touched.Store(true)
	}
	return f.id, f.name, f.known || account != ""
}

// meet finds or records a device that the table does not have.
func (r *Registry) meet(address netip.Addr, account string) (mfpgate.DeviceID, string, bool) {
	r.mu.Lock()
	defer r.release()
	id := accountSighting(account)
	if account == "" {
		id = mfpgate.NewSightingID(mfpgate.SourceRelay, address.String())
	}
	d := r.bySighting[id]
	if holders := r.byAddress[address]; d == nil && account == "" && len(holders) > 0 {
		d = holder(address, holders)
	}
	if d == nil {
		if r.full() && !r.makeRoom(true) {
			return "", cmp.Or(account, address.String()), account != ""
		}
		d = r.create()
		s := mfpgate.Sighting{ID: id, At: r.Clock.Now(), Name: account}
		if account == "" {
			s.Answered, s.Endpoints = true, []mfpgate.Endpoint{{Address: netip.AddrPortFrom(address, 0)}}
		}
		d.sightings[id] = &sighted{Sighting: s}
		r.reindex(d)
		r.changed(d)
		r.Log.Info().Str(field.Device, string(d.id)).Str(field.DeviceName, d.found.name).Str(field.Address, address.String()).
			Msg(event.DeviceSighted)
	}
	d.found.touched.Store(true)
	r.refresh(d, r.Clock.Now())
	known := account != "" || d.entitled(address)
	return d.id, d.found.name, known
}

// full reports whether no further device may be recorded that nobody configured.
func (r *Registry) full() bool { return len(r.devices)-len(r.policy.Static) >= MaxStrangers }

// makeRoom forgets a stranger for one that came to the relay or answered, which announcements alone must not keep out, or
// for one that is announced: then only one that withdrew, or did not answer when it was asked. The lock is held.
func (r *Registry) makeRoom(answered bool) bool {
	for _, d := range r.devices {
		if d.static != nil || d.given != "" || !d.announcedOnly() {
			continue
		}
		if answered || !d.asked.at.IsZero() && !d.asked.ok {
			r.drop(d)
			return true
		}
	}
	return false
}

func accountSighting(name string) mfpgate.SightingID {
	return mfpgate.SightingID(accountPrefix + name)
}
