// Command mfpsim is a simulated MFP, or a fleet of them: it calls its cloud through a relay as a real device does, and
// says on standard output what happens to it, one sentence per event, or one JSON object with --json.
//
// With --print each device also answers as a printer at its source address, over IPP, SNMP and, with --dns-sd, DNS-SD; what
// it says its firmware is, is what it runs. --activity lets it print now and then, so that counters rise, toner falls and
// paper runs out. Fleets of up to 256 have a socket for each address and protocol; larger ones share sockets on all
// addresses of the machine, so there can be one such fleet on a port.
//
// With --service each device lives in a region: it registers in these services once, checks in at them besides its management
// server, and stores items of data with --data-every. When it is told that another region has it, or the relay keeps it from its own,
// it asks its management server for a directive, and goes by one that a --region-key has signed: it stores it in its state file,
// acknowledges it, and uses the new servers from then on. --pinned never asks; --plain speaks http to every server, so that the relay
// can lead its requests elsewhere without its notice.
//
// A device's identity is its source address (--bind) and its factory token. It exits with 0 at SIGTERM or SIGINT, 1 when
// it cannot start, 2 for a wrong command line. What the relay or the cloud does never ends it: it waits and tries again.
package main
