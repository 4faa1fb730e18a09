package server

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/mfpgate/mfpgate/store"
)

func put[T any](tx store.Tx, key string, v T) error { return store.SetJSON(tx, key, v) }

// one reads one record.
func one[T any](ctx context.Context, s store.Store, key string) (v T, there bool, err error) {
	err = s.View(ctx, func(at store.Snapshot) error {
		var err error
		v, there, err = store.FindJSON[T](at, key)
		return err
	})
	return v, there, err
}

// page reads up to limit records below prefix whose keys follow prefix+after, and the cursor of the next page, if any.
func page[T any](ctx context.Context, s store.Store, prefix, after string, limit int) (list []T, next string, err error) {
	list = []T{}
	if after != "" {
		after = prefix + after
	}
	err = s.View(ctx, func(at store.Snapshot) error {
		found, err := at.Scan(prefix, after, limit+1)
		if err != nil {
			return err
		}
		if len(found) > limit {
			found = found[:limit]
			next = cursor(found[limit-1].Key[len(prefix):])
		}
		for _, r := range found {
			var v T
			if err := json.Unmarshal(r.Value, &v); err != nil {
				return fmt.Errorf("record %q: %w", r.Key, err)
			}
			list = append(list, v)
		}
		return nil
	})
	return list, next, err
}

func decodeRecord[T any](r store.Record) (v T, err error) {
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return v, fmt.Errorf("record %q: %w", r.Key, err)
	}
	return v, nil
}
