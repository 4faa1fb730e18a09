// Package delivery brings software to printers on USB, which cannot fetch it: the gateway asks for their deliveries, downloads and
// verifies the package, and sends it as one raw job, where the model takes packages so.
//
// A device with an order goes through these phases, each a commit before what it stands for begins:
//
//	planned --- its start has come, the device has its slot, the delivery system took "started" ---> begun
//	begun ----- the package is on the disk, whole, and has the digest that was planned ------------> fetched
//	fetched --- the first byte is about to go to the printer --------------------------------------> sending
//	sending --- the job ended: done, or failed with a reason ---------------------------------------> ended
//	(any) ----- failed with a reason ---------------------------------------------------------------> ended
//	ended ----- the delivery system has taken the report ------------------------------------------> (forgotten)
//
// It promises: what the delivery system acknowledged is durable, and what was committed is reported, under one idempotency key, until it
// is taken. A package goes to a printer once: who finds a device in phase sending, and is not the one who sends, reports the delivery as
// interrupted, since nobody knows what the printer has of it; only while no byte has gone is it tried again. A delivery that the delivery
// system says has begun, and that nobody here knows, is interrupted too: the state may be that of a backup. A job that has begun is
// ended by the printer, or with the gateway, and not by the window's end. Bytes come through the device's slot of the relay and go to the
// printer in it; the slot lapses while nothing moves.
//
// It refuses, as a failure with a sentence for people: a model that takes no packages as raw jobs (not-deliverable, at once), a package
// whose size or digest is another than planned, one for which the disk has no room, one that the region does not give. What may go well
// another time (the relay's queue, the network, a printer that is away) is tried until the window's end, or a day where there is none,
// and then fails with the last reason.
//
// It fails softly: without a cloud nothing is asked, and what is planned waits. Files are in Dir, one for each device with an order; those
// of nobody are removed.
//
// Keys of its store, beside the journal's:
//
//	order/<device>     the order, its phase, and the report that waits
//	settled/<device>   the last order that ended, which is not begun again
package delivery
