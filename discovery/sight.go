package discovery

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Sight takes what a source shows: it finds the device or makes one, and joins devices that turn out to be one. Sightings
// of more strangers than MaxStrangers are dropped.
func (r *Registry) Sight(s mfpgate.Sighting) {
	s = bounded(s)
	behind := r.behind(&s)
	r.mu.Lock()
	defer r.release()
	r.usbOff = r.usbOff && s.ID.Source() != mfpgate.SourceUSB
	if s.At.IsZero() {
		s.At = r.Clock.Now()
	}
	before := r.bySighting[s.ID]
	if s.Gone {
		if before != nil {
			r.gone(before, s.ID)
		}
		return
	}
	d := r.owner(before, s)
	if o := r.bySighting[behind]; o != nil && (before == nil || !before.sightings[s.ID].Pinned) {
		if a, b := mfpgate.CleanSerial(o.sightings[behind].Identity.Serial), mfpgate.CleanSerial(s.Identity.Serial); a != "" && b != "" && fold(a) != fold(b) {
			return // the answer of the printer that was plugged in there before
		}
		d = o
	} else if pluggedAt(s.ID) != "" {
		return // it was unplugged meanwhile
	}
	if d == nil {
		if s.Identity == (mfpgate.Identity{}) && len(s.Endpoints) == 0 {
			return // nothing tells who or where it is; the source shows it again when it knows more
		}
		if r.full() && !r.makeRoom(s.Answered || s.ID.Source() == mfpgate.SourceUSB) {
			return
		}
		d = r.create()
		r.Log.Info().Str(field.Device, string(d.id)).Str(field.DeviceName, s.Name).Str(field.Text, string(s.ID)).Msg(event.DeviceSighted)
	}
	entry := &sighted{Sighting: s}
	if before != nil {
		old := before.sightings[s.ID]
		entry.Pinned = old.Pinned
		if before == d && same(old.Sighting, s) {
			old.At, old.stored = s.At, false
			r.refresh(d, r.Clock.Now())
			return
		}
		if before != d {
			r.park(before, s.ID)
			r.detach(before, s.ID)
		}
	}
	if !s.Answered || s.ID.Source() == mfpgate.SourceUSB {
		d.suspect = true // it may be where it was not, or be driven otherwise
	}
	d.sightings[s.ID] = entry
	d.prune()
	r.reindex(d)
	d = r.join(d)
	for _, e := range network(s) {
		r.settle(e.Address.Addr())
	}
	r.refresh(d, r.Clock.Now())
	r.changed(d)
}

// same reports whether a sighting says nothing new.
func same(a, b mfpgate.Sighting) bool {
	return a.Identity == b.Identity && a.Name == b.Name && a.Location == b.Location && a.Firmware == b.Firmware &&
		a.Answered == b.Answered && a.Gone == b.Gone && slices.Equal(a.Endpoints, b.Endpoints)
}

// owner finds the device that a sighting belongs to; nil is a new one. before is the one that had it.
func (r *Registry) owner(before *device, s mfpgate.Sighting) *device {
	w := &words{}
	w.add(s.Identity)
	if before != nil {
		// What it said until now counts, too: a new UUID with the same serial number is the same device.
		if old := before.sightings[s.ID]; old.Pinned || !w.differ(before.words("")) && !otherProduct(old.Sighting, s) {
			return before
		}
		r.Log.Warn().Str(field.Device, string(before.id)).Str(field.DeviceName, before.name()).Str(field.Text, string(s.ID)).Msg(event.DeviceReplaced)
	}
	if d := r.bySighting[parked(s)]; d != nil && s.ID.Source() == mfpgate.SourceUSB && !w.differ(d.words("")) {
		return d
	}
	for _, k := range keysOf(s.Identity) {
		for _, d := range few(r.byKey[k]) {
			if !d.words(s.ID).differ(w) && !d.pluggedElsewhere(s.ID) {
				return d
			}
		}
	}
	for _, d := range r.linked(s) {
		if d != before && !d.words(s.ID).differ(w) && !d.pluggedElsewhere(s.ID) {
			return d
		}
	}
	return nil
}

// detach takes a sighting from a device, and the device from the registry where nothing else tells of it.
func (r *Registry) detach(d *device, id mfpgate.SightingID) {
	delete(d.sightings, id)
	d.suspect = true
	if len(d.sightings) == 0 && d.static == nil {
		r.drop(d)
		return
	}
	r.reindex(d)
	r.refresh(d, r.Clock.Now())
	r.changed(d)
}

// gone notes that a source withdrew a sighting. The last one stays, so that the device is known when it comes back.
func (r *Registry) gone(d *device, id mfpgate.SightingID) {
	s := *d.sightings[id]
	left := s.Endpoints
	s.Gone, s.Answered, s.Endpoints = true, false, nil
	d.sightings[id] = &s
	d.suspect = true
	d.prune()
	r.reindex(d)
	if id.Source() != mfpgate.SourceUSB {
		for _, e := range left {
			r.settle(e.Address.Addr())
		}
	}
	r.refresh(d, r.Clock.Now())
	r.changed(d)
}

// Unanswered says that an endpoint at which a device answered does not any more, while the device answers elsewhere: it has
// left that address, and so has what only the address told of it.
func (r *Registry) Unanswered(id mfpgate.SightingID) {
	r.mu.Lock()
	defer r.release()
	d := r.bySighting[id]
	if d == nil || len(d.sightings) == 1 || d.sightings[id].Pinned || id.Source() == mfpgate.SourceUSB {
		return
	}
	left := d.sightings[id].Endpoints
	r.detach(d, id)
	for _, e := range left {
		a := e.Address.Addr()
		relay := mfpgate.NewSightingID(mfpgate.SourceRelay, a.String())
		if r.bySighting[relay] == d && !d.answersAt(a) && r.Clock.Now().Sub(d.seen) > Present {
			r.detach(d, relay)
		}
		r.settle(a)
	}
}

// settle gives what an address alone tells, a connection to the relay and an entry of the configuration, to the device that
// answers there.
func (r *Registry) settle(a netip.Addr) {
	d := r.alone(a)
	if d == nil || !d.answersAt(a) {
		return
	}
	relay := mfpgate.NewSightingID(mfpgate.SourceRelay, a.String())
	if o := r.bySighting[relay]; o != nil && o != d && !o.answersAt(a) && !o.sightings[relay].Pinned {
		s := o.sightings[relay]
		d.sightings[relay] = s
		r.detach(o, relay)
		r.reindex(d)
		r.changed(d)
	}
	for _, o := range slices.Clone(r.byAddress[a]) {
		if o == d || o.static == nil || o.static.Address != a || d.static != nil {
			continue
		}
		entry := mfpgate.NewSightingID(mfpgate.SourceStatic, o.static.Name)
		d.static, o.static = o.static, nil
		d.sightings[entry] = o.sightings[entry]
		r.detach(o, entry)
		r.reindex(d)
		r.changed(d)
		r.Log.Warn().Str(field.Device, string(d.id)).Str(field.DeviceName, d.name()).Str(field.Address, a.String()).Msg(event.DeviceReplaced)
	}
}

// prune forgets what is withdrawn while the same kind of source still shows the device, and bounds the rest.
func (d *device) prune() {
	live := map[mfpgate.Source]bool{}
	for _, s := range d.sightings {
		live[s.ID.Source()] = live[s.ID.Source()] || !s.Gone
	}
	for id, s := range d.sightings {
		if s.Gone && live[id.Source()] && !s.Pinned {
			delete(d.sightings, id)
		}
	}
	for len(d.sightings) > MaxSightings || d.size() > maxRecord {
		var oldest *sighted
		for _, s := range d.sightings {
			if !s.Pinned && s.ID.Source() != mfpgate.SourceStatic && !slices.ContainsFunc(s.Endpoints, d.configuredAt) && (oldest == nil || cheaper(s, oldest)) {
				oldest = s
			}
		}
		if oldest == nil {
			d.shorten()
			return
		}
		delete(d.sightings, oldest.ID)
	}
}

// cheaper reports whether a is less of a loss than b: what is announced before what answered, then the older.
func cheaper(a, b *sighted) bool {
	if a.Answered != b.Answered {
		return b.Answered
	}
	return a.At.Before(b.At)
}

// maxRecord bounds the JSON of a device's sightings, so that its record fits into the store: one that did not would keep all
// that are written with it out.
const maxRecord = store.MaxValue - 8<<10

// size is that of the sightings in the record.
func (d *device) size() (bytes int) {
	for _, s := range d.sightings {
		text, _ := json.Marshal(s) // it always has one
		bytes += len(text) + len(",")
	}
	return bytes
}

// shorten cuts what pinned sightings say, for they must stay. A device that is not hostile never says so much.
func (d *device) shorten() {
	for word := maxWord / 2; d.size() > maxRecord && word > 0; word /= 2 {
		for _, s := range d.sightings {
			s.Sighting = cut(s.Sighting, word, maxEndpoints*word/maxWord)
		}
	}
}

// What a sighting may hold; the rest is cut off.
const (
	maxWord      = 256 // bytes
	maxEndpoints = 8
)

func bounded(s mfpgate.Sighting) mfpgate.Sighting {
	s = cut(s, maxWord, maxEndpoints)
	s.At = s.At.Round(0).UTC().Truncate(time.Millisecond)
	return s
}

// cut bounds the words of a sighting and its endpoints. Words of identity keep as many bytes as a UUID has.
func cut(s mfpgate.Sighting, word, endpoints int) mfpgate.Sighting {
	const uuid = 36
	for _, p := range []*string{&s.Identity.UUID, &s.Identity.Make, &s.Identity.Model, &s.Identity.Serial, &s.Identity.SysObjectID,
		&s.Identity.MAC, &s.Identity.USB} {
		*p = mfpgate.CleanText(*p, max(word, uuid))
	}
	for _, p := range []*string{&s.Name, &s.Location, &s.Firmware} {
		*p = mfpgate.CleanText(*p, word)
	}
	s.Endpoints = slices.Clone(s.Endpoints[:min(len(s.Endpoints), endpoints)])
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.Host, e.Path = mfpgate.CleanText(e.Host, word), mfpgate.CleanText(e.Path, word)
	}
	return s
}
