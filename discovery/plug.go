package discovery

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// A printer on USB has no address. The gateway reaches it through an endpoint of its own, or by bytes on a port, and whatever comes
// from or answers at an address of the gateway is never taken for the printer. Its sightings are:
//
//	usb:1-2.4            what is plugged in there. Printers without a serial number are told apart by the port alone.
//	usb:1-2.4 03f0:e911  what was plugged in there before another model took its place
//	ipp:usb:1-2.4        what the printer there says of itself over IPP

// askedAt is the sighting of what the printer of a USB sighting says over IPP.
func askedAt(usb mfpgate.SightingID) mfpgate.SightingID {
	return mfpgate.NewSightingID(mfpgate.SourceIPP, string(usb))
}

// AskedOverUSB makes what an endpoint of the gateway answered the words of the printer behind it.
func AskedOverUSB(usb mfpgate.SightingID, answer mfpgate.Sighting) mfpgate.Sighting {
	answer.ID, answer.Endpoints = askedAt(usb), nil
	return answer
}

// pluggedAt is the USB sighting that a sighting of IPP over USB is of, "" for any other.
func pluggedAt(id mfpgate.SightingID) mfpgate.SightingID {
	if name, ok := strings.CutPrefix(string(id), string(mfpgate.SourceIPP)+":"); ok && mfpgate.SightingID(name).Source() == mfpgate.SourceUSB {
		return mfpgate.SightingID(name)
	}
	return ""
}

// behind is the sighting of the printer on USB that s is of, if s is of the gateway's own endpoints: they are taken out of it.
func (r *Registry) behind(s *mfpgate.Sighting) mfpgate.SightingID {
	found := pluggedAt(s.ID)
	if found != "" {
		s.Endpoints = nil
	}
	if r.USB.Behind == nil || s.ID.Source() == mfpgate.SourceUSB {
		return found
	}
	s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e mfpgate.Endpoint) bool {
		id := r.USB.Behind(e.Address)
		if id != "" {
			found = id
		}
		return id != ""
	})
	return found
}

// network are the endpoints of a sighting that are the device's own, on the network.
func network(s mfpgate.Sighting) []mfpgate.Endpoint {
	if s.ID.Source() == mfpgate.SourceUSB {
		return nil
	}
	return s.Endpoints
}

// otherProduct reports whether another model is plugged in where one was. Without a serial number nothing else tells.
func otherProduct(was, is mfpgate.Sighting) bool {
	return is.ID.Source() == mfpgate.SourceUSB && product(was) != "" && product(is) != "" && product(was) != product(is)
}

// product is vendor and product of a sighting of USB.
func product(s mfpgate.Sighting) string {
	parts := strings.SplitN(fold(s.Identity.USB), ":", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + ":" + parts[1]
}

// parked is the name of a sighting of USB while another model is plugged in there.
func parked(s mfpgate.Sighting) mfpgate.SightingID {
	return s.ID + mfpgate.SightingID(" "+product(s))
}

// park keeps a device known whose port another model took, for when it comes back.
func (r *Registry) park(d *device, id mfpgate.SightingID) {
	s := d.sightings[id]
	if id.Source() != mfpgate.SourceUSB || product(s.Sighting) == "" {
		return
	}
	kept := *s
	kept.ID, kept.Gone, kept.Answered, kept.Endpoints, kept.stored = parked(s.Sighting), true, false, nil, false
	d.sightings[kept.ID] = &kept
}

// live reports whether the printer of a sighting of USB is plugged in now.
func (s *sighted) live() bool {
	return s.ID.Source() == mfpgate.SourceUSB && !s.Gone && !s.stored
}

// pluggedElsewhere reports whether a device is plugged in at another port than that of a sighting.
func (d *device) pluggedElsewhere(id mfpgate.SightingID) bool {
	if id.Source() != mfpgate.SourceUSB {
		return false
	}
	for other, s := range d.sightings {
		if other != id && s.live() {
			return true
		}
	}
	return false
}

// twins reports whether two devices are plugged in at two ports at once: they are two, also where a maker gave all of a model one
// serial number. That is kept for the time when one of them is unplugged.
func (r *Registry) twins(d, o *device) bool {
	at := func(d *device) mfpgate.SightingID {
		for id, s := range d.sightings {
			if s.live() {
				return id
			}
		}
		return ""
	}
	if at(d) == "" || !o.pluggedElsewhere(at(d)) {
		return false
	}
	d.apart[o.id], o.apart[d.id] = struct{}{}, struct{}{}
	return true
}

// USBLooked says that all that is plugged in has been shown since the start: the rest is unplugged. Until then what was plugged in
// before it counts as it did.
func (r *Registry) USBLooked() { r.unplug(false) }

// USBOff says that nobody looks at USB: nothing counts as plugged in until it is shown again.
func (r *Registry) USBOff() { r.unplug(true) }

func (r *Registry) unplug(off bool) {
	r.mu.Lock()
	defer r.release()
	r.usbOff = off
	for id, d := range r.bySighting {
		if s := d.sightings[id]; s != nil && id.Source() == mfpgate.SourceUSB && !s.Gone && (off || s.stored) {
			s.At = r.Clock.Now()
			r.gone(d, id)
		}
	}
	for _, d := range r.devices {
		r.refresh(d, r.Clock.Now())
	}
}

// plug is where a device is plugged in, or was; "" for one that never was.
func (d *device) plug() string {
	last := ""
	for _, s := range d.inOrder() {
		if s.ID.Source() != mfpgate.SourceUSB {
			continue
		}
		if !s.Gone {
			return string(s.ID)
		}
		last, _, _ = strings.Cut(string(s.ID), " ")
	}
	return last
}

// unplugged reports whether a device was known by USB alone, and is plugged in no more.
func (d *device) unplugged() (last *sighted, ok bool) {
	if d.attachment() != mfpgate.AttachmentUSB {
		return nil, false
	}
	for _, s := range d.sightings {
		switch {
		case s.ID.Source() != mfpgate.SourceUSB:
		case !s.Gone:
			return nil, false
		case last == nil || s.At.After(last.At):
			last = s
		}
	}
	return last, last != nil
}

// attachment is USB where a USB port shows the device and it has no address of its own that ever answered or called: one that has
// reaches its cloud by itself, through the relay, and that is what the word decides.
func (d *device) attachment() mfpgate.Attachment {
	usb := false
	for id, s := range d.sightings {
		usb = usb || id.Source() == mfpgate.SourceUSB
		if s.Answered && slices.ContainsFunc(network(s.Sighting), func(e mfpgate.Endpoint) bool { return e.Address.Addr() != netip.Addr{} }) {
			return mfpgate.AttachmentNetwork
		}
	}
	if usb {
		return mfpgate.AttachmentUSB
	}
	return mfpgate.AttachmentNetwork
}

// pluggedIn is how a device is plugged in now, nil if it is not.
func (r *Registry) pluggedIn(d *device) *mfpgate.USBPort {
	if r.USB.Port == nil {
		return nil
	}
	for _, s := range d.inOrder() {
		if s.live() {
			return r.USB.Port(s.ID)
		}
	}
	return nil
}
