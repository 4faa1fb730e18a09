package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
)

func auditKey(seq int) string { return fmt.Sprintf("audit/osaka-1/room/%020d", seq) }

// audited is a site with five entries.
func audited(t *testing.T, s store.Store) *site {
	h := newSite(t, s)
	for n := range 5 {
		h.update(func(tx store.Tx) error {
			return h.Audit(tx, journal.Entry{
				Actor: "alice\xff", Action: "move.planned", Object: fmt.Sprint("mov_", n+1),
				Before: json.RawMessage(`{"a": "<b>"}`), Detail: "why",
			})
		})
	}
	return h
}

func TestAuditShowsWhatWasTamperedWith(t *testing.T) {
	replace := func(key, old, with string) func(*site) {
		return func(h *site) {
			h.update(func(tx store.Tx) error {
				v, err := tx.Get(key)
				if changed := strings.Replace(string(v), old, with, 1); err == nil && changed != string(v) {
					return tx.Set(key, []byte(changed))
				}
				return errors.New("nothing to replace")
			})
		}
	}
	remove := func(keys ...string) func(*site) {
		return func(h *site) {
			h.update(func(tx store.Tx) (err error) {
				for _, k := range keys {
					err = errors.Join(err, tx.Delete(k))
				}
				return err
			})
		}
	}
	head := "audit/osaka-1/room/head"
	for _, tc := range []struct {
		rule   string
		tamper func(*site)
		wrong  journal.Wrong
		seq    uint64
	}{
		{"nothing", func(*site) {}, "", 0},
		{"an actor", replace(auditKey(3), "alice", "bob"), journal.Changed, 3},
		{"a value", replace(auditKey(2), `{"a"`, `{"b"`), journal.Changed, 2},
		{"a time", replace(auditKey(2), "2026", "2025"), journal.Changed, 2},
		{"no JSON any more", replace(auditKey(2), "{", "["), journal.Changed, 2},
		{"an entry is gone", remove(auditKey(3)), journal.Missing, 3},
		{"the first is gone", remove(auditKey(1)), journal.Missing, 1},
		{"the last are gone", remove(auditKey(4), auditKey(5)), journal.Truncated, 4},
		{"all are gone", remove(auditKey(1), auditKey(2), auditKey(3), auditKey(4), auditKey(5)), journal.Truncated, 1},
		{"the head is gone", remove(head), journal.Headless, 5},
		{"the head is another", replace(head, `"hash":"`, `"hash":"0`), journal.Headless, 5},
		{"two have changed places", func(h *site) {
			h.update(func(tx store.Tx) error {
				a, err := tx.Get(auditKey(2))
				b, err2 := tx.Get(auditKey(3))
				return errors.Join(err, err2, tx.Set(auditKey(2), b), tx.Set(auditKey(3), a))
			})
		}, journal.Moved, 2},
		{"one was written anew, hash and all", func(h *site) {
			other := newSite(t, memory.New())
			for range 3 {
				other.update(func(tx store.Tx) error { return other.Audit(tx, journal.Entry{Action: "other"}) })
			}
			h.update(func(tx store.Tx) error { return tx.Set(auditKey(3), []byte(other.read(auditKey(3)))) })
		}, journal.Unchained, 3},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			h := audited(t, memory.New())
			tc.tamper(h)
			report, err := journal.VerifyAudit(t.Context(), h.store, "audit/")
			must(t, err)
			if len(report.Chains) != 1 {
				t.Fatalf("report: %+v", report)
			}
			c := report.Chains[0]
			if c.Wrong != tc.wrong || c.Seq != tc.seq || c.Gateway != "osaka-1" || c.Room != "room" {
				t.Errorf("got %+v, want %q at %d", c, tc.wrong, tc.seq)
			}
			if errors.Is(report.Err(), store.ErrDamaged) != (tc.wrong != "") {
				t.Errorf("Err: %v", report.Err())
			}
		})
	}
}

func TestListAudit(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		h := audited(t, s)
		for _, tc := range []struct {
			rule   string
			before uint64
			limit  int
			want   []string
		}{
			{"the newest first", 0, 2, []string{"mov_5", "mov_4"}},
			{"the page behind", 4, 2, []string{"mov_3", "mov_2"}},
			{"the last page", 2, 2, []string{"mov_1"}},
			{"nothing behind the first", 1, 2, nil},
			{"from beyond the end", 99, 1, []string{"mov_5"}},
		} {
			list, err := h.ListAudit(t.Context(), tc.before, tc.limit)
			must(t, err)
			var got []string
			for _, e := range list {
				got = append(got, e.Object)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.rule, diff)
			}
		}
	})
}

func TestAuditRefuses(t *testing.T) {
	h := newSite(t, memory.New(), func(o *journal.Options) { o.Room = "" })
	whole := newSite(t, memory.New())
	large := journal.Entry{Action: "a", Detail: strings.Repeat("x", 48<<10)}
	for _, tc := range []struct {
		rule string
		in   *site
		e    journal.Entry
		want error
	}{
		{"a journal without a room", h, journal.Entry{Action: "a"}, journal.ErrInvalid},
		{"no action", whole, journal.Entry{}, journal.ErrInvalid},
		{"a value that is no JSON", whole, journal.Entry{Action: "a", After: json.RawMessage("{")}, journal.ErrInvalid},
		{"a large entry", whole, large, store.ErrTooLarge},
	} {
		if err := tc.in.store.Update(t.Context(), func(tx store.Tx) error { return tc.in.Audit(tx, tc.e) }); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.rule, err, tc.want)
		}
	}
	secret, err := journal.Digest(map[string]string{"code": "1234"})
	must(t, err)
	whole.update(func(tx store.Tx) error { return whole.Audit(tx, journal.Entry{Action: "a", After: secret}) })
	if row := whole.read(auditKey(1)); strings.Contains(row, "1234") || !strings.Contains(row, `"sha256:`) {
		t.Errorf("row: %s", row)
	}
}

func TestNextAuditIsTheNumberOfTheEntryThatFollows(t *testing.T) {
	h := newSite(t, memory.New())
	for want := uint64(1); want <= 2; want++ {
		h.update(func(tx store.Tx) error {
			got, err := h.NextAudit(tx)
			if err != nil || got != want {
				t.Errorf("NextAudit: %d, %v; want %d", got, err, want)
			}
			return h.Audit(tx, journal.Entry{Action: "a"})
		})
	}
}
