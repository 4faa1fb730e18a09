// Package endpoint gives each IPP-over-USB printer an HTTP server of its own on this machine, and publishes it on the site's network
// where usb.share says so.
//
// It promises: a printer has the same TCP port for as long as the gateway remembers it (61000 to 65535, then 60000 to 60999, which
// Linux gives to outgoing connections as well), through restarts and kills, and no two printers ever have the same one. The port is
// stored before it is listened at; one that another program has is left to it, and the printer gets another for good. The table holds
// 128 printers: the one that was served least lately makes room. What is published by DNS-SD keeps the name that it got.
//
// What a client sends goes to the printer as it comes, and the printer's answer to the client, both as a stream: neither is buffered
// beyond 32 KiB. The body of IPP is not looked into. Printers put what they believe to be their own URI into it, usually
// ipp://localhost/; CUPS and others go by the URI that they were given, or resolved by DNS-SD, so that this works, as it does for
// ipp-usb. The printer sees "Host: localhost", as IPP over USB wants it; a Location that leads to localhost is turned back into what the
// client called it.
//
// The proxy is net/http/httputil's: what it does about hop-by-hop fields, trailers, 1xx answers, clients that leave and answers that
// break off (the client's connection is closed, and never ended as if all had come) is more than it seems, and well tried. Before it
// stands our own door.
//
// # Who may use it
//
//   - usb.share off: processes of the gateway's own user on this machine. The server listens on 127.0.0.1 alone, and asks the kernel
//     whose the other end of each connection is (/proc/self/net/tcp). So the gateway's poller asks a USB printer as any other, at an
//     address, and no secret has to be kept or passed on.
//   - local: everybody on this machine, at 127.0.0.1 and ::1.
//   - lan: besides, the clients of relay.clients, and only their links and addresses are published on. Nobody else is told.
//
// # What it refuses
//
// Other hosts' names in the Host field (421: a page in a browser that had a name resolved to this machine, DNS rebinding), changes that
// a browser asks for on another site's behalf (403), CONNECT, Upgrade, absolute URIs to elsewhere, heads above 32 KiB. A connection has
// 10 s for a head, a minute without a request, and a client has to move 1 KiB/s on average when the printer waits for it; while the
// printer is what is waited for, as without paper, it may take as long as it likes. 64 connections to a printer, 32 from one host, 8 from
// all who are refused; the gateway's own are not counted among them.
//
// # How it fails
//
// In plain sentences: 503 with Retry-After for a printer that is gone, is another program's, or is being reset; 504 for one that is
// silent, 502 for one that talks nonsense. A request that another's failure ended is told 503: the printer is being reset.
package endpoint
