package control

import (
	"context"
	"errors"
	"iter"

	"github.com/mfpgate/mfpgate"
)

var (
	// ErrRegistration is returned for what cannot be done with a registration, or asked for; its text says why and what to do.
	ErrRegistration = errors.New("not done")
	// ErrNoRegistration is returned for an id that no registration has.
	ErrNoRegistration = errors.New("there is no such registration")
)

// PrintService is one that the configuration names.
type PrintService struct {
	Name string `json:"name"`
	Kind string `json:"kind" enum:"ipp-system,universal-print,reference"`
	URL  string `json:"url"`
}

// Registrations is what the running daemon can be asked and told of registrations. Every change is durable when its call returns;
// actor is who made it, for the audit.
type Registrations interface {
	// PrintServices are those to choose from.
	PrintServices(context.Context) []PrintService
	// Registrations are the open ones and those that ended in the last 30 days, the newest first, without user codes.
	Registrations(context.Context) ([]mfpgate.Registration, error)
	// Registration is one of them, with its user code. ErrNoRegistration.
	Registration(ctx context.Context, id string) (mfpgate.Registration, error)
	// Register asks for one. If the same is open already, that is returned and created is false. key (128 bytes at most) makes the
	// call idempotent; "" is no key. ErrRegistration.
	Register(ctx context.Context, r mfpgate.RegistrationRequest, actor, key string) (g mfpgate.Registration, created bool, err error)
	// CancelRegistration ends an open one. ErrNoRegistration, ErrRegistration.
	CancelRegistration(ctx context.Context, id, actor string) error
	// ResendRegistration mails the administrator once more. ErrNoRegistration, ErrRegistration.
	ResendRegistration(ctx context.Context, id, actor string) error
	// RetryRegistration asks anew for what has failed or was cancelled. ErrNoRegistration, ErrRegistration.
	RetryRegistration(ctx context.Context, id, actor string) (mfpgate.Registration, error)
	// DecideRegistration is the decision of an administrator of the gateway, where Local says that it is wanted.
	// ErrNoRegistration, ErrRegistration.
	DecideRegistration(ctx context.Context, id, actor string, approve bool) error
	// RegistrationChanges yields the id of each registration that changes, until ctx ends. It may yield "" at any time, and does at
	// first: look at all. A reader that is slow misses no last state.
	RegistrationChanges(ctx context.Context) iter.Seq[string]
}
