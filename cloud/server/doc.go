// Package server is the reference region: the other end of the gateway's wire and of the devices' own.
//
// It promises that 2xx is answered only after the change is on disk, that every answer of an error is an RFC 9457 problem
// with a stable reason, that a change needs the entity tag of what it changes (428 without, 412 when stale), that a POST
// sent again with its Idempotency-Key gets the first answer again, and one log event per request.
//
// Who may call what: every operation names its callers, and one that names none is refused. A gateway has a bearer token
// that its operator made (package provision) and reaches only its own resources. A device has a bearer token that the
// factory put into it: its id and an HMAC of it under the region's factory key. Nothing is issued on trust at a first
// check-in, so who can merely reach the server can neither enrol a device nor take the place of one. A leaked factory
// key means a new one for all devices; there is no revocation of a single device yet.
//
// The last 16 idempotency keys of each caller and operation are remembered; an older one is taken for a new request. A
// package whose installation a device reported as failed three times is not offered to it again.
//
// What the operator provides is in package provision. The other parts a region plays are folders beside it.
package server
