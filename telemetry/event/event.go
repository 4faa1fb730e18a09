// Package event names what the log reports: room.past-participle.
package event

// The events, by room.
const (
	DaemonStarted    = "daemon.started"
	DaemonStopping   = "daemon.stopping"
	DaemonStopped    = "daemon.stopped"
	DaemonDegraded   = "daemon.degraded"
	DaemonNoise      = "daemon.remarked" // what net/http says of its connections
	ConfigReloaded   = "config.reloaded"
	ConfigRefused    = "config.refused"
	ConfigOff        = "config.switched-off"
	RelayServed      = "relay.served"  // the canonical event of a plain HTTP request
	RelayClosed      = "relay.closed"  // the canonical event of a tunnel
	RelayRefused     = "relay.refused" // the canonical event of a request or tunnel that got nothing
	RelayDrained     = "relay.drained"
	RelayStarved     = "relay.starved" // accept failed for want of descriptors
	RelayNoise       = "relay.remarked"
	DeviceSighted    = "discovery.sighted"
	StoreRecovered   = "store.recovered"
	StoreFilled      = "store.filled"
	StoreBackedUp    = "store.backed-up"
	StoreNoise       = "store.remarked"
	PortalLoggedIn   = "portal.logged-in"
	PortalRefused    = "portal.refused"
	PortalChanged    = "portal.changed"   // a user changed a device
	PortalCertified  = "portal.certified" // an own certificate was made, or could not be
	ControlRefused   = "control.refused"
	CloudServed      = "cloud.served"
	CloudRefused     = "cloud.refused"
	CloudUnreachable = "cloud.unreached"
)
