package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/mfpgate/mfpgate/store"
)

const (
	dbDir      = "db"
	newDir     = "db.new"     // under construction; worthless after a crash
	corruptDir = "db.corrupt" // and "-" and a time
	timeForm   = "20060102T150405.000Z"
)

// openOrRecover opens db, after making it if this is the first start, or from a backup if it is damaged or missing. It
// reports whether it recovered.
func (d *DB) openOrRecover(ctx context.Context) (recovered bool, err error) {
	_, err = os.Stat(d.path(dbDir))
	if err == nil {
		err := d.attach(d.path(dbDir))
		if err == nil {
			return false, nil
		}
		if err := blameless(d.options.Dir, err); err != nil {
			return false, err
		}
		return true, d.recover(ctx, err)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("open store: %w", err)
	}
	// Missing beside its backups or beside what was set aside, it was lost, or a recovery did not get to its end.
	aside, err := named(d.options.Dir, corruptDir+"-", "")
	if err != nil {
		return false, fmt.Errorf("open store: %w", err)
	}
	backups, err := d.Backups()
	if err != nil {
		return false, fmt.Errorf("open store: %w", err)
	}
	if len(aside) > 0 || len(backups) > 0 {
		return true, d.recover(ctx, fmt.Errorf("%s is missing", d.path(dbDir)))
	}
	if err := d.build(nil); err != nil {
		return false, fmt.Errorf("make store %s: %w", d.options.Dir, err)
	}
	return false, d.adopt()
}

// recover puts the newest usable backup, or an empty store that says so, in the place of the damaged one.
func (d *DB) recover(ctx context.Context, cause error) error {
	now := d.options.Clock.Now().UTC()
	r := store.Recovery{At: now, Cause: cause.Error()}
	if _, err := os.Stat(d.path(dbDir)); err == nil {
		r.SetAside = d.path(corruptDir + "-" + stamp(now))
	} else if aside, _ := named(d.options.Dir, corruptDir+"-", ""); len(aside) > 0 {
		r.SetAside = aside[len(aside)-1]
	}
	d.options.Log(slog.LevelError, "store: damaged, setting it aside: "+cause.Error())
	err := d.build(func() error {
		if err := d.restoreNewest(ctx, &r); err != nil {
			return err
		}
		return store.MarkRecovered(ctx, d.Store, r)
	})
	if err != nil {
		return fmt.Errorf("recover store %s: %w", d.options.Dir, err)
	}
	if _, err := os.Stat(d.path(dbDir)); err == nil {
		if err := os.Rename(d.path(dbDir), r.SetAside); err != nil {
			return fmt.Errorf("set store aside: %w", err)
		}
	}
	return d.adopt()
}

// build makes a closed database in newDir, filled by fill, which may be nil.
func (d *DB) build(fill func() error) error {
	dir := d.path(newDir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := d.attach(dir); err != nil {
		return err
	}
	var err error
	if fill != nil {
		err = fill()
	}
	return errors.Join(err, d.detach())
}

// adopt gives newDir its place and opens it.
func (d *DB) adopt() error {
	if err := os.Rename(d.path(newDir), d.path(dbDir)); err != nil {
		return err
	}
	if err := store.SyncDir(d.options.Dir); err != nil {
		return err
	}
	if err := d.attach(d.path(dbDir)); err != nil {
		return fmt.Errorf("open store %s: %w", d.options.Dir, err)
	}
	return nil
}

// restoreNewest fills d's empty store from the newest backup that is whole, and says in r which it was.
func (d *DB) restoreNewest(ctx context.Context, r *store.Recovery) error {
	backups, err := d.Backups()
	if err != nil {
		return err
	}
	for i := len(backups) - 1; i >= 0; i-- {
		h, err := d.restoreFrom(ctx, backups[i])
		if err == nil && h.Schema > len(d.options.Migrations) {
			return fmt.Errorf("%s has schema %d: %w", backups[i], h.Schema, store.ErrNewerSchema)
		}
		if err == nil {
			r.Backup, r.BackupFrom = backups[i], h.Created
			return nil
		}
		if !errors.Is(err, store.ErrDamaged) {
			return fmt.Errorf("%s: %w", backups[i], err)
		}
		d.options.Log(slog.LevelError, fmt.Sprintf("store: backup %s: %v", backups[i], err))
		r.Cause += fmt.Sprintf("; backup %s: %v", backups[i], err)
	}
	return nil
}

func (d *DB) restoreFrom(ctx context.Context, path string) (store.Header, error) {
	f, err := os.Open(path)
	if err != nil {
		return store.Header{}, err
	}
	defer f.Close()
	return store.Restore(ctx, d.Store, f)
}

// Restore makes the store in o.Dir, where none may be, from the backup at path, all or nothing, and leaves it closed. It
// returns store.ErrNotEmpty, store.ErrDamaged, store.ErrNewerSchema, or an error of Open.
func Restore(ctx context.Context, o Options, path string) (h store.Header, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return h, err
	}
	d, err := claim(o)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, d.unlock()) }()
	if _, err := os.Stat(d.path(dbDir)); !errors.Is(err, os.ErrNotExist) {
		return h, fmt.Errorf("restore into %s: %w", o.Dir, errors.Join(store.ErrNotEmpty, err))
	}
	err = d.build(func() error {
		if h, err = d.restoreFrom(ctx, path); err != nil {
			return err
		}
		return store.Migrate(ctx, d.Store, o.Migrations, nil)
	})
	if err != nil {
		return h, errors.Join(fmt.Errorf("restore %s: %w", path, err), os.RemoveAll(d.path(newDir)))
	}
	if err := os.Rename(d.path(newDir), d.path(dbDir)); err != nil {
		return h, err
	}
	return h, store.SyncDir(o.Dir)
}

func stamp(now time.Time) string { return now.UTC().Format(timeForm) }
