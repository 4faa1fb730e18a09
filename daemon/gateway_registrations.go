package daemon

import (
	"context"
	"fmt"
	"iter"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

var errNoServices = fmt.Errorf("%w: no print service is configured; name one in print_services", control.ErrRegistration)

// PrintServices implements control.Gateway.
func (g gateway) PrintServices(context.Context) []control.PrintService { return nil }

// Registrations implements control.Gateway.
func (g gateway) Registrations(context.Context) ([]mfpgate.Registration, error) { return nil, nil }

// Registration implements control.Gateway.
func (g gateway) Registration(context.Context, string) (mfpgate.Registration, error) {
	return mfpgate.Registration{}, control.ErrNoRegistration
}

// Register implements control.Gateway.
func (g gateway) Register(context.Context, mfpgate.RegistrationRequest, string, string) (mfpgate.Registration, bool, error) {
	return mfpgate.Registration{}, false, errNoServices
}

// CancelRegistration implements control.Gateway.
func (g gateway) CancelRegistration(context.Context, string, string) error {
	return control.ErrNoRegistration
}

// ResendRegistration implements control.Gateway.
func (g gateway) ResendRegistration(context.Context, string, string) error {
	return control.ErrNoRegistration
}

// RetryRegistration implements control.Gateway.
func (g gateway) RetryRegistration(context.Context, string, string) (mfpgate.Registration, error) {
	return mfpgate.Registration{}, control.ErrNoRegistration
}

// DecideRegistration implements control.Gateway.
func (g gateway) DecideRegistration(context.Context, string, string, bool) error {
	return control.ErrNoRegistration
}

// RegistrationChanges implements control.Gateway.
func (g gateway) RegistrationChanges(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		if yield("") {
			<-ctx.Done()
		}
	}
}
