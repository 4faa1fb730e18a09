package approval

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

const (
	slowerBy   = 5 * time.Second // RFC 8628 §3.5
	slowest    = time.Minute
	maxBackOff = 5 * time.Minute
	maxSlow    = 3 // slow_down answers to the last poll of a code, which say nothing of it
	maxToken   = 16 << 10
)

// handlePoll asks the service whether the code was approved (RFC 8628 §3.4). Its row is the code's timer, too: it is due at the
// code's end at the latest, and becomes the last poll then.
func (b *Broker) handlePoll(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	w, r, err := b.subject(ctx, in)
	if err != nil || r == nil || r.Codes != w.Code || r.Local {
		return nil, err
	}
	last := r.State == mfpgate.RegistrationRedeeming
	if !last && r.State != mfpgate.RegistrationAwaitingAdmin {
		return nil, nil
	}
	now := b.now()
	if left := r.ExpiresAt.Sub(now); left > r.Lifetime {
		return b.settle(r, b.rebase(w)), nil
	} else if !last && (left+grace <= 0 || !now.Before(r.Deadline)) {
		return b.settle(r, func(tx store.Tx, r *record) error {
			b.move(r, mfpgate.RegistrationRedeeming, r.Reason, r.Detail)
			return b.poll(tx, r, w, 0)
		}), nil
	}
	if late := now.Sub(in.Due); late > max(w.Interval, slowerBy) && !w.Spread && !last {
		// The machine slept, or the process was away: all that are late would ask at once.
		w.Spread = true
		return b.again(r, w, b.part(w.Interval)), nil
	}
	w.Spread = false
	c, verifier, err := b.present(r)
	if err != nil { // sealed with another key: as good as lost
		return b.voided(r, codeLost), nil
	}
	s, leave, err := b.reach(r.Service)
	if err != nil && !now.Before(r.Deadline) { // the next poll would be due at once, for as long as the deadline is overrun
		return b.settle(r, b.timeout), nil
	}
	if err != nil {
		return b.missed(r, w, err), nil
	}
	defer leave()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	g, err := s.Client.Redeem(call, c, verifier)
	if err == nil && (g.Token == "" || len(g.Token.Reveal()) > maxToken) {
		err = fmt.Errorf("a grant without a token: %w", errAnswer)
	}
	if err != nil && ctx.Err() != nil {
		return nil, err // it was stopped
	}
	return b.answered(in, r, w, g, err)
}

// answered decides what an answer to a poll means.
func (b *Broker) answered(in journal.Intent, r *record, w work, g mfpgate.Grant, err error) (func(store.Tx) error, error) {
	last, now := r.State == mfpgate.RegistrationRedeeming, b.now()
	count := func(code string) { b.Metrics.RegistrationPolls.WithLabelValues(code).Inc() }
	void := func(became string) func(store.Tx) error {
		if !now.Before(r.Deadline) {
			return b.settle(r, b.timeout)
		}
		return b.voided(r, became)
	}
	switch {
	case err == nil:
		count("granted")
		b.Metrics.RegistrationAttempts.WithLabelValues("approved").Inc()
		b.Metrics.RegistrationApproveTime.Observe(max(0, now.Sub(r.RequestedAt)).Seconds())
		return b.settle(r, func(tx store.Tx, r *record) error { return b.certify(tx, r, g, gateway) }), nil
	case errors.Is(err, mfpgate.ErrPending):
		count("pending")
		if last {
			return void(codeExpired), nil
		}
		w.Failures = 0
		return b.later(in, r, w, w.Interval)
	case errors.Is(err, mfpgate.ErrSlowDown):
		count("slow_down")
		w.Failures = 0
		w.Interval = max(w.Interval, min(w.Interval+slowerBy, slowest))
		if last {
			if w.Slow++; w.Slow > maxSlow || !now.Before(r.Deadline) {
				return void(codeExpired), nil
			}
		}
		return b.later(in, r, w, w.Interval)
	case errors.Is(err, mfpgate.ErrCodeExpired):
		count("expired")
		return void(codeExpired), nil
	case errors.Is(err, mfpgate.ErrDenied):
		count("denied")
		b.Metrics.RegistrationAttempts.WithLabelValues("denied").Inc()
		return b.settle(r, func(tx store.Tx, r *record) error { return b.fail(tx, r, Denied, "", gateway) }), nil
	case errors.Is(err, mfpgate.ErrInvalidGrant):
		count("invalid_grant")
		if !now.Before(r.ExpiresAt) { // some services know expired codes no more
			return void(codeExpired), nil
		}
		return void(codeLost), nil
	case errors.Is(err, mfpgate.ErrRefused):
		count("refused")
		return b.refusedBy(r, err), nil
	}
	count("unreached")
	if !now.Before(r.Deadline) {
		return b.settle(r, b.timeout), nil
	}
	w.Failures++
	return b.missed(r, w, err), nil
}

// later is again, but leaves the row as it is where that says all that a restart needs: a write to the disk for each of some hundred
// polls a second would cost more than the polls.
func (b *Broker) later(in journal.Intent, r *record, w work, delay time.Duration) (func(store.Tx) error, error) {
	payload, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	if r.Reason != Unreached && bytes.Equal(payload, in.Payload) {
		return nil, journal.Again(b.pollDelay(r, delay))
	}
	return b.again(r, w, delay), nil
}

// again has the service asked again. What was said of the service before is over.
func (b *Broker) again(r *record, w work, delay time.Duration) func(store.Tx) error {
	if r.Reason == Unreached {
		return b.settle(r, func(tx store.Tx, r *record) error {
			r.Reason, r.Detail = "", ""
			return b.poll(tx, r, w, delay)
		})
	}
	return func(tx store.Tx) error { return b.poll(tx, r, w, delay) } // the row alone: nobody else writes it while it is called
}

// missed is a poll that brought no answer: it says nothing of the code, and backs off.
func (b *Broker) missed(r *record, w work, err error) func(store.Tx) error {
	delay := min(w.Interval<<min(max(w.Failures-1, 0), 8), maxBackOff)
	delay = delay/2 + b.jitter(delay/2)
	if delay = max(delay, busy); w.Failures > 0 {
		delay = min(max(delay, mfpgate.RetryDelay(err)), time.Hour)
	}
	if r.Reason != "" {
		return func(tx store.Tx) error { return b.poll(tx, r, w, delay) }
	}
	b.unreached(r, err)
	return b.settle(r, func(tx store.Tx, r *record) error {
		r.Reason, r.Detail = Unreached, withCause(Unreached, err)
		return b.poll(tx, r, w, delay)
	})
}

// rebase gives a code its lifetime from now on, because the clock was set back and nobody knows how much of it is over.
func (b *Broker) rebase(w work) func(store.Tx, *record) error {
	return func(tx store.Tx, r *record) error {
		r.ExpiresAt = b.now().Add(r.Lifetime)
		return b.poll(tx, r, w, b.part(w.Interval))
	}
}
