// Package mdns finds the printers, copiers and scanners that announce themselves on the gateway's links: it is a continuous
// querier of DNS-based Service Discovery (RFC 6763) over Multicast DNS (RFC 6762 §5.2), and answers nobody.
//
// It asks for each service at once, after 1 s and 3 s, and then at intervals that double up to an hour; it asks for what an
// answer left out, and again for each record at 80, 85, 90 and 95 % of its life. It says which answers it knows, lets
// another querier's question stand for its own, asks once more when another knows an instance that it does not, and takes goodbyes and the cache-flush bit as RFC 6762 §10 wants them. An
// instance is one sighting, on however many interfaces and in whichever family it shows; it is sighted once it is resolved
// (or has not answered three questions for what is missing), when its facts change, and as a sign of life at most every
// 3 minutes when its records were heard again. It is gone after a goodbye, when its PTR or SRV ended, or with the last
// interface that showed it. Endpoints are the addresses that the device names, whether they answer or not.
//
// It needs no rights, and lives beside an avahi or another querier: it hears the groups by sockets of their own, which take
// nothing from anybody, and has answers sent to this host alone only while nobody else has port 5353. The first question
// asks for such answers (RFC 6762 §5.4) only then.
//
// # What it refuses
//
// The link is full of strangers' bytes. Packets count only from port 5353, and with TTL 255 or from an address of the link
// (RFC 6762 §6, §11); up to 9000 bytes; and only records that an instance of the services leads to are kept. On each
// interface that is at most 8192 instances with their hosts, 16 records of a name and type, 8 KiB of TXT record, and 2 hours,
// whatever the TTL. Addresses of loopback, as a USB printer's daemon on a host announces them, are none of the device's, nor are
// those that are neither private nor of the link's own prefixes.
// What is beyond a bound is left out and counted as OutOfBounds. Of an instance that never stops changing one change a second
// is told.
//
// # What it sends
//
// At most 240 packets a minute on each interface over time, both families and known answers included, and 256 in a burst
// after a rest; questions wait for that, and a record whose refresh had to wait does not end before it was asked for.
// Up to 256 instances on an interface are watched as closely as their records' TTL wants: a device that was switched off
// without a goodbye is gone after 2 minutes, in most cases. Beyond, that time grows with the number of instances (16 minutes
// at 2000), since each question is answered to the whole link. Passive observation of failures (RFC 6762 §10.5) and the
// services' subtypes are not implemented.
//
// # How it fails
//
// Nothing that fails on an interface ends Run or keeps others from being asked: it is logged when it begins, counted, and
// tried again. Interfaces are looked at again every 15 s, so that Run may begin before there is any.
package mdns
