// Package ippusb speaks HTTP to a printer on USB: IPP over USB 1.0, interfaces of class 7/1/4. A Transport is an http.RoundTripper over
// all of a printer's interfaces. It knows no printer's languages: IPP, scans and the printer's own pages pass alike.
//
// USB has no connections. An interface is two pipes that stay open for as long as the printer is plugged in, so all that HTTP says by
// opening and closing must be said otherwise, and no message may be left half way:
//
//   - An interface carries one transaction at a time. Requests wait for one in the order in which they came, and leave when their context
//     ends. From their first byte on, transactions go to their end, whatever their client does.
//   - A request is sent whole. A body of less than 16 KiB is read before anything is sent; a longer one goes in chunks. A client that
//     vanishes, or whose body cannot be read, ends it by the last chunk: what the printer sees then is a well-formed request, cut short. It
//     cannot know that, and may print what it has got; the client gets the error. A printer that refuses (status 400 or above) before it has
//     read all is sent no more of it.
//   - An answer is read whole. If its client leaves, or closes its body early, the rest is read in the background, within Options'
//     DrainTimeout and DrainBytes.
//   - An answer whose end is the connection's has none here: it is ErrProtocol.
//   - Nothing of a connection passes: Connection and what it names, Keep-Alive, TE, Trailer, Expect and Proxy-* are stripped (RFC 9110
//     §7.6.1), trailers are dropped, 1xx are read and forgotten, CONNECT and Upgrade are refused with ErrRefused.
//
// Time-outs count from the last byte that moved. One of them, a halt, a malformed answer or more bytes than an answer has: each leaves
// printer and gateway out of step, and only a reset of the device mends that. Then Options.Broken is called, once; all requests fail with
// ErrBroken, at once, and so does every later one. An unplugged printer is the same with bus.ErrGone in it.
//
// An interface is given back exactly once, on every way out of a transaction, and all are given back to the bus by Close. Memory does not
// depend on what is sent: an interface has 16 KiB to read with, and a large body two pieces of 512 KiB while it is being sent. Bodies are
// copied once at most: they are read into, and written from, the buffers that the transfers use, and an answer's reader with at least
// 16 KiB of room gets it without a copy.
//
// A client that neither reads its answer nor leaves keeps the interface: whoever serves clients bounds them by their contexts.
package ippusb
