package discovery

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
)

const (
	// MaxStrangers bounds the devices that are recorded without being configured.
	MaxStrangers = 4096
	// MaxSightings bounds the sightings of one device.
	MaxSightings = 24
	// Present is how long after its last connection a device counts as online: longer than a device's poll usually takes.
	Present = 5 * time.Minute
)

// Static is a device that the configuration names, by address, account or both.
type Static struct {
	Name       string
	Address    netip.Addr
	Account    string
	Monitoring mfpgate.MonitoringMode // "" is the range's or the default
	Market     string
	Endpoint   *mfpgate.Endpoint // where it is asked; nil is the usual ports
}

// Range is what holds for the devices of a network; "" leaves a setting to a wider range.
type Range struct {
	Network    netip.Prefix
	Monitoring mfpgate.MonitoringMode
	Market     string
}

// Policy is what the configuration says of devices. Nobody changes it once it is in force.
type Policy struct {
	Monitoring mfpgate.MonitoringMode // "" is proxy
	Ranges     []Range
	Static     []Static
	SiteRegion string // the home of a device of which SetHomes says nothing
	AskStatic  bool   // configured devices are asked at their addresses even in mode proxy
	// Agents are the networks in which devices are asked over SNMP, besides the configured ones: a question gives away the
	// community, so it goes to no address that a device made up.
	Agents []netip.Prefix
}

// Options are what the registry is built from.
type Options struct {
	Clock   mfpgate.Clock
	Log     telemetry.Logger
	Metrics *telemetry.Metrics
	Store   store.Store // this gateway's own records
	USB     USB         // what the gateway's own USB has now
}

// USB is what the registry asks of the gateway's own USB. Both answer from memory; nil: there is none.
type USB struct {
	// Port is how the printer of a sighting is plugged in, nil if it is not.
	Port func(mfpgate.SightingID) *mfpgate.USBPort
	// Behind is the sighting of the printer behind one of the gateway's own addresses, "" for any other address. The gateway serves
	// printers on USB there, and who announces or answers so is the printer, not a device at the gateway's address.
	Behind func(netip.AddrPort) mfpgate.SightingID
}

// Registry is safe for concurrent use. Run must run for sightings to become durable.
type Registry struct {
	Options
	table   atomic.Pointer[table]
	storing sync.Mutex // held by Flush; never taken while mu is held

	mu         sync.Mutex
	policy     *Policy
	homes      map[mfpgate.DeviceID]string // see SetHomes
	usbOff     bool                        // see USBOff
	devices    map[mfpgate.DeviceID]*device
	bySighting map[mfpgate.SightingID]*device
	byKey      map[key][]*device
	byLink     map[link][]*device
	byAddress  map[netip.Addr][]*device
	indexed    map[*device]indexed
	staticAt   map[netip.Addr]struct{} // addresses of entries of the configuration
	unsettled  map[netip.Addr]struct{} // of these: who has them may have changed since settle
	stale      int                     // additions since the table was built, which look-ups may miss for a moment
	wrong      bool                    // the table says what is not so

	queue   map[mfpgate.DeviceID]struct{} // wait to be stored
	watches map[chan mfpgate.DeviceID]struct{}
}

// indexed is under what a device stands in the indexes.
type indexed struct {
	sightings []mfpgate.SightingID
	keys      []key
	links     []link
	addresses []netip.Addr
}

// New loads what is stored, and then puts the policy in force.
func New(ctx context.Context, o Options, p *Policy) (*Registry, error) {
	r := &Registry{Options: o, policy: &Policy{}, devices: map[mfpgate.DeviceID]*device{}, bySighting: map[mfpgate.SightingID]*device{},
		byKey: map[key][]*device{}, byLink: map[link][]*device{}, byAddress: map[netip.Addr][]*device{}, indexed: map[*device]indexed{},
		staticAt: map[netip.Addr]struct{}{}, unsettled: map[netip.Addr]struct{}{},
		queue: map[mfpgate.DeviceID]struct{}{}, watches: map[chan mfpgate.DeviceID]struct{}{}}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.Configure(p)
	return r, nil
}

// Configure puts another policy in force. A device that is configured no more keeps its record.
func (r *Registry) Configure(p *Policy) {
	r.mu.Lock()
	defer r.release()
	r.policy = p
	clear(r.staticAt)
	for _, s := range p.Static {
		r.staticAt[s.Address] = struct{}{}
	}
	before := map[mfpgate.SightingID]*device{}
	for _, d := range r.devices {
		for id := range d.sightings {
			if id.Source() == mfpgate.SourceStatic {
				before[id] = d
				delete(d.sightings, id)
				r.queue[d.id] = struct{}{}
			}
		}
		d.static = nil
	}
	for i := range p.Static {
		s := &p.Static[i]
		entry := mfpgate.NewSightingID(mfpgate.SourceStatic, s.Name)
		d := r.configured(s, before[entry])
		d.static = s
		d.sightings[entry] = &sighted{Sighting: mfpgate.Sighting{ID: entry, At: r.Clock.Now()}}
		r.reindex(d)
		if before[entry] != d {
			r.changed(d)
		}
	}
	for _, d := range r.devices {
		if len(d.sightings) == 0 { // the configuration alone told of it
			r.drop(d)
			continue
		}
		r.reindex(d)
		r.refresh(d, r.Clock.Now())
	}
	r.wrong = true
}

// configured finds the device that an entry names, or makes it. before is the one that had the entry until now.
func (r *Registry) configured(s *Static, before *device) *device {
	if d := r.bySighting[accountSighting(s.Account)]; d != nil && s.Account != "" && d.static == nil {
		return d
	}
	free := func(d *device) bool { return d != nil && d.static == nil && r.devices[d.id] == d }
	if !s.Address.IsValid() {
		if free(before) {
			return before
		}
		return r.create()
	}
	if free(before) {
		if d := r.alone(s.Address); d != nil && !before.answersAt(s.Address) && d.answersAt(s.Address) && free(d) {
			return d
		}
		return before
	}
	holders := slices.Clone(r.byAddress[s.Address])
	slices.SortStableFunc(holders, func(a, b *device) int {
		return cmp.Or(compareBool(b.answersAt(s.Address), a.answersAt(s.Address)), cmp.Compare(a.id, b.id))
	})
	for _, d := range holders {
		if free(d) {
			return d
		}
	}
	return r.create()
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// create makes a device without any sighting yet.
func (r *Registry) create() *device {
	d := &device{id: mfpgate.DeviceID(mfpgate.NewID(r.Clock, "dev")), sightings: map[mfpgate.SightingID]*sighted{},
		apart: map[mfpgate.DeviceID]struct{}{}}
	r.devices[d.id] = d
	return d
}

// drop takes a device out of memory and store.
func (r *Registry) drop(d *device) {
	d.sightings, d.static = map[mfpgate.SightingID]*sighted{}, nil
	r.unindex(d)
	delete(r.devices, d.id)
	r.changed(d)
	r.wrong = true
}

// reindex puts a device under its present words and addresses.
func (r *Registry) reindex(d *device) {
	before := r.indexed[d]
	r.unindex(d)
	now := indexed{addresses: d.addresses()}
	for _, k := range d.words("").sorted() {
		now.keys = append(now.keys, k)
		addTo(r.byKey, k, d)
	}
	for _, a := range now.addresses {
		addTo(r.byAddress, a, d)
		r.unsettle(a)
	}
	for id, s := range d.sightings {
		r.bySighting[id] = d
		now.sightings = append(now.sightings, id)
		for _, l := range linksOf(s.Sighting) {
			if !slices.Contains(now.links, l) {
				now.links = append(now.links, l)
				addTo(r.byLink, l, d)
			}
		}
	}
	r.indexed[d] = now
	r.renew(d)
	r.stale++
	for _, a := range before.addresses {
		r.wrong = r.wrong || !slices.Contains(now.addresses, a)
	}
}

// unsettle notes that another device may be alone at an address now.
func (r *Registry) unsettle(a netip.Addr) {
	if _, named := r.staticAt[a]; named {
		r.unsettled[a] = struct{}{}
	}
}

// settleAll gives the entries of the configuration to whom a restart would give them. To settle one address may unsettle others.
func (r *Registry) settleAll() {
	for range maxSettling {
		if len(r.unsettled) == 0 {
			return
		}
		all := slices.SortedFunc(maps.Keys(r.unsettled), netip.Addr.Compare)
		clear(r.unsettled)
		for _, a := range all {
			r.settle(a)
		}
	}
}

// maxSettling bounds settleAll; an entry moves to whom it belongs, and stays.
const maxSettling = 8

// release settles what changed, builds a new table if the present one is wrong, or misses many devices, and unlocks.
func (r *Registry) release() {
	r.settleAll()
	if t := r.table.Load(); r.wrong || t == nil || r.stale > t.size()/8 {
		r.rebuild()
	}
	r.mu.Unlock()
}

func (r *Registry) unindex(d *device) {
	was := r.indexed[d]
	delete(r.indexed, d)
	for _, id := range was.sightings {
		if r.bySighting[id] == d {
			delete(r.bySighting, id)
		}
	}
	for _, k := range was.keys {
		takeFrom(r.byKey, k, d)
	}
	for _, l := range was.links {
		takeFrom(r.byLink, l, d)
	}
	for _, a := range was.addresses {
		takeFrom(r.byAddress, a, d)
		r.unsettle(a)
	}
}

// addTo keeps the devices of an index in the order of their ids, so that what is made of them does not depend on the order in
// which they came.
func addTo[K comparable](index map[K][]*device, k K, d *device) {
	at, _ := slices.BinarySearchFunc(index[k], d, func(a, b *device) int { return cmp.Compare(a.id, b.id) })
	index[k] = slices.Insert(slices.Clone(index[k]), at, d)
}

func takeFrom[K comparable](index map[K][]*device, k K, d *device) {
	left := slices.DeleteFunc(slices.Clone(index[k]), func(o *device) bool { return o == d })
	if len(left) == 0 {
		delete(index, k)
		return
	}
	index[k] = left
}

// changed tells the store and those who watch. The lock is held.
func (r *Registry) changed(d *device) {
	r.queue[d.id] = struct{}{}
	r.tell(d.id)
}

func (r *Registry) tell(id mfpgate.DeviceID) {
	for w := range r.watches {
		select {
		case w <- id:
		default: // it reads all anew after the ids that it has
		}
	}
}

// Watch returns a channel of the ids of devices that changed. Ids are lost while its buffer is full: who reads it looks at
// all devices from time to time. stop ends it.
func (r *Registry) Watch(buffer int) (ids <-chan mfpgate.DeviceID, stop func()) {
	w := make(chan mfpgate.DeviceID, buffer)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watches[w] = struct{}{}
	return w, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watches, w)
	}
}

// monitoring is the mode of a device: its entry's, its network's, the default. One on USB reaches no cloud but through the gateway.
func (r *Registry) monitoring(d *device) mfpgate.MonitoringMode {
	if d.attachment() == mfpgate.AttachmentUSB {
		return mfpgate.MonitoringPolling
	}
	of := func(s *Static) string { return string(s.Monitoring) }
	mode := r.setting(d, of, func(g Range) string { return string(g.Monitoring) })
	return cmp.Or(mfpgate.MonitoringMode(mode), r.policy.Monitoring, mfpgate.MonitoringProxy)
}

// market is the region that a device was built for, as far as the configuration says.
func (r *Registry) market(d *device) string {
	return r.setting(d, func(s *Static) string { return s.Market }, func(g Range) string { return g.Market })
}

func (r *Registry) setting(d *device, static func(*Static) string, network func(Range) string) string {
	if d.static != nil && static(d.static) != "" {
		return static(d.static)
	}
	best, bits := "", -1
	for _, g := range r.policy.Ranges {
		if network(g) == "" || g.Network.Bits() <= bits {
			continue
		}
		for _, a := range r.indexed[d].addresses {
			if g.Network.Contains(a.WithZone("")) {
				best, bits = network(g), g.Network.Bits()
			}
		}
	}
	return best
}
