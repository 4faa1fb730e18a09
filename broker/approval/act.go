package approval

import (
	"context"
	"fmt"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// act changes a registration for a person.
func (b *Broker) act(ctx context.Context, id string, fn func(store.Tx, *record) error) error {
	return b.update(ctx, func(tx store.Tx) error {
		r, err := getRecord(tx, id)
		if err != nil {
			return err
		}
		if err := fn(tx, r); err != nil {
			return err
		}
		return setRecord(tx, r)
	})
}

// Cancel ends an open registration. ErrNotFound, and a Refusal for one that has ended otherwise. What runs at the service then may still
// be done there; another registration of the device finds it.
func (b *Broker) Cancel(ctx context.Context, id, actor string) error {
	return b.act(ctx, id, func(tx store.Tx, r *record) error {
		switch {
		case r.State == mfpgate.RegistrationCancelled:
			return nil
		case r.State.Ended():
			return refuse(NotNow, "The registration has ended already; there is nothing to cancel.")
		}
		return b.end(tx, r, mfpgate.RegistrationCancelled, "", "", actor)
	})
}

// Resend mails the administrator once more: ResendPause after the last letter, MaxResends times. ErrNotFound, Refusal.
func (b *Broker) Resend(ctx context.Context, id, actor string) error {
	return b.act(ctx, id, func(tx store.Tx, r *record) error {
		now := b.now()
		last := r.MailedAt
		if r.ResentAt.After(last) {
			last = r.ResentAt
		}
		since := now.Sub(last)
		switch {
		case r.Mode == mfpgate.RegistrationAgent:
			return refuse(NotNow, "The device itself writes to the administrator. Cancel the registration and ask again.")
		case r.State != mfpgate.RegistrationAwaitingAdmin:
			return refuse(NotNow, "The administrator is not asked at the moment, so there is no letter to send.")
		case b.Mailer == nil:
			return refuse(NotNow, "No mail server is configured. The administrator finds the code on the portal.")
		case !r.Sent:
			return refuse(NotNow, "The letter still waits to be sent for the first time.")
		case r.Resends >= MaxResends:
			return refuse(TooMany, fmt.Sprintf("The letter was sent again %d times already. Tell the administrator of the portal's page.", MaxResends))
		case since >= 0 && since < ResendPause:
			return tooMany(fmt.Sprintf("A letter was sent a moment ago. Wait %d seconds.", int((ResendPause-since).Seconds())+1), ResendPause-since)
		}
		r.Resends++
		r.ResentAt = now
		return b.intend(tx, fmt.Sprintf("%s.r%d", r.code(), r.Resends), kindMail, work{Registration: r.ID, Code: r.Codes, Resend: r.Resends}, 0)
	})
}

// Retry asks anew for what has failed, was cancelled, or left its user out; if the same is open, it returns that. ErrNotFound, Refusal.
func (b *Broker) Retry(ctx context.Context, id, actor string) (mfpgate.Registration, error) {
	r, err := b.read(ctx, id)
	if err != nil {
		return mfpgate.Registration{}, err
	}
	if !CanRetry(r.Registration) {
		return mfpgate.Registration{}, refuse(NotNow, "Only a registration that has failed, was cancelled or left its user out can be asked for again.")
	}
	account, from := r.Account, r.From
	if actor != account { // who asks again is who asks: the administrator must not read another's name and address
		account, from = actor, ""
		if strings.Contains(actor, ":") || actor == anybody { // of the command line
			account = ""
		}
	}
	g, _, err := b.Request(ctx, mfpgate.RegistrationRequest{Device: r.Device.ID, Service: r.Service, User: r.User, Account: account, Admin: r.AskedAdmin,
		Retries: r.AskedTries, From: from, Quiet: r.Quiet}, actor, "")
	return g, err
}

// CanRetry reports whether Retry takes a registration.
func CanRetry(r mfpgate.Registration) bool {
	return r.State == mfpgate.RegistrationFailed || r.State == mfpgate.RegistrationCancelled || r.State == mfpgate.RegistrationRegistered && r.Reason == UserNotAllowed
}

// anybody is the actor of who called the API and was not named.
const anybody = "api"

// Decide is the decision of an administrator of the gateway, where the service asks nobody. ErrNotFound, Refusal.
func (b *Broker) Decide(ctx context.Context, id, actor string, approve bool) error {
	err := b.act(ctx, id, func(tx store.Tx, r *record) error {
		if !r.Local || r.State != mfpgate.RegistrationAwaitingAdmin {
			return refuse(NotNow, "This registration is not decided here. Its administrator decides on the print service's page.")
		}
		if approve {
			return b.certify(tx, r, mfpgate.Grant{}, actor)
		}
		return b.fail(tx, r, Denied, "", actor)
	})
	if err == nil {
		result := "denied"
		if approve {
			result = "approved"
		}
		b.Metrics.RegistrationAttempts.WithLabelValues(result).Inc()
	}
	return err
}
