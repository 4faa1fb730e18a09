package badger_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
	"github.com/mfpgate/mfpgate/tests/need"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func set(t testing.TB, s store.Store, key, value string) {
	t.Helper()
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return tx.Set(key, []byte(value)) }))
}

func get(t testing.TB, s store.Store, key string) string {
	t.Helper()
	var got []byte
	err := s.View(t.Context(), func(snap store.Snapshot) (err error) {
		got, err = snap.Get(key)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return "none"
	}
	must(t, err)
	return string(got)
}

// names returns the names in dir that match pattern.
func names(t testing.TB, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	for i, p := range paths {
		paths[i] = filepath.Base(p)
	}
	return paths
}

func TestFactsSurviveClose(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), "state"))
	d := mustOpen(t, o)
	set(t, d, "a", "1")
	must(t, d.Close())
	if err := d.Close(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed twice: %v, want ErrClosed", err)
	}
	if err := d.CollectGarbage(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("garbage of a closed store: %v, want ErrClosed", err)
	}
	d = mustOpen(t, o)
	if got := get(t, d, "a"); got != "1" || d.Recovered() != nil {
		t.Errorf("got %q, recovered %v", got, d.Recovered())
	}
	must(t, d.CollectGarbage(t.Context()))
	must(t, d.Close())
	st, err := os.Stat(o.Dir)
	must(t, err)
	if st.Mode().Perm() != 0o700 {
		t.Errorf("state directory has mode %v, want 0700", st.Mode())
	}
}

func TestASecondOpenerIsToldWhatToDo(t *testing.T) {
	o := options(t, t.TempDir())
	d := mustOpen(t, o)
	_, err := badger.Open(t.Context(), o)
	if !errors.Is(err, badger.ErrInUse) || !strings.Contains(err.Error(), "another mfpgate (pid ") || !strings.Contains(err.Error(), o.Dir) {
		t.Errorf("got %v, want ErrInUse that names the process and the directory", err)
	}
	if _, err := badger.Restore(t.Context(), o, "any"); !errors.Is(err, badger.ErrInUse) {
		t.Errorf("restore beside a running store: %v, want ErrInUse", err)
	}
	set(t, d, "a", "still works")
	must(t, d.Close())
}

func TestRootRefusesAnotherUsersDirectory(t *testing.T) {
	need.Root(t)
	o := options(t, t.TempDir())
	must(t, os.Chown(o.Dir, 65534, 65534))
	_, err := badger.Open(t.Context(), o)
	if !errors.Is(err, badger.ErrOwner) || !strings.Contains(err.Error(), "65534") {
		t.Errorf("got %v, want ErrOwner that names the owner", err)
	}
	if left := names(t, o.Dir, "*"); len(left) != 0 {
		t.Errorf("root left %v behind", left)
	}
}

func TestTroubleThatIsNotTheDatasSetsNothingAside(t *testing.T) {
	o := options(t, t.TempDir())
	d := mustOpen(t, o)
	set(t, d, "a", "1")
	must(t, d.Close())
	folder, err := os.Open(filepath.Join(o.Dir, "db"))
	must(t, err)
	defer folder.Close()
	must(t, syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)) // as Badger's own tools do
	if _, err := badger.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "Another process") {
		t.Errorf("got %v, want the reason", err)
	}
	must(t, folder.Close())
	if aside := names(t, o.Dir, "db.*"); len(aside) != 0 {
		t.Errorf("set aside: %v", aside)
	}
	d = mustOpen(t, o)
	if got := get(t, d, "a"); got != "1" {
		t.Errorf("got %q", got)
	}
	must(t, d.Close())
}

func TestMigrationsRunAfterABackup(t *testing.T) {
	o := options(t, t.TempDir())
	o.Migrations = []store.Migration{func(context.Context, store.Store) error { return nil }}
	d := mustOpen(t, o)
	set(t, d, "a", "old")
	must(t, d.Close())
	newer := o
	newer.Migrations = append(newer.Migrations, func(ctx context.Context, s store.Store) error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.Set("a", []byte("new")) })
	})
	d = mustOpen(t, newer)
	if got := get(t, d, "a"); got != "new" {
		t.Errorf("got %q", got)
	}
	must(t, d.Close())
	saved := names(t, filepath.Join(o.Dir, "backup"), "*")
	if diff := cmp.Diff([]string{"before-schema-2-20260701T020304.000Z.backup"}, saved); diff != "" {
		t.Fatalf("backups (-want +got):\n%s", diff)
	}
	_, err := badger.Open(t.Context(), o)
	if !errors.Is(err, store.ErrNewerSchema) || !strings.Contains(err.Error(), "schema 2") {
		t.Errorf("the older program: %v, want ErrNewerSchema that names it", err)
	}
	if aside := names(t, o.Dir, "db.*"); len(aside) != 0 {
		t.Errorf("set aside: %v", aside)
	}
	back := options(t, t.TempDir())
	back.Migrations = o.Migrations
	_, err = badger.Restore(t.Context(), back, filepath.Join(o.Dir, "backup", saved[0]))
	must(t, err)
	d = mustOpen(t, back)
	if got := get(t, d, "a"); got != "old" {
		t.Errorf("the way back: got %q", got)
	}
	must(t, d.Close())
}

func TestRestoreIsAllOrNothing(t *testing.T) {
	o := options(t, t.TempDir())
	d := mustOpen(t, o)
	set(t, d, "a", "1")
	path, err := d.Backup(t.Context())
	must(t, err)
	must(t, d.Close())
	if _, err := badger.Restore(t.Context(), o, path); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("into a store: %v, want ErrNotEmpty", err)
	}
	whole, err := os.ReadFile(path)
	must(t, err)
	bad := filepath.Join(t.TempDir(), "bad")
	must(t, os.WriteFile(bad, whole[:len(whole)-1], 0o600))
	to := options(t, t.TempDir())
	if _, err := badger.Restore(t.Context(), to, bad); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a cut backup: %v, want ErrDamaged", err)
	}
	if left := names(t, to.Dir, "db*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	_, err = badger.Restore(t.Context(), to, path)
	must(t, err)
	d = mustOpen(t, to)
	if got := get(t, d, "a"); got != "1" || d.Recovered() != nil {
		t.Errorf("got %q, recovered %v: a restore that was asked for is no recovery", got, d.Recovered())
	}
	must(t, d.Close())
}

func TestNightlyBackupsAreKeptInNumber(t *testing.T) {
	clock := fakeclock.New(start)
	o := options(t, t.TempDir())
	o.Clock, o.KeepBackups = clock, 2
	d := mustOpen(t, o)
	for range 4 {
		_, err := d.Backup(t.Context())
		must(t, err)
		clock.Advance(24 * time.Hour)
	}
	want := []string{"facts-20260703T020304.000Z.backup", "facts-20260704T020304.000Z.backup"}
	if diff := cmp.Diff(want, names(t, filepath.Join(o.Dir, "backup"), "*")); diff != "" {
		t.Errorf("backups (-want +got):\n%s", diff)
	}
	must(t, d.Close())
}

func TestBelowTheFloorWritesAreRefusedAndReadsGoOn(t *testing.T) {
	o := options(t, t.TempDir())
	d := mustOpen(t, o)
	set(t, d, "a", "1")
	must(t, d.Close())
	o.BallastSize = 1 << 50 // the floor is above any disk
	var outcomes []store.Outcome
	o.Observe = func(o store.Outcome) { outcomes = append(outcomes, o) }
	d = mustOpen(t, o)
	err := d.Update(t.Context(), func(tx store.Tx) error { return tx.Set("a", []byte("2")) })
	if !errors.Is(err, store.ErrFull) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("update: %v, want ErrFull that says what to do", err)
	}
	if diff := cmp.Diff([]store.Outcome{store.Refused}, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if _, err := d.Backup(t.Context()); !errors.Is(err, store.ErrFull) {
		t.Errorf("backup: %v, want ErrFull", err)
	}
	if left, err := os.ReadDir(filepath.Join(o.Dir, "backup")); len(left) != 0 || err != nil {
		t.Errorf("a refused backup left %v, %v", left, err)
	}
	if got := get(t, d, "a"); got != "1" {
		t.Errorf("got %q", got)
	}
	if free, err := d.FreeBytes(); free <= 0 || err != nil {
		t.Errorf("FreeBytes: %d, %v", free, err)
	}
	must(t, d.Close())
}
