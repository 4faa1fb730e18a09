package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store/journal"
)

var errNoServices = fmt.Errorf("%w: no print service is configured; name one in print_services", control.ErrRegistration)

// PrintServices implements control.Gateway.
func (g gateway) PrintServices(context.Context) []control.PrintService {
	var list []control.PrintService
	for _, s := range g.config.Load().PrintServices {
		list = append(list, control.PrintService{Name: s.Name, Kind: string(s.Kind), URL: s.URL.String()})
	}
	return list
}

// Registrations implements control.Gateway.
func (g gateway) Registrations(ctx context.Context) ([]mfpgate.Registration, error) {
	return g.registration.List(ctx)
}

// Registration implements control.Gateway.
func (g gateway) Registration(ctx context.Context, id string) (mfpgate.Registration, error) {
	r, err := g.registration.Get(ctx, id)
	return r, registrationError(err)
}

// Register implements control.Gateway.
func (g gateway) Register(ctx context.Context, q mfpgate.RegistrationRequest, actor, key string) (mfpgate.Registration, bool, error) {
	if !g.registration.has() {
		return mfpgate.Registration{}, false, errNoServices
	}
	// A device that was met within this second is not stored yet: after a crash it would be met anew with another id, and be another printer.
	if err := g.registry.Flush(ctx); err != nil {
		return mfpgate.Registration{}, false, err
	}
	r, created, err := g.registration.Request(ctx, q, actor, key)
	return r, created, registrationError(err)
}

// CancelRegistration implements control.Gateway.
func (g gateway) CancelRegistration(ctx context.Context, id, actor string) error {
	return registrationError(g.registration.Cancel(ctx, id, actor))
}

// ResendRegistration implements control.Gateway.
func (g gateway) ResendRegistration(ctx context.Context, id, actor string) error {
	return registrationError(g.registration.Resend(ctx, id, actor))
}

// RetryRegistration implements control.Gateway.
func (g gateway) RetryRegistration(ctx context.Context, id, actor string) (mfpgate.Registration, error) {
	r, err := g.registration.Retry(ctx, id, actor)
	return r, registrationError(err)
}

// DecideRegistration implements control.Gateway.
func (g gateway) DecideRegistration(ctx context.Context, id, actor string, approve bool) error {
	return registrationError(g.registration.Decide(ctx, id, actor, approve))
}

// RegistrationChanges implements control.Gateway.
func (g gateway) RegistrationChanges(ctx context.Context) iter.Seq[string] {
	return beating(ctx, g.Clock, g.registration.Changes)
}

// registrationError gives the broker's refusals the API's names.
func registrationError(err error) error {
	var no mfpgate.Refused
	switch {
	case errors.Is(err, approval.ErrNotFound):
		return control.ErrNoRegistration
	case errors.Is(err, journal.ErrDiffers):
		return notDone{errors.New("the idempotency key was used for another request; use a new one"), control.ErrUnfit}
	case errors.As(err, &no):
		switch no.Why() {
		case approval.TooMany:
			return notDone{err, control.ErrTooOften}
		case approval.BadRequest, approval.AdminDomain, approval.NoService, approval.NoDevice:
			return notDone{err, control.ErrUnfit}
		}
		return notDone{err, nil}
	}
	return err
}

// notDone is a refusal of the broker, of one of the API's kinds or none.
type notDone struct{ err, kind error }

func (n notDone) Error() string { return control.ErrRegistration.Error() + ": " + n.err.Error() }

func (n notDone) Unwrap() []error {
	if n.kind == nil {
		return []error{control.ErrRegistration, n.err}
	}
	return []error{control.ErrRegistration, n.err, n.kind}
}
