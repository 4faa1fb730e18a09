// Package dnssd publishes services on the gateway's links: it is a responder of DNS-based Service Discovery (RFC 6763) over Multicast
// DNS (RFC 6762), and asks for nothing but whether its names are free.
//
// Every name is probed for on each link before it is used, and announced twice (§8). One that is taken gets a number, and whoever
// published it is told the name that it has at last; one that is contested later is probed for again (§9). It answers with what is not
// known to the asker (§7.1), also where that comes in several packets (§7.2), by multicast, to one host, or as a plain DNS server
// (§6.7), says which records there are not (§6.1), and takes what it published back with a goodbye (§10.1). A link that comes later, or
// whose addresses change, is probed and announced on in its turn.
//
// The SRV records lead to a host name of the package's own, not to the machine's: an avahi beside it has that one, and two responders
// that each state the addresses of one name take one another for a conflict. Probes ask for answers by multicast: an answer to this host
// alone would come to whichever responder of the machine bound the port last. It lives beside an avahi, then, and beside our own
// querier, which hears what is published here as anything else.
//
// # What it refuses
//
// The link is full of strangers' bytes. Packets count only with TTL 255 or from an address of the link (§11), and up to 9000 bytes.
// On each link at most 64 answers wait, and 50 packets a second are sent; what is beyond is left out. Who contests names without end
// has each probed for at most every 5 s (§8.1).
//
// # How it fails
//
// Nothing that fails on an interface ends Run: it is logged when it begins, and tried again every 15 s.
package dnssd
