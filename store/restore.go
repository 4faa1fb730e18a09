package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Restore fills an empty store from a backup and gives it the backup's schema; run Migrate after it. r is read twice: a
// truncated or altered backup is refused with ErrDamaged, one of a newer format with ErrNewerSchema, before anything is
// written. A store that holds facts is refused with ErrNotEmpty. If writing fails, what was written is deleted again; if
// that fails too, or the process dies, Migrate and Backup refuse the store until a Restore has gone through.
func Restore(ctx context.Context, s Store, r io.ReadSeeker) (Header, error) {
	h, err := Verify(r)
	if err != nil {
		return h, err
	}
	if err := prepare(ctx, s); err != nil {
		return h, err
	}
	if err := fill(ctx, s, r); err != nil {
		undo := context.WithoutCancel(ctx) // nothing may stay behind because the caller went away
		return h, errors.Join(fmt.Errorf("restore: %w", err), wipe(undo, s))
	}
	err = s.Update(ctx, func(tx Tx) error {
		return errors.Join(tx.Delete(restoringKey), SetJSON(tx, schemaKey, schemaRecord{h.Schema}))
	})
	if err != nil {
		return h, fmt.Errorf("finish restore: %w; run it again", err)
	}
	return h, nil
}

// prepare checks that s is empty, or what an interrupted Restore left, and marks it.
func prepare(ctx context.Context, s Store) error {
	interrupted := false
	err := s.View(ctx, func(snap Snapshot) error {
		_, err := snap.Get(restoringKey)
		interrupted = err == nil
		if err == nil || !errors.Is(err, ErrNotFound) {
			return err
		}
		for r, err := range All(snap, "") {
			if err != nil {
				return err
			}
			if !strings.HasPrefix(r.Key, metaPrefix) {
				return fmt.Errorf("restore: %w; restore into an empty state directory", ErrNotEmpty)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if interrupted {
		if err := wipe(ctx, s); err != nil {
			return err
		}
	}
	return s.Update(ctx, func(tx Tx) error { return tx.Set(restoringKey, []byte("{}")) })
}

func fill(ctx context.Context, s Store, r io.ReadSeeker) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var batch []Record
	size := 0
	flush := func() error {
		err := s.Update(ctx, func(tx Tx) error {
			for _, r := range batch {
				if err := tx.Set(r.Key, r.Value); err != nil {
					return err
				}
			}
			return nil
		})
		batch, size = batch[:0], 0
		return err
	}
	// Verified again as it is read: the file may have changed since.
	_, err := readBackup(r, func(r Record) error {
		n := len(r.Key) + len(r.Value)
		if len(batch) == MaxUpdateKeys || size+n > MaxUpdate {
			if err := flush(); err != nil {
				return err
			}
		}
		batch, size = append(batch, r), size+n
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// wipe deletes all facts, and the mark of an interrupted Restore last.
func wipe(ctx context.Context, s Store) error {
	for {
		var page []Record
		err := s.View(ctx, func(snap Snapshot) (err error) {
			page = page[:0]
			for r, err := range All(snap, "") {
				if err != nil {
					return err
				}
				if strings.HasPrefix(r.Key, metaPrefix) {
					continue
				}
				if page = append(page, r); len(page) == MaxUpdateKeys {
					break
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
		err = s.Update(ctx, func(tx Tx) error {
			for _, r := range page {
				if err := tx.Delete(r.Key); err != nil {
					return err
				}
			}
			if len(page) == 0 {
				return tx.Delete(restoringKey)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
	}
}
