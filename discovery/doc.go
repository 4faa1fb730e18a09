// Package discovery knows the devices of the site: each physical device once, however many sources show it, and what is
// true of it now.
//
// Sources report sightings (Sight): DNS-SD instances, SNMP agents, IPP printers, USB ports, the configuration, and the
// relay's own connections (Identify). A sighting belongs to a device by what the device says of itself, the strongest
// first: printer-uuid; make, model and serial number of IEEE 1284; SNMP's serial number with sysObjectID; MAC; USB's
// vendor, product and serial. What says nothing of itself belongs to the device that answers at its address. Two devices
// that share none of these, and both have a UUID or both a serial number, are never taken for one; a serial number with its
// make and model outweighs a UUID, which some devices take anew with a new name. What answers at an address speaks for what
// is announced there; what a third one says of two devices that were met at different addresses does not make them one.
// An administrator overrules all of it: a pinned sighting stays where it was pinned, and devices that were split are never
// joined again.
//
// A printer on the gateway's USB has no address: the gateway serves it at endpoints of its own, at which nobody is ever taken for a
// device. It keeps its id by its serial number wherever it is plugged in, and without one by its port and model; two that are plugged
// in at once are two, whatever they say. One that also has an address of its own is a device of the network.
//
// A device keeps its id for as long as its record is kept: across restarts, reloads, other names and other addresses. A
// configured address names the device that answers there; while none does, it stays with the one that did last. Of two
// devices that turn out to be one, the older id remains.
//
// What a device says of itself is not proven, so it opens no door: the relay takes a device for a configured one at its configured
// address or by its account alone, wherever else it answers.
//
// Truth: a device is online only while something shows that it lives, and offline has a reason and a time. Identify is
// called for every connection of the relay: it neither locks nor allocates, and says nothing about time by itself, so the
// time of a device's last connection is exact to a second. The store follows behind memory; a crash can lose what was
// learnt in the last moments about a stranger, never what an administrator said.
//
// Foreign words are bounded: MaxStrangers devices that nobody configured, MaxSightings for each device, and no more of
// them than fit into a record.
package discovery
