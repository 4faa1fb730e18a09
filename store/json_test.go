package store_test

import (
	"errors"
	"testing"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/storetest"
)

func TestFindJSON(t *testing.T) {
	s := memory.New()
	if err := s.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(store.SetJSON(tx, "there", 7), tx.Set("broken", []byte("{")))
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key   string
		want  int
		there bool
		fails bool
	}{{"there", 7, true, false}, {"nowhere", 0, false, false}, {"broken", 0, false, true}} {
		err := s.View(t.Context(), func(at store.Snapshot) error {
			got, there, err := store.FindJSON[int](at, c.key)
			if got != c.want || there != c.there {
				t.Errorf("%s: %d, %v", c.key, got, there)
			}
			return err
		})
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", c.key, err)
		}
	}
}

func TestUpdateUntilKnown(t *testing.T) {
	for _, c := range []struct {
		rule string
		fate storetest.Fate
	}{{"committed, and nobody was told", storetest.CommittedUnseen}, {"lost", storetest.LostUnseen}} {
		s := &storetest.Unsure{Store: memory.New()}
		s.Next(c.fate)
		runs := 0
		err := store.UpdateUntilKnown(t.Context(), s, func(tx store.Tx) error {
			runs++
			n, _, err := store.FindJSON[int](tx, "n")
			if err != nil || n > 0 {
				return err
			}
			return store.SetJSON(tx, "n", n+1)
		})
		if err != nil || runs < 2 {
			t.Errorf("%s: %v after %d runs", c.rule, err, runs)
		}
		if err := s.View(t.Context(), func(at store.Snapshot) error {
			n, _, err := store.FindJSON[int](at, "n")
			if n != 1 {
				t.Errorf("%s: %d, want 1", c.rule, n)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}
