package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"sync"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/mfpgate/mfpgate/store"
)

// driver is store.Driver on an open database.
type driver struct {
	db    *badgerdb.DB
	feed  *store.Feed
	space space
	leave bool // Close leaves the database as a crash would

	// commitMu makes the order of revisions that of Badger's commits: it is held while a commit is handed to Badger, not
	// while it is synced, so that writers run their functions while others are being synced.
	commitMu sync.Mutex
	rev      uint64 // of the newest commit handed over

	pendingMu sync.Mutex
	pending   []*commit // in the order of revisions; published from the front as they end
}

type commit struct {
	rev     uint64
	changes []store.Change
	ended   bool
	err     error
	done    chan error // capacity 1
}

func newDriver(db *badgerdb.DB, s space) *driver {
	return &driver{db: db, feed: store.NewFeed(), space: s}
}

func (d *driver) View(_ context.Context, fn func(store.Snapshot) error) error {
	txn := d.db.NewTransaction(false)
	defer txn.Discard()
	return fn(snapshot{txn})
}

func (d *driver) Update(ctx context.Context, fn func(store.Tx) error) error {
	txn := d.db.NewTransaction(true)
	defer txn.Discard()
	t := &tx{snapshot: snapshot{txn}}
	if err := fn(t); err != nil {
		return err
	}
	if len(t.changes) == 0 {
		return nil // it has seen one instant
	}
	if err := d.space.check(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := d.send(txn, t.changes)
	select {
	case err := <-c.done:
		return outcome(err)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
}

// send hands the commit to Badger, which calls back from a goroutine of its own that ends with the commit.
func (d *driver) send(txn *badgerdb.Txn, changes []store.Change) *commit {
	d.commitMu.Lock()
	defer d.commitMu.Unlock()
	d.rev++
	c := &commit{rev: d.rev, changes: changes, done: make(chan error, 1)}
	d.pendingMu.Lock()
	d.pending = append(d.pending, c)
	d.pendingMu.Unlock()
	txn.CommitWith(func(err error) { d.finish(c, err) })
	return c
}

func (d *driver) finish(c *commit, err error) {
	d.pendingMu.Lock()
	c.ended, c.err = true, err
	for len(d.pending) > 0 && d.pending[0].ended {
		first := d.pending[0]
		d.pending = d.pending[1:]
		switch {
		case first.err == nil:
			d.feed.Publish(first.rev, first.changes)
		case errors.Is(outcome(first.err), store.ErrUnknown):
			d.feed.Lose(first.rev)
		default:
			d.feed.Publish(first.rev, nil)
		}
	}
	d.pendingMu.Unlock()
	c.done <- err
}

// refused names what Badger may say before a commit.
func refused(err error) error {
	if errors.Is(err, badgerdb.ErrTxnTooBig) {
		return store.ErrTooLarge
	}
	return err
}

// outcome tells the errors after which nothing was written from the others.
func outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badgerdb.ErrConflict):
		return store.ErrConflict
	case errors.Is(err, badgerdb.ErrBlockedWrites), errors.Is(err, badgerdb.ErrDBClosed):
		return store.ErrClosed
	default:
		return fmt.Errorf("commit: %w: %w", store.ErrUnknown, err)
	}
}

func (d *driver) List(_ context.Context, prefix string) ([]store.Record, uint64, error) {
	// Badger's snapshot holds all commits handed over before it, and waits until they are on the disk.
	d.commitMu.Lock()
	txn, rev := d.db.NewTransaction(false), d.rev
	d.commitMu.Unlock()
	defer txn.Discard()
	records, err := snapshot{txn}.scan(prefix, "", -1)
	return records, rev, err
}

func (d *driver) Changes(ctx context.Context, prefix string, rev uint64) iter.Seq2[[]store.Change, error] {
	return d.feed.Changes(ctx, prefix, rev)
}

func (d *driver) Close() error {
	d.feed.Close()
	if d.leave {
		return nil
	}
	return d.db.Close()
}

type snapshot struct{ txn *badgerdb.Txn }

func (s snapshot) Get(key string) ([]byte, error) {
	item, err := s.txn.Get([]byte(key))
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	return open(key, item)
}

func (s snapshot) Scan(prefix, after string, limit int) ([]store.Record, error) {
	return s.scan(prefix, after, limit)
}

// scan takes a negative limit for none.
func (s snapshot) scan(prefix, after string, limit int) ([]store.Record, error) {
	o := badgerdb.DefaultIteratorOptions
	o.Prefix = []byte(prefix)
	if limit > 0 {
		o.PrefetchSize = min(limit, o.PrefetchSize)
	}
	it := s.txn.NewIterator(o)
	defer it.Close()
	from := prefix
	if after >= prefix && after != "" {
		from = after + "\x00"
	}
	var records []store.Record
	for it.Seek([]byte(from)); it.Valid() && len(records) != limit; it.Next() {
		key := string(it.Item().Key())
		value, err := open(key, it.Item())
		if err != nil {
			return nil, err
		}
		records = append(records, store.Record{Key: key, Value: value})
	}
	return records, nil
}

type tx struct {
	snapshot
	changes []store.Change // in the order of writes
}

func (t *tx) Set(key string, value []byte) error {
	if err := t.txn.Set([]byte(key), seal(key, value)); err != nil {
		return fmt.Errorf("set %q: %w", key, refused(err))
	}
	t.changes = append(t.changes, store.Change{Key: key, Value: value})
	return nil
}

func (t *tx) Delete(key string) error {
	if err := t.txn.Delete([]byte(key)); err != nil {
		return fmt.Errorf("delete %q: %w", key, refused(err))
	}
	t.changes = append(t.changes, store.Change{Key: key, Deleted: true})
	return nil
}

// A record is stored behind a checksum of key and value: Badger checks its tables when it opens them, not when it reads.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(key string, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), sum), value...)
}

func open(key string, item *badgerdb.Item) ([]byte, error) {
	sealed, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	if len(sealed) < 4 {
		return nil, fmt.Errorf("get %q: %w", key, store.ErrDamaged)
	}
	value := sealed[4:]
	if crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value) != binary.BigEndian.Uint32(sealed) {
		return nil, fmt.Errorf("get %q: %w", key, store.ErrDamaged)
	}
	return value, nil
}
