package mfpgate

// RouteAction is what the relay does with a device's connection to a host.
type RouteAction string

// The actions.
const (
	RoutePass     RouteAction = ""
	RouteForward  RouteAction = "forward"  // to Route.To in place of the host that was asked for
	RouteRedirect RouteAction = "redirect" // answer 308 with Route.To: for devices known to follow it
	RouteBlock    RouteAction = "block"    // 403 with the reason
)

// Route is the relay's answer to "may this device go there".
type Route struct {
	Action RouteAction
	To     string // host:port
	Region string // that the host asked for belongs to; "" is none that is known
	Epoch  uint64 // of the device's routes; 0: the device is not managed by region
	Reason Reason
}

// Why a device may not go where it asked for, or is led elsewhere.
const (
	RegionMoved      Reason = "region-moved"       // a service host of a region that the device has left
	RegionRedirected Reason = "region-redirected"  // a management host of it, after the device has acknowledged its directive or 24 h
	RegionName       Reason = "region-name"        // of CONNECT: the target's certificate does not have the name that the device asks for
	RegionLiteral    Reason = "region-literal"     // CONNECT to an address that is no host of the device's region
	RegionMap        Reason = "region-map"         // the map of regions cannot be read, and the device's region was changed
	RegionHidden     Reason = "region-server-name" // the ClientHello names a host of a region that the device may not reach
	RegionSwitched   Reason = "region-switched"    // the device's routes changed while the connection was being made: it may try again
)
