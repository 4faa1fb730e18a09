package mfpgate

import "time"

// RegistrationState is where a registration stands.
type RegistrationState string

// The states of a registration. The last three are its ends.
const (
	RegistrationRequested      RegistrationState = "requested"       // accepted; it may wait for another user's registration of the same device
	RegistrationRequestingCode RegistrationState = "requesting_code" // the print service is asked for a code (RFC 8628 §3.1)
	RegistrationAwaitingAdmin  RegistrationState = "awaiting_admin"  // the administrator was asked, or is about to be
	RegistrationAwaitingDevice RegistrationState = "awaiting_device" // the device does it all itself, and will report the end
	RegistrationRedeeming      RegistrationState = "redeeming"       // the code's time is over, or the service says that somebody decided: it is asked once more
	RegistrationCertifying     RegistrationState = "certifying"      // approved: the service is entering the device, or allowing the user
	RegistrationRegistered     RegistrationState = "registered"
	RegistrationFailed         RegistrationState = "failed"
	RegistrationCancelled      RegistrationState = "cancelled"
)

// Ended reports whether nothing will follow.
func (s RegistrationState) Ended() bool {
	return s == RegistrationRegistered || s == RegistrationFailed || s == RegistrationCancelled
}

// RegistrationMode says who asks the print service and the administrator: the gateway for a device that cannot, or the device.
type RegistrationMode string

// The modes. In mode agent the device gets the request from the gateway and mails the administrator itself.
const (
	RegistrationDelegate RegistrationMode = "delegate"
	RegistrationAgent    RegistrationMode = "agent"
)

// RegistrationPurpose is what the administrator is asked for.
type RegistrationPurpose string

// The purposes: to enter the device and allow the user, or only to allow one more user of a device that is entered already.
const (
	PurposeRegister  RegistrationPurpose = "register"
	PurposeAllowUser RegistrationPurpose = "allow-user"
)

// PrintDevice is a device as a print service and an administrator are told of it.
type PrintDevice struct {
	ID       DeviceID `json:"deviceId"`
	Name     string   `json:"name"`
	Make     string   `json:"make"`
	Model    string   `json:"model"`
	Serial   string   `json:"serial"`
	UUID     string   `json:"uuid"` // of 36 characters (RFC 9562 §4): its own or, where it tells none, one made from its id
	Location string   `json:"location"`
	Address  string   `json:"address"`
}

// PrintCandidate is a device that may be registered, with what the configuration says of it.
type PrintCandidate struct {
	PrintDevice
	Market string           // its market region; "" is not known
	Here   bool             // the site region knows it, whatever its market is
	Home   string           // the region that has its data, if that is another than the site's and a move would be taken; else ""
	Mode   RegistrationMode // "" is delegate
	Admin  string           // mail address of who approves: the device's, its range's or the site's; "" is nobody
}

// RegistrationRequest is what a user asks for.
type RegistrationRequest struct {
	Device  DeviceID
	Service string // as the configuration names it
	User    string // mail address of who shall be allowed to print
	Account string // of the portal; "" for a request from the command line
	Admin   string // mail address instead of the configured one; "" is that
	Retries int    // new codes after the first, 2 to 10; 0 is as configured
	From    string // address that the request came from, for the administrator to see; may be ""
	Quiet   bool   // no letter to the user at the end: who asks for the user tells how it ended
}

// Registration is a device, and a user of it, being entered in a print service.
type Registration struct {
	ID       string              `json:"registrationId"`
	Device   PrintDevice         `json:"device"`
	Service  string              `json:"service"`
	User     string              `json:"user"`
	Account  string              `json:"account"`
	From     string              `json:"from"`
	Admin    string              `json:"admin"`
	Mode     RegistrationMode    `json:"mode"`
	Purpose  RegistrationPurpose `json:"purpose"`
	State    RegistrationState   `json:"state"`
	Reason   Reason              `json:"reason"`   // why it stands, failed or waits; "" is nothing to say
	Detail   string              `json:"detail"`   // the same in a sentence, with what to do
	Advice   string              `json:"advice"`   // what else may be done, in a sentence: that the device's data can be moved to the site region; "" is nothing
	Attempt  int                 `json:"attempt"`  // codes so far that count, 1 to Attempts; 0 before the first
	Attempts int                 `json:"attempts"` // codes at most: the retries and one

	RequestedAt time.Time `json:"requestedAt"`
	Since       time.Time `json:"since"`              // in this state
	ExpiresAt   time.Time `json:"expiresAt,omitzero"` // of the present code
	Deadline    time.Time `json:"deadline"`
	MailedAt    time.Time `json:"mailedAt,omitzero"` // the last letter to the administrator
	Mails       int       `json:"mails"`             // letters to the administrator so far
	MailError   string    `json:"mailError"`         // why the last one waits; "" if it does not

	// VerificationURI and UserCode are what the administrator needs (RFC 8628 §3.3); the code is shown to administrators alone.
	VerificationURI string `json:"verificationUri"`
	UserCode        Secret `json:"-"`
	// Local is set while an administrator of the gateway must decide, because the print service has nobody asked.
	Local bool `json:"local"`

	PrinterID          string    `json:"printerId"`   // at the service
	PrinterURI         string    `json:"printerUri"`  // where its jobs come from; "" if the service names none
	Certificate        string    `json:"certificate"` // SHA-256 of its DER form, in hex; "" if the service gives none
	CertificateExpires time.Time `json:"certificateExpires,omitzero"`
}

// Letter is a mail to one person.
type Letter struct {
	ID      string // of its Message-ID (RFC 5322 §3.6.4), before the @: the same letter sent again has the same
	To      string
	Subject string
	Text    string
	Date    time.Time
}
