package holding

import (
	"context"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate/store"
)

// purge removes what is waste. What it was cut short in, the next call finishes.
func (b *Book) purge(ctx context.Context, mfp string) error {
	for {
		var r *record
		err := b.o.Store.View(ctx, func(s store.Snapshot) (err error) {
			r, err = loadRecord(s, mfp)
			return err
		})
		if err != nil || len(r.Waste) == 0 {
			return err
		}
		w := r.Waste[0]
		if err := b.purgeGeneration(ctx, mfp, w); err != nil {
			return err
		}
		err = store.UpdateUntilKnown(ctx, b.o.Store, func(tx store.Tx) error {
			r, err := loadRecord(tx, mfp)
			if err != nil {
				return err
			}
			r.Waste = slices.DeleteFunc(r.Waste, func(other waste) bool { return other.Gen == w.Gen })
			return r.save(tx)
		})
		if err != nil {
			return err
		}
	}
}

func (b *Book) purgeGeneration(ctx context.Context, mfp string, w waste) error {
	prefix := generationKey(mfp, w.Gen)
	for after := ""; ; {
		var page []store.Record
		err := b.o.Store.View(ctx, func(s store.Snapshot) (err error) {
			page, err = s.Scan(prefix, after, stageKeys)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].Key
		page = slices.DeleteFunc(page, func(row store.Record) bool {
			class, _, _ := strings.Cut(strings.TrimPrefix(row.Key, prefix), "/")
			return slices.Contains(w.Keep, class)
		})
		err = store.UpdateUntilKnown(ctx, b.o.Store, func(tx store.Tx) error {
			for _, row := range page {
				if err := tx.Delete(row.Key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}
