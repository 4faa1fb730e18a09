package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/mfpgate/mfpgate/store"
)

// DB is an open store. Its Store is what rooms get, by store.Prefix; the other methods are for whoever opened it.
type DB struct {
	store.Store
	driver    *driver
	options   Options
	space     space
	unlock    func() error
	recovered *store.Recovery
	upkeep    sync.Mutex // held by CollectGarbage and Close
	closed    bool
}

// Open opens, and at the first start makes, the store in o.Dir. It returns ErrInUse, ErrOwner, store.ErrFull,
// store.ErrNewerSchema, or what kept it from the files. Damage is no error: see Recovered.
func Open(ctx context.Context, o Options) (_ *DB, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := claim(o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.abandon())
		}
	}()
	recovered, err := d.openOrRecover(ctx)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx, d.Store, o.Migrations, func(from, _ int) error { return d.backupBeforeSchema(ctx, from) }); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	if d.recovered, err = store.Recovered(ctx, d.Store); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	if recovered {
		o.Log(slog.LevelError, "store: recovered: "+d.recovered.Cause)
	}
	if err := d.space.takeBallast(); err != nil { // the floor stands without it
		o.Log(slog.LevelWarn, "store: "+err.Error())
	}
	return d, nil
}

// claim makes the state directory this process's own.
func claim(o Options) (*DB, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := checkOwner(o.Dir); err != nil {
		return nil, err
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return nil, err
	}
	d := &DB{options: o, space: space{o.Dir, o.BallastSize}, unlock: unlock}
	if err := errors.Join(d.space.makeRoom(), os.MkdirAll(d.path(backupDir), 0o700)); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", o.Dir, err), unlock())
	}
	return d, nil
}

// Recovered returns the recovery that store.Acknowledge has not ended yet, or nil. It may be of an earlier start: one of
// this start is no older than the process.
func (d *DB) Recovered() *store.Recovery { return d.recovered }

// Floor is the free space below which writes are refused with store.ErrFull.
func (d *DB) Floor() int64 { return d.space.floor() }

// FreeBytes returns the free space of the store's file system that this process may use.
func (d *DB) FreeBytes() (int64, error) { return d.space.free() }

// Close ends every Watch, waits for running transactions and closes the store. It is the last to be closed at shutdown.
// Closing writes tables; on a disk too full for that, Close returns store.ErrFull and leaves the store to the end of the
// process, as safe as after any crash, and until then no other process can open it.
func (d *DB) Close() error {
	d.upkeep.Lock()
	defer d.upkeep.Unlock()
	if d.closed {
		return store.ErrClosed
	}
	d.closed = true
	full := d.space.makeRoom()
	d.driver.leave = full != nil
	return errors.Join(full, d.Store.Close(), d.unlock())
}

// abandon frees what a failed Open holds.
func (d *DB) abandon() error {
	if d.Store == nil {
		return d.unlock()
	}
	return errors.Join(d.Store.Close(), d.unlock())
}

func (d *DB) path(name string) string { return filepath.Join(d.options.Dir, name) }

// attach opens the database in dir, which exists, and makes it d's store.
func (d *DB) attach(dir string) error {
	db, err := openTwice(dir, d.options.Log)
	if err != nil {
		return err
	}
	d.driver = newDriver(db, d.space)
	d.Store = store.New(d.driver, d.options.Observe)
	return nil
}

func (d *DB) detach() error {
	s := d.Store
	d.driver, d.Store = nil, nil
	return s.Close()
}

// openTwice tries again once: some of the states that a kill during an open leaves make the next open fail, and mend.
func openTwice(dir string, log func(slog.Level, string)) (*badgerdb.DB, error) {
	db, first := openOnce(dir, log)
	if first == nil {
		return db, nil
	}
	log(slog.LevelWarn, "store: opening once more: "+first.Error())
	db, second := openOnce(dir, log)
	if second != nil {
		return nil, fmt.Errorf("%w; at the first try: %w", second, first)
	}
	return db, nil
}

func openOnce(dir string, log func(slog.Level, string)) (*badgerdb.DB, error) {
	if _, err := safely(func() (*badgerdb.DB, error) { return nil, verify(dir, log) }); err != nil {
		return nil, err
	}
	return safely(func() (*badgerdb.DB, error) { return badgerdb.Open(badgerOptions(dir, log)) })
}

// safely turns a panic over damaged files, and a fault in a memory map, into an error.
func safely(open func() (*badgerdb.DB, error)) (db *badgerdb.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("panic: %v", r)
		}
	}()
	return open()
}

// surroundings are errors that say nothing about the data. Badger hands on only their text.
var surroundings = [...]syscall.Errno{
	syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EWOULDBLOCK, syscall.ENOSPC, syscall.EDQUOT,
}

// blameless returns the error to give the caller if the data are not to blame for err, or nil.
func blameless(dir string, err error) error {
	for _, errno := range surroundings {
		if !strings.Contains(err.Error(), errno.Error()) {
			continue
		}
		switch errno {
		case syscall.ENOSPC, syscall.EDQUOT:
			return fmt.Errorf("open store %s: %w: %w", dir, store.ErrFull, err)
		case syscall.EACCES, syscall.EPERM:
			return fmt.Errorf("open store %s: %w; give its files to the user that runs mfpgate (chown -R)", dir, err)
		default:
			return fmt.Errorf("open store %s: %w", dir, err)
		}
	}
	return nil
}
