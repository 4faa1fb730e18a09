// Package server is the reference region: the other end of the gateway's wire and of the devices' own.
//
// It promises that 2xx is answered only after the change is on disk, that every answer of an error is an RFC 9457 problem
// with a stable reason, that a change needs the entity tag of what it changes (428 without, 412 when stale), that a POST
// sent again with its Idempotency-Key gets the first answer again, and one log event per request.
//
// Readings and alerts come in numbered streams instead: each item is stored once, whatever is sent again, in whatever cuts, and
// wherever between two transactions of a batch the server died. A batch's Idempotency-Key is required, as on every POST, and not looked
// up: the stream's place says more, and for longer. Both ends keep to one batch of a stream at a time.
//
// A physical device is one gateway's in the region (see claimKeys). Its claims are unique-index keys, so two gateways that tell
// of it at once cannot both have it.
//
// Who may call what: every operation names its callers, and one that names none is refused. A gateway has a bearer token
// that its operator made (package provision) and reaches only its own resources. An operator has a name and a password, also of
// package provision, reads what gateways tell, on the pages of package console too, and may delete a device. A device has a bearer
// token that the factory put into it: its id and an HMAC of it under the region's factory key. Nothing is issued on trust at a
// first check-in, so who can merely reach the server can neither enrol a device nor take the place of one. A leaked factory
// key means a new one for all devices; there is no revocation of a single device yet.
//
// The last 16 idempotency keys of each caller and operation are remembered; an older one is taken for a new request. A
// package whose installation a device reported as failed three times is not offered to it again.
//
// What the operator provides is in package provision. The other parts a region plays are folders beside it.
package server
