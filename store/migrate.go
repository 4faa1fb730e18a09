package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The keys that describe the store itself. They are no facts: a backup has the schema in its header and nothing else of them.
const (
	metaPrefix    = "meta/"
	schemaKey     = metaPrefix + "schema"
	restoringKey  = metaPrefix + "restoring"
	recoveredKey  = metaPrefix + "recovered"
	schemaUnknown = -1
)

type schemaRecord struct {
	Schema int `json:"schema"`
}

// Migration brings the facts from one schema to the next. A crash may make it run again, so it must bear being repeated; it
// may take as many Updates as it needs.
type Migration func(ctx context.Context, s Store) error

// Migrate brings s to schema len(migrations) by running those that have not run, in order; migrations[0] leads from schema 0,
// that of facts without a number, to 1. An empty store is stamped and nothing runs. before, a backup as a rule, is called
// once before the first that runs; if it fails nothing is changed. A store of a higher schema is refused with
// ErrNewerSchema, one whose Restore was interrupted with ErrDamaged.
func Migrate(ctx context.Context, s Store, migrations []Migration, before func(from, to int) error) error {
	to := len(migrations)
	from, err := schemaOf(ctx, s)
	if err != nil {
		return err
	}
	if from == schemaUnknown {
		return setSchema(ctx, s, to)
	}
	if from > to {
		return fmt.Errorf("schema %d: %w; this one knows schema %d: install the newer version, or restore a backup made before it",
			from, ErrNewerSchema, to)
	}
	if from == to {
		return nil
	}
	if before != nil {
		if err := before(from, to); err != nil {
			return fmt.Errorf("before migration from schema %d to %d: %w", from, to, err)
		}
	}
	for n := from; n < to; n++ {
		if err := migrations[n](ctx, s); err != nil {
			return fmt.Errorf("migrate from schema %d to %d: %w", n, n+1, err)
		}
		if err := setSchema(ctx, s, n+1); err != nil {
			return err
		}
	}
	return nil
}

// schemaOf returns the schema, 0 if there are facts without one, and schemaUnknown for an empty store.
func schemaOf(ctx context.Context, s Store) (schema int, err error) {
	err = s.View(ctx, func(snap Snapshot) error {
		schema, err = snapshotSchema(snap)
		return err
	})
	return schema, err
}

func snapshotSchema(s Snapshot) (int, error) {
	switch _, err := s.Get(restoringKey); {
	case err == nil:
		return 0, fmt.Errorf("a restore into this store was interrupted: %w; run it again", ErrDamaged)
	case !errors.Is(err, ErrNotFound):
		return 0, err
	}
	var r schemaRecord
	err := GetJSON(s, schemaKey, &r)
	if !errors.Is(err, ErrNotFound) {
		return r.Schema, err
	}
	for r, err := range All(s, "") {
		if err != nil {
			return 0, err
		}
		if !strings.HasPrefix(r.Key, metaPrefix) {
			return 0, nil
		}
	}
	return schemaUnknown, nil
}

func setSchema(ctx context.Context, s Store, n int) error {
	err := s.Update(ctx, func(tx Tx) error { return SetJSON(tx, schemaKey, schemaRecord{n}) })
	if err != nil {
		return fmt.Errorf("set schema %d: %w", n, err)
	}
	return nil
}
