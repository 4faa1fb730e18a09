// Package holding is what one region's services hold of each device, and how they obey the orders of a move.
//
// A holding is absent, or foreign (registered here under another region's id, without data), prepared (copied, not in use), active,
// draining (answers, takes no changes), moved (purged, names the region that answers) or aborted (nothing is held, of a move that was
// taken back). Order and Receive change it; devices use it by CheckIn, Put, Get, Delete and Items.
//
// It promises:
//   - Each order has its effect once, however often and however late it arrives. The highest step of each move that was ever heard of is
//     kept for good: a lower one is refused with region.ErrFenced, an equal one answered as before. So a copy that comes after its move
//     was aborted prepares nothing, also when the abort came before anything else of that move.
//   - A copy is seen whole or not at all. Its items are staged under a generation of their own, in as many transactions as the store's
//     bounds ask for; they are read back, and the last transaction puts the generation in the place of the one before. A crash in the
//     middle leaves waste, which the same order's next try removes.
//   - A change that was acknowledged before a drain is in what delta sends: both are transactions that read the same record.
//   - What is purged cannot be read from the moment on in which the purge begins, and is gone when the receipt is given.
//   - Every change of state is an entry of the audit chain "<region>/services", in its transaction, with the entries of other writers that
//     had been heard of by then (mfpgate.MoveTrace).
//
// It refuses orders that what is held does not allow (region.ErrOutOfTurn): of another region, of another epoch than the next, an
// activation of what was not sent by delta or does not have the digest that was sent, a purge of what was not sent, another move while one
// is open. Sizes are bounded: see MaxItem, MaxItems, MaxBytes, MaxClasses, MaxServices.
//
// It fails as its store does, and then nothing has changed: every call may be made again.
//
// Keys in its view of the store, where m is the device and v the move:
//
//	device/<m>                      what is held
//	fence/<m>/<v>                   how far the move has come, and the last answer
//	check-in/<m>                    first and last check-in
//	item/<m>/<generation>/<class>/<name>  an item, as it is
//	audit/…                         package journal's
package holding
