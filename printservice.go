package mfpgate

import (
	"errors"
	"time"
)

// What a print service answers when it is asked whether a code was approved (RFC 8628 §3.5). Every other error, of the network
// or of an answer that is none, says nothing of the code.
var (
	ErrPending      = errors.New("nobody has decided yet")
	ErrSlowDown     = errors.New("asked too often: ask 5 s later from now on")
	ErrCodeExpired  = errors.New("the code has expired")
	ErrDenied       = errors.New("the administrator said no")
	ErrInvalidGrant = errors.New("the service does not know the code, or has used it")
)

var (
	// ErrNobodyAsked says that a print service wants no approval: it names no authorization server.
	ErrNobodyAsked = errors.New("the print service asks nobody for approval")
	// ErrNoPrinter says that a print service does not have the printer (any more).
	ErrNoPrinter = errors.New("the print service does not have the printer")
	// ErrNoEvents says that a print service does not tell of changes by itself.
	ErrNoEvents = errors.New("the print service sends no events")
)

// PrintKey is the kind of key that a print service certifies.
type PrintKey string

// The keys. A service that certifies none registers a device by its UUID alone.
const (
	PrintKeyNone PrintKey = ""
	PrintKeyP256 PrintKey = "ecdsa-p256"
	PrintKeyRSA  PrintKey = "rsa-2048"
)

// PrintServiceTraits are what a kind of print service can do.
type PrintServiceTraits struct {
	Key        PrintKey
	AllowsUser bool // whether it has a list of users for each printer that a registration can add to
}

// CodeRequest begins a device authorization (RFC 8628 §3.1), with what the service may show to the administrator.
type CodeRequest struct {
	ID       string // idempotency key: the registration and its attempt
	Purpose  RegistrationPurpose
	Device   PrintDevice
	Printer  string // the printer's id at the service, for PurposeAllowUser
	User     string
	Site     string
	Verifier Secret // code verifier of RFC 7636, of which the service gets the S256 challenge
}

// Code is the service's answer (RFC 8628 §3.2).
type Code struct {
	DeviceCode      Secret
	UserCode        Secret
	VerificationURI string
	Lifetime        time.Duration // counted from before the request
	Interval        time.Duration // between two polls; 0: the service named none
	Events          string        // where the service tells that something changed; "" if it does not
}

// Grant is what an approved code is redeemed for.
type Grant struct {
	Token   Secret
	Expires time.Time // zero: the service did not say
}

// PrinterRequest enters a device in a print service. It is idempotent by the device: one that is there gets its entry again.
type PrinterRequest struct {
	ID     string // idempotency key: the registration
	Device PrintDevice
	User   string
	CSR    []byte // PKCS #10 (RFC 2986) in DER; nil for a service that certifies no key
}

// Entering is how far a print service is with a PrinterRequest.
type Entering struct {
	Done      bool
	Printer   Printer       // if done
	Operation string        // where to ask again, if not done
	Wait      time.Duration // before that; 0: the service did not say
}

// Printer is a device as a print service has it.
type Printer struct {
	ID          string
	URI         string // where its jobs come from; "" if the service names none
	Certificate []byte // in DER; nil if the service gives none
	User        PrintUser
}

// PrintUser is what became of the user whom a registration named.
type PrintUser string

// The ends for a user. The administrator who approves chooses who may print, and a service may want to hear of the users themselves.
const (
	PrintUserUnknown     PrintUser = ""            // the service does not say
	PrintUserAllowed     PrintUser = "allowed"     // may print
	PrintUserUnconfirmed PrintUser = "unconfirmed" // may print after answering the service's letter
	PrintUserNotAllowed  PrintUser = "not-allowed" // the administrator approved, but did not choose this user
)
