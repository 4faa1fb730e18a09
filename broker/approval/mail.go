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

const mailTimeout = 35 * time.Second

// handleMail sends the administrator a letter about a code that he can still use.
func (b *Broker) handleMail(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	w, r, err := b.subject(ctx, in)
	if err != nil || r == nil || b.Mailer == nil || !b.asks(r, w.Code) {
		return nil, err
	}
	id := strings.TrimSuffix(in.ID, "/"+kindMail)
	if !b.policy.Load().writesTo(r.Admin) {
		b.Metrics.RegistrationMails.WithLabelValues("refused").Inc()
		return b.settle(r, func(tx store.Tx, r *record) error {
			r.Sent, r.MailError = true, "the administrator's domain is none of registration.admin_domains any more"
			return b.audit(tx, r, gateway, "mail-failed", id)
		}), nil
	}
	leave := b.gates.enter("mail", perMailer)
	if leave == nil {
		return nil, journal.RetryAfter(errors.New("as many letters as allowed are being sent"), busy+b.jitter(busy))
	}
	defer leave()
	room, err := b.mayMail(ctx, r, id)
	if err != nil {
		return nil, err
	}
	if !room {
		b.Metrics.RegistrationMails.WithLabelValues("digested").Inc()
		return b.settle(r, func(_ store.Tx, r *record) error {
			r.MailError = fmt.Sprintf("%d letters went to the administrator in the last hour; this one goes with a digest at its end", MaxLetters)
			return nil
		}), nil
	}
	l, err := b.adminLetter(r, id)
	if err == nil {
		call, cancel := context.WithTimeout(ctx, mailTimeout)
		defer cancel()
		err = b.Mailer.Send(call, l)
	}
	switch {
	case err == nil:
		b.Metrics.RegistrationMails.WithLabelValues("sent").Inc()
		now := b.now()
		return b.settle(r, func(tx store.Tx, r *record) error {
			r.mailed(now)
			return b.audit(tx, r, gateway, "mail-sent", id)
		}), nil
	case ctx.Err() != nil:
		return nil, err
	}
	refused := errors.Is(err, mfpgate.ErrRefused)
	result := "delayed"
	if refused {
		result = "refused"
	}
	b.Metrics.RegistrationMails.WithLabelValues(result).Inc()
	text := mfpgate.CleanText(err.Error(), maxText)
	settle := b.settle(r, func(tx store.Tx, r *record) error {
		told := r.MailError != ""
		r.MailError = text
		// What is refused is not sent again: the administrator finds the code on the portal, and it counts as any other.
		r.Sent = r.Sent || refused
		if told && !refused {
			return nil
		}
		return b.audit(tx, r, gateway, "mail-failed", id)
	})
	if refused || r.MailError == "" {
		b.Log.Warn().Err(err).Str(field.Key, id).Msg(event.ApprovalUnreached)
	}
	if refused {
		return settle, nil
	}
	if r.MailError != "" {
		settle = nil
	}
	return settle, err
}

// asks reports whether the administrator can do something about a code now.
func (b *Broker) asks(r *record, code int) bool {
	return r.State == mfpgate.RegistrationAwaitingAdmin && r.Codes == code && (r.Local || b.now().Before(r.ExpiresAt))
}

func (r *record) mailed(now time.Time) {
	r.Sent, r.MailedAt, r.MailError = true, now, ""
	r.Mails++
}

// mayMail counts a letter to an administrator, or puts it into the digest of the hour.
func (b *Broker) mayMail(ctx context.Context, r *record, id string) (room bool, err error) {
	err = b.update(ctx, func(tx store.Tx) error {
		var free time.Duration
		var err error
		if room, free, err = b.take(tx, "admin", r.Admin, id, MaxLetters); err != nil || room {
			return err
		}
		return b.addToDigest(tx, r, free)
	})
	return room, err
}

// handleTell writes to the user at the end. Nobody waits for that longer than a day.
func (b *Broker) handleTell(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	r, err := b.read(ctx, strings.TrimSuffix(in.ID, "/"+kindTell))
	if errors.Is(err, ErrNotFound) || err == nil && (b.Mailer == nil || !b.policy.Load().mailable(r.User) || b.now().Sub(r.Since) > DefaultDeadline) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	leave := b.gates.enter("mail", perMailer)
	if leave == nil {
		return nil, journal.RetryAfter(errors.New("as many letters as allowed are being sent"), busy+b.jitter(busy))
	}
	defer leave()
	call, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	switch err := b.Mailer.Send(call, b.userLetter(r)); {
	case err == nil:
		b.Metrics.RegistrationMails.WithLabelValues("sent").Inc()
	case errors.Is(err, mfpgate.ErrRefused):
		b.Metrics.RegistrationMails.WithLabelValues("refused").Inc()
		b.Log.Warn().Err(err).Str(field.Key, r.ID).Msg(event.ApprovalUnreached)
	default:
		b.Metrics.RegistrationMails.WithLabelValues("delayed").Inc()
		return nil, err
	}
	return nil, nil
}
