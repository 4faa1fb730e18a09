package ippsystem

import (
	"context"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Service is what the handler speaks for. Its methods may be called at the same time.
type Service interface {
	// System says what the system is. It answers from memory; it is asked at each request.
	System() System
	// Register makes the printer of an output device, or returns the one that it has already: the same UUID is the same printer,
	// whatever else of the device has changed. The token is that of the request, never empty where System names an issuer, and
	// always empty where it names none. It has committed the printer when it returns.
	//
	// ErrToken, ErrNotAllowed, ErrBusy.
	Register(ctx context.Context, token mfpgate.Secret, d OutputDevice) (Printer, error)
	// Deregister takes an output device's printer away.
	//
	// ErrToken, ErrNotAllowed, ErrNoDevice, ErrBusy.
	Deregister(ctx context.Context, token mfpgate.Secret, uuid string) error
}

// What a Service's errors wrap.
var (
	// ErrToken says that the token is unknown, expired or withdrawn: client-error-not-authenticated, with HTTP 401.
	ErrToken = errors.New("the token is not good")
	// ErrNotAllowed says that the token is good, but not for this device or operation: client-error-not-authorized.
	ErrNotAllowed = errors.New("the token does not allow it")
	// ErrNoDevice says that no such output device is registered: client-error-not-found.
	ErrNoDevice = errors.New("no such output device")
	// ErrBusy says that the same request will be good later: server-error-busy.
	ErrBusy = errors.New("busy")
)

// System is what a system says of itself.
type System struct {
	// URI is the system's own, where the handler is mounted, such as ipps://print.example:631/ipp/system.
	URI  string
	Name string
	UUID string // of 36 characters (RFC 9562 §4)
	// Issuer is the authorization server (RFC 8414 §2), an https URL; "" if the system asks nobody for approval.
	Issuer string
	// Scope is what a token for Register and Deregister needs, one or more words (RFC 6749 §3.3); "" if none.
	Scope string
	// UpTime is how long the system has been up.
	UpTime time.Duration
}

// OutputDevice is who wants to be registered. Texts are valid UTF-8 on one line, of at most 255 bytes; only the UUID is always
// there, for PWG 5100.22 has clients that send no more.
type OutputDevice struct {
	UUID         string // of 36 characters, in lower case
	User         string // requesting-user-name: what the client says, nothing that was proved
	Name         string // printer-info, else printer-name
	MakeAndModel string // printer-make-and-model
	Serial       string // printer-serial-number
	Location     string // printer-location
}

// Printer is what an output device was registered as.
type Printer struct {
	// Number is its printer-id, 1 to 65535 (PWG 5100.22), never another printer's.
	Number int
	UUID   string // of 36 characters; the printer's, which may differ from its output device's
	// URI is the infrastructure printer, where the device fetches its jobs (PWG 5100.18), ipps or https, or ipp for a service
	// without TLS.
	URI string
}
