package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const schema = 1

const (
	registrationPrefix = "registration/"
	openPrefix         = "open/"
	turnPrefix         = "turn/"
	printerPrefix      = "printer/"
	devicePrefix       = "device/"
)

// record is a registration as the store has it. What is sealed is sealed for the record's key and the field.
type record struct {
	Schema int `json:"schema"`
	mfpgate.Registration
	AskedAdmin string        `json:"askedAdmin"` // whom the request named
	AskedTries int           `json:"askedTries"` // retries that the request named
	Quiet      bool          `json:"quiet,omitempty"`
	Allowed    time.Duration `json:"allowed"` // from the request to the deadline
	ResentAt   time.Time     `json:"resentAt,omitzero"`

	// The present code.
	Codes      int           `json:"codes"`            // asked for ever, with those that do not count
	Unsent     int           `json:"unsent,omitempty"` // in a row: expired before their letters could be sent
	Lost       int           `json:"lost,omitempty"`   // grants
	Bad        int           `json:"bad,omitempty"`    // answers that could not be used
	Verifier   []byte        `json:"verifier,omitempty"`
	DeviceCode []byte        `json:"deviceCode,omitempty"`
	SealedCode []byte        `json:"userCodeSealed,omitempty"`
	Lifetime   time.Duration `json:"lifetime,omitempty"`
	Interval   time.Duration `json:"interval,omitempty"` // as the service named it, or the standard's
	Events     string        `json:"events,omitempty"`
	Sent       bool          `json:"sent,omitempty"` // its letter was, or never will be
	Resends    int           `json:"resends,omitempty"`

	// What was approved.
	Token        []byte    `json:"token,omitempty"`
	TokenExpires time.Time `json:"tokenExpires,omitzero"`
	Key          []byte    `json:"key,omitempty"` // PKCS #8
	CSR          []byte    `json:"csr,omitempty"`
	Operation    string    `json:"operation,omitempty"`
	Result       string    `json:"result,omitempty"`  // digest of what a device reported, to know it when it comes again
	Reports      int       `json:"reports,omitempty"` // of a device, that said something new
}

// printer is a device that is registered in a service.
type printer struct {
	Schema       int              `json:"schema"`
	Device       mfpgate.DeviceID `json:"deviceId"`
	Service      string           `json:"service"`
	ID           string           `json:"printerId"`
	URI          string           `json:"printerUri"`
	Registration string           `json:"registrationId"`
	Certificate  []byte           `json:"certificate,omitempty"` // in DER
	Fingerprint  string           `json:"fingerprint,omitempty"`
	Expires      time.Time        `json:"expires,omitzero"`
	Key          []byte           `json:"key,omitempty"` // sealed for the key of this record
}

// turn is who may enter a device in a service, and who waits for the end of that.
type turn struct {
	Holder  string   `json:"holder"`
	Waiting []string `json:"waiting,omitempty"`
}

// toDo is what a device of mode agent has to do, the oldest first.
type toDo struct {
	IDs []string `json:"ids"`
}

// digest is a key's part that stands for texts of any length.
func digest(texts ...string) string {
	sum := sha256.New()
	for _, t := range texts {
		fmt.Fprintf(sum, "%d:%s", len(t), t)
	}
	return hex.EncodeToString(sum.Sum(nil)[:20])
}

func (r *record) openKey() string { return openPrefix + digest(string(r.Device.ID), r.Service, r.User) }
func (r *record) turnKey() string { return turnPrefix + digest(string(r.Device.ID), r.Service) }
func (r *record) printerKey() string {
	return printerPrefix + digest(string(r.Device.ID), r.Service)
}
func (r *record) deviceKey() string { return devicePrefix + digest(string(r.Device.ID)) }

// code names one code of the registration, and is the idempotency key of the request for it.
func (r *record) code() string { return fmt.Sprintf("%s.%d", r.ID, r.Codes) }

// active reports whether the present state has an effect of its own, which looks at the deadline itself.
func (r *record) active() bool {
	switch r.State {
	case mfpgate.RegistrationRequestingCode, mfpgate.RegistrationRedeeming, mfpgate.RegistrationCertifying:
		return true
	case mfpgate.RegistrationAwaitingAdmin:
		return !r.Local
	}
	return false
}

func getRecord(g store.Getter, id string) (*record, error) {
	if len(id) > 64 || id == "" {
		return nil, ErrNotFound
	}
	data, err := g.Get(registrationPrefix + id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return decodeRecord(id, data)
}

func decodeRecord(id string, data []byte) (*record, error) {
	r := new(record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("registration %.64q: %w: %w", id, store.ErrDamaged, err)
	}
	if r.Schema > schema {
		return nil, fmt.Errorf("registration %.64q: schema %d: %w", id, r.Schema, store.ErrNewerSchema)
	}
	if r.Schema < 1 || r.ID != id {
		return nil, fmt.Errorf("registration %.64q: %w", id, store.ErrDamaged)
	}
	return r, nil
}

func setRecord(tx store.Tx, r *record) error { return store.SetJSON(tx, registrationPrefix+r.ID, r) }

// seal and unseal keep a secret of the record.
func (b *Broker) seal(r *record, field string, s mfpgate.Secret) []byte {
	return b.Sealer.Seal(registrationPrefix+r.ID+"#"+field, s)
}

func (b *Broker) unseal(r *record, field string, sealed []byte) (mfpgate.Secret, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	s, err := b.Sealer.Open(registrationPrefix+r.ID+"#"+field, sealed)
	if err != nil {
		return "", fmt.Errorf("%s of registration %s: %w", field, r.ID, err)
	}
	return s, nil
}

// present is the code that the administrator was asked with.
func (b *Broker) present(r *record) (c mfpgate.Code, verifier mfpgate.Secret, err error) {
	device, err1 := b.unseal(r, "device_code", r.DeviceCode)
	user, err2 := b.unseal(r, "user_code", r.SealedCode)
	verifier, err3 := b.unseal(r, "verifier", r.Verifier)
	return mfpgate.Code{DeviceCode: device, UserCode: user, VerificationURI: r.VerificationURI, Lifetime: r.Lifetime, Interval: r.Interval,
		Events: r.Events}, verifier, errors.Join(err1, err2, err3)
}

func (b *Broker) grant(r *record) (mfpgate.Grant, error) {
	token, err := b.unseal(r, "token", r.Token)
	return mfpgate.Grant{Token: token, Expires: r.TokenExpires}, err
}

// forgetCode erases what belongs to the present code.
func (r *record) forgetCode() {
	r.Verifier, r.DeviceCode, r.SealedCode, r.Events, r.Sent, r.Lifetime, r.Interval = nil, nil, nil, "", false, 0, 0
	r.VerificationURI, r.ExpiresAt = "", time.Time{}
}

// forgetSecrets erases what nobody needs after the end.
func (r *record) forgetSecrets() {
	r.forgetCode()
	r.Token, r.Key, r.CSR, r.Operation = nil, nil, nil, ""
}

// join adds to a list what it does not have, leave takes it out.
func join(list []string, id string) []string {
	if slices.Contains(list, id) {
		return list
	}
	return append(list, id)
}

func leave(list []string, id string) []string {
	return slices.DeleteFunc(list, func(x string) bool { return x == id })
}
