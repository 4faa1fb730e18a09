package holding

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store"
)

// LookEvery is how exact the time of the last check-in is.
const LookEvery = 10 * time.Second

// CheckIn notes that a device, which believes in an epoch, has come. Only those in the holding's own epoch are counted. It returns what is
// held, without a digest. *Moved for a device that another region answers; region.ErrNoHolding.
func (b *Book) CheckIn(ctx context.Context, mfp string, epoch uint64) (h mfpgate.Holding, err error) {
	var first bool
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		r, err := loadRecord(s, mfp)
		if err != nil {
			return err
		}
		if r.State != mfpgate.HoldingForeign { // its services are here, though its data are not
			if err := r.answers(); err != nil {
				return err
			}
		}
		h, err = b.holding(s, r)
		return err
	})
	if err != nil || epoch != h.Epoch || h.State == mfpgate.HoldingForeign || b.now().Sub(h.LastCheckIn) < LookEvery {
		return h, err
	}
	err = store.UpdateUntilKnown(ctx, b.o.Store, func(tx store.Tx) error {
		first = false
		r, err := loadRecord(tx, mfp)
		if err != nil {
			return err
		}
		if err := r.answers(); err != nil {
			return err
		}
		seen, _, err := store.FindJSON[checkIn](tx, checkInKey(mfp))
		if err != nil || r.Epoch != epoch {
			return err
		}
		now := b.now()
		if first = seen.Epoch != epoch; first {
			seen = checkIn{Epoch: epoch, First: now}
		}
		seen.Last = now
		h.CheckedIn, h.LastCheckIn = seen.First, seen.Last
		if first && r.Move != "" {
			f, err := loadFence(tx, mfp, r.Move)
			if err != nil {
				return err
			}
			if f.Got != "" && !f.Ended { // the move brought the device here: this is what it waits for
				if err := b.trace(tx, r, f, mark{actor: "device", move: r.Move, seq: mfpgate.StepConfirm.Seq()}); err != nil {
					return err
				}
				if err := store.SetJSON(tx, fenceKey(mfp, r.Move), f); err != nil {
					return err
				}
			}
		}
		return store.SetJSON(tx, checkInKey(mfp), seen)
	})
	if err == nil && first && b.o.Changed != nil {
		b.o.Changed(mfp)
	}
	return h, err
}

// answers is nil if devices are answered here.
func (r *record) answers() error {
	switch r.State {
	case mfpgate.HoldingActive, mfpgate.HoldingDraining:
		return nil
	case mfpgate.HoldingMoved:
		return &Moved{r.To}
	case mfpgate.HoldingForeign:
		return &Moved{r.Foreign}
	}
	return region.ErrNoHolding
}

// Get returns an item. ErrNoItem, *Moved, region.ErrNoHolding, ErrInvalid.
func (b *Book) Get(ctx context.Context, mfp, class, name string) (value []byte, err error) {
	if err := checkItem(class, name); err != nil {
		return nil, err
	}
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		r, err := loadRecord(s, mfp)
		if err != nil {
			return err
		}
		if err := r.answers(); err != nil {
			return err
		}
		if value, err = s.Get(itemKey(mfp, r.Gen, class, name)); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%s/%s: %w", class, name, ErrNoItem)
		}
		return err
	})
	return value, err
}

// Items returns the names of a class's items, in order. *Moved, region.ErrNoHolding, ErrInvalid.
func (b *Book) Items(ctx context.Context, mfp, class string) (names []string, err error) {
	if !className.MatchString(class) {
		return nil, fmt.Errorf("class %.40q: %w", class, ErrInvalid)
	}
	err = b.o.Store.View(ctx, func(s store.Snapshot) error {
		names = nil
		r, err := loadRecord(s, mfp)
		if err != nil {
			return err
		}
		if err := r.answers(); err != nil {
			return err
		}
		prefix := generationKey(mfp, r.Gen) + class + "/"
		for row, err := range store.All(s, prefix) {
			if err != nil {
				return err
			}
			names = append(names, strings.TrimPrefix(row.Key, prefix))
		}
		return nil
	})
	return names, err
}

// Put writes an item. ErrDraining, ErrFull, *Moved, region.ErrNoHolding, ErrInvalid.
func (b *Book) Put(ctx context.Context, mfp, class, name string, value []byte) error {
	if len(value) > MaxItem {
		return fmt.Errorf("%s/%s: %d bytes, at most %d: %w", class, name, len(value), MaxItem, ErrInvalid)
	}
	return b.change(ctx, mfp, class, name, func(tx store.Tx, r *record, key string, old []byte, there bool) error {
		if there {
			r.count(class, 0, int64(len(value)-len(old)))
		} else {
			r.count(class, 1, int64(len(value)))
		}
		if sum := r.total(); sum.Items > MaxItems || sum.Bytes > MaxBytes || len(r.Data) > MaxClasses {
			return fmt.Errorf("%s/%s: %w", class, name, ErrFull)
		}
		return tx.Set(key, value)
	})
}

// Delete removes an item. ErrDraining, ErrNoItem, *Moved, region.ErrNoHolding, ErrInvalid.
func (b *Book) Delete(ctx context.Context, mfp, class, name string) error {
	return b.change(ctx, mfp, class, name, func(tx store.Tx, r *record, key string, old []byte, there bool) error {
		if !there {
			return fmt.Errorf("%s/%s: %w", class, name, ErrNoItem)
		}
		r.count(class, -1, -int64(len(old)))
		return tx.Delete(key)
	})
}

// change writes the record together with the item, so that a drain and a change cannot both believe to have been first.
func (b *Book) change(ctx context.Context, mfp, class, name string, fn func(tx store.Tx, r *record, key string, old []byte, there bool) error) error {
	if err := checkItem(class, name); err != nil {
		return err
	}
	return store.UpdateUntilKnown(ctx, b.o.Store, func(tx store.Tx) error {
		r, err := loadRecord(tx, mfp)
		if err != nil {
			return err
		}
		if err := r.answers(); err != nil {
			return err
		}
		if r.State == mfpgate.HoldingDraining {
			return ErrDraining
		}
		key := itemKey(mfp, r.Gen, class, name)
		old, err := tx.Get(key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := fn(tx, r, key, old, err == nil); err != nil {
			return err
		}
		return r.save(tx)
	})
}

// readItems returns the items of the generation in use, of the classes that which, if it is not nil, wants; in order.
func readItems(s store.Snapshot, r *record, which func(class string) bool) ([]mfpgate.HeldItem, error) {
	if r.Gen == 0 {
		return nil, nil
	}
	return readGeneration(s, r.MFP, r.Gen, which)
}

func readGeneration(s store.Snapshot, mfp string, gen uint64, which func(class string) bool) (items []mfpgate.HeldItem, err error) {
	prefix := generationKey(mfp, gen)
	for row, err := range store.All(s, prefix) {
		if err != nil {
			return nil, err
		}
		class, name, _ := strings.Cut(strings.TrimPrefix(row.Key, prefix), "/")
		if which == nil || which(class) {
			items = append(items, mfpgate.HeldItem{Class: class, Name: name, Value: row.Value})
		}
	}
	return items, nil
}

// Digest is the SHA-256, in hex, of the line "mfpgate holding 1\n" and of these texts, each behind its length in bytes (big-endian, 4
// bytes): for each service, in the order of their ids, "service" and its id, and for each of its children, in order, "child" and its id;
// then for each item, in the order of class and name, "item", its class, its name and its value. Neither argument need be in order.
func Digest(services []mfpgate.HeldService, items []mfpgate.HeldItem) string {
	sum := sha256.New()
	sum.Write([]byte("mfpgate holding 1\n"))
	write := func(texts ...string) {
		for _, text := range texts {
			sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text))))
			sum.Write([]byte(text))
		}
	}
	services = slices.SortedFunc(slices.Values(services), func(a, b mfpgate.HeldService) int { return strings.Compare(a.ID, b.ID) })
	for _, s := range services {
		write("service", s.ID)
		for _, c := range slices.Sorted(slices.Values(s.Children)) {
			write("child", c)
		}
	}
	for _, i := range slices.SortedFunc(slices.Values(items), compareItems) {
		write("item", i.Class, i.Name)
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(i.Value))))
		sum.Write(i.Value)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func compareItems(a, b mfpgate.HeldItem) int {
	if c := strings.Compare(a.Class, b.Class); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
