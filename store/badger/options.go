package badger

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

var (
	// ErrInUse is returned by Open while another process has the store open.
	ErrInUse = errors.New("state directory is in use")
	// ErrOwner is returned by Open when the process is root and the state directory is not root's.
	ErrOwner = errors.New("state directory belongs to another user")
)

const memTableSize = 8 << 20 // bytes; an Update of store.MaxUpdate is well within the 15 % of it that Badger takes at once

// Options say where the store is and what surrounds it.
type Options struct {
	Dir   string        // the state directory; made with mode 0700 if it does not exist
	Clock mfpgate.Clock // names backups and what is set aside

	// Migrations lead to the schema that this program knows; see store.Migrate. A backup is made before the first runs.
	Migrations []store.Migration

	BallastSize int64 // bytes; 0 is 64 MiB, negative is no ballast
	KeepBackups int   // nightly backups kept; 0 is 7

	Log     func(level slog.Level, text string) // Badger's own log and what Open decides; nil drops it. Called from several goroutines; must not block.
	Observe func(store.Outcome)                 // each try to write; may be nil. As Log.
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" || o.Clock == nil {
		return o, errors.New("open store: Dir and Clock are required")
	}
	switch {
	case o.BallastSize == 0:
		o.BallastSize = 64 << 20
	case o.BallastSize < 0:
		o.BallastSize = 0
	}
	if o.KeepBackups <= 0 {
		o.KeepBackups = 7
	}
	if o.Log == nil {
		o.Log = func(slog.Level, string) {}
	}
	return o, nil
}

// badgerOptions are for small facts on small machines: the memory tables are small, every value stays in the LSM tree, so
// that the value log with its garbage collection is unused, and compression and block cache are off.
func badgerOptions(dir string, log func(slog.Level, string)) badgerdb.Options {
	return badgerdb.DefaultOptions(dir).
		WithSyncWrites(true).WithDetectConflicts(true).WithNumVersionsToKeep(1).
		WithMemTableSize(memTableSize).WithNumMemtables(2).
		WithNumLevelZeroTables(2).WithNumLevelZeroTablesStall(4).WithNumCompactors(2).
		WithValueThreshold(256 << 10).WithValueLogFileSize(16 << 20).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(4 << 20).
		// The other modes were found to lose keys in silence or to crash on one flipped byte.
		WithChecksumVerificationMode(options.OnTableRead).WithCompactL0OnClose(true).
		WithNumGoroutines(1).WithMetricsEnabled(false).WithLogger(logger(log))
}

type logger func(slog.Level, string)

func (l logger) log(level slog.Level, format string, args []any) {
	l(level, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// Errorf is Badger's name for this level, as are those below.
func (l logger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Warningf logs what Badger copes with.
func (l logger) Warningf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }

// Infof logs at debug level: what Badger finds informative is not so for an administrator.
func (l logger) Infof(format string, args ...any) { l.log(slog.LevelDebug, format, args) }

// Debugf drops what is for Badger's developers: several lines for each write.
func (l logger) Debugf(string, ...any) {}
