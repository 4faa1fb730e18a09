package badger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/mfpgate/mfpgate/store"
)

const (
	backupDir    = "backup"
	backupExt    = ".backup"
	nightly      = "facts-"         // and a time
	beforeSchema = "before-schema-" // and a number and a time
)

// Backup writes all facts to a new file in the state directory's backup folder, returns its path and deletes nightly
// backups beyond Options.KeepBackups. Those made before a migration stay. It stops with store.ErrFull when it would bring
// the free space below what writers need.
func (d *DB) Backup(ctx context.Context) (string, error) {
	path, err := d.backup(ctx, nightly)
	if err != nil {
		return "", err
	}
	all, err := d.Backups()
	if err != nil {
		return path, err
	}
	all = slices.DeleteFunc(all, func(p string) bool { return !strings.HasPrefix(filepath.Base(p), nightly) })
	for _, old := range all[:max(0, len(all)-d.options.KeepBackups)] {
		if err := os.Remove(old); err != nil {
			return path, fmt.Errorf("delete old backup: %w", err)
		}
	}
	return path, nil
}

func (d *DB) backupBeforeSchema(ctx context.Context, from int) error {
	_, err := d.backup(ctx, fmt.Sprintf("%s%d-", beforeSchema, from+1))
	return err
}

func (d *DB) backup(ctx context.Context, kind string) (string, error) {
	now := d.options.Clock.Now()
	path := filepath.Join(d.path(backupDir), kind+stamp(now)+backupExt)
	err := store.WriteFile(path, func(w io.Writer) error {
		return store.Backup(ctx, d.Store, &frugal{w: w, space: d.space}, now)
	})
	if err != nil {
		return "", fmt.Errorf("backup to %s: %w", path, err)
	}
	return path, nil
}

// Backups returns the paths of all backups in the backup folder, oldest first by the time in their names.
func (d *DB) Backups() ([]string, error) {
	paths, err := named(d.path(backupDir), "", backupExt)
	if err != nil {
		return nil, err
	}
	when := func(path string) string { return path[strings.LastIndexByte(path, '-')+1:] }
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(when(a), when(b)) })
	return paths, nil
}

// named returns the paths of dir's entries whose names start and end so, in the order of names; hidden ones are left out.
func named(dir, start, end string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if n := e.Name(); n[0] != '.' && strings.HasPrefix(n, start) && strings.HasSuffix(n, end) {
			paths = append(paths, filepath.Join(dir, n))
		}
	}
	return paths, nil
}

// frugal keeps a backup from taking the space that Badger may need.
type frugal struct {
	w     io.Writer
	space space
}

func (f *frugal) Write(p []byte) (int, error) {
	if err := f.space.check(); err != nil {
		return 0, err
	}
	return f.w.Write(p)
}

// CollectGarbage rewrites files of the value log until none is worth it, and sets the ballast aside again where a start on
// a full disk had to give it back. It is for a nightly run; ctx ends it between files.
func (d *DB) CollectGarbage(ctx context.Context) error {
	d.upkeep.Lock()
	defer d.upkeep.Unlock()
	if d.closed {
		return store.ErrClosed
	}
	if err := d.space.takeBallast(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		switch err := d.driver.db.RunValueLogGC(0.5); {
		case err == nil:
		case errors.Is(err, badgerdb.ErrNoRewrite):
			return nil
		default:
			return fmt.Errorf("collect garbage: %w", err)
		}
	}
	return ctx.Err()
}
