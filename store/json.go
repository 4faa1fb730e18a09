package store

import (
	"encoding/json"
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

// SetJSON writes v as the record at key.
func SetJSON(tx Tx, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("record %q: %w", key, err)
	}
	return tx.Set(key, data)
}
