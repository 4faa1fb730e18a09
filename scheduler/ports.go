package scheduler

import (
	"context"
	"time"

	"github.com/mfpgate/mfpgate"
)

// DeliverySystem is the cloud that plans deliveries. Its errors wrap mfpgate.ErrStale, ErrRefused and ErrUnchanged where these
// are meant; any other error is worth another try. An error with a method `Delay() time.Duration` names the earliest time of it.
type DeliverySystem interface {
	// Changes returns what has changed since a token ("": all there is) of the deliveries of the devices that the gateway told
	// of in mode proxy or on USB, and that may fall into window.
	Changes(ctx context.Context, window mfpgate.Interval, since string) (mfpgate.ScheduleChanges, error)
	// Background returns the background schedules and their version, or ErrUnchanged if version is the present one.
	Background(ctx context.Context, version string) ([]mfpgate.Background, string, error)
	// Report tells of overloads. It is idempotent by the report's id.
	Report(ctx context.Context, r mfpgate.OverloadReport) error
	// Propose hands over a proposal. It is idempotent by the proposal's id.
	Propose(ctx context.Context, p mfpgate.Proposal) (mfpgate.ProposalOutcome, error)
	// Outcome says what became of a proposal.
	Outcome(ctx context.Context, proposal string) (mfpgate.ProposalOutcome, error)
	// Withdraw takes a proposal back. One that is decided, or unknown, stays as it is, without an error.
	Withdraw(ctx context.Context, proposal string) error
	// Events waits up to wait for events with numbers greater than after. lost means that some are gone: read everything.
	Events(ctx context.Context, after uint64, wait time.Duration) (events []mfpgate.ScheduleEvent, next uint64, lost bool, err error)
}

// Site is what the scheduler needs of the gateway itself. Its methods are quick and make no call.
type Site interface {
	// Contract returns the contract in force, or false if there is none, or no cloud.
	Contract() (mfpgate.Contract, bool)
	// Devices returns the devices that the gateway monitors.
	Devices() []mfpgate.ScheduledDevice
	// Told reports whether the cloud has acknowledged the present mode of every device.
	Told() bool
	// Capacity says how many devices the relay itself serves at t, and until when (zero: for ever), the contract left aside.
	Capacity(t time.Time) (devices int, until time.Time)
}
