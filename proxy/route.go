package proxy

import (
	"cmp"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Routes keeps devices in the region that their data are in. Calls come from every connection at once.
type Routes interface {
	// Route says what becomes of a device's connection to a host. It is asked for every connection, more than once, and
	// must not wait. Of what passes a Region without an Epoch says that the host is of another region than the device. The device is the registry's id of it, also where an inner gateway named it; it is empty for one that
	// the registry has no room for.
	Route(device mfpgate.DeviceID, host mfpgate.Host, port uint16, connect bool) mfpgate.Route
}

// target is where a connection goes.
type target struct {
	host mfpgate.Host
	port uint16
}

func (t target) String() string { return net.JoinHostPort(t.host.String(), strconv.Itoa(int(t.port))) }

// way is what becomes of one exchange by the routes: a Route that has been followed to its end.
type way struct {
	mfpgate.Route        // Action is never RouteRedirect for CONNECT, and what is not known is RouteBlock
	to            target // what is dialled, or named in Location
}

// same reports whether an exchange that was opened by w may go on by now.
func (w way) same(now way) bool { return w.Action == now.Action && w.to == now.to }

// way asks the routes. A host that a device is led to must itself be one that it may reach.
func (r *Relay) way(device mfpgate.DeviceID, asked target, connect bool) way {
	if r.Routes == nil {
		return way{to: asked}
	}
	w := way{Route: r.Routes.Route(device, asked.host, asked.port, connect), to: asked}
	switch {
	case w.Action == mfpgate.RoutePass:
		return w
	case w.Action == mfpgate.RouteForward:
	case w.Action == mfpgate.RouteRedirect && !connect:
	case w.Action == mfpgate.RouteRedirect: // clients take no 3xx for an answer to CONNECT
		w.Reason = cmp.Or(w.Reason, mfpgate.RegionName)
		return w.block()
	default:
		return w.block()
	}
	host, port, err := splitTarget(w.To)
	if err != nil {
		w.Reason = mfpgate.RegionMap
		return w.block()
	}
	if final := r.Routes.Route(device, host, port, connect); final.Action != mfpgate.RoutePass {
		return way{Route: final, to: asked}.block()
	}
	w.to = target{host, port}
	return w
}

func (w way) block() way {
	w.Action, w.Reason = mfpgate.RouteBlock, cmp.Or(w.Reason, mfpgate.RegionMoved)
	return w
}

// lead asks the routes for the exchange, and refuses what they block.
func (x *exchange) lead() error {
	x.way = x.record.relay.way(x.device.id, target{x.host, x.port}, x.connect())
	x.stray(x.way.Route)
	if x.way.Action == mfpgate.RouteBlock {
		return x.block(x.host, x.way.Route)
	}
	return nil
}

func (x *exchange) connect() bool { return x.method == http.MethodConnect }

// forwarded is where the exchange goes in place of its destination, or "".
func (x *exchange) forwarded() string {
	if x.way.Action != mfpgate.RouteForward {
		return ""
	}
	return x.way.to.String()
}

// stray counts an exchange, once, that the routes do not let pass as it is, or that passes to another region than that of a device
// which no move has led.
func (x *exchange) stray(route mfpgate.Route) {
	abroad := route.Epoch == 0 && route.Region != ""
	if (abroad || route.Action != mfpgate.RoutePass) && !x.strayed.Swap(true) {
		x.record.relay.Metrics.RouteMismatches.Inc()
	}
}

// block says that the device may not go to a host. The event of the exchange follows when it ends.
func (x *exchange) block(host mfpgate.Host, route mfpgate.Route) *refusal {
	r := x.record.relay
	if r.Blocked != nil {
		r.Blocked(x.device.id, host, route.Region, route.Reason)
	}
	r.Metrics.RegionBlocks.WithLabelValues(cmp.Or(route.Region, "unknown")).Inc()
	x.log().Info().
		Str(field.Device, string(x.device.id)).Str(field.DeviceName, x.device.name).
		Str(field.Client, x.from.String()).
		Str(field.Method, x.method).
		Str(field.Destination, x.destination()).
		Str(field.Region, route.Region).Uint64(field.Epoch, route.Epoch).Str(field.Reason, string(route.Reason)).
		Msg(event.ResidencyBlocked)
	no := &refusal{reason: route.Reason, routed: true}
	if _, own := answers[route.Reason]; !own {
		no.text = movedText
	}
	return no
}

// overtaken is the answer where the routes changed while the connection was being made, or lead elsewhere now.
func overtaken() *refusal {
	return &refusal{reason: mfpgate.RegionSwitched, retryAfter: time.Second, routed: true}
}

// led refuses an exchange whose routes have become others than those that it was admitted by.
func (x *exchange) led(now way) error {
	x.stray(now.Route)
	switch {
	case now.same(x.way):
		return nil
	case now.Action == mfpgate.RouteBlock:
		return x.block(x.host, now.Route)
	default:
		return overtaken()
	}
}

// reached tells who wants to know that bytes came back from the host that the device asked for.
func (x *exchange) reached(down int64) {
	if r := x.record.relay; r.Reached != nil && x.way.Action == mfpgate.RoutePass {
		r.Reached(x.device.id, x.host, x.port, down)
	}
}
