package badger

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// orphanDir, within the database's folder, keeps tables from Badger, which deletes those that its manifest does not name.
const orphanDir = "orphans"

var errManifest = errors.New("manifest has lost a table")

// verify checks a closed database before Badger opens it. Tables that the manifest does not name are what a crash left of a
// flush or a compaction, and then the facts are elsewhere too; or the end of the manifest is lost, and they are not.
func verify(dir string, log func(slog.Level, string)) error {
	named, err := manifestTables(dir)
	if err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	orphans := filepath.Join(dir, orphanDir)
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".mem") || strings.HasSuffix(f.Name(), ".vlog") {
			if err := dropEmpty(filepath.Join(dir, f.Name()), log); err != nil {
				return err
			}
			continue
		}
		id, isTable := table.ParseFileID(f.Name())
		if !isTable {
			continue
		}
		if named[id] {
			if _, err := verifyTable(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(orphans, 0o700); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, f.Name()), filepath.Join(orphans, f.Name())); err != nil {
			return err
		}
	}
	files, err = os.ReadDir(orphans) // with those that an interrupted verify left
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var tables []*table.Table
	for _, f := range files {
		id, _ := table.ParseFileID(f.Name())
		data, err := verifyTable(filepath.Join(orphans, f.Name()))
		if errors.Is(err, errTable) {
			log(slog.LevelWarn, "store: dropping a table that was never finished: "+f.Name())
			continue
		}
		if err != nil {
			return err
		}
		t, err := table.OpenInMemoryTable(data, id, &table.Options{ChkMode: options.NoVerification})
		if err != nil {
			return fmt.Errorf("open table %s: %w", f.Name(), err)
		}
		tables = append(tables, t)
	}
	if len(tables) > 0 {
		if err := covered(dir, tables, log); err != nil {
			return err
		}
	}
	return os.RemoveAll(orphans)
}

// dropEmpty removes a log file that a kill left before Badger had given it a size. Badger fails over it once, and leaves
// goroutines behind.
func dropEmpty(path string, log func(slog.Level, string)) error {
	st, err := os.Stat(path)
	if err != nil || st.Size() > 0 {
		return err
	}
	log(slog.LevelInfo, "store: dropping an empty file: "+filepath.Base(path))
	return os.Remove(path)
}

// covered opens the database, with nothing running that could drop an entry meanwhile, and requires that it knows every
// entry of the tables, in that version or a later one.
func covered(dir string, tables []*table.Table, log func(slog.Level, string)) (err error) {
	db, err := safely(func() (*badgerdb.DB, error) {
		return badgerdb.Open(badgerOptions(dir, log).WithNumCompactors(0).WithNumLevelZeroTablesStall(1000).WithCompactL0OnClose(false))
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(txn *badgerdb.Txn) error {
		for _, t := range tables {
			it := t.NewIterator(0)
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				key, version := y.ParseKey(it.Key()), y.ParseTs(it.Key())
				if !bytes.HasPrefix(key, []byte("!badger!")) && !knows(txn, key, version) {
					return fmt.Errorf("%w: %s", errManifest, strings.TrimSuffix(filepath.Base(table.NewFilename(t.ID(), "")), ".sst"))
				}
			}
		}
		return nil
	})
}

func knows(txn *badgerdb.Txn, key []byte, version uint64) bool {
	o := badgerdb.DefaultIteratorOptions
	o.PrefetchValues, o.AllVersions = false, true
	it := txn.NewKeyIterator(key, o)
	defer it.Close()
	it.Rewind() // versions come newest first
	return it.Valid() && it.Item().Version() >= version
}
