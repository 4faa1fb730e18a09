package approval

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

const (
	grace           = 5 * time.Second // between the gateway's clock and the service's
	defaultInterval = 5 * time.Second // RFC 8628 §3.2
	maxInterval     = 10 * time.Minute
	defaultLifetime = 10 * time.Minute // for a service that breaks the rule and names none
	maxLifetime     = 24 * time.Hour
	maxUserCode     = 64
	maxDeviceCode   = 8 << 10
	maxURI          = 1 << 10
	busy            = time.Second // until a place among the calls of a service may be free
)

// errHost is wrapped for a page that is not on a pinned host, errAnswer for all else that cannot be used.
var (
	errHost   = errors.New("host is not configured")
	errAnswer = errors.New("answer cannot be used")
)

// reach is what a call needs of its service. The caller leaves; an error is worth another try, after the delay that it names.
func (b *Broker) reach(name string) (s Service, leave func(), err error) {
	p := b.policy.Load()
	s, known := p.service(name)
	if !known {
		return s, nil, journal.RetryAfter(fmt.Errorf("print service %.40q is not configured any more", name), time.Minute)
	}
	if leave = b.gates.enter("service "+name, p.share()); leave == nil {
		return s, nil, journal.RetryAfter(fmt.Errorf("%d calls of print service %.40q run already", p.share(), name), busy+b.jitter(busy))
	}
	return s, leave, nil
}

// handleCode asks the service for a code.
func (b *Broker) handleCode(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	w, r, err := b.subject(ctx, in)
	if err != nil || r == nil || r.State != mfpgate.RegistrationRequestingCode || r.Codes != w.Code {
		return nil, err
	}
	if !b.now().Before(r.Deadline) {
		return b.settle(r, b.timeout), nil
	}
	verifier, err := b.unseal(r, "verifier", r.Verifier)
	if err != nil {
		return b.settle(r, func(tx store.Tx, r *record) error { return b.askCode(tx, r, r.Reason, 0) }), nil // sealed with another key
	}
	s, leave, err := b.reach(r.Service)
	if err != nil {
		return b.hindered(r, err)
	}
	defer leave()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	asked := b.now() // its lifetime counts from before the request
	c, err := s.Client.RequestCode(call, mfpgate.CodeRequest{ID: r.code(), Purpose: r.Purpose, Device: r.Device, Printer: r.PrinterID, User: r.User,
		Site: b.policy.Load().SiteName, Verifier: verifier})
	if err == nil {
		c, err = usable(c, s.Hosts)
	}
	switch {
	case err == nil:
		return b.settle(r, func(tx store.Tx, r *record) error { return b.issued(tx, r, c, asked) }), nil
	case errors.Is(err, mfpgate.ErrNobodyAsked):
		return b.settle(r, b.askHere), nil
	case errors.Is(err, mfpgate.ErrNoPrinter) && r.Purpose == mfpgate.PurposeAllowUser:
		return b.settle(r, b.lostPrinter), nil
	case errors.Is(err, errHost):
		return b.settle(r, func(tx store.Tx, r *record) error { return b.fail(tx, r, HostChanged, hostText(err), gateway) }), nil
	case errors.Is(err, errAnswer):
		return b.unusable(r, err), nil
	case errors.Is(err, mfpgate.ErrRefused):
		return b.refusedBy(r, err), nil
	}
	return b.hindered(r, err)
}

func (b *Broker) timeout(tx store.Tx, r *record) error { return b.fail(tx, r, Timeout, "", gateway) }

// askHere has an administrator of the gateway decide, because the service asks nobody.
func (b *Broker) askHere(tx store.Tx, r *record) error {
	r.Attempt, r.Local, r.Verifier = 1, true, nil
	b.move(r, mfpgate.RegistrationAwaitingAdmin, "", "")
	return errors.Join(b.letter(tx, r), b.audit(tx, r, gateway, "code-issued", "decided at the gateway"))
}

// lostPrinter forgets a printer that the service does not have any more, and registers the device anew.
func (b *Broker) lostPrinter(tx store.Tx, r *record) error {
	if r.Bad++; r.Bad > MaxLost {
		return b.fail(tx, r, BadAnswer, "", gateway)
	}
	p, there, err := store.FindJSON[printer](tx, r.printerKey())
	if err != nil {
		return err
	}
	if there && p.ID == r.PrinterID {
		if err := tx.Delete(r.printerKey()); err != nil {
			return err
		}
	}
	if r.State == mfpgate.RegistrationCertifying && r.Attempt > 0 {
		r.Attempt-- // it was approved for nothing
	}
	r.forgetSecrets()
	return b.begin(tx, r)
}

// unusable gives up after some answers that could not be used; before, it asks again.
func (b *Broker) unusable(r *record, err error) func(store.Tx) error {
	b.unreached(r, err)
	return b.settle(r, func(tx store.Tx, r *record) error {
		if r.Bad++; r.Bad > MaxLost {
			return b.fail(tx, r, BadAnswer, withCause(BadAnswer, err), gateway)
		}
		return b.askCode(tx, r, Unreached, time.Duration(r.Bad)*10*time.Second)
	})
}

// refusedBy ends a registration that the service does not take.
func (b *Broker) refusedBy(r *record, err error) func(store.Tx) error {
	b.Metrics.RegistrationAttempts.WithLabelValues("refused").Inc()
	return b.settle(r, func(tx store.Tx, r *record) error {
		return b.fail(tx, r, RefusedBy, withCause(RefusedBy, err), gateway)
	})
}

// hindered keeps why a call has to be made again.
func (b *Broker) hindered(r *record, err error) (func(store.Tx) error, error) {
	if named := mfpgate.RetryDelay(err); named > 0 {
		err = journal.RetryAfter(err, min(named, time.Hour))
	}
	if r.Reason == Unreached {
		return nil, err
	}
	b.unreached(r, err)
	return b.settle(r, func(_ store.Tx, r *record) error {
		r.Reason, r.Detail = Unreached, withCause(Unreached, err)
		return nil
	}), err
}

func (b *Broker) unreached(r *record, err error) {
	b.Log.Warn().Err(err).Str(field.Key, r.ID).Str(field.Device, string(r.Device.ID)).Msg(event.ApprovalUnreached)
}

// usable checks a service's answer and puts in what it leaves out.
func usable(c mfpgate.Code, hosts []string) (mfpgate.Code, error) {
	if n := len(c.DeviceCode.Reveal()); n == 0 || n > maxDeviceCode {
		return c, fmt.Errorf("a device code of %d bytes: %w", n, errAnswer)
	}
	code := c.UserCode.Reveal()
	if code == "" || len(code) > maxUserCode || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._ ") != "" || strings.TrimSpace(code) != code {
		return c, fmt.Errorf("a user code that nobody can type: %w", errAnswer)
	}
	if err := pinned(c.VerificationURI, hosts); err != nil {
		return c, err
	}
	if len(c.Events) > maxURI {
		c.Events = ""
	}
	if c.Interval <= 0 {
		c.Interval = defaultInterval
	}
	if c.Lifetime <= 0 {
		c.Lifetime = defaultLifetime
	}
	c.Interval, c.Lifetime = min(max(c.Interval, time.Second), maxInterval), min(max(c.Lifetime, time.Second), maxLifetime) // both are told in seconds
	return c, nil
}

// pinned refuses a page that an administrator must not be sent to.
func pinned(text string, hosts []string) error {
	if text == "" || len(text) > maxURI || strings.IndexFunc(text, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("<>\"\\^`{|}", c) }) >= 0 {
		return fmt.Errorf("a verification URI that is none: %w", errAnswer)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" || u.User != nil {
		return fmt.Errorf("a verification URI that is none: %w", errAnswer)
	}
	host := strings.ToLower(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !mfpgate.Loopback(host)) {
		return fmt.Errorf("%.20q at %.100s is not https: %w", u.Scheme, host, errHost)
	}
	for _, h := range hosts {
		name, port, err := net.SplitHostPort(h)
		if err != nil {
			name, port = strings.Trim(h, "[]"), ""
		}
		if strings.EqualFold(name, host) && (port == "" || port == u.Port() || port == "443" && u.Port() == "" && u.Scheme == "https") {
			return nil
		}
	}
	return fmt.Errorf("%.100s: %w", host, errHost)
}
