package discovery

import (
	"net/netip"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// join makes one device of those that share a proof, an announced endpoint, or an address that is nobody else's, and
// returns what d became.
func (r *Registry) join(d *device) *device {
	for again := true; again; {
		again = false
		var others []*device
		for _, k := range d.words("").sorted() {
			others = append(others, few(r.byKey[k])...)
		}
		for _, s := range d.inOrder() {
			if !s.Pinned {
				others = append(others, r.linked(s.Sighting)...)
			}
			if s.ID.Source() == mfpgate.SourceRelay || !s.Answered {
				continue
			}
			for _, e := range network(s.Sighting) {
				others = append(others, r.neighbours(d, e.Address.Addr())...)
			}
		}
		for _, o := range others {
			if o == nil || o == d || r.devices[o.id] != o || d.isApart(o) || d.static != nil && o.static != nil ||
				d.words("").differ(o.words("")) || d.denies(o) || r.twins(d, o) {
				continue
			}
			if o.id < d.id {
				d, o = o, d // the older id remains
			}
			r.absorb(d, o)
			again = true
			break
		}
	}
	return d
}

// denies reports whether d and o have sightings that are certainly not of one, and were met at different addresses: what a
// third one says of both does not make them one then. Queues of one printer may differ, and are at one address.
func (d *device) denies(o *device) bool {
	answers := slices.Concat(d.answers(), o.answers())
	mine, theirs := d.said(answers), o.said(answers)
	for _, s := range mine {
		for _, t := range theirs {
			if s.differ(t.words) && !slices.ContainsFunc(s.at, o.answersAt) && !slices.ContainsFunc(t.at, d.answersAt) {
				return true
			}
		}
	}
	return false
}

// said is what a sighting says of who a device is, and where it says so.
type said struct {
	*words
	at []netip.Addr
}

// said returns what each sighting of the device says, together with what answers at its addresses unless that is certainly
// another's: an announcement leaves out the serial number that the printer tells when it is asked. What was withdrawn or pinned
// speaks only where nothing else does.
func (d *device) said(answers []said) (list []said) {
	for _, s := range d.sightings {
		if s.Gone || s.Pinned || s.Identity == (mfpgate.Identity{}) {
			continue
		}
		own := s.said()
		all := s.said()
		for _, a := range answers {
			if !own.differ(a.words) && slices.ContainsFunc(a.at, func(at netip.Addr) bool { return slices.Contains(own.at, at) }) {
				all.join(a.words)
			}
		}
		list = append(list, all)
	}
	if list == nil {
		list = []said{{words: d.words("")}}
	}
	return list
}

// answers is what the device said itself, at each address.
func (d *device) answers() (list []said) {
	for _, s := range d.sightings {
		if s.Answered && !s.Pinned && s.Identity != (mfpgate.Identity{}) {
			list = append(list, s.said())
		}
	}
	return list
}

func (s *sighted) said() said {
	one := said{words: &words{}}
	one.add(s.Identity)
	for _, e := range network(s.Sighting) {
		one.at = append(one.at, e.Address.Addr())
	}
	return one
}

func (d *device) isApart(o *device) bool {
	_, mine := d.apart[o.id]
	_, theirs := o.apart[d.id]
	return mine || theirs
}

// absorb gives all that is known of b to a, and drops b.
func (r *Registry) absorb(a, b *device) {
	for id, s := range b.sightings {
		a.sightings[id] = s
	}
	for id := range b.apart {
		a.apart[id] = struct{}{}
	}
	if a.given == "" {
		a.given = b.given
	}
	if a.static == nil {
		a.static = b.static
	}
	if b.seen.After(a.seen) {
		a.seen, a.heard = b.seen, b.heard
	}
	if b.found != nil && b.found.touched.Load() {
		a.found.touched.Store(true)
	}
	a.suspect = a.suspect || b.suspect
	if b.asked.at.After(a.asked.at) {
		a.asked, a.readings, a.readAt = b.asked, b.readings, b.readAt
	}
	r.Log.Info().Str(field.Device, string(a.id)).Str(field.DeviceName, a.name()).Str(field.Text, string(b.id)).Msg(event.DeviceJoined)
	b.sightings, b.static = map[mfpgate.SightingID]*sighted{}, nil
	r.unindex(b)
	delete(r.devices, b.id)
	r.changed(b)
	a.prune()
	r.reindex(a)
	r.changed(a)
	r.wrong = true
}
