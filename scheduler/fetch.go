package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const (
	day            = 24 * time.Hour
	defaultHorizon = 14 * day
	maxHorizon     = 366 * day
)

// horizon is how far ahead is planned: as the policy says, but no less than the longest window.
func (s *Scheduler) horizon(p Policy) time.Duration {
	h := p.Horizon
	if h <= 0 {
		h = defaultHorizon
	}
	for _, d := range s.deliveries {
		if !d.EarliestStart.IsZero() && !d.LatestEnd.IsZero() {
			h = max(h, d.LatestEnd.Sub(d.EarliestStart))
		}
	}
	return min(h, maxHorizon)
}

// window is what is to be asked for. A token tells differences of one window: while that reaches far enough it is kept, and
// moved by whole days otherwise, which costs reading everything once a day.
func window(st state, now time.Time, horizon time.Duration) mfpgate.Interval {
	if st.Token != "" && !st.Window.From.After(now.Add(-day)) && !st.Window.To.Before(now.Add(horizon)) && st.Window.From.After(now.Add(-3*day)) {
		return st.Window
	}
	today := now.UTC().Truncate(day)
	return mfpgate.Interval{From: today.Add(-day), To: today.Add(horizon + 2*day).Truncate(day)}
}

// fetch brings the store, and what is kept in memory of it, to what the delivery system has.
func (s *Scheduler) fetch(ctx context.Context, st state, p Policy, now time.Time) (state, error) {
	w := window(st, now, s.horizon(p))
	since := st.Token
	if w != st.Window {
		since = ""
	}
	changes, err := s.changes(ctx, w, since)
	if errors.Is(err, mfpgate.ErrStale) && since != "" {
		since = ""
		changes, err = s.changes(ctx, w, since)
	}
	if err != nil {
		return st, fmt.Errorf("fetch deliveries: %w", err)
	}
	changes.Whole = changes.Whole || since == ""
	if err := checkChanges(&changes, len(s.deliveries)); err != nil {
		return st, err
	}
	background, version, err := s.fetchBackground(ctx, st)
	if err != nil {
		return st, err
	}
	if err := s.keep(ctx, changes, now); err != nil {
		return st, err
	}
	next, err := s.change(ctx, func(_ store.Tx, next *state) error {
		if next.Token == st.Token { // and not one that was given up meanwhile
			next.Token = changes.Token
		}
		next.Window, next.Fetched = w, now
		next.Background, next.BackgroundVersion = background, version
		return nil
	})
	if err != nil {
		return st, fmt.Errorf("keep the schedule's version: %w", err)
	}
	return next, nil
}

func (s *Scheduler) changes(ctx context.Context, w mfpgate.Interval, since string) (mfpgate.ScheduleChanges, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Cloud.Changes(ctx, w, since)
}

func (s *Scheduler) fetchBackground(ctx context.Context, st state) (ref, string, error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, version, err := s.Cloud.Background(call, st.BackgroundVersion)
	if errors.Is(err, mfpgate.ErrUnchanged) {
		return st.Background, st.BackgroundVersion, nil
	}
	if err != nil {
		return ref{}, "", fmt.Errorf("fetch background: %w", err)
	}
	if err := checkBackground(list, version); err != nil {
		return ref{}, "", err
	}
	r, err := s.write(ctx, list, st.Background)
	if err != nil {
		return ref{}, "", fmt.Errorf("keep background: %w", err)
	}
	s.background = list
	return r, version, nil
}

// keep writes what has changed, in as many transactions as that needs. A crash between two of them leaves records that are
// newer than the token: they come again.
func (s *Scheduler) keep(ctx context.Context, c mfpgate.ScheduleChanges, now time.Time) error {
	var set []mfpgate.Delivery
	there := make(map[string]bool, len(c.Deliveries))
	for _, d := range c.Deliveries {
		there[d.ID] = true
		if old, known := s.deliveries[d.ID]; !known || !reflect.DeepEqual(old, d) {
			set = append(set, d)
		}
	}
	var gone []string
	if c.Whole {
		for id := range maps.Keys(s.deliveries) {
			if !there[id] {
				gone = append(gone, id)
			}
		}
	} else {
		for _, id := range c.Removed {
			if _, known := s.deliveries[id]; known {
				gone = append(gone, id)
			}
		}
	}
	slices.Sort(gone)
	if n := len(s.deliveries) - len(gone) + len(c.Deliveries); n > MaxDeliveries && !c.Whole {
		fresh := 0
		for id := range there {
			if _, known := s.deliveries[id]; !known {
				fresh++
			}
		}
		if n = len(s.deliveries) - len(gone) + fresh; n > MaxDeliveries {
			return fmt.Errorf("%w: %d deliveries with it, at most %d", ErrAnswer, n, MaxDeliveries)
		}
	}
	s.stale = true // until all is written
	for batch := range slices.Chunk(set, perUpdate) {
		if err := s.keepBatch(ctx, batch, now); err != nil {
			return fmt.Errorf("keep deliveries: %w", err)
		}
	}
	keys := make([]string, len(gone))
	for i, id := range gone {
		keys[i] = deliveryPrefix + id
	}
	if err := s.remove(ctx, keys); err != nil {
		return fmt.Errorf("drop deliveries: %w", err)
	}
	for _, id := range gone {
		delete(s.deliveries, id)
	}
	s.stale = false
	return nil
}

// keepBatch writes deliveries; one that teaches how long it took is written with that, so that it teaches once.
func (s *Scheduler) keepBatch(ctx context.Context, batch []mfpgate.Delivery, now time.Time) error {
	var plain []mfpgate.Delivery
	for _, d := range batch {
		t, ok := s.transfer(d, now)
		if !ok {
			plain = append(plain, d)
			continue
		}
		var keep func()
		err := s.Store.Update(ctx, func(tx store.Tx) (err error) {
			if keep, err = s.book.Observe(tx, d, t.began, t.ended, t.bytes); err != nil {
				return err
			}
			return store.SetJSON(tx, deliveryPrefix+d.ID, keptDelivery{schema, d})
		})
		if err != nil {
			return err
		}
		keep()
		s.deliveries[d.ID] = d
		if s.Confirmed != nil {
			s.Confirmed(d, t.began, t.ended, t.bytes)
		}
	}
	if len(plain) == 0 {
		return nil
	}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		var errs []error
		for _, d := range plain {
			errs = append(errs, store.SetJSON(tx, deliveryPrefix+d.ID, keptDelivery{schema, d}))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return err
	}
	for _, d := range plain {
		s.deliveries[d.ID] = d
	}
	return nil
}

// keptDelivery is a delivery's record.
type keptDelivery struct {
	Schema   int              `json:"schema"`
	Delivery mfpgate.Delivery `json:"delivery"`
}

// load reads everything that is kept into memory.
func (s *Scheduler) load(ctx context.Context) (state, error) {
	st, err := s.state(ctx)
	if err != nil {
		return st, err
	}
	deliveries, rejected := map[string]mfpgate.Delivery{}, map[string]rejection{}
	var background []mfpgate.Background
	err = s.Store.View(ctx, func(v store.Snapshot) error {
		for r, err := range store.All(v, deliveryPrefix) {
			if err != nil {
				return err
			}
			var d keptDelivery
			if err := json.Unmarshal(r.Value, &d); err != nil {
				return fmt.Errorf("record %q: %w: %w", r.Key, store.ErrDamaged, err)
			}
			deliveries[r.Key[len(deliveryPrefix):]] = d.Delivery
		}
		for r, err := range store.All(v, rejectedPrefix) {
			if err != nil {
				return err
			}
			var x rejection
			if err := json.Unmarshal(r.Value, &x); err != nil {
				return fmt.Errorf("record %q: %w: %w", r.Key, store.ErrDamaged, err)
			}
			rejected[r.Key[len(rejectedPrefix):]] = x
		}
		return nil
	})
	if err == nil {
		err = s.read(ctx, st.Background, &background)
	}
	if err != nil {
		return st, fmt.Errorf("read the schedule: %w", err)
	}
	s.deliveries, s.rejected, s.background, s.stale = deliveries, rejected, background, false
	return st, nil
}
