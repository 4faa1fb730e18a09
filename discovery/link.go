package discovery

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// maxClaims bounds the devices that share an endpoint or a label and are compared with one another. What more than that claim
// tells of none; and to compare them all would keep the registry from everything else.
const maxClaims = 16

// linked returns the devices that a sighting may belong to without a word of proof: the one that announces the endpoint that
// answered, the one whose services have the same name (Bonjour Printing §3.1: all of a printer's do), the one at its address.
func (r *Registry) linked(s mfpgate.Sighting) (list []*device) {
	for _, l := range linksOf(s) {
		if len(r.byLink[l]) > maxClaims {
			continue
		}
		for _, d := range r.byLink[l] {
			if _, _, named := strings.Cut(string(l), "name "); !named || d.sameHost(s) {
				list = append(list, d)
			}
		}
	}
	if s.Answered {
		for _, e := range network(s) {
			if d := r.alone(e.Address.Addr()); d != nil {
				list = append(list, d)
			}
		}
	}
	return list
}

// few are the devices of an index that are compared: the oldest.
func few(all []*device) []*device { return all[:min(len(all), maxClaims)] }

// link is what two sightings of one device share without being proof.
type link string

func linksOf(s mfpgate.Sighting) (links []link) {
	if s.Gone {
		return nil
	}
	for _, e := range network(s) {
		if e.Address.Port() != 0 {
			links = append(links, link("at "+e.Address.String()+"/"+e.Path))
		}
	}
	if s.ID.Source() == mfpgate.SourceDNSSD {
		label, _, _ := strings.Cut(strings.TrimPrefix(string(s.ID), string(mfpgate.SourceDNSSD)+":"), "._")
		links = append(links, link("name "+strings.ToLower(label)))
	}
	return links
}

// sameHost reports whether no DNS-SD sighting of the device is of another host: a label is unique on one link only.
func (d *device) sameHost(s mfpgate.Sighting) bool {
	for _, other := range d.sightings {
		if other.ID.Source() == mfpgate.SourceDNSSD && len(other.Endpoints) > 0 && len(s.Endpoints) > 0 &&
			other.Endpoints[0].Host != s.Endpoints[0].Host {
			return false
		}
	}
	return true
}

// alone is the device that an address stands for: the only one that answers there or, while none does, the only one that
// came from there or was configured there.
func (r *Registry) alone(a netip.Addr) *device {
	var answering []*device
	for _, d := range r.byAddress[a] {
		if d.answersAt(a) {
			answering = append(answering, d)
		}
	}
	if len(answering) == 0 {
		answering = r.byAddress[a]
	}
	if len(answering) != 1 {
		return nil
	}
	return answering[0]
}

// answersAt reports whether the device itself answered the gateway at an address.
func (d *device) answersAt(a netip.Addr) bool {
	for _, s := range d.sightings {
		if s.Answered && s.ID.Source() != mfpgate.SourceRelay && slices.ContainsFunc(network(s.Sighting), func(e mfpgate.Endpoint) bool { return e.Address.Addr() == a }) {
			return true
		}
	}
	return false
}

// neighbours are the devices that may be d because d answers at their address: those of which nothing but the address is
// known, and one that answers there if it is the only one besides d.
func (r *Registry) neighbours(d *device, a netip.Addr) (list []*device) {
	var answering []*device
	for _, o := range r.byAddress[a] {
		switch {
		case o == d:
		case o.answersAt(a):
			answering = append(answering, o)
		case !o.strong():
			list = append(list, o)
		}
	}
	if len(answering) == 1 {
		list = append(list, answering[0])
	}
	return list
}
