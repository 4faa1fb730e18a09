// Package client is the gateway's side of the wire to its region.
//
// It promises that every call ends within its timeout, that no answer makes it read more than a bounded number of bytes,
// and that an error of the region comes back as *Error with the region's own problem in it. It refuses to send the token
// over plain HTTP except to a loopback address, and to follow a redirect: a token belongs to one host. It does not try
// again by itself; RetryAfter says when the caller may.
package client
