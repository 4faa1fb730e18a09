// Package journal is the one mechanism of effects outside the store that survive a crash: intent row, idempotent call, result
// row. It has four parts, which share their records, their back-off and their way with store.ErrUnknown:
//
//   - Intents, which are durable timers too: Intend writes one in the transaction of the fact that calls for it, Run calls the
//     handler of its kind when it is due, and what came of it is committed in one Update.
//   - Queues: an ordered outbox of rows with sequence numbers, delivered in batches.
//   - Audit: an append-only chain of hashes, written in the transaction of what it tells of.
//   - Once: the other side of an idempotent call, for requests that arrive.
//
// It promises: what was written in a transaction that committed is called for, or delivered, until it succeeded, was cancelled,
// was given up by its handler or, in a queue that may drop, was dropped and counted. That holds across kill -9. A call may be
// made again (a crash after it, an outcome that could not be stored), with the same intent id or the same stream and sequence
// numbers: a receiver that remembers these sees each effect once. Intents of one object are called one at a time in their
// order; rows of one queue are delivered in theirs, without a hole inside a batch.
//
// It refuses: an id that is used again for something else (ErrDiffers), rows and payloads that do not fit (store.ErrTooLarge),
// rows for a full queue that may not drop (ErrQueueFull). No transaction of its own reads a set: what is due is an index in
// memory that a Watch keeps, and a queue finds its places by number.
//
// It fails softly: an error of a handler costs an attempt and a delay that grows from Options.MinDelay to MaxDelay, with
// jitter; RetryAfter names another delay, Again one that is not stored, Permanent gives up and leaves a dead row, which List shows and Reopen revives. While
// the store takes no writes (store.ErrFull), attempts are counted in memory only. Run and Deliver return an error only if the
// store is closed or cannot be followed.
//
// A Journal belongs to one view of a store (a room's, as a rule), and the transactions given to it must be of that view. Keys:
//
//	journal/intent/<id>               an intent
//	journal/queue/<name>/tail         stream, next sequence number, next segment; written by Append
//	journal/queue/<name>/head         what is delivered, dropped and swept; written by Deliver, and by Append when it drops
//	journal/queue/<name>/row/<n>      segment n: the rows of one Append, or a part of them
//	audit/<gateway>/<room>/<seq>      an entry
//	audit/<gateway>/<room>/head       the last entry's number and hash
//	idempotency/<scope>               the last answers of Once
//
// Records are JSON with a schema number; a newer one is refused with store.ErrNewerSchema.
package journal
