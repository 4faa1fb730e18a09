// Package route is the gateway's side of moves: which devices are at home in another region than the site's, what is done about it,
// and where the relay lets each device go.
//
// It promises: the routes of a device change when the region says that its move is committed, and at no other time; the change is one
// transaction (the route, the audit's line, the intent to acknowledge), then one pointer is swapped, then open tunnels are looked at
// again, and only then the region hears of it, again and again until it has taken it. A message that comes late, twice or out of order
// changes nothing; an epoch never goes back. All routes are in force when New returns, and Route neither locks nor allocates (but for a
// host that both regions list without a port). What is reported (probes, the switch, the first check-in) is an intent of store/journal.
//
// Which host of the target stands for one of the source: that of the same place in the list of services, else the first. A host that a
// region lists for both roles is a management host while those are open to the device, and a service host after that. A listed address
// is judged as the host that it is, every other literal address of a CONNECT is refused.
//
// It refuses: moves of other gateways, of ids that mean something else by now, from states that cannot follow one another; documents of
// hosts that are too long or give one host to two regions (the last good one stays in force); a plan with blockers. Everything that
// comes from the region is bounded.
//
// It fails closed for devices whose region was changed: without a readable route, or the hosts of both its regions, such a device is
// let nowhere (mfpgate.RegionMap). It fails open for all others. A region that is not in the document any more keeps its last known
// hosts while a route needs them. Without the region the routes stay as they are, moves can be read and not begun, and residences say
// how old they are. Of a device that the relay does not see it is said that nothing is enforced, with the evidence.
//
// Keys: route/<device>, move/<id>, probes/<move>, candidate/<device>, residence/<device>, hosts, cursor, and those of store/journal.
package route
