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
// It is also a delivery system: operators plan deliveries to devices, gateways read what concerns them, report overloads and propose other
// starts. Each gateway has a log of what has changed; an entry says where to look again, not what is there, so a delta is right whatever
// happened between two reads, and a reader that comes too late is told everything. A delivery is told to its gateway and to those that
// this one is behind while the gateway tells of the device in mode proxy, or as attached by USB. What an operator saves and what a gateway proposes is held
// against the gateway's own detector (package scheduler/plan), on every gateway that the device passes: what adds an overload is refused, an
// overload that is there is not held against anybody, and an operator may plan one all the same. Beyond 400 days nothing is looked at.
// A decision is written down before it is carried out, in transactions of a few deliveries each with their part of the proposal: a server that
// dies in between goes on at its next start (Resume). What nobody ends, time does (Sweep): missed windows, silent devices, late proposals.
//
// A device is told its delivery at check-in and begins by itself. It is found by the model and serial number that it and its gateway tell.
// A package that a device has, or had, a delivery of is not offered to it otherwise.
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
// It is a print service, too, for whose administrators and clients package print answers.
//
// What the operator provides is in package provision. The other parts a region plays are folders beside it.
package server
