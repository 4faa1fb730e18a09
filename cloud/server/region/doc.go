// Package region is the two roles of a reference region that moves of devices need: its management server and its services.
//
// They are two types with stores, credentials and URLs of their own, in one process or not: the management server reaches the
// services of its own region as it reaches those of another one, over HTTP with a credential of its role. What calls are made with is
// plugged in (Connect).
//
// The management server knows the devices that are registered in its region, runs the saga of moves to it (package broker/region),
// obeys the orders of other regions' management servers about devices that leave, and signs what devices and gateways shall believe:
// directives and the hosts of regions. The services keep what devices have (package broker/region/holding).
//
// It promises that each endpoint names who may call it, by role and region: an order comes from the management server of the region
// that the device moves to, a copy from the services of the one that it leaves, and both only of a move that this region takes part
// in. What is answered 2xx is committed. A device is registered once: a new registration asks every peer before.
//
// It refuses registration ids that their issuer did not make, and hosts of a region that the region itself has not signed. A peer
// that cannot be asked is no peer that says no: what depends on it waits (503).
package region
