// Package badger keeps the facts of one box in Badger, in a folder that one process owns.
//
// It promises: what Update acknowledged is on the disk (SyncWrites). Open never loses older facts in silence: Badger ignores
// or deletes tables in some of the states that a damaged disk leaves, and dies in others, so every table is checked before
// Badger sees it (verify.go) and a table that the manifest has lost is compared with what Badger opened (orphans.go). A
// store that does not open twice, because a kill during an open costs Badger one failure, is set aside as
// db.corrupt-<time>; the newest usable backup takes its place, and the fact is kept as a store.Recovery until somebody
// acknowledges it. The folder db comes into being by a rename and is therefore whole or absent.
//
// It refuses: a second process on the same folder (ErrInUse), to open as root what belongs to another user (ErrOwner), and
// writes while the disk has less free space than Badger's sparse memory maps may come to need (store.ErrFull), for a full
// disk is a SIGBUS that no program survives. A ballast file holds space in reserve that Open and Close give back when the disk
// is full. Another program that fills the disk within the moments that a compaction takes can still kill this one; nothing
// acknowledged is lost by that, but a partition or quota of its own is what keeps it from happening.
//
// It fails without setting anything aside when the cause is not the data: no rights, no descriptors, no memory, no space.
//
// The state directory holds db/, ballast, backup/, store.lock and what was set aside; the last is never deleted here. There
// is no encryption at rest: nightly backups lie beside the store, and an encrypted disk protects both.
package badger
