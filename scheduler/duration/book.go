package duration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const (
	// MaxKeys bounds what is kept; a record is about 200 bytes.
	MaxKeys = 4096
	// Touched is how many keys of the store an Observe reads or writes at most.
	Touched = 8

	shortest = time.Second
	longest  = 24 * time.Hour

	prefix = "duration/"
	schema = 1
)

// record is what is kept of one key.
type record struct {
	Schema int       `json:"schema"`
	Key    string    `json:"key"`
	Last   time.Time `json:"last"` // sample
	sums
}

// Book is what was learned. It is safe for any number of goroutines that estimate, and one that observes.
type Book struct {
	mu    sync.RWMutex
	known map[string]record
}

// Open reads what was learned. Records that cannot be read are left out: it is learned again.
func Open(ctx context.Context, s store.Store) (*Book, error) {
	b := &Book{known: map[string]record{}}
	err := s.View(ctx, func(s store.Snapshot) error {
		for r, err := range store.All(s, prefix) {
			if err != nil {
				return err
			}
			var v record
			if json.Unmarshal(r.Value, &v) == nil && v.Schema == schema && prefix+digest(v.Key) == r.Key && v.sound() {
				b.known[v.Key] = v
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read learned durations: %w", err)
	}
	return b, nil
}

func (r record) sound() bool {
	return r.N >= 1 && r.M2 >= 0 && !math.IsInf(r.Mean+r.M2, 0) && !math.IsNaN(r.Mean+r.M2+r.N)
}

// keysOf are what a delivery's transfer teaches of: model, package and kind; model and kind; kind; the rate.
func keysOf(d mfpgate.Delivery) [4]string {
	join := func(parts ...string) string { return strings.Join(parts, "\x1f") }
	return [4]string{join("exact", d.Model, d.Package, d.PackageVersion, d.Kind), join("model", d.Model, d.Kind), join("kind", d.Kind), "rate"}
}

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

// Observe writes in the caller's transaction that a delivery's transfer of so many bytes began and ended then. keep is to be
// called when that has committed. What cannot be a transfer's time is left out.
func (b *Book) Observe(tx store.Tx, d mfpgate.Delivery, began, ended time.Time, bytes int64) (keep func(), err error) {
	took := ended.Sub(began)
	if took < shortest || took > longest {
		return func() {}, nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	var next []record
	for i, key := range keysOf(d) {
		r := b.known[key]
		x := math.Log(took.Seconds())
		if i == 3 {
			if bytes <= 0 {
				continue
			}
			x = math.Log(float64(bytes)) - x
		}
		r.Schema, r.Key, r.Last, r.sums = schema, key, ended.UTC(), r.add(x)
		next = append(next, r)
	}
	gone := b.surplus(next)
	for _, key := range gone {
		if err := tx.Delete(prefix + digest(key)); err != nil {
			return nil, err
		}
	}
	for _, r := range next {
		if err := store.SetJSON(tx, prefix+digest(r.Key), r); err != nil {
			return nil, err
		}
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, key := range gone {
			delete(b.known, key)
		}
		for _, r := range next {
			b.known[r.Key] = r
		}
	}, nil
}

// surplus is what must go for next: what was longest without a sample.
func (b *Book) surplus(next []record) []string {
	over := len(b.known) - MaxKeys
	fresh := map[string]bool{}
	for _, r := range next {
		fresh[r.Key] = true
		if _, there := b.known[r.Key]; !there {
			over++
		}
	}
	if over <= 0 {
		return nil
	}
	var old []record
	for _, r := range b.known {
		if !fresh[r.Key] {
			old = append(old, r)
		}
	}
	slices.SortFunc(old, func(a, b record) int {
		if c := a.Last.Compare(b.Last); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	var keys []string
	for _, r := range old[:min(over, Touched-4, len(old))] {
		keys = append(keys, r.Key)
	}
	return keys
}

// Len is how many keys are known.
func (b *Book) Len() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.known)
}
