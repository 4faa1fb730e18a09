package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	sweepEvery = time.Second
	// retention is how long what is over stays: deliveries, proposals, closed warnings, reports and the keys of requests.
	retention = 30 * 24 * time.Hour
	// swept is how many timers are read at once.
	swept = 200
)

// The kinds of timer.
const (
	timerDelivery = "delivery"
	timerProposal = "proposal"
	timerWarning  = "warning"
	timerReport   = "report"
	timerKey      = "key"
)

const timerPrefix = "schedule-timer/"

// timer is a time at which to look at something again. It is a hint: what is to be done follows from what is found then, so one too many, or
// one for what has changed since, does nothing.
type timer struct {
	Kind    string `json:"kind"`
	Gateway string `json:"gateway"`
	ID      string `json:"id"`
}

// arm sets a timer, in the transaction of what it is about.
func arm(tx store.Tx, at time.Time, kind, gateway, id string) error {
	key := fmt.Sprintf("%s%016d/%s/%s/%s", timerPrefix, max(at.UnixMilli(), 0), kind, gateway, id)
	return put(tx, key, timer{kind, gateway, id})
}

// Sweep does what is due: it ends deliveries whose devices have missed their windows, expires proposals, and removes what is over for long.
// Run does so all the time.
func (s *Server) Sweep(ctx context.Context) error {
	var errs []error
	for after := ""; ; {
		var found []store.Record
		err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
			found, err = at.Scan(timerPrefix, after, swept)
			return err
		})
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
		now := s.Clock.Now().UTC()
		for _, r := range found {
			due, _, _ := strings.Cut(r.Key[len(timerPrefix):], "/")
			if ms, err := strconv.ParseInt(due, 10, 64); err == nil && ms > now.UnixMilli() {
				return errors.Join(errs...)
			}
			after = r.Key
			t, err := decodeRecord[timer](r)
			if err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
			if err := s.due(ctx, now, t, r.Key); err != nil { // it is due again next time, and keeps nothing else from being done
				errs = append(errs, fmt.Errorf("sweep %s %s of %s: %w", t.Kind, t.ID, t.Gateway, err))
			}
		}
		if len(found) < swept {
			return errors.Join(errs...)
		}
	}
}

func (s *Server) due(ctx context.Context, now time.Time, t timer, key string) error {
	chain, err := s.chain(t.Gateway)
	if err != nil { // its gateway is no more
		chain = []string{t.Gateway}
	}
	defer s.together(chain)()
	if t.Kind == timerProposal {
		if err := s.dueProposal(ctx, now, t); err != nil {
			return err
		}
	}
	return s.change(ctx, chain, func(tx store.Tx) error {
		if err := tx.Delete(key); err != nil {
			return err
		}
		switch t.Kind {
		case timerDelivery:
			return s.dueDelivery(tx, now, chain, t.ID)
		case timerWarning:
			w, there, err := store.FindJSON[api.Warning](tx, warningKey(t.Gateway, t.ID))
			if err != nil || !there || w.ClosedAt == nil || w.State != api.WarningClosed || w.ClosedAt.Add(retention).After(now) {
				return err
			}
			return tx.Delete(warningKey(t.Gateway, t.ID))
		case timerReport:
			return tx.Delete(overloadReportKey(t.Gateway, t.ID))
		case timerKey:
			return tx.Delete(t.ID)
		}
		return nil
	})
}

func (s *Server) dueDelivery(tx store.Tx, now time.Time, chain []string, id string) error {
	r, there, err := store.FindJSON[deliveryRecord](tx, deliveryKey(chain[0], id))
	if err != nil || !there {
		return err
	}
	d := r.Delivery
	switch {
	case r.ended():
		if r.EndedAt.Add(retention).After(now) {
			return nil
		}
		return s.forgetDelivery(tx, chain, r)
	case d.State == stateRunning:
		if r.BegunAt.Add(r.patience()).After(now) {
			return nil
		}
		r.end(now, stateFailed, noReport)
	case d.Window == nil || d.Window.LatestEnd == nil || d.Window.LatestEnd.After(now):
		return nil
	default:
		r.Delivery.State, r.Delivery.Reason, r.EndedAt = stateFailed, missedWindow, now
	}
	return s.keepOutcome(tx, chain, r)
}

// dueProposal expires a proposal, and later removes it.
func (s *Server) dueProposal(ctx context.Context, now time.Time, t timer) error {
	lead, err := s.leadTime(t.Gateway)
	if err != nil {
		lead = 0
	}
	r, there, err := one[proposalRecord](ctx, s.Store, proposalKey(t.Gateway, t.ID))
	if err != nil || !there {
		return err
	}
	if r.State == proposalPending && r.at(now, lead).State == proposalExpired {
		return s.change(ctx, []string{t.Gateway}, func(tx store.Tx) error {
			r := r.at(now, lead)
			r.Version++
			r.DecidedAt = &now
			if err := put(tx, proposalKey(t.Gateway, t.ID), r); err != nil {
				return err
			}
			return s.note(tx, []string{t.Gateway}, logEntry{Type: api.EventProposalDecided, Object: t.ID, At: now}, nil)
		})
	}
	if r.Working || r.CreatedAt.Add(retention).After(now) {
		return nil
	}
	return s.forgetProposal(ctx, t.Gateway, t.ID, r)
}

// forgetProposal removes a proposal with its parts.
func (s *Server) forgetProposal(ctx context.Context, gateway, id string, r proposalRecord) error {
	keys := []string{latestKey(gateway, id, r.CreatedAt), proposalKey(gateway, id)}
	for n := range groups(r.Changes, changeGroup) {
		keys = append(keys, changesKey(gateway, id, n))
	}
	for n := range groups(r.Unresolved, unresolvedGroup) {
		keys = append(keys, unresolvedKey(gateway, id, n))
	}
	for len(keys) > 0 { // the proposal first: what is left of a removal that is broken off is only room
		some := keys[:min(len(keys), store.MaxUpdateKeys)]
		keys = keys[len(some):]
		err := s.change(ctx, nil, func(tx store.Tx) error {
			for _, key := range some {
				if err := tx.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Resume ends what a crash broke off: decisions that are written down and not carried out. Run does so before it serves.
func (s *Server) Resume(ctx context.Context) error {
	var open []named
	err := s.Store.View(ctx, func(at store.Snapshot) error {
		open = nil
		for r, err := range store.All(at, workPrefix) {
			if err != nil {
				return err
			}
			n, err := decodeRecord[named](r)
			if err != nil {
				return err
			}
			open = append(open, n)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	var errs []error
	for _, n := range open {
		chain, err := s.chain(n.Gateway)
		if err != nil {
			continue // its gateway is no more
		}
		release := s.together(chain)
		err = s.finish(ctx, n.Gateway, n.ID)
		release()
		if err != nil {
			errs = append(errs, fmt.Errorf("resume proposal %s of %s: %w", n.ID, n.Gateway, err))
		}
	}
	return errors.Join(errs...)
}

// sweeping runs Sweep until ctx ends.
func (s *Server) sweeping(ctx context.Context) error {
	tick := s.Clock.NewTimer(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.Sweep(ctx); err != nil {
			s.troubled(ctx, err)
		}
		tick.Reset(sweepEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		}
	}
}

// troubled tells of work that nobody asked for and that failed.
func (s *Server) troubled(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	var p *problem
	if errors.As(err, &p) && p.cause != nil {
		err = p.cause
	}
	s.Log.Error().Str(field.Region, s.Region).AnErr(field.Error, err).Msg(event.CloudRefused)
}
