// Package snmp finds printers in address ranges and reads who they are, their state, supplies and counters, over SNMP
// version 1, 2c or 3: SNMPv2-MIB, HOST-RESOURCES-MIB (RFC 2790), Printer-MIB (RFC 3805) and PWG 5107.1.
//
// # What it promises
//
// It writes nothing: it sends GET, GETNEXT and GETBULK only. All packets of a Client together keep to one rate. How a
// device wants to be spoken to (version, community or user, its device index, how much fits in an answer) is found once
// and remembered for the last MaxRemembered addresses, so that a status costs one exchange afterwards. A device is a
// printer if its hrDeviceTable says so, if it has a prtGeneralEntry, or if it tells an IEEE 1284 device id; all else is
// ErrNotPrinter.
//
// # How it asks
//
// After the first GET, everything is asked by GETBULK, or GETNEXT in version 1, single objects too: by the name before
// theirs. So an object that is missing leaves a gap and fails nothing, where a GET of version 1 would fail as a whole.
// An agent that says tooBig, or genErr without saying where, is asked for half as much until it answers; one that never
// answers a GETBULK is asked by GETNEXT.
//
// # What it refuses
//
// What a device says is not trusted. An answer must come from the address that was asked and carry the request's id; a
// walk ends at MaxRows rows a column, MaxBytes octets or MaxExchanges exchanges, and at the first name that does not
// increase; texts come out as valid UTF-8 of at most MaxText octets without control characters. Scan asks at most
// MaxAddresses addresses a time, and no IPv6 prefix of more than 32,768.
//
// # How it fails
//
// With ErrSilent, ErrCredentials or ErrNotPrinter, with the network's own error (errors.Is finds syscall.ECONNREFUSED
// and the like), or with the context's. A part of a reading that the device does not know is nil and no error.
package snmp
