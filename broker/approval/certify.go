package approval

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

const (
	defaultWait = 2 * time.Second // between two looks at an operation, where the service names none
	maxWait     = time.Minute
	maxName     = 512 // bytes of a printer's id and of an operation's
)

// handleEnter enters the device. Its key is kept before the service hears of it, so that a certificate is always for a key that
// is there.
func (b *Broker) handleEnter(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	return b.granted(ctx, in, mfpgate.PurposeRegister, func(ctx context.Context, w work, r *record, s Service, g mfpgate.Grant) (func(store.Tx) error, error) {
		if kind := s.Client.Traits().Key; kind != mfpgate.PrintKeyNone && r.CSR == nil {
			var err error
			if r, err = b.keepKey(ctx, r, kind); err != nil || r == nil {
				return nil, err
			}
		}
		e, err := s.Client.Enter(ctx, g, mfpgate.PrinterRequest{ID: r.ID, Device: r.Device, User: r.User, CSR: r.CSR})
		return b.entering(r, w, s, e, err)
	})
}

// handleOperation asks how far the service is.
func (b *Broker) handleOperation(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	return b.granted(ctx, in, mfpgate.PurposeRegister, func(ctx context.Context, w work, r *record, s Service, g mfpgate.Grant) (func(store.Tx) error, error) {
		e, err := s.Client.Entered(ctx, g, r.Operation)
		if errors.Is(err, mfpgate.ErrNoPrinter) { // it has forgotten the operation; to enter is idempotent
			return b.settle(r, func(tx store.Tx, r *record) error {
				if r.Bad++; r.Bad > MaxLost {
					return b.fail(tx, r, BadAnswer, "", gateway)
				}
				r.Operation = ""
				return b.intend(tx, r.ID, kindEnter, w, time.Duration(r.Bad)*defaultWait)
			}), nil
		}
		return b.entering(r, w, s, e, err)
	})
}

// handleAllow lets one more user print on a printer that is there.
func (b *Broker) handleAllow(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	return b.granted(ctx, in, mfpgate.PurposeAllowUser, func(ctx context.Context, _ work, r *record, s Service, g mfpgate.Grant) (func(store.Tx) error, error) {
		switch became, err := s.Client.AllowUser(ctx, g, r.PrinterID, r.User); {
		case err == nil && became == mfpgate.PrintUserNotAllowed:
			return b.settle(r, func(tx store.Tx, r *record) error { return b.fail(tx, r, UserNotAllowed, "", gateway) }), nil
		case err == nil:
			return b.settle(r, func(tx store.Tx, r *record) error {
				p, _, err := store.FindJSON[printer](tx, r.printerKey())
				if err != nil {
					return err
				}
				r.Certificate, r.CertificateExpires = p.Fingerprint, p.Expires
				return b.registered(tx, r, became, gateway)
			}), nil
		case errors.Is(err, mfpgate.ErrNoPrinter):
			return b.settle(r, b.lostPrinter), nil
		default:
			return b.notDone(r, err)
		}
	})
}

// granted runs call for an intent of a registration that is being certified, with the grant that its service gave, for callTimeout at
// most. Once the registration has moved on the intent is done.
func (b *Broker) granted(ctx context.Context, in journal.Intent, purpose mfpgate.RegistrationPurpose,
	call func(ctx context.Context, w work, r *record, s Service, g mfpgate.Grant) (func(store.Tx) error, error)) (func(store.Tx) error, error) {
	w, r, err := b.subject(ctx, in)
	if err != nil || r == nil || r.State != mfpgate.RegistrationCertifying || r.Codes != w.Code || r.Purpose != purpose {
		return nil, err
	}
	if !b.now().Before(r.Deadline) {
		return b.settle(r, b.timeout), nil
	}
	s, leave, err := b.reach(r.Service)
	if err != nil {
		return b.hindered(r, err)
	}
	defer leave()
	g, err := b.grant(r)
	if err != nil {
		return b.lost(r), nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return call(ctx, w, r, s, g)
}

// keepKey makes a key and a request for its certificate, and keeps them. It returns the registration as it is then, nil if it has
// moved on.
func (b *Broker) keepKey(ctx context.Context, r *record, kind mfpgate.PrintKey) (kept *record, err error) {
	key, csr, err := newKey(kind, r.Device)
	if err != nil {
		return nil, journal.Permanent(err)
	}
	sealed := b.seal(r, "key", mfpgate.Secret(key))
	err = b.update(ctx, func(tx store.Tx) error {
		kept = nil
		now, err := getRecord(tx, r.ID)
		if errors.Is(err, ErrNotFound) || err == nil && (now.State != r.State || now.Codes != r.Codes) {
			return nil
		}
		if err != nil {
			return err
		}
		if kept = now; now.CSR != nil {
			return nil
		}
		now.Key, now.CSR = sealed, csr
		return setRecord(tx, now)
	})
	return kept, err
}

// entering decides what an answer about the entering means.
func (b *Broker) entering(r *record, w work, s Service, e mfpgate.Entering, err error) (func(store.Tx) error, error) {
	if err != nil {
		return b.notDone(r, err)
	}
	if e.Done {
		return b.entered(r, s, e.Printer), nil
	}
	if e.Operation == "" || len(e.Operation) > maxURI {
		return b.notDone(r, fmt.Errorf("an operation without a name: %w", errAnswer))
	}
	wait := e.Wait
	if wait <= 0 {
		wait = defaultWait
	}
	w.Slow++ // the longer it takes, the more seldom it is looked at
	wait = max(wait, time.Duration(w.Slow/8)*time.Second)
	return b.settle(r, func(tx store.Tx, r *record) error {
		r.Operation, r.Reason, r.Detail = e.Operation, "", ""
		return b.intend(tx, r.ID, kindOperation, w, min(max(wait, 100*time.Millisecond), maxWait))
	}), nil
}

// notDone decides what an error means of a call with a grant.
func (b *Broker) notDone(r *record, err error) (func(store.Tx) error, error) {
	switch {
	case errors.Is(err, mfpgate.ErrInvalidGrant): // the token lives no more
		return b.lost(r), nil
	case errors.Is(err, mfpgate.ErrDenied):
		return b.settle(r, func(tx store.Tx, r *record) error { return b.fail(tx, r, Denied, "", gateway) }), nil
	case errors.Is(err, mfpgate.ErrRefused):
		return b.refusedBy(r, err), nil
	}
	return b.hindered(r, err)
}

func (b *Broker) lost(r *record) func(store.Tx) error {
	return b.voided(r, codeLost)
}

// entered ends a registration with a printer that is what was asked for.
func (b *Broker) entered(seen *record, s Service, p mfpgate.Printer) func(store.Tx) error {
	kind := s.Client.Traits().Key
	return b.settle(seen, func(tx store.Tx, r *record) error {
		if bad := badPrinter(p); bad != nil {
			return b.fail(tx, r, BadAnswer, withCause(BadAnswer, bad), gateway)
		}
		kept := printer{Schema: schema, Device: r.Device.ID, Service: r.Service, ID: p.ID, URI: p.URI, Registration: r.ID}
		if kind != mfpgate.PrintKeyNone {
			key, err := b.unseal(r, "key", r.Key)
			if err != nil {
				return b.fail(tx, r, BadCertificate, withCause(BadCertificate, err), gateway)
			}
			c, err := verified(p.Certificate, key, r.Device, b.now())
			if err != nil {
				return b.fail(tx, r, BadCertificate, withCause(BadCertificate, err), gateway)
			}
			kept.Certificate, kept.Fingerprint, kept.Expires = c.Raw, fingerprint(c.Raw), c.NotAfter.UTC()
			kept.Key = b.Sealer.Seal(r.printerKey()+"#key", key)
		}
		r.PrinterID, r.PrinterURI, r.Certificate, r.CertificateExpires = p.ID, p.URI, kept.Fingerprint, kept.Expires
		return errors.Join(store.SetJSON(tx, r.printerKey(), kept), b.registered(tx, r, p.User, gateway))
	})
}

// registered ends a registration well, and says what the user still has to do: the device is at the service in any case.
func (b *Broker) registered(tx store.Tx, r *record, became mfpgate.PrintUser, actor string) error {
	var why mfpgate.Reason
	switch became {
	case mfpgate.PrintUserUnconfirmed:
		why = UserUnconfirmed
	case mfpgate.PrintUserNotAllowed:
		why = UserNotAllowed
	}
	return b.end(tx, r, mfpgate.RegistrationRegistered, why, sentence(why), actor)
}

// badPrinter says what is wrong with a service's printer.
func badPrinter(p mfpgate.Printer) error {
	switch {
	case p.ID == "" || len(p.ID) > maxName || !printable(p.ID):
		return fmt.Errorf("a printer without a usable id: %w", errAnswer)
	case len(p.URI) > maxURI || !printable(p.URI):
		return fmt.Errorf("a printer with an unusable URI: %w", errAnswer)
	}
	return nil
}
