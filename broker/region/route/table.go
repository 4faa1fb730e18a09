package route

import (
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
)

// table is everything that Route decides by. It is built whole and never changed, but for what glimpse counts.
type table struct {
	enforce bool
	hosts   map[mfpgate.Host][]listing
	pairs   map[pair]map[endpoint]counterpart
	courses map[mfpgate.DeviceID]*course
	homes   map[mfpgate.DeviceID]string // of devices without a course, as far as known

	// Of what it was made, so that the next one takes over what is the same.
	regions  *regions
	services map[string][]endpoint
}

// listing is what a region says of one of its hosts. A host's listing for a port comes before that for every port.
type listing struct {
	port                 uint16 // 0 is every one
	region               string
	management, services bool
}

type pair struct{ from, to string }

type endpoint struct {
	host mfpgate.Host
	port uint16 // 0 is every one
}

// at writes the endpoint, with that port if it has none.
func (e endpoint) at(port uint16) string {
	if e.port != 0 {
		port = e.port
	}
	return net.JoinHostPort(e.host.String(), strconv.Itoa(int(port)))
}

// counterpart is the service host of the target that stands for one of the source.
type counterpart struct {
	to       string // "" if neither of the two has a port: then it is the one that is asked for
	endpoint endpoint
}

// course is a device's part of the table.
type course struct {
	device   mfpgate.DeviceID
	of       *route
	closed   bool // its route, or the hosts of its regions, cannot be read
	from, to string
	epoch    uint64
	until    time.Time // route.openUntil
	leads    map[endpoint]counterpart
	names    map[name]struct{}
	redirect bool
	seen     *glimpse
}

// name is one that a certificate is good for.
type name struct {
	host mfpgate.Host
	to   string
}

// glimpse is when a device was first seen on its way to its new region, in the epoch of its course.
type glimpse struct {
	at       atomic.Int64 // nanoseconds since 1970; 0 is not yet
	reported atomic.Bool
}

func (t *table) find(host mfpgate.Host, port uint16) *listing {
	list := t.hosts[host]
	for i := range list {
		if list[i].port == port || list[i].port == 0 {
			return &list[i]
		}
	}
	return nil
}

// stranger is what another region than home says of a host that it lists on other ports only; nil if there is none.
func (t *table) stranger(host mfpgate.Host, home string) *listing {
	for i, l := range t.hosts[host] {
		if l.region != home {
			return &t.hosts[host][i]
		}
	}
	return nil
}

// Route says what the relay does with a connection of a device to a host, by CONNECT or in plain HTTP. Of a device whose region was
// never changed, Region is set if the host belongs to a region that is not the device's home, as far as that is known.
func (b *Broker) Route(device mfpgate.DeviceID, host mfpgate.Host, port uint16, connect bool) mfpgate.Route {
	t := b.table.Load()
	at, c := t.find(host, port), t.courses[device]
	if c == nil {
		if home := t.homes[device]; at != nil && home != "" && home != at.region {
			return mfpgate.Route{Region: at.region}
		}
		return mfpgate.Route{}
	}
	r := mfpgate.Route{Epoch: c.epoch}
	if at != nil {
		r.Region = at.region
	}
	if !t.enforce {
		return r
	}
	r.Action = mfpgate.RouteBlock
	switch {
	case c.closed:
		r.Reason = mfpgate.RegionMap
	case at == nil:
		if l := t.stranger(host, c.to); l != nil { // on a port that its region does not list: nobody says what answers there
			if r.Region = l.region; l.region == c.from && l.management && b.Clock.Now().Before(c.until) {
				r.Action = mfpgate.RoutePass
				return r
			}
			r.Reason = mfpgate.RegionMoved
			return r
		}
		if _, literal := host.Address(); literal { // it may be a listed host's, by whatever protocol
			r.Reason = mfpgate.RegionLiteral
			return r
		}
		r.Action = mfpgate.RoutePass
	case at.region == c.to:
		r.Action = mfpgate.RoutePass
	case at.region != c.from:
		r.Reason = mfpgate.RegionMoved
	case at.management && b.Clock.Now().Before(c.until):
		r.Action = mfpgate.RoutePass
	case !at.services:
		r.Reason = mfpgate.RegionRedirected
	default:
		c.lead(&r, endpoint{host, at.port}, port, connect)
	}
	return r
}

// lead decides about a service host of the region that the device has left.
func (c *course) lead(r *mfpgate.Route, asked endpoint, port uint16, connect bool) {
	to, there := c.leads[asked]
	if !there {
		r.Reason = mfpgate.RegionMoved
		return
	}
	if to.to == "" {
		to.to = to.endpoint.at(port)
	}
	if _, validated := c.names[name{asked.host, to.to}]; connect && !validated {
		r.Reason = mfpgate.RegionName
		return
	}
	r.Action, r.To = mfpgate.RouteForward, to.to
	if !connect && c.redirect {
		r.Action = mfpgate.RouteRedirect
	}
}

// tabulate makes a table. What did not change since the last one is taken over, with the glimpses of routes of the same epoch.
func (b *Broker) tabulate() *table {
	p, old := b.policy.Load(), b.table.Load()
	t := &table{enforce: p.Enforce, regions: b.regions, courses: make(map[mfpgate.DeviceID]*course, len(b.routes)), homes: make(map[mfpgate.DeviceID]string, len(b.residences))}
	if old != nil && old.regions == b.regions {
		t.hosts, t.pairs, t.services = old.hosts, old.pairs, old.services
	} else {
		t.survey()
	}
	for device, r := range b.residences {
		t.homes[device] = r.Home
	}
	for device, r := range b.routes {
		var was *course
		if old != nil {
			was = old.courses[device]
		}
		model := b.models[device]
		redirect := model != "" && slices.Contains(p.RedirectModels, model)
		if was != nil && was.of == r && was.redirect == redirect && old.regions == t.regions {
			t.courses[device] = was
			continue
		}
		t.courses[device] = t.course(r, redirect, was)
	}
	for device := range b.damaged {
		c := &course{device: device, closed: true, seen: &glimpse{}}
		c.seen.reported.Store(true)
		t.courses[device] = c
	}
	return t
}

// survey enters the regions' hosts.
func (t *table) survey() {
	t.hosts, t.pairs, t.services = map[mfpgate.Host][]listing{}, map[pair]map[endpoint]counterpart{}, map[string][]endpoint{}
	for _, r := range t.regions.Items {
		t.services[r.Region] = nil
		for _, e := range endpoints(r.Management) {
			t.list(e, r.Region, true)
		}
		for _, e := range endpoints(r.Services) {
			if t.list(e, r.Region, false) {
				t.services[r.Region] = append(t.services[r.Region], e)
			}
		}
	}
}

// course is a device's part. What was before may be nil.
func (t *table) course(r *route, redirect bool, was *course) *course {
	c := &course{device: r.Device, of: r, from: r.From, to: r.To, epoch: r.Epoch, until: r.openUntil(), redirect: redirect, names: map[name]struct{}{}}
	_, from := t.services[r.From]
	_, to := t.services[r.To]
	c.closed = !from || !to
	c.leads = t.counterparts(pair{r.From, r.To})
	for _, probe := range r.Probes {
		if !probe.Validated {
			continue
		}
		host, err := mfpgate.ParseHost(probe.Name)
		at, err2 := parseEndpoint(probe.Host)
		if err == nil && err2 == nil {
			c.names[name{host, at.at(443)}] = struct{}{}
		}
	}
	if was != nil && was.epoch == r.Epoch && !was.closed {
		c.seen = was.seen
	} else {
		c.seen = &glimpse{}
	}
	c.seen.reported.Store(!r.CheckedIn.IsZero())
	return c
}

// list enters a host, unless another region has it.
func (t *table) list(e endpoint, region string, management bool) bool {
	list := t.hosts[e.host]
	i := slices.IndexFunc(list, func(l listing) bool { return l.port == e.port })
	if i < 0 {
		l := listing{port: e.port, region: region, management: management, services: !management}
		if e.port == 0 {
			t.hosts[e.host] = append(list, l)
		} else {
			t.hosts[e.host] = slices.Insert(list, 0, l)
		}
		return true
	}
	if list[i].region != region {
		return false
	}
	list[i].management, list[i].services = list[i].management || management, list[i].services || !management
	return true
}

func (t *table) counterparts(p pair) map[endpoint]counterpart {
	if made, there := t.pairs[p]; there {
		return made
	}
	made := map[endpoint]counterpart{}
	for i, from := range t.services[p.from] {
		if to, there := counterpartOf(i, t.services[p.to]); there {
			c := counterpart{endpoint: to}
			if to.port != 0 || from.port != 0 {
				c.to = to.at(from.port)
			}
			made[from] = c
		}
	}
	t.pairs[p] = made
	return made
}

// counterpartOf is the one of list that stands for the i-th of another list.
func counterpartOf(i int, list []endpoint) (endpoint, bool) {
	switch {
	case i < len(list):
		return list[i], true
	case len(list) > 0:
		return list[0], true
	}
	return endpoint{}, false
}
