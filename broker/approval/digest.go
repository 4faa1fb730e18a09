package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	digestPrefix = "digest/"
	perDigest    = 40  // registrations in one letter: as many as one Update can mark
	maxDigest    = 400 // that wait; what is more waits on the portal alone
)

// collected are the registrations whose letters wait for the end of an administrator's hour.
type collected struct {
	Admin string   `json:"admin"`
	IDs   []string `json:"ids"`
}

// addToDigest puts a registration into its administrator's digest, which goes when there is room again.
func (b *Broker) addToDigest(tx store.Tx, r *record, free time.Duration) error {
	key := digestPrefix + digest(r.Admin)
	c, there, err := optional[collected](tx, key)
	if err != nil {
		return err
	}
	c.Admin = r.Admin
	first := !there || len(c.IDs) == 0
	if c.IDs = join(c.IDs, r.ID); len(c.IDs) > maxDigest {
		return nil
	}
	errs := []error{store.SetJSON(tx, key, c)}
	if first {
		errs = append(errs, b.intend(tx, key, kindDigest, work{Admin: r.Admin}, free))
	}
	return errors.Join(errs...)
}

// handleDigest sends the letters of an hour as one.
func (b *Broker) handleDigest(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	key := strings.TrimSuffix(in.ID, "/"+kindDigest)
	var c collected
	var list []*record
	err := b.Store.View(ctx, func(s store.Snapshot) error {
		list = nil
		var err error
		if c, _, err = optional[collected](s, key); err != nil {
			return err
		}
		for _, id := range c.IDs[:min(len(c.IDs), perDigest)] {
			r, err := getRecord(s, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if b.asks(r, r.Codes) && r.Admin == c.Admin && b.policy.Load().writesTo(r.Admin) {
				list = append(list, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now, result := b.now(), "sent"
	if len(list) > 0 && b.Mailer != nil {
		leave := b.gates.enter("mail", perMailer)
		if leave == nil {
			return nil, journal.RetryAfter(errors.New("as many letters as allowed are being sent"), busy+b.jitter(busy))
		}
		defer leave()
		l, err := b.digestLetter(c, list)
		if err == nil {
			call, cancel := context.WithTimeout(ctx, mailTimeout)
			defer cancel()
			err = b.Mailer.Send(call, l)
		}
		switch {
		case errors.Is(err, mfpgate.ErrRefused):
			result = "refused"
			b.Log.Warn().Err(err).Str(field.Key, l.ID).Msg(event.ApprovalUnreached)
		case err != nil:
			b.Metrics.RegistrationMails.WithLabelValues("delayed").Inc()
			return nil, err
		}
		b.Metrics.RegistrationMails.WithLabelValues(result).Inc()
	}
	return func(tx store.Tx) error {
		c, there, err := optional[collected](tx, key)
		if err != nil || !there {
			return err
		}
		for _, seen := range list {
			if err := b.settle(seen, func(_ store.Tx, r *record) error {
				if result == "refused" { // as of one letter: it is not sent again, and the codes count
					r.Sent = true
					return nil
				}
				r.mailed(now)
				return nil
			})(tx); err != nil {
				return err
			}
			if seen == list[0] {
				action := map[string]string{"sent": "mail-sent", "refused": "mail-failed"}[result]
				if err := b.audit(tx, seen, gateway, action, fmt.Sprintf("digest of %d", len(list))); err != nil {
					return err
				}
			}
		}
		if c.IDs = c.IDs[min(len(c.IDs), perDigest):]; len(c.IDs) == 0 {
			return tx.Delete(key)
		}
		delay := time.Second // those of this letter had ended
		if len(list) > 0 {
			delay = window
		}
		return errors.Join(store.SetJSON(tx, key, c), b.intend(tx, key, kindDigest, work{Admin: c.Admin}, delay))
	}, nil
}
