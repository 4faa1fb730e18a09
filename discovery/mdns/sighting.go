package mdns

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ieee1284"
)

const (
	// signOfLife is how often an unchanged instance is sighted at most.
	signOfLife = 3 * time.Minute
	holdBack   = time.Second
	maxHasty   = 4
	// patience is how many questions for what an instance lacks are asked before it is sighted without that.
	patience     = 3
	maxValue     = 255 // bytes of a TXT pair (RFC 6763 §6.1)
	maxEndpoints = 64  // of one instance: a host has few, but may be on several links
)

// shown is what was sighted last of an instance.
type shown struct {
	id   mfpgate.SightingID // in the writing that it was sighted in first
	at   time.Duration
	hash uint64 // of the sighting
	// hasty counts changes that came within holdBack of one another. Some do when a device starts; those of one that does
	// not stop are held back, so that whoever keeps sightings is not kept busy by it.
	hasty uint8
}

// show tells of all instances that something was heard of.
func (q *Querier) show() {
	if len(q.changed) == 0 {
		return
	}
	changed := slices.Sorted(maps.Keys(q.changed))
	clear(q.changed)
	for _, key := range changed {
		q.showOne(key)
	}
}

func (q *Querier) showOne(key string) {
	before := q.shown[key]
	sighting, complete := q.sighting(key)
	switch {
	case sighting.ID == "" && before == nil:
		return
	case sighting.ID == "":
		delete(q.shown, key)
		q.Sighted(mfpgate.Sighting{ID: before.id, At: q.Clock.Now(), Gone: true})
		return
	case before == nil && !complete:
		return
	}
	hash := q.hash(sighting)
	switch {
	case before == nil:
		before = &shown{id: sighting.ID}
		q.shown[key] = before
	case before.hash == hash && q.now < before.at+signOfLife:
		return
	case q.now >= before.at+10*holdBack:
		before.hasty = 0
	case before.hash == hash || q.now >= before.at+holdBack:
	case before.hasty >= maxHasty:
		if len(q.held) == 0 {
			q.release = q.now + holdBack
		}
		q.held[key] = struct{}{}
		return
	default:
		before.hasty++
	}
	before.hash, before.at = hash, q.now
	sighting.ID = before.id
	sighting.At = q.Clock.Now()
	q.Sighted(sighting)
}

// sighting puts together what all links know of an instance; without an ID if none has it. It is complete if it says who
// and where the device is, or if asking for the rest was in vain.
func (q *Querier) sighting(key string) (s mfpgate.Sighting, complete bool) {
	for _, index := range slices.Sorted(maps.Keys(q.links)) {
		l := q.links[index]
		in := l.instances[key]
		if in == nil {
			continue
		}
		srv := in.srv.current()
		if srv == nil {
			continue // not resolved, or withdrawn
		}
		service := q.services[in.service]
		if s.ID == "" {
			s.Name = labelText(in.name)
			s.ID = mfpgate.NewSightingID(mfpgate.SourceDNSSD, s.Name+"."+service.plain)
		}
		path := ""
		txt := in.txt.current()
		if txt != nil {
			values := textValues(txt.data)
			path = pathOf(service.protocol, values)
			s.Identity = merge(s.Identity, identityOf(values))
			s.Location = cmp.Or(s.Location, mfpgate.CleanText(values["note"], maxValue))
		}
		before := len(s.Endpoints)
		if in.host != nil && srv.port != 0 { // port 0 reserves the name (Bonjour Printing 1.2.1 §4.2, "flagship")
			s.Endpoints = in.host.endpoints(s.Endpoints, mfpgate.Endpoint{Protocol: service.protocol, Path: path,
				Host: hostText(in.host.name)}, srv.port)
		}
		complete = complete || in.given(len(s.Endpoints) > before, srv.port)
	}
	slices.SortFunc(s.Endpoints, func(a, b mfpgate.Endpoint) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path))
	})
	s.Endpoints = slices.Compact(s.Endpoints)
	if len(s.Endpoints) > maxEndpoints {
		s.Endpoints = s.Endpoints[:maxEndpoints]
	}
	return s, complete
}

// given says whether the instance has all it will have. It has an SRV record.
func (in *instance) given(located bool, port uint16) bool {
	told := len(in.txt.records) > 0 || in.txt.tried >= patience || in.txt.absent > 0
	found := located || port == 0 || in.host == nil || in.host.a.tried >= patience && in.host.aaaa.tried >= patience
	return told && found
}

// unanswered looks again at the instances that a set's records would complete.
func (l *link) unanswered(s *set) {
	if s.at != nil {
		l.touch(s.at)
		return
	}
	l.q.changed[s.in.key] = struct{}{}
}

// endpoints adds one endpoint for each address.
func (h *host) endpoints(to []mfpgate.Endpoint, e mfpgate.Endpoint, port uint16) []mfpgate.Endpoint {
	for _, s := range []*set{&h.a, &h.aaaa} {
		for i := range s.records {
			a, ok := netip.AddrFromSlice([]byte(s.records[i].data))
			if !ok {
				continue
			}
			if a.Is6() && a.IsLinkLocalUnicast() {
				a = a.WithZone(s.link.ifi.Name)
			}
			e.Address = netip.AddrPortFrom(a, port)
			to = append(to, e)
		}
	}
	return to
}

// usable says whether an address can be another device's. A daemon that shares a USB printer announces loopback. Announced
// addresses are asked by who takes the sighting, and anybody on the link may announce any: so they are the link's own, or
// private, as a reflector of another segment's announcements has them. The Internet's, and those by which the provider of a
// virtual machine tells it its secrets (169.254.169.254), are not.
func (l *link) usable(a netip.Addr) bool {
	switch {
	case a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6():
		return false
	case a.IsPrivate() || a.Is6() && a.IsLinkLocalUnicast():
		return true
	}
	return len(l.prefixes) == 0 && !a.IsLinkLocalUnicast() ||
		slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func hostText(name string) string {
	return strings.TrimSuffix(mfpgate.CleanText(unescape(name), maxValue), ".")
}

// pathOf is the resource of a service: rp of printing (Bonjour Printing 1.2.1 §9.2.3), rs of scanning.
func pathOf(p mfpgate.Protocol, values map[string]string) string {
	path := ""
	switch p {
	case mfpgate.ProtocolIPP, mfpgate.ProtocolIPPS, mfpgate.ProtocolLPD:
		path = values["rp"]
	case mfpgate.ProtocolESCL, mfpgate.ProtocolESCLS:
		path = values["rs"]
	}
	return strings.TrimLeft(mfpgate.CleanText(path, maxValue), "/")
}

func identityOf(values map[string]string) mfpgate.Identity {
	id := mfpgate.Identity{UUID: mfpgate.CleanUUID(mfpgate.CleanText(values["uuid"], maxValue)), Make: mfpgate.CleanText(values["usb_mfg"], maxValue), Model: mfpgate.CleanText(values["usb_mdl"], maxValue)}
	if id.Make != "" && id.Model != "" {
		return id
	}
	product := strings.TrimSuffix(strings.TrimPrefix(mfpgate.CleanText(values["product"], maxValue), "("), ")")
	name := cmp.Or(mfpgate.CleanText(values["ty"], maxValue), product)
	maker, model := ieee1284.SplitMake(name)
	id.Make, id.Model = cmp.Or(id.Make, maker), cmp.Or(id.Model, model)
	return id
}

func merge(a, b mfpgate.Identity) mfpgate.Identity {
	a.UUID, a.Make, a.Model = cmp.Or(a.UUID, b.UUID), cmp.Or(a.Make, b.Make), cmp.Or(a.Model, b.Model)
	return a
}

// hash is of all that a sighting says, but for its time.
func (q *Querier) hash(s mfpgate.Sighting) uint64 {
	var h maphash.Hash
	h.SetSeed(q.seed)
	text := func(s string) {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	for _, t := range []string{s.Identity.UUID, s.Identity.Make, s.Identity.Model, s.Name, s.Location} {
		text(t)
	}
	for _, e := range s.Endpoints {
		text(string(e.Protocol))
		a := e.Address.Addr().As16()
		_, _ = h.Write(binary.BigEndian.AppendUint16(a[:], e.Address.Port()))
		text(e.Address.Addr().Zone())
		text(e.Host)
		text(e.Path)
	}
	return h.Sum64()
}
