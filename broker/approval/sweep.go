package approval

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const (
	measureEvery = 30 * time.Second
	sweepEvery   = time.Hour
)

// sweep removes what ended long ago, and keeps the age of the oldest open registration up to date.
func (b *Broker) sweep(ctx context.Context) error {
	for n := 0; ; n++ {
		if n%int(sweepEvery/measureEvery) == 0 {
			if err := errors.Join(b.sweepEnded(ctx), b.sweepLimits(ctx)); errors.Is(err, store.ErrClosed) && ctx.Err() == nil {
				return err
			} // what is left now is swept in an hour
		}
		b.measure()
		b.hear(ctx)
		if mfpgate.Wait(ctx, b.Clock, measureEvery) != nil {
			return nil
		}
	}
}

// sweepEnded removes registrations that ended KeepEnded ago, and the oldest of too many.
func (b *Broker) sweepEnded(ctx context.Context) error {
	type ended struct {
		id string
		at time.Time
	}
	var list []ended
	b.view.mu.Lock()
	for id, g := range b.view.known {
		if g.state.Ended() {
			list = append(list, ended{id, g.since})
		}
	}
	b.view.mu.Unlock()
	slices.SortFunc(list, func(x, y ended) int { return y.at.Compare(x.at) })
	now := b.now()
	for i, e := range list {
		if i < MaxEnded && now.Sub(e.at) < KeepEnded {
			continue
		}
		err := b.update(ctx, func(tx store.Tx) error {
			r, err := getRecord(tx, e.id)
			if errors.Is(err, ErrNotFound) || err == nil && !r.State.Ended() {
				return nil
			}
			if err != nil {
				return err
			}
			return tx.Delete(registrationPrefix + e.id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepLimits removes counts of people who have asked for nothing lately.
func (b *Broker) sweepLimits(ctx context.Context) error {
	var stale []string
	now := b.now()
	idle := func(g store.Getter, key string) (bool, error) {
		t, there, err := store.FindJSON[taken](g, key)
		t.prune(now)
		return there && len(t.Entries) == 0, err
	}
	err := b.Store.View(ctx, func(s store.Snapshot) error {
		stale = nil
		for r, err := range store.All(s, limitPrefix) {
			if err != nil {
				return err
			}
			if old, err := idle(s, r.Key); err == nil && old {
				stale = append(stale, r.Key)
			}
		}
		return nil
	})
	for _, key := range stale {
		if err != nil {
			return err
		}
		err = b.update(ctx, func(tx store.Tx) error {
			if old, err := idle(tx, key); err != nil || !old {
				return err
			}
			return tx.Delete(key)
		})
	}
	return err
}
