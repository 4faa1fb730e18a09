// Package store keeps the gateway's durable facts behind one small transactional interface.
//
// It promises: an Update that returned nil survives a crash; Updates are serialisable over the keys that they touch; a View
// sees one instant; a Watch misses nothing, because it starts with all there is and starts over (Reset) when it fell behind.
//
// It refuses, alike for every driver, what a driver might not carry: long keys, large values, transactions that touch many
// keys (see the Max constants). A rule over a set is therefore a key of its own (a unique-index key, a counter, an
// aggregate record), read and written in the same Update; there is no Scan in one.
//
// It fails with sentinels that say what to do: ErrUnknown means read again by intent id, ErrFull means free some space,
// ErrNewerSchema means install the newer program. Conflicts are handled inside by running the function again.
//
// A driver implements Driver, and New puts limits, re-runs, Watch and orderly closing above it, once. Backup, Restore and
// Migrate are written above Store, so that they move facts from any driver to any other. Keys below "meta/" are this
// package's own; rooms are given their stores by Prefix.
package store
