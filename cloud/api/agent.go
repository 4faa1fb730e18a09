package api

import (
	"encoding/hex"
	"strings"
	"time"
	"unicode"

	"github.com/mfpgate/mfpgate"
)

// Where a gateway has requests for a device that registers itself, below the base URL of its portal.
const (
	RequestsPath = "/device/v1/registration-requests"
	// MaxRequestWait is the longest that a gateway holds back an answer that has nothing new, in the parameter wait, in seconds.
	MaxRequestWait = 60
	// MaxResult bounds the document of a result, in bytes.
	MaxResult = 16 << 10
)

// ResultPath is where the result of a request goes.
func ResultPath(registration string) string { return RequestsPath + "/" + registration + "/result" }

// The events of the stream that a device keeps open. Each one's data is a document.
const (
	EventRequest = "registration-request"  // a RegistrationRequest: new, or another than was told before
	EventOpen    = "registration-requests" // OpenRequests, first after the requests that were open, and again when they change
)

// The reasons with which a gateway refuses a device.
const (
	NotAgent       = "not-agent"       // 403: the configuration does not say that the device registers itself
	RequestUnknown = "request-unknown" // 404: no such request is the device's
	RequestEnded   = "request-ended"   // 409: it has another end already
)

// RegistrationRequests are what a device is asked to do: the open ones, the oldest first.
type RegistrationRequests struct {
	DeviceID mfpgate.DeviceID      `json:"deviceId" doc:"The device that asks, as the gateway names it"`
	Items    []RegistrationRequest `json:"items"`
}

// RegistrationRequest asks a device to register itself: in which print service, for which user, and who must approve.
type RegistrationRequest struct {
	RegistrationID string                      `json:"registrationId" minLength:"1" maxLength:"64"`
	Device         mfpgate.PrintDevice         `json:"device"`
	Service        PrintService                `json:"service"`
	Purpose        mfpgate.RegistrationPurpose `json:"purpose" enum:"register,allow-user"`
	User           string                      `json:"user" maxLength:"254" minLength:"3" doc:"Mail address of who shall be allowed to print"`
	Admin          string                      `json:"admin" maxLength:"254" doc:"Mail address of who approves"`
	From           string                      `json:"from,omitempty" maxLength:"128" doc:"Address that the request came from, for the administrator to see"`
	Retries        int                         `json:"retries" minimum:"0" maximum:"10" doc:"New codes after the first"`
	Deadline       time.Time                   `json:"deadline" doc:"Nobody waits for the result after it"`
	Site           string                      `json:"site" maxLength:"256" doc:"Where the gateway stands, for the administrator to see"`
}

// PrintService is the service to register in, as the gateway is configured to reach it.
type PrintService struct {
	Name     string `json:"name" maxLength:"128" minLength:"1"`
	Kind     string `json:"kind" maxLength:"64"`
	URL      string `json:"url" maxLength:"1024" doc:"Empty where the gateway is not configured for it any more"`
	ClientID string `json:"clientId,omitempty" maxLength:"256"`
}

// OpenRequests name all that are open now: nothing is to be done for any other. Each has been told on the same stream.
type OpenRequests struct {
	DeviceID        mfpgate.DeviceID `json:"deviceId" doc:"The device that asks, as the gateway names it"`
	RegistrationIDs []string         `json:"registrationIds"`
}

// RegistrationResult is how far a device is with a request, or its end.
type RegistrationResult struct {
	State              mfpgate.RegistrationState `json:"state" enum:"awaiting_admin,registered,failed"`
	Reason             mfpgate.Reason            `json:"reason,omitempty" maxLength:"64" doc:"One stable word: small letters, digits and dashes"`
	Detail             string                    `json:"detail,omitempty" maxLength:"1024" doc:"The same in a sentence, with what to do"`
	PrinterID          string                    `json:"printerId,omitempty" maxLength:"256"`
	PrinterURI         string                    `json:"printerUri,omitempty" maxLength:"1024"`
	Certificate        string                    `json:"certificate,omitempty" maxLength:"64" doc:"SHA-256 of its DER form, in hex"`
	CertificateExpires time.Time                 `json:"certificateExpires,omitzero"`
}

// Check returns every rule that the answer breaks, as Faults, or nil.
func (r RegistrationRequests) Check() error {
	return checked(r, nil, func(*checker, *place, RegistrationRequests) {})
}

// Check returns every rule that the request breaks, as Faults, or nil.
func (r RegistrationRequest) Check() error {
	return checked(r, nil, func(*checker, *place, RegistrationRequest) {})
}

// Check returns every rule that the result breaks, as Faults, or nil.
func (r RegistrationResult) Check() error {
	return checked(r, nil, func(c *checker, p *place, r RegistrationResult) {
		if strings.Trim(string(r.Reason), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			c.add(p.field("reason"), "must be one word of small letters, digits and dashes")
		}
		if strings.ContainsFunc(r.Detail, unicode.IsControl) {
			c.add(p.field("detail"), "has control characters; write one line of text")
		}
		for _, text := range []struct{ name, value string }{{"printerId", r.PrinterID}, {"printerUri", r.PrinterURI}} {
			if strings.ContainsFunc(text.value, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
				c.add(p.field(text.name), "has spaces or control characters; write it without")
			}
		}
		if sum, err := hex.DecodeString(r.Certificate); err != nil || r.Certificate != "" && len(sum) != 32 || strings.ToLower(r.Certificate) != r.Certificate {
			c.add(p.field("certificate"), "must be the 64 small hex digits of a SHA-256")
		}
		if r.State == mfpgate.RegistrationFailed && r.Reason == "" {
			c.add(p.field("reason"), "is empty; a failure needs one")
		}
		if r.State != mfpgate.RegistrationRegistered && (r.PrinterID != "" || r.PrinterURI != "" || r.Certificate != "") {
			c.add(p.field("state"), "must be registered where there is a printer or a certificate")
		}
	})
}
