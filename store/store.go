package store

import (
	"context"
	"errors"
	"iter"
)

// What one key, value and Update may measure. More is refused with ErrTooLarge.
const (
	MaxKey        = 512       // bytes of a key, with the prefixes of the views it came through
	MaxValue      = 64 << 10  // bytes of a value
	MaxUpdateKeys = 64        // distinct keys read or written in one Update
	MaxUpdate     = 512 << 10 // bytes of the distinct keys and the values set in one Update
	MaxScan       = 1000      // records asked for in one Scan
)

var (
	// ErrNotFound is returned by Get for a key that does not exist.
	ErrNotFound = errors.New("not found")
	// ErrKey is returned for an empty key and for one that starts with "!", which drivers keep for themselves.
	ErrKey = errors.New("not a key")
	// ErrTooLarge is returned when a limit of this package is exceeded; the Update as a whole is refused.
	ErrTooLarge = errors.New("too large for one transaction")
	// ErrUnknown is returned by Update when the commit may or may not have happened: read again by intent id.
	ErrUnknown = errors.New("outcome of the commit is unknown")
	// ErrConflict is returned by Update when other writers got in the way of every bounded try. Nothing was written.
	ErrConflict = errors.New("too many conflicts with other writers")
	// ErrFull is returned by Update while the disk has less free space than the driver needs. Reads go on.
	ErrFull = errors.New("disk nearly full")
	// ErrClosed is returned by everything after Close.
	ErrClosed = errors.New("store is closed")
	// ErrNewerSchema is returned at open for facts that a newer program wrote.
	ErrNewerSchema = errors.New("facts were written by a newer mfpgate")
	// ErrNotEmpty is returned by Restore for a store that already holds facts.
	ErrNotEmpty = errors.New("store is not empty")
	// ErrDamaged is returned for a record or a backup whose checksum does not match.
	ErrDamaged = errors.New("damaged")
)

// Store holds facts by key. It is safe for concurrent use. Functions given to View and Update must not call Update or Close.
type Store interface {
	// View runs fn on one instant of the store. The snapshot must not be used after fn returned.
	View(ctx context.Context, fn func(Snapshot) error) error

	// Update runs fn and commits what it set and deleted, all or nothing; when it returns nil the facts are durable. Another
	// writer's commit may make it run fn again, so fn does no I/O and has no side effect. An error of fn is returned as it
	// is and nothing is written. Other errors: ErrTooLarge, ErrKey, ErrFull, ErrConflict, ErrClosed, ctx's own before the
	// commit began, and ErrUnknown.
	Update(ctx context.Context, fn func(Tx) error) error

	// Watch yields all records under prefix (a Batch with Reset), then every change in the order of commits. A reader that
	// falls behind gets Reset again; it never slows a writer. The sequence ends without an error when ctx ends, and with
	// one, ErrClosed among them, when it cannot go on.
	Watch(ctx context.Context, prefix string) iter.Seq2[Batch, error]

	// Close waits for running functions, ends every Watch and frees the driver. Calls after it return ErrClosed.
	Close() error
}

// Getter is what Snapshot and Tx have in common.
type Getter interface {
	// Get returns the value of key, the caller's own copy, or ErrNotFound.
	Get(key string) ([]byte, error)
}

// Snapshot is one instant of the store.
type Snapshot interface {
	Getter
	// Scan returns up to limit (1 to MaxScan) records whose keys start with prefix and are greater than after, in the
	// order of their bytes. Fewer than limit means that there are no more.
	Scan(prefix, after string, limit int) ([]Record, error)
}

// Tx is a running Update. It must be used by one goroutine, and not after its function returned.
type Tx interface {
	Getter
	// Set gives key a value, of which it takes a copy.
	Set(key string, value []byte) error
	// Delete removes key; that it may not exist is no error.
	Delete(key string) error
}

// Record is a key with its value.
type Record struct {
	Key   string
	Value []byte
}

// Batch is one or more whole transactions. With Reset it is all there is instead, in the order of keys: what the reader knew
// before and finds here no more is gone. Readers share the values and must not change them.
type Batch struct {
	Reset   bool
	Changes []Change
}

// Change is one key's new value, or its end.
type Change struct {
	Key     string
	Value   []byte // nil if Deleted
	Deleted bool
}

// All yields every record under prefix, read in pages.
func All(s Snapshot, prefix string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		after := ""
		for {
			page, err := s.Scan(prefix, after, MaxScan)
			if err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
				after = r.Key
			}
			if len(page) < MaxScan {
				return
			}
		}
	}
}
