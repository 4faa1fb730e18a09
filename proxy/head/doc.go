// Package head is the edge where a client's bytes become requests: it reads HTTP/1 heads strictly and tracks the framing of
// what follows, so that nobody behind it can see a request where this package saw none (RFC 9112 §11.2).
//
// A Conn serves two readers. The relay calls ReadHead for the first request and answers a CONNECT from it, without
// net/http. Every other request is released to net/http's server, for which Conn is the connection: Read then gives only
// heads that passed the same check and the bodies that their framing announces.
//
// It refuses, with an Error that carries the status to answer: a bare LF or CR, line folding, white space around a field
// name, a second Content-Length, Content-Length beside Transfer-Encoding, any coding but chunked, more or less than one
// Host in HTTP/1.1, content on CONNECT, a head over 32 KiB or 100 fields, and every version but 1.0 and 1.1.
package head
