package approval

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
)

// What a registration may cost.
const (
	DefaultRetries  = 3
	MinRetries      = 2
	MaxRetries      = 10
	DefaultDeadline = 24 * time.Hour
	MinDeadline     = time.Second
	MaxDeadline     = 30 * 24 * time.Hour

	MaxRequests  = 5               // for one user in an hour, whoever asks
	MaxLetters   = 10              // to one administrator in an hour, before a digest
	MaxResends   = 3               // of one registration
	ResendPause  = 2 * time.Minute // between a letter and its resending
	MaxOpen      = 5000            // registrations that are open at once
	MaxWaiting   = 32              // users who wait for the registration of one device
	KeepEnded    = 30 * 24 * time.Hour
	MaxEnded     = 5000             // kept at most; the oldest go first
	MaxReports   = 100              // of a device about one registration
	MaxListeners = 256              // connections that wait for a service's events
	MaxLost      = 3                // grants that were lost, or answers that could not be used, before it is given up
	EnrolTimeout = 15 * time.Second // for the site region to take up a device of another market
	Overtime     = 15 * time.Minute // that an approval in the last minute is given to be carried out
)

// Options are what a broker is made of.
type Options struct {
	Clock   mfpgate.Clock
	Rand    *rand.Rand  // jitter; the broker's alone
	Store   store.Store // a view of its own
	Sealer  *seal.Sealer
	Site    Site
	Regions Regions // nil: devices of other markets are refused
	Mailer  Mailer  // nil: letters are not sent, and administrators find the codes on the portal
	Log     telemetry.Logger
	Metrics *telemetry.Metrics
	Gateway string // its id, for the audit
	// Changed is told the id of a registration that may have changed, "" for any. May be nil; must not block.
	Changed func(id string)
}

// Policy is the part that the administrator configures. It is replaced as a whole.
type Policy struct {
	SiteName     string
	Region       string // of the site
	Services     []Service
	AdminDomains []string      // of mail addresses that letters may go to; none: those of administrators whom the configuration names
	Retries      int           // 0 is DefaultRetries
	Deadline     time.Duration // 0 is DefaultDeadline
	Portal       string        // base URL for links in letters; "" is none
}

// Service is one configured print service.
type Service struct {
	Name   string
	Kind   string
	Client PrintService
	Hosts  []string // that its page for codes may be on (host, or host:port for that port alone)
	Push   bool     // whether to wait for its events
}

func (p Policy) service(name string) (Service, bool) {
	for _, s := range p.Services {
		if s.Name == name {
			return s, true
		}
	}
	return Service{}, false
}

func (p Policy) retries() int {
	if p.Retries == 0 {
		return DefaultRetries
	}
	return min(max(p.Retries, 1), MaxRetries)
}

func (p Policy) deadline() time.Duration {
	if p.Deadline <= 0 {
		return DefaultDeadline
	}
	return min(max(p.Deadline, MinDeadline), MaxDeadline)
}

// Result is what a device of mode agent reports.
type Result struct {
	State              mfpgate.RegistrationState // registered or failed; awaiting_admin is progress
	Reason             mfpgate.Reason            // of a failure; UserUnconfirmed or UserNotAllowed of what is registered
	Detail             string
	PrinterID          string // if registered
	PrinterURI         string
	Certificate        string // SHA-256 of its DER form, in hex; "" is none
	CertificateExpires time.Time
}

// ErrNotFound is returned for an id that no registration has.
var ErrNotFound = errors.New("there is no such registration")

// Why a registration waits, failed or was refused.
const (
	DeviceBusy     mfpgate.Reason = "device-busy"        // another user's registration of the device has not ended
	Unreached      mfpgate.Reason = "service-unreached"  // the print service gave no usable answer; it is asked again
	LetterWaits    mfpgate.Reason = "letter-waits"       // the last code expired before its letter could be sent; another follows
	Exhausted      mfpgate.Reason = "exhausted"          // every code expired
	Denied         mfpgate.Reason = "denied"             // the administrator said no
	Timeout        mfpgate.Reason = "timeout"            // the deadline passed
	LostGrant      mfpgate.Reason = "lost-grant"         // approvals were lost, MaxLost times
	HostChanged    mfpgate.Reason = "host-changed"       // the service's page is on a host that is not configured
	RefusedBy      mfpgate.Reason = "refused-by-service" // the print service does not take the request
	BadAnswer      mfpgate.Reason = "bad-answer"         // the print service answers what cannot be used
	BadCertificate mfpgate.Reason = "bad-certificate"    // the certificate is not for the device's key, or of no use
	NoUserList     mfpgate.Reason = "no-user-list"       // the service's own administrator must share the printer
	NoDevice       mfpgate.Reason = "no-device"
	NoService      mfpgate.Reason = "no-service"
	NoAdmin        mfpgate.Reason = "no-admin"
	AdminDomain    mfpgate.Reason = "admin-domain"
	OtherRegion    mfpgate.Reason = "other-region"
	BadRequest     mfpgate.Reason = "bad-request"
	TooMany        mfpgate.Reason = "too-many"
	NotNow         mfpgate.Reason = "not-now" // the registration is in another state
	ByDevice       mfpgate.Reason = "refused-by-device"

	// Why the user of a registration that has ended well cannot print yet; the second fails one that was only for the user.
	UserUnconfirmed mfpgate.Reason = "user-unconfirmed" // the service waits for the user's answer to its letter
	UserNotAllowed  mfpgate.Reason = "user-not-allowed" // the administrator approved, but did not choose the user
)

// Refusal is a mfpgate.Refused: what was asked for is not done.
type Refusal struct {
	Reason mfpgate.Reason
	Text   string        // a sentence for people, with what to do
	After  time.Duration // of TooMany: when it may be asked for again; 0 is not known
}

// Error returns the sentence.
func (r *Refusal) Error() string { return r.Text }

// Why returns the reason.
func (r *Refusal) Why() mfpgate.Reason { return r.Reason }

// Delay returns After, as errors that name the time of another try do.
func (r *Refusal) Delay() time.Duration { return r.After }

func refuse(why mfpgate.Reason, text string) error { return &Refusal{Reason: why, Text: text} }

func tooMany(text string, after time.Duration) error { return &Refusal{TooMany, text, after} }
