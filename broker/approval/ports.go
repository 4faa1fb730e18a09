package approval

import (
	"context"

	"github.com/mfpgate/mfpgate"
)

// PrintService is one configured print service. Each method makes one exchange, bounded by ctx, and neither waits nor tries again.
// An error that wraps mfpgate.ErrRefused will come again; one with a method `Delay() time.Duration` names the earliest time of
// another try; every other one that mfpgate does not name is worth another try.
type PrintService interface {
	// Traits answers from memory.
	Traits() mfpgate.PrintServiceTraits
	// RequestCode begins a device authorization. ErrNobodyAsked if the service wants none.
	RequestCode(ctx context.Context, r mfpgate.CodeRequest) (mfpgate.Code, error)
	// Redeem asks once whether the code was approved: ErrPending, ErrSlowDown, ErrCodeExpired, ErrDenied, ErrInvalidGrant.
	Redeem(ctx context.Context, c mfpgate.Code, verifier mfpgate.Secret) (mfpgate.Grant, error)
	// AwaitEvent returns nil when the service says that something has changed for the code or for what was asked with its grant.
	// It says nothing of what: ask. It blocks until then, or until ctx ends. ErrNoEvents.
	AwaitEvent(ctx context.Context, c mfpgate.Code) error
	// Enter enters a device. It is idempotent by the request's id and by the device.
	Enter(ctx context.Context, g mfpgate.Grant, r mfpgate.PrinterRequest) (mfpgate.Entering, error)
	// Entered asks how far it is.
	Entered(ctx context.Context, g mfpgate.Grant, operation string) (mfpgate.Entering, error)
	// AllowUser lets one more user print, and returns what became of that user. It is idempotent. ErrNoPrinter.
	AllowUser(ctx context.Context, g mfpgate.Grant, printer, user string) (mfpgate.PrintUser, error)
}

// Site is what the broker needs of the gateway itself. Its methods are quick and make no call.
type Site interface {
	// Candidate returns a device, or false if there is none of this id.
	Candidate(id mfpgate.DeviceID) (mfpgate.PrintCandidate, bool)
}

// Regions enters devices of other markets in the site region, so that they can be registered there.
type Regions interface {
	// Enrol enters a device under the id that its market gave it; its data stay where they are. It is idempotent, and makes calls. An
	// error that is a mfpgate.Refused has a sentence for people; every other one means that nobody could be asked.
	Enrol(ctx context.Context, device mfpgate.DeviceID, actor string) error
}

// Mailer sends a letter. Its errors wrap mfpgate.ErrRefused if the same letter will be refused again.
type Mailer interface {
	Send(ctx context.Context, l mfpgate.Letter) error
}
