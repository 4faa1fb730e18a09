package badger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// damage flips a byte in the middle of the first table of the closed store in dir.
func damage(t testing.TB, dir string) {
	t.Helper()
	tables := names(t, filepath.Join(dir, "db"), "*.sst")
	if len(tables) == 0 {
		t.Fatal("no table to damage")
	}
	path := filepath.Join(dir, "db", tables[0])
	data, err := os.ReadFile(path)
	must(t, err)
	data[len(data)/3] ^= 0x10
	must(t, os.WriteFile(path, data, 0o600))
}

func TestADamagedStoreGivesWayToItsBackup(t *testing.T) {
	clock := fakeclock.New(start)
	o := options(t, t.TempDir())
	o.Clock = clock
	d := mustOpen(t, o)
	set(t, d, "a", "saved")
	path, err := d.Backup(t.Context())
	must(t, err)
	set(t, d, "a", "lost")
	must(t, d.Close())
	damage(t, o.Dir)

	clock.Advance(time.Hour)
	d = mustOpen(t, o)
	r := d.Recovered()
	if r == nil || r.Empty() || r.Backup != path || !r.BackupFrom.Equal(start) || !r.At.Equal(clock.Now()) || !strings.Contains(r.Cause, "damaged") {
		t.Fatalf("recovered %+v", r)
	}
	if got := get(t, d, "a"); got != "saved" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(filepath.Join(r.SetAside, "MANIFEST")); err != nil || filepath.Base(r.SetAside) != "db.corrupt-20260701T030304.000Z" {
		t.Errorf("set aside in %s: %v", r.SetAside, err)
	}
	set(t, d, "b", "later")
	must(t, d.Close())

	d = mustOpen(t, o) // another start does not forget it
	if again := d.Recovered(); again == nil || *again != *r {
		t.Errorf("after a restart: %+v, want %+v", again, r)
	}
	if got := get(t, d, "b"); got != "later" {
		t.Errorf("got %q", got)
	}
	must(t, store.Acknowledge(t.Context(), d))
	must(t, d.Close())
	d = mustOpen(t, o)
	if r := d.Recovered(); r != nil {
		t.Errorf("acknowledged, yet %+v", r)
	}
	must(t, d.Close())
}

func TestWithoutABackupTheStoreIsEmptyAndSaysSo(t *testing.T) {
	o := options(t, t.TempDir())
	d := mustOpen(t, o)
	set(t, d, "a", "lost")
	must(t, d.Close())
	damage(t, o.Dir)
	for range 2 {
		d = mustOpen(t, o)
		if r := d.Recovered(); r == nil || !r.Empty() || r.SetAside == "" {
			t.Fatalf("recovered %+v", r)
		}
		if got := get(t, d, "a"); got != "none" {
			t.Errorf("got %q", got)
		}
		must(t, d.Close())
	}
}

func TestADamagedBackupGivesWayToAnOlderOne(t *testing.T) {
	clock := fakeclock.New(start)
	o := options(t, t.TempDir())
	o.Clock = clock
	d := mustOpen(t, o)
	set(t, d, "a", "old")
	older, err := d.Backup(t.Context())
	must(t, err)
	clock.Advance(time.Hour)
	set(t, d, "a", "new")
	newer, err := d.Backup(t.Context())
	must(t, err)
	must(t, d.Close())
	damage(t, o.Dir)
	data, err := os.ReadFile(newer)
	must(t, err)
	must(t, os.WriteFile(newer, bytes.Replace(data, []byte("new"), []byte("evil"), 1), 0o600))

	d = mustOpen(t, o)
	if r := d.Recovered(); r == nil || r.Backup != older || !strings.Contains(r.Cause, newer) {
		t.Errorf("recovered %+v", r)
	}
	if got := get(t, d, "a"); got != "old" {
		t.Errorf("got %q", got)
	}
	must(t, d.Close())
}

func TestAnInterruptedRecoveryIsTakenUpAgain(t *testing.T) {
	for _, tc := range []struct {
		rule string
		at   func(dir string) error
	}{
		{"after the damaged store was set aside", func(dir string) error {
			return os.Rename(filepath.Join(dir, "db"), filepath.Join(dir, "db.corrupt-x"))
		}},
		{"while the new store was made", func(dir string) error { return os.MkdirAll(filepath.Join(dir, "db.new"), 0o700) }},
		{"the folder is gone", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "db")) }},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			o := options(t, t.TempDir())
			d := mustOpen(t, o)
			set(t, d, "a", "saved")
			_, err := d.Backup(t.Context())
			must(t, err)
			must(t, d.Close())
			damage(t, o.Dir)
			must(t, tc.at(o.Dir))
			d = mustOpen(t, o)
			if r := d.Recovered(); r == nil || r.Empty() {
				t.Errorf("recovered %+v", r)
			}
			if got := get(t, d, "a"); got != "saved" {
				t.Errorf("got %q", got)
			}
			must(t, d.Close())
			if left := names(t, o.Dir, "db.new"); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	d, err := badger.Open(b.Context(), badger.Options{Dir: b.TempDir(), Clock: fakeclock.New(start)})
	must(b, err)
	defer d.Close()
	b.Run("one writer", func(b *testing.B) {
		for b.Loop() {
			set(b, d, "a", "value")
		}
	})
	b.Run("32 writers", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := d.Update(b.Context(), func(tx store.Tx) error { return tx.Set("b", []byte("value")) }); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkOpen(b *testing.B) {
	o := badger.Options{Dir: b.TempDir(), Clock: fakeclock.New(start)}
	d, err := badger.Open(b.Context(), o)
	must(b, err)
	value := strings.Repeat("v", 1000)
	for i := range 200 {
		must(b, d.Update(b.Context(), func(tx store.Tx) error {
			for k := range store.MaxUpdateKeys {
				if err := tx.Set(strings.Join([]string{"k", string(rune('a' + i/20)), string(rune('a' + i%20)), string(rune('0' + k))}, "/"), []byte(value)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	must(b, d.Close())
	for b.Loop() {
		d, err := badger.Open(b.Context(), o)
		must(b, err)
		must(b, d.Close())
	}
}
