package crash_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
)

// What the files hold, oldest first: facts in tables that two closes have written, facts in the memory table's file, and no
// backup, so that a store that was set aside is an empty one that says so.
const (
	inTables = 300
	inMemory = 60
)

func fact(n int) (key, value string) {
	return fmt.Sprintf("fact/%04d", n), fmt.Sprintf("value of %d ", n) + strings.Repeat("y", 2000)
}

// files returns a database's files as a kill would leave them.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	add := func(from, to int) *badger.DB {
		d, err := open(t.Context(), dir)
		must(t, err)
		for n := from; n < to; n += 20 {
			must(t, d.Update(t.Context(), func(tx store.Tx) error {
				for i := n; i < n+20; i++ {
					key, value := fact(i)
					if err := tx.Set(key, []byte(value)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		return d
	}
	must(t, add(0, inTables/2).Close())
	must(t, add(inTables/2, inTables).Close())
	d := add(inTables, inTables+inMemory)
	got := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(dir, "db"))
	must(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, "db", e.Name()))
		must(t, err)
		got[e.Name()] = data
	}
	must(t, d.Close())
	return got
}

// put makes a state directory with these files. They are written sparsely.
func put(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	must(t, err)
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o700))
	for name, data := range files {
		f, err := os.Create(filepath.Join(dir, "db", name))
		must(t, err)
		_, err = f.Write(written(data))
		must(t, err)
		must(t, f.Truncate(int64(len(data))))
		must(t, f.Close())
	}
	return dir
}

// opened opens dir and returns how many facts are there, from the first on without a gap, and whether the store was set
// aside. A second start must find the same, and after a set-aside nothing may be lost in silence.
func opened(t *testing.T, what, dir string) (facts int, aside bool) {
	t.Helper()
	for start := range 2 {
		d, err := badger.Open(t.Context(), badger.Options{Dir: dir, Clock: mfpgate.SystemClock{}, BallastSize: -1})
		if err != nil {
			t.Fatalf("%s: start %d: %v", what, start, err)
		}
		aside = d.Recovered() != nil
		got := 0
		err = d.View(t.Context(), func(snap store.Snapshot) error {
			for r, err := range store.All(snap, "fact/") {
				if err != nil {
					return err
				}
				if key, value := fact(got); r.Key != key || string(r.Value) != value {
					return fmt.Errorf("fact %d is %.30q", got, r.Key)
				}
				got++
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: start %d: %v", what, start, err)
		}
		if start > 0 && got != facts {
			t.Errorf("%s: the second start finds %d facts, the first %d", what, got, facts)
		}
		facts = got
		must(t, d.Close())
	}
	if aside {
		if kept, err := filepath.Glob(filepath.Join(dir, "db.corrupt-*", "*")); err != nil || len(kept) == 0 {
			t.Errorf("%s: nothing was kept of the damaged store: %v", what, err)
		}
	}
	return facts, aside
}

func find(t *testing.T, files map[string][]byte, ext string) string {
	t.Helper()
	for name := range files {
		if strings.HasSuffix(name, ext) {
			return name
		}
	}
	t.Fatalf("no %s among the files", ext)
	return ""
}

// written is a file without the zeros at its end, of which Badger makes many. A page at a time goes fast with the race detector, too.
func written(data []byte) []byte {
	var zeros [4096]byte
	for bytes.HasSuffix(data, zeros[:]) {
		data = data[:len(data)-len(zeros)]
	}
	return bytes.TrimRight(data, "\x00")
}

// with returns files with one of them replaced.
func with(files map[string][]byte, name string, data []byte) map[string][]byte {
	changed := map[string][]byte{}
	for n, d := range files {
		changed[n] = d
	}
	changed[name] = data
	return changed
}

func zeroed(data []byte, from int) []byte {
	return append(bytes.Clone(data[:from]), make([]byte, len(data)-from)...)
}

// offsets are n places in the first size bytes, both ends among them.
func offsets(n, size int) []int {
	if testing.Short() {
		n = min(n, 3)
	}
	var at []int
	for i := range n + 1 {
		at = append(at, i*size/n)
	}
	return at
}

func TestUntouchedFilesOpen(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	if facts, aside := opened(t, "untouched", put(t, files(t))); facts != inTables+inMemory || aside {
		t.Errorf("%d facts, set aside: %v", facts, aside)
	}
}

// A crash between the writing of a table and its entry in the manifest leaves a table too many, whose facts are elsewhere.
func TestATableThatTheManifestNeverHad(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	all := files(t)
	table := all[find(t, all, ".sst")]
	for what, data := range map[string][]byte{"whole": table, "half written": zeroed(table, len(table)/2)} {
		dir := put(t, with(all, "000077.sst", data))
		if facts, aside := opened(t, what, dir); facts != inTables+inMemory || aside {
			t.Errorf("%s: %d facts, set aside: %v", what, facts, aside)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "db", "*", "*")); len(left) != 0 || err != nil {
			t.Errorf("%s: left behind: %v, %v", what, left, err)
		}
	}
}

// What a memory table's file has lost from its end is what never reached the disk: all before it must be there.
func TestTailOfTheMemoryTableIsLost(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	all := files(t)
	name := find(t, all, ".mem")
	used := len(written(all[name]))
	for _, at := range offsets(6, used) {
		for kind, data := range map[string][]byte{"cut": all[name][:at], "zeroed": zeroed(all[name], at)} {
			what := fmt.Sprintf("%s %s at %d", name, kind, at)
			facts, aside := opened(t, what, put(t, with(all, name, data)))
			least := inTables + inMemory*at/used - 40 // whole transactions of 20, and the one that the cut is in
			if !aside && facts < max(inTables, least) {
				t.Errorf("%s: %d facts, want at least %d", what, facts, max(inTables, least))
			}
		}
	}
}

// A manifest that has lost its end no longer names some tables, or names some that are gone: never may the facts in tables
// be lost in silence.
func TestTailOfTheManifestIsLost(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	all := files(t)
	manifest := all["MANIFEST"]
	setAside := 0
	for _, at := range offsets(6, len(manifest)) {
		for kind, data := range map[string][]byte{"cut": manifest[:at], "zeroed": zeroed(manifest, at)} {
			what := fmt.Sprintf("MANIFEST %s at %d", kind, at)
			facts, aside := opened(t, what, put(t, with(all, "MANIFEST", data)))
			if aside {
				setAside++
			} else if facts != inTables+inMemory {
				t.Errorf("%s: %d facts of %d, in silence", what, facts, inTables+inMemory)
			}
		}
	}
	gone := with(all, "MANIFEST", nil)
	delete(gone, "MANIFEST")
	if facts, aside := opened(t, "MANIFEST gone", put(t, gone)); !aside && facts != inTables+inMemory {
		t.Errorf("without MANIFEST: %d facts, in silence", facts)
	}
	if setAside == 0 {
		t.Error("no offset harmed the manifest: the test does not test")
	}
}

func TestAFlippedByteInATable(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	all := files(t)
	name := find(t, all, ".sst")
	table, setAside := all[name], 0
	at := offsets(6, len(table)-1)
	for back := 2; back < 40; back += 9 { // the footers are where Badger itself dies
		at = append(at, len(table)-back)
	}
	for _, i := range at {
		flipped := bytes.Clone(table)
		flipped[i] ^= 0x40
		facts, aside := opened(t, fmt.Sprintf("%s flipped at %d", name, i), put(t, with(all, name, flipped)))
		if aside {
			setAside++
		} else if facts != inTables+inMemory {
			t.Errorf("%s flipped at %d: %d facts, in silence", name, i, facts)
		}
	}
	for _, i := range offsets(3, len(table)-1) {
		if _, aside := opened(t, fmt.Sprintf("%s cut at %d", name, i), put(t, with(all, name, table[:i]))); !aside {
			t.Errorf("%s cut at %d was taken for whole", name, i)
		}
	}
	if setAside < len(at)-3 {
		t.Errorf("%d of %d flipped bytes were seen", setAside, len(at))
	}
}

// The small files that Badger keeps beside its data.
func TestTailsOfTheOtherFiles(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	all := files(t)
	for name, data := range all {
		if name == "LOCK" || name == "MANIFEST" || strings.HasSuffix(name, ".mem") || strings.HasSuffix(name, ".sst") {
			continue
		}
		used := len(written(data))
		for _, at := range offsets(2, used) {
			what := fmt.Sprintf("%s cut at %d of %d", name, at, used)
			facts, aside := opened(t, what, put(t, with(all, name, data[:at])))
			if !aside && facts != inTables+inMemory {
				t.Errorf("%s: %d facts, in silence", what, facts)
			}
		}
	}
}

func TestABackupThatTheDiskCutIsRefused(t *testing.T) {
	t.Parallel() // it waits for the disk most of the time
	dir := put(t, files(t))
	d, err := open(t.Context(), dir)
	must(t, err)
	path, err := d.Backup(t.Context())
	must(t, err)
	must(t, d.Close())
	st, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, st.Size()/2))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	if _, err := store.Verify(io.Reader(f)); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}
