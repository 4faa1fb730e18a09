package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var day = time.Date(2026, 7, 1, 2, 3, 4, 0, time.UTC)

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

func content(t testing.TB, s store.Store) map[string]string {
	t.Helper()
	got := map[string]string{}
	must(t, s.View(t.Context(), func(snap store.Snapshot) error {
		for r, err := range store.All(snap, "") {
			if err != nil {
				return err
			}
			got[r.Key] = string(r.Value)
		}
		return nil
	}))
	return got
}

func backup(t testing.TB, s store.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, store.Backup(t.Context(), s, &b, day))
	return b.Bytes()
}

// sample is a store with more records than one page of a scan holds.
func sample(t testing.TB) store.Store {
	t.Helper()
	s := memory.New()
	must(t, store.Migrate(t.Context(), s, make([]store.Migration, 3), nil))
	for i := 0; i <= store.MaxScan; i += store.MaxUpdateKeys {
		must(t, s.Update(t.Context(), func(tx store.Tx) error {
			for k := range store.MaxUpdateKeys {
				if err := tx.Set(fmt.Sprintf("k%04d", i+k), []byte{byte(i), byte(k)}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return s
}

func TestBackupAndRestore(t *testing.T) {
	s, to := sample(t), memory.New()
	h, err := store.Restore(t.Context(), to, bytes.NewReader(backup(t, s)))
	must(t, err)
	if diff := cmp.Diff(store.Header{Format: 1, Schema: 3, Created: day}, h); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(content(t, s), content(t, to)); diff != "" {
		t.Errorf("facts and schema (-want +got):\n%s", diff)
	}
	if _, err := store.Restore(t.Context(), to, bytes.NewReader(backup(t, s))); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("into a store with facts: %v, want ErrNotEmpty", err)
	}
}

func TestRestoreRefusesEveryAlteredByteAndEveryTruncation(t *testing.T) {
	s := memory.New()
	must(t, store.Migrate(t.Context(), s, nil, nil))
	set(t, s, "a", "one")
	set(t, s, "b", strings.Repeat("two", 50))
	whole, to := backup(t, s), memory.New()
	refused := func(what string, data []byte) {
		if _, err := store.Restore(t.Context(), to, bytes.NewReader(data)); !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNewerSchema) {
			t.Errorf("%s: %v, want ErrDamaged", what, err)
		}
	}
	for i := range whole {
		refused(fmt.Sprintf("cut at %d", i), whole[:i])
		altered := bytes.Clone(whole)
		altered[i] ^= 1
		refused(fmt.Sprintf("bit flipped at %d", i), altered)
	}
	refused("a byte too many", append(bytes.Clone(whole), 0))
	if got := content(t, to); len(got) != 0 {
		t.Errorf("something was written: %v", got)
	}
	_, err := store.Restore(t.Context(), to, bytes.NewReader(bytes.Replace(whole, []byte(`"format":1`), []byte(`"format":2`), 1)))
	if !errors.Is(err, store.ErrNewerSchema) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("a newer format: %v, want ErrNewerSchema that names it", err)
	}
}

// failing is a store whose Updates fail after some.
type failing struct {
	store.Store
	left  int
	error error
	heals bool // only one fails
}

func (f *failing) Update(ctx context.Context, fn func(store.Tx) error) error {
	if f.left--; f.left == -1 || f.left < 0 && !f.heals {
		return f.error
	}
	return f.Store.Update(ctx, fn)
}

func TestRestoreLeavesNothingBehindWhenItFails(t *testing.T) {
	data := backup(t, sample(t))
	to := memory.New()
	broken := errors.New("broken")
	if _, err := store.Restore(t.Context(), &failing{Store: to, left: 5, error: broken, heals: true}, bytes.NewReader(data)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the store's error", err)
	}
	if got := content(t, to); len(got) != 0 {
		t.Errorf("left behind: %d records", len(got))
	}
	// A process that dies in the middle cannot tidy up.
	if _, err := store.Restore(t.Context(), &failing{Store: to, left: 5, error: broken}, bytes.NewReader(data)); !errors.Is(err, broken) {
		t.Errorf("got %v, want the store's error", err)
	}
	if err := store.Migrate(t.Context(), to, nil, nil); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a half restored store is opened: %v", err)
	}
	if err := store.Backup(t.Context(), to, &bytes.Buffer{}, day); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a half restored store is backed up: %v", err)
	}
	_, err := store.Restore(t.Context(), to, bytes.NewReader(data))
	must(t, err)
	if diff := cmp.Diff(content(t, sample(t)), content(t, to)); diff != "" {
		t.Errorf("restored again (-want +got):\n%s", diff)
	}
}

func TestBackupFileIsWholeOrAbsent(t *testing.T) {
	s, path := sample(t), filepath.Join(t.TempDir(), "f.backup")
	must(t, store.BackupFile(t.Context(), s, path, day))
	before, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, backup(t, s)) {
		t.Error("the file is not the backup")
	}
	st, err := os.Stat(path)
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600: others could read it", st.Mode())
	}
	must(t, s.Close())
	if err := store.BackupFile(t.Context(), s, path, day); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if !bytes.Equal(before, after) || len(entries) != 1 {
		t.Errorf("a failed backup changed the file or left another: %v", entries)
	}
}

func TestMigrate(t *testing.T) {
	var ran []string
	step := func(name string) store.Migration {
		return func(ctx context.Context, s store.Store) error {
			ran = append(ran, name)
			return s.Update(ctx, func(tx store.Tx) error { return tx.Set("made by "+name, nil) })
		}
	}
	before := func(from, to int) error {
		ran = append(ran, fmt.Sprintf("backup %d-%d", from, to))
		return nil
	}
	expect := func(t *testing.T, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, ran); diff != "" {
			t.Errorf("what ran (-want +got):\n%s", diff)
		}
		ran = nil
	}
	ctx := t.Context()
	steps := []store.Migration{step("one"), step("two"), step("three")}

	s := memory.New()
	must(t, store.Migrate(ctx, s, steps, before))
	expect(t) // an empty store has the newest schema
	must(t, store.Migrate(ctx, s, append(steps, step("four")), before))
	expect(t, "backup 3-4", "four")
	err := store.Migrate(ctx, s, steps, before)
	if !errors.Is(err, store.ErrNewerSchema) || !strings.Contains(err.Error(), "schema 4") || !strings.Contains(err.Error(), "schema 3") {
		t.Errorf("an older program: %v, want ErrNewerSchema that names both", err)
	}

	s = memory.New()
	set(t, s, "a", "fact without a schema")
	broken := errors.New("broken")
	err = store.Migrate(ctx, s, []store.Migration{steps[0], func(context.Context, store.Store) error { return broken }, steps[2]}, before)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the migration's error", err)
	}
	expect(t, "backup 0-3", "one")
	if err := store.Migrate(ctx, s, steps, func(int, int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("without a backup: %v, want its error", err)
	}
	expect(t)
	must(t, store.Migrate(ctx, s, steps, before))
	expect(t, "backup 1-3", "two", "three") // goes on where it stopped
	must(t, store.Migrate(ctx, s, steps, before))
	expect(t)
}

func TestConflictsAreBounded(t *testing.T) {
	var outcomes []store.Outcome
	s := store.New(contested{}, func(o store.Outcome) { outcomes = append(outcomes, o) })
	runs := 0
	err := s.Update(t.Context(), func(store.Tx) error { runs++; return nil })
	if !errors.Is(err, store.ErrConflict) || runs != len(outcomes) || runs < 2 || runs > 100 {
		t.Errorf("got %v after %d runs and %d outcomes", err, runs, len(outcomes))
	}
	runs = 0
	err = s.Update(t.Context(), func(store.Tx) error { runs++; return fmt.Errorf("mine: %w", store.ErrConflict) })
	if !errors.Is(err, store.ErrConflict) || runs != 1 {
		t.Errorf("the function's own error made it run %d times", runs)
	}
}

// contested is a driver on which every commit conflicts.
type contested struct{ store.Driver }

func (contested) Update(_ context.Context, fn func(store.Tx) error) error {
	if err := fn(nil); err != nil {
		return err
	}
	return store.ErrConflict
}

func TestJSON(t *testing.T) {
	type fact struct{ N int }
	s := memory.New()
	must(t, s.Update(t.Context(), func(tx store.Tx) error { return store.SetJSON(tx, "a", fact{7}) }))
	set(t, s, "bad", "{")
	must(t, s.View(t.Context(), func(snap store.Snapshot) error {
		var got fact
		if err := store.GetJSON(snap, "a", &got); err != nil || got.N != 7 {
			t.Errorf("got %v, %v", got, err)
		}
		if err := store.GetJSON(snap, "none", &got); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		if err := store.GetJSON(snap, "bad", &got); err == nil || !strings.Contains(err.Error(), `"bad"`) {
			t.Errorf("got %v, want an error that names the key", err)
		}
		return nil
	}))
	if err := s.Update(t.Context(), func(tx store.Tx) error { return store.SetJSON(tx, "c", func() {}) }); err == nil {
		t.Error("what JSON cannot say was written")
	}
}

// The conformance suite itself must be able to fail.
func TestUnsureTellsNothing(t *testing.T) {
	s := memory.New()
	u := &storetest.Unsure{Store: s}
	u.Next(storetest.CommittedUnseen, storetest.LostUnseen)
	for _, key := range []string{"committed", "lost"} {
		err := u.Update(t.Context(), func(tx store.Tx) error { return tx.Set(key, nil) })
		if !errors.Is(err, store.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnknown", key, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"committed": ""}, content(t, s)); diff != "" {
		t.Errorf("content (-want +got):\n%s", diff)
	}
}

func FuzzRestore(f *testing.F) {
	s := memory.New()
	for key, value := range map[string]string{"a": "1", "b": ""} {
		must(f, s.Update(context.Background(), func(tx store.Tx) error { return tx.Set(key, []byte(value)) }))
	}
	var b bytes.Buffer
	must(f, store.Backup(context.Background(), s, &b, day))
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:20])
	f.Add([]byte("mfpgate backup\n{\"format\":1}\n\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		to := memory.New()
		h, err := store.Restore(t.Context(), to, bytes.NewReader(data))
		if err != nil {
			if got := content(t, to); len(got) != 0 {
				t.Fatalf("refused (%v), yet wrote %v", err, got)
			}
			return
		}
		var again bytes.Buffer
		must(t, store.Backup(t.Context(), to, &again, h.Created))
		if _, err := store.Verify(&again); err != nil {
			t.Fatalf("what was restored cannot be backed up: %v", err)
		}
	})
}
