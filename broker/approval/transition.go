package approval

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// The kinds of intent: one for each effect, and the timer of the deadline. A code's expiry is its poll's business: a timer of its
// own could take the place of a poll that is just bringing the grant.
const (
	kindBegin     = "begin" // the turn of a registration that waited for another
	kindCode      = "code"
	kindPoll      = "poll"
	kindEnter     = "enter"
	kindOperation = "operation"
	kindAllow     = "allow"
	kindMail      = "mail"
	kindTell      = "tell"
	kindDigest    = "digest"
	kindDeadline  = "deadline"
)

// gateway is the actor of what nobody asked for.
const gateway = "gateway"

// callSlack is what a call that runs at the deadline is left.
const callSlack = callTimeout + 15*time.Second

// work is the payload of an intent.
type work struct {
	Registration string `json:"registration,omitempty"`
	Code         int    `json:"code,omitempty"` // that it is about
	Resend       int    `json:"resend,omitempty"`
	Admin        string `json:"admin,omitempty"`

	// Of a poll.
	Interval time.Duration `json:"interval,omitempty"`
	Failures int           `json:"failures,omitempty"` // in a row, of the network or the service
	Slow     int           `json:"slow,omitempty"`     // slow_down answers to last polls
	Spread   bool          `json:"spread,omitempty"`   // it was late, and put off for that
}

func (b *Broker) intend(tx store.Tx, id, kind string, w work, delay time.Duration) error {
	payload, err := json.Marshal(w)
	if err != nil {
		return err
	}
	return b.journal.Intend(tx, journal.Intent{ID: id + "/" + kind, Kind: kind, Payload: payload, Delay: delay})
}

// subject reads what an intent is about. r is nil if that is gone or has ended.
func (b *Broker) subject(ctx context.Context, in journal.Intent) (w work, r *record, err error) {
	if err := json.Unmarshal(in.Payload, &w); err != nil {
		return w, nil, journal.Permanent(err)
	}
	r, err = b.read(ctx, w.Registration)
	if errors.Is(err, ErrNotFound) {
		return w, nil, nil
	}
	if err == nil && r.State.Ended() {
		r = nil
	}
	return w, r, err
}

// settle makes what comes of a call: fn changes the registration as it is then, if it is in the same state and with the same code.
func (b *Broker) settle(seen *record, fn func(store.Tx, *record) error) func(store.Tx) error {
	return func(tx store.Tx) error {
		r, err := getRecord(tx, seen.ID)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.State != seen.State || r.Codes != seen.Codes {
			return nil
		}
		if err := fn(tx, r); err != nil {
			return err
		}
		return setRecord(tx, r)
	}
}

func (b *Broker) move(r *record, to mfpgate.RegistrationState, why mfpgate.Reason, detail string) {
	if r.State != to {
		r.State, r.Since = to, b.now()
	}
	r.Reason, r.Detail = why, detail
}

// begin gives a registration its turn: it asks for one more user of a printer that is there, enters the device, or waits for
// another that does.
func (b *Broker) begin(tx store.Tx, r *record) error {
	p, there, err := store.FindJSON[printer](tx, r.printerKey())
	if err != nil {
		return err
	}
	if there {
		if !b.allowsUser(r.Service) {
			return b.fail(tx, r, NoUserList, "", gateway)
		}
		r.Purpose, r.PrinterID, r.PrinterURI = mfpgate.PurposeAllowUser, p.ID, p.URI
		if err := b.leaveTurn(tx, r); err != nil {
			return err
		}
		return b.launch(tx, r)
	}
	r.Purpose, r.PrinterID, r.PrinterURI = mfpgate.PurposeRegister, "", ""
	t, _, err := store.FindJSON[turn](tx, r.turnKey())
	if err != nil {
		return err
	}
	if t.Holder != "" && t.Holder != r.ID {
		if t.Waiting = join(t.Waiting, r.ID); len(t.Waiting) > MaxWaiting {
			return b.fail(tx, r, TooMany, "", gateway)
		}
		b.move(r, mfpgate.RegistrationRequested, DeviceBusy, sentence(DeviceBusy))
		return store.SetJSON(tx, r.turnKey(), t)
	}
	t.Holder, t.Waiting = r.ID, leave(t.Waiting, r.ID)
	return errors.Join(store.SetJSON(tx, r.turnKey(), t), b.launch(tx, r))
}

func (b *Broker) allowsUser(service string) bool {
	s, known := b.policy.Load().service(service)
	return !known || s.Client.Traits().AllowsUser
}

// leaveTurn takes a registration out of the turns of its device; those that wait look again.
func (b *Broker) leaveTurn(tx store.Tx, r *record) error {
	t, there, err := store.FindJSON[turn](tx, r.turnKey())
	if err != nil || !there {
		return err
	}
	t.Waiting = leave(t.Waiting, r.ID)
	if t.Holder != r.ID {
		if t.Holder == "" && len(t.Waiting) == 0 {
			return tx.Delete(r.turnKey())
		}
		return store.SetJSON(tx, r.turnKey(), t)
	}
	errs := []error{tx.Delete(r.turnKey())}
	for _, id := range t.Waiting {
		errs = append(errs, b.intend(tx, id, kindBegin, work{Registration: id}, 0))
	}
	return errors.Join(errs...)
}

// launch asks the service, or has the device do it.
func (b *Broker) launch(tx store.Tx, r *record) error {
	if r.Mode != mfpgate.RegistrationAgent {
		return b.askCode(tx, r, "", 0)
	}
	b.move(r, mfpgate.RegistrationAwaitingDevice, "", "")
	d, _, err := store.FindJSON[toDo](tx, r.deviceKey())
	if err != nil {
		return err
	}
	d.IDs = join(d.IDs, r.ID)
	return store.SetJSON(tx, r.deviceKey(), d)
}

// askCode has a code asked for, after a delay.
func (b *Broker) askCode(tx store.Tx, r *record, why mfpgate.Reason, delay time.Duration) error {
	r.forgetCode()
	r.Token, r.Operation, r.Local = nil, "", false
	r.Codes++
	r.Verifier = b.seal(r, "verifier", newVerifier())
	b.move(r, mfpgate.RegistrationRequestingCode, why, sentence(why))
	return b.intend(tx, r.ID, kindCode, work{Registration: r.ID, Code: r.Codes}, delay)
}

// newVerifier is a code verifier of 43 characters (RFC 7636 §4.1).
func newVerifier() mfpgate.Secret {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return mfpgate.Secret(base64.RawURLEncoding.EncodeToString(random))
}

// issued takes over a code that came.
func (b *Broker) issued(tx store.Tx, r *record, c mfpgate.Code, asked time.Time) error {
	r.Attempt++
	r.DeviceCode, r.SealedCode = b.seal(r, "device_code", c.DeviceCode), b.seal(r, "user_code", c.UserCode)
	r.VerificationURI, r.Events = c.VerificationURI, c.Events
	r.Lifetime, r.Interval = c.Lifetime, c.Interval
	r.ExpiresAt = asked.Add(c.Lifetime)
	why := r.Reason
	if why != LostGrant && why != LetterWaits {
		why = ""
	}
	b.move(r, mfpgate.RegistrationAwaitingAdmin, why, sentence(why))
	return errors.Join(
		b.poll(tx, r, work{Registration: r.ID, Code: r.Codes, Interval: r.Interval}, r.Interval+b.part(r.Interval)),
		b.letter(tx, r), b.audit(tx, r, gateway, "code-issued", attemptText(r)))
}

// part is a share of an interval such that many polls are spread evenly.
func (b *Broker) part(interval time.Duration) time.Duration {
	return time.Duration(b.spread.next() * float64(interval))
}

// poll has the service asked after a delay.
func (b *Broker) poll(tx store.Tx, r *record, w work, delay time.Duration) error {
	return b.intend(tx, r.ID, kindPoll, w, b.pollDelay(r, delay))
}

// pollDelay is delay, or less if the code's time or the deadline is earlier.
func (b *Broker) pollDelay(r *record, delay time.Duration) time.Duration {
	now := b.now()
	for _, end := range []time.Time{r.ExpiresAt.Add(grace), r.Deadline} {
		if left := end.Sub(now); r.State == mfpgate.RegistrationAwaitingAdmin && left < delay {
			delay = left
		}
	}
	if left := r.Deadline.Sub(now); left < delay {
		delay = left
	}
	return max(delay, time.Millisecond)
}

// letter has the administrator mailed.
func (b *Broker) letter(tx store.Tx, r *record) error {
	if r.Sent = b.Mailer == nil; r.Sent {
		return nil
	}
	return b.intend(tx, r.code(), kindMail, work{Registration: r.ID, Code: r.Codes}, 0)
}

// What became of a code, besides an approval and a refusal.
const (
	codeExpired = "expired"
	codeUnsent  = "unsent" // expired before its letter could be sent
	codeLost    = "lost"
)

// voided ends the present code, and asks for another as far as that is allowed.
func (b *Broker) voided(seen *record, became string) func(store.Tx) error {
	counted := false // what is settled may run again, when its commit meets another or its outcome is not known
	return b.settle(seen, func(tx store.Tx, r *record) error {
		became := became
		if became == codeExpired && !r.Sent {
			became = codeUnsent
		}
		if !counted {
			counted = true
			b.Metrics.RegistrationAttempts.WithLabelValues(became).Inc()
		}
		return b.void(tx, r, became)
	})
}

func (b *Broker) void(tx store.Tx, r *record, became string) error {
	action := "expired"
	if became == codeLost {
		action = "lost-grant"
	}
	if err := b.audit(tx, r, gateway, action, attemptText(r)); err != nil {
		return err
	}
	switch became {
	case codeLost:
		if r.Lost++; r.Lost > MaxLost {
			return b.fail(tx, r, LostGrant, "", gateway)
		}
		r.Attempt--
		return b.askCode(tx, r, LostGrant, 0)
	case codeUnsent:
		// The mail server is away. Each code that nobody saw doubles the time to the next.
		r.Attempt--
		r.Unsent++
		return b.askCode(tx, r, LetterWaits, min(time.Minute<<min(r.Unsent-1, 6), time.Hour))
	}
	if r.Unsent = 0; r.Attempt >= r.Attempts {
		return b.fail(tx, r, Exhausted, "", gateway)
	}
	return errors.Join(b.audit(tx, r, gateway, "retried", ""), b.askCode(tx, r, "", 0))
}

// certify takes over an approval: the token is kept before anything is done with it.
func (b *Broker) certify(tx store.Tx, r *record, g mfpgate.Grant, actor string) error {
	now := b.now()
	r.SealedCode, r.Local = nil, false
	r.Token, r.TokenExpires = b.seal(r, "token", g.Token), g.Expires
	b.move(r, mfpgate.RegistrationCertifying, "", "")
	kind := kindEnter
	if r.Purpose == mfpgate.PurposeAllowUser {
		kind = kindAllow
	}
	errs := []error{b.intend(tx, r.ID, kind, work{Registration: r.ID, Code: r.Codes}, 0), b.audit(tx, r, actor, "approved", attemptText(r))}
	if least := now.Add(Overtime); r.Deadline.Before(least) {
		r.Deadline = least
		errs = append(errs, b.intend(tx, r.ID, kindDeadline, work{Registration: r.ID}, Overtime))
	}
	return errors.Join(errs...)
}

func (b *Broker) fail(tx store.Tx, r *record, why mfpgate.Reason, detail, actor string) error {
	if detail == "" {
		detail = sentence(why)
	}
	return b.end(tx, r, mfpgate.RegistrationFailed, why, detail, actor)
}

// end is the last that happens to a registration. The caller keeps the record.
func (b *Broker) end(tx store.Tx, r *record, state mfpgate.RegistrationState, why mfpgate.Reason, detail, actor string) error {
	b.move(r, state, why, detail)
	r.forgetSecrets()
	r.MailError, r.Local = "", false
	var errs []error
	if id, err := tx.Get(r.openKey()); err == nil && string(id) == r.ID {
		errs = append(errs, tx.Delete(r.openKey()))
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for _, kind := range []string{kindBegin, kindCode, kindPoll, kindEnter, kindOperation, kindAllow, kindDeadline} {
		_, err := b.journal.Cancel(tx, r.ID+"/"+kind)
		errs = append(errs, err)
	}
	errs = append(errs, b.leaveTurn(tx, r), b.leaveDevice(tx, r))
	action := map[mfpgate.RegistrationState]string{mfpgate.RegistrationRegistered: "registered", mfpgate.RegistrationCancelled: "cancelled"}[state]
	switch {
	case state == mfpgate.RegistrationRegistered && r.Purpose == mfpgate.PurposeAllowUser:
		action = "user-granted"
	case why == Denied && state == mfpgate.RegistrationFailed:
		action = "denied"
	case action == "":
		action = "failed"
	}
	errs = append(errs, b.audit(tx, r, actor, action, string(why)))
	if state != mfpgate.RegistrationCancelled && !r.Quiet && b.Mailer != nil && b.policy.Load().mailable(r.User) {
		errs = append(errs, b.intend(tx, r.ID, kindTell, work{Registration: r.ID}, 0))
	}
	return errors.Join(errs...)
}

func (b *Broker) leaveDevice(tx store.Tx, r *record) error {
	d, there, err := store.FindJSON[toDo](tx, r.deviceKey())
	if err != nil || !there {
		return err
	}
	if d.IDs = leave(d.IDs, r.ID); len(d.IDs) == 0 {
		return tx.Delete(r.deviceKey())
	}
	return store.SetJSON(tx, r.deviceKey(), d)
}

func (b *Broker) handleBegin(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	_, r, err := b.subject(ctx, in)
	if err != nil || r == nil || r.State != mfpgate.RegistrationRequested {
		return nil, err
	}
	return b.settle(r, b.begin), nil
}

// handleDeadline ends what did not end by itself.
func (b *Broker) handleDeadline(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	w, r, err := b.subject(ctx, in)
	if err != nil || r == nil {
		return nil, err
	}
	return func(tx store.Tx) error {
		r, err := getRecord(tx, r.ID)
		if errors.Is(err, ErrNotFound) || err == nil && r.State.Ended() {
			return nil
		}
		if err != nil {
			return err
		}
		now := b.now()
		left := r.Deadline.Sub(now)
		if left > r.Allowed+Overtime { // the clock was set back: so much is never left
			r.Deadline = now.Add(r.Allowed)
			return errors.Join(setRecord(tx, r), b.intend(tx, r.ID, kindDeadline, w, r.Allowed))
		}
		if r.active() {
			left += callSlack
		}
		if left > 0 {
			return b.intend(tx, r.ID, kindDeadline, w, left)
		}
		return errors.Join(b.fail(tx, r, Timeout, "", gateway), setRecord(tx, r))
	}, nil
}
