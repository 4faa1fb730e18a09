// Package hello reads the host that a TLS client asks for from the first bytes of its stream, without taking part in TLS.
//
// Parse looks at what has come so far and says whether more is needed, whether this is a ClientHello (RFC 8446 section
// 4.1.2, spread over any number of records and segments), no TLS at all, or TLS that no server would accept. It refuses a
// hello that does not fit in MaxLength bytes, so it never asks for more than that. It keeps no state and never writes to
// or keeps the bytes.
//
// What the host says is the client's claim: with ECH it is the public name only, and without it the server decides.
package hello
