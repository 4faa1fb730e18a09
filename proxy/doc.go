// Package proxy is the relay: a site's devices reach their clouds through it, identified, counted and bounded.
//
// A connection passes the same gates whatever it asks for: is the client one of relay.clients; which device is this; does
// a rule allow the destination; is there a slot for the device; is the address, resolved once, one that may be dialled.
// Only then is anything sent anywhere. Whoever is refused gets a constant sentence, a Proxy-Status field (RFC 9209) and,
// where waiting helps, Retry-After; the detail is in the log. Each request and each tunnel ends in one canonical event.
//
// CONNECT is handled here from the first byte: goproxy's way loses the bytes behind the head, holds six descriptors for
// each idle tunnel and cannot cancel a dial. Absolute-URI HTTP/1.1 and 1.0 is goproxy's, behind the strict edge of
// package head, with transports of ours that dial as CONNECT does.
//
// With Options.Routes a device is also kept in the region that its data are in: its connections pass, go to another host in
// place of the one asked for, are redirected, or are refused. The host that is dialled and the name in a ClientHello are
// judged as the one asked for is, and again whenever Reroute says that the routes have changed. Not seen are the inner name
// of an encrypted ClientHello, a client that names no server at an address that regions share, and HTTP inside a tunnel.
//
// What the gateway does for a device that cannot come itself, as one on USB, is a Work: behind the same gates but those of a client, in
// the device's slot, and told alike.
//
// The parts are folders: head (the edge), destination (where a device may go), account and devicename (who it is), slots
// (how many at once), hello (what a TLS client asks for), tunnel (the bytes). This package is what joins them.
package proxy
