package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/mfpgate/mfpgate/store"
)

// Fate is what becomes of an Update that reports store.ErrUnknown.
type Fate bool

// The commit has happened, or it has not; the caller is told neither.
const (
	CommittedUnseen Fate = true
	LostUnseen      Fate = false
)

// Unsure is a store that reports store.ErrUnknown as often as it is told to.
type Unsure struct {
	store.Store

	mu    sync.Mutex
	fates []Fate
}

// Next sets the fates of the next Updates, in order; those after them go through.
func (u *Unsure) Next(fates ...Fate) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fates = append(u.fates, fates...)
}

var errLost = errors.New("lost")

// Update commits or does not, as its fate is, and returns store.ErrUnknown if it has one.
func (u *Unsure) Update(ctx context.Context, fn func(store.Tx) error) error {
	u.mu.Lock()
	fated := len(u.fates) > 0
	var fate Fate
	if fated {
		fate, u.fates = u.fates[0], u.fates[1:]
	}
	u.mu.Unlock()
	err := u.Store.Update(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil || !fated || fate == CommittedUnseen {
			return err
		}
		return errLost
	})
	if fated && (err == nil || errors.Is(err, errLost)) {
		return store.ErrUnknown
	}
	return err
}
