package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// GetJSON reads the record at key into v. It returns ErrNotFound as Get does; fields that v does not have are ignored.
func GetJSON(g Getter, key string, v any) error {
	data, err := g.Get(key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("record %q: %w", key, err)
	}
	return nil
}

// FindJSON reads the record at key; there is false if nobody has written it.
func FindJSON[T any](g Getter, key string) (v T, there bool, err error) {
	err = GetJSON(g, key, &v)
	if errors.Is(err, ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}

// SetJSON writes v as the record at key.
func SetJSON(tx Tx, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %q: %w", key, err)
	}
	return tx.Set(key, data)
}

// updateTries is how often UpdateUntilKnown runs an Update.
const updateTries = 4

// UpdateUntilKnown is an Update that is run again, four times at most, while its outcome is not known. fn finds out by what it
// reads whether it has been committed before. Should it stay unknown, the error wraps ErrUnknown as that of Update does.
func UpdateUntilKnown(ctx context.Context, s Store, fn func(Tx) error) (err error) {
	for range updateTries {
		if err = s.Update(ctx, fn); !errors.Is(err, ErrUnknown) {
			return err
		}
	}
	return err
}
